"""A training step of this project against Hugging Face PEFT: same model, batch, ranks, threads, in the same run.

Every contestant is a process of its own that waits for a request; in each round each takes one step, in an order that
rotates, so that a slow minute of the machine hits all alike. Ratios are of medians, with the spread of the rounds.
Memory is sampled in the warm-up rounds, time is taken in the others.

    python benchmarks/compare_with_peft.py            # needs: pip install torch==2.11.0 transformers peft
    python benchmarks/compare_with_peft.py --out results/benchmarks/step-2-cores.json
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def make_model(folder, args):
    """A Llama of the size of the yardstick, with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=args.vocab,
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.heads,
        max_position_embeddings=2 * args.length,
        tie_word_embeddings=False,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


class Contestant:
    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.ready = self.answer()
        self.seconds, self.losses, self.norms = [], [], []

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended without an answer")
        return json.loads(line)

    def ask(self, request):
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        return self.answer()

    def step(self, record):
        answer = self.ask("step")
        self.losses.append(answer["loss"])
        self.norms.append(answer["grad_norm"])
        if record:
            self.seconds.append(answer["seconds"])

    def median(self):
        return statistics.median(self.seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--intermediate", type=int, default=1376)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--methods", default="lora,lori-d,lori-s", help="methods of this project")
    parser.add_argument("--peers", default="lora", help="methods of PEFT to stand beside them")
    parser.add_argument("--out", help="write the figures as JSON")
    args = parser.parse_args()

    subprocess.run(["cargo", "build", "--release", "-p", "benchmarks", "--bin", "contestant"], cwd=ROOT, check=True)
    binary = ROOT / "target" / "release" / "contestant"
    with tempfile.TemporaryDirectory() as folder:
        make_model(folder, args)
        common = [f"--model={folder}", f"--rank={args.rank}", f"--rows={args.rows}", f"--length={args.length}",
                  f"--threads={args.threads}"]
        peer = [sys.executable, str(ROOT / "benchmarks" / "peers" / "peft_contestant.py")]
        contestants = [
            Contestant("transformers floor", [*peer, "--method=floor", *common]),
            *(Contestant(f"peft {m}", [*peer, f"--method={m}", *common]) for m in args.peers.split(",")),
            Contestant("floor", [str(binary), "--method=floor", *common]),
            *(Contestant(m, [str(binary), f"--method={m}", *common]) for m in args.methods.split(",")),
        ]
        for round_ in range(args.warmup + args.rounds):
            if round_ == args.warmup:
                # From here on nothing but steps: reading memory would take time from whoever is at work.
                for contestant in contestants:
                    contestant.growth = contestant.ask("memory")["growth_bytes"]
            shift = round_ % len(contestants)
            for contestant in contestants[shift:] + contestants[:shift]:
                contestant.step(record=round_ >= args.warmup)
            print(f"round {round_ + 1} of {args.warmup + args.rounds}", file=sys.stderr)
        for contestant in contestants:
            contestant.process.stdin.close()
            contestant.process.wait()
    report(args, {c.name: c for c in contestants})


def report(args, by_name):
    floor = by_name["floor"]
    first = by_name["peft " + args.peers.split(",")[0]]
    print(f"{'':20} {'median ms':>10} {'min':>8} {'max':>8} {'x peft same':>12} {'x floor':>8} {'growth MB':>10} "
          f"{'x peft':>7} {'loss':>15} {'grad norm':>10}")
    rows = []
    for c in by_name.values():
        # Of the same method, where PEFT takes part with it.
        peft = by_name.get(c.name if c.name.startswith("peft ") else f"peft {c.name}", first)
        row = {
            "name": c.name,
            "median_seconds": c.median(),
            "min_seconds": min(c.seconds),
            "max_seconds": max(c.seconds),
            "peer": peft.name,
            "ratio_to_peer": c.median() / peft.median(),
            "ratio_to_floor": c.median() / floor.median(),
            "growth_bytes": c.growth,
            "growth_ratio_to_peer": c.growth / peft.growth,
            "first_loss": c.losses[0],
            "last_loss": c.losses[-1],
            "first_grad_norm": c.norms[0],
            "trainable": c.ready["trainable"],
        }
        rows.append(row)
        print(f"{c.name:20} {1e3 * c.median():10.1f} {1e3 * min(c.seconds):8.1f} {1e3 * max(c.seconds):8.1f} "
              f"{row['ratio_to_peer']:12.3f} {row['ratio_to_floor']:8.3f} {c.growth / 1e6:10.1f} "
              f"{row['growth_ratio_to_peer']:7.3f} {c.losses[0]:7.4f}>{c.losses[-1]:7.4f} {c.norms[0]:10.4g}")
    if "lori-d" in by_name and "lora" in by_name:
        share = (by_name["lori-d"].median() - floor.median()) / (by_name["lora"].median() - floor.median())
        print(f"(lori-d - floor) / (lora - floor) = {share:.3f}")
    if args.out:
        import peft as peft_package
        import torch
        import transformers

        figures = {
            "settings": {k: v for k, v in vars(args).items() if k != "out"},
            "machine": {"cpu": cpu(), "system": platform.platform()},
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__,
                         "peft": peft_package.__version__},
            "rows": rows,
        }
        path = pathlib.Path(args.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=1) + "\n")


def cpu():
    with open("/proc/cpuinfo") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
