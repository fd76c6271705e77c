#!/usr/bin/env bash
# Makes `.libtorch`, a link to a libtorch 2.11 folder, so that cargo needs nothing exported.
#
#   scripts/libtorch.sh            use $LIBTORCH if it is libtorch 2.11, else install the wheel into .venv
#   scripts/libtorch.sh --force    the same, even if .libtorch is there already
#
# The wheel works with and without a GPU. Safe to run again: it does nothing when everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.11.0
# The wheel with its CUDA libraries takes about 5 GB unpacked and passes through a temporary folder.
needed_gb=8

say() { printf 'libtorch: %s\n' "$*"; }
fail() { printf 'libtorch: %s\n' "$*" >&2; exit 1; }

# The version of the libtorch in folder $1, or nothing.
version_of() {
  if [ -f "$1/build-version" ]; then
    cat "$1/build-version"
  elif [ -f "$1/version.py" ]; then
    sed -n "s/^__version__ = '\(.*\)'/\1/p" "$1/version.py"
  fi
}

is_right() { [ -f "$1/lib/libtorch_cpu.so" ] && case "$(version_of "$1")" in "$version"*) true ;; *) false ;; esac; }

link() {
  ln -sfn "$1" .libtorch
  say "using $(version_of .libtorch) in $1"
}

if [ "${1:-}" != "--force" ] && [ -e .libtorch ] && is_right .libtorch; then
  say "$(version_of .libtorch) is set up"
  exit 0
fi

if [ -n "${LIBTORCH:-}" ] && [ "${LIBTORCH}" != ".libtorch" ]; then
  if is_right "$LIBTORCH"; then
    link "$LIBTORCH"
    exit 0
  fi
  found=$(version_of "$LIBTORCH")
  fail "LIBTORCH=$LIBTORCH holds ${found:-no libtorch}; version $version is needed (unset LIBTORCH to install it)"
fi

python=$(command -v python3 || true)
[ -n "$python" ] || fail "python3 is needed to install libtorch (or set LIBTORCH to a libtorch $version folder)"

folder=$(echo .venv/lib/python3*/site-packages/torch)
if ! is_right "$folder"; then
  free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
  [ "$free_gb" -ge "$needed_gb" ] || fail "$needed_gb GB of free disk are needed here, there are $free_gb GB"
  if [ ! -x .venv/bin/pip ]; then
    say "making a Python environment in .venv"
    rm -rf .venv
    "$python" -m venv .venv || fail "python3 cannot make environments; on Debian: apt install python3-venv"
  fi
  say "installing torch $version into .venv (about 5 GB, a minute or more)"
  # pip unpacks in a temporary folder; keep it on the disk that was checked.
  mkdir -p .venv/tmp
  TMPDIR="$PWD/.venv/tmp" .venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir "torch==$version" \
    || fail "pip could not install torch $version"
  rm -rf .venv/tmp
  folder=$(echo .venv/lib/python3*/site-packages/torch)
  is_right "$folder" || fail "torch $version was installed, but $folder is not it"
fi
link "$folder"
