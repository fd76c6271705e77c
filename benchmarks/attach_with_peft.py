"""Time to attach PiSSA to one square weight: ours, full and fast, against Hugging Face PEFT's, in the same run.

    python benchmarks/attach_with_peft.py            # needs: pip install torch==2.11.0 peft
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def peft_seconds(size, rank, init):
    import peft
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(size, size, bias=False))
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["0"], init_lora_weights=init)
    start = time.perf_counter()
    peft.get_peft_model(model, config)
    return time.perf_counter() - start


def our_seconds(size, rank, init, threads):
    binary = ROOT / "target" / "release" / "attach"
    command = [str(binary), f"--size={size}", f"--rank={rank}", f"--init={init}", f"--threads={threads}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="write the figures as JSON")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    subprocess.run(["cargo", "build", "--release", "-p", "benchmarks", "--bin", "attach"], cwd=ROOT, check=True)
    contestants = {
        "peft pissa": lambda: peft_seconds(args.size, args.rank, "pissa"),
        "peft pissa_niter_4": lambda: peft_seconds(args.size, args.rank, "pissa_niter_4"),
        "pissa": lambda: our_seconds(args.size, args.rank, "pissa", args.threads),
        "pissa_niter_4": lambda: our_seconds(args.size, args.rank, "pissa_niter_4", args.threads),
    }
    seconds = {name: [] for name in contestants}
    for round_ in range(args.rounds):
        for name, measure in contestants.items():
            seconds[name].append(measure())
        print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr)
    full = statistics.median(seconds["peft pissa"])
    rows = [{"name": name, "median_seconds": statistics.median(values), "min_seconds": min(values),
             "max_seconds": max(values), "ratio_to_peft_full": statistics.median(values) / full}
            for name, values in seconds.items()]
    print(f"{'':20} {'median s':>9} {'min':>8} {'max':>8} {'x peft full':>12}")
    for row in rows:
        print(f"{row['name']:20} {row['median_seconds']:9.3f} {row['min_seconds']:8.3f} {row['max_seconds']:8.3f} "
              f"{row['ratio_to_peft_full']:12.3f}")
    if args.out:
        figures = {"settings": {k: v for k, v in vars(args).items() if k != "out"}, "rows": rows}
        pathlib.Path(args.out).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
