"""Greedy generation of a batch: this project against transformers' `generate`, one round each in turn.

    python benchmarks/generate_with_transformers.py                      # the built-in model
    python benchmarks/generate_with_transformers.py --shape 1b --new-tokens 16 --rounds 2

Needs: pip install torch==2.11.0 transformers. Both see the same left-padded prompts of random tokens and write the same
number of tokens; the share of equal tokens is printed (a tie between two logits may fall either way).
"""

import argparse
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def random_model(folder):
    """A Llama of the shape of Llama 3.2 1B, but with 32,000 tokens, and random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=2048, tie_word_embeddings=True,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


class Contestant:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.answer()
        self.seconds, self.tokens = [], None

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a contestant ended without an answer")
        return json.loads(line)

    def round(self, record):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.tokens = answer["tokens"]
        if record:
            self.seconds.append(answer["seconds"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["mini", "1b"], default="mini")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--longest", type=int, default=48, help="tokens of the longest prompt")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="write the figures as JSON")
    args = parser.parse_args()

    subprocess.run(["cargo", "build", "--release", "-p", "benchmarks", "--bin", "generate"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        model = ROOT / "configs" / "models" / "mini"
        if args.shape == "1b":
            model = pathlib.Path(folder) / "model"
            random_model(model)
        vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
        draw = random.Random(0)
        lengths = [draw.randint(args.longest // 2, args.longest) for _ in range(args.batch)]
        prompts = pathlib.Path(folder) / "prompts.json"
        prompts.write_text(json.dumps([[draw.randrange(vocabulary) for _ in range(n)] for n in lengths]))
        common = [f"--model={model}", f"--prompts={prompts}", f"--new-tokens={args.new_tokens}",
                  f"--threads={args.threads}"]
        contestants = {
            "transformers": Contestant([sys.executable, "benchmarks/peers/transformers_generate.py", *common]),
            "ours": Contestant([str(ROOT / "target" / "release" / "generate"), *common]),
        }
        for round_ in range(-1, args.rounds):
            for contestant in contestants.values():
                contestant.round(record=round_ >= 0)
            print(f"round {round_ + 1} of {args.rounds}", file=sys.stderr)
    theirs, ours = contestants["transformers"], contestants["ours"]
    pairs = [(a, b) for x, y in zip(theirs.tokens, ours.tokens) for a, b in zip(x, y)]
    equal = sum(a == b for a, b in pairs) / len(pairs)
    wrote = args.batch * args.new_tokens
    rows = [{"name": name, "median_seconds": statistics.median(c.seconds), "min_seconds": min(c.seconds),
             "max_seconds": max(c.seconds), "tokens_per_second": wrote / statistics.median(c.seconds)}
            for name, c in contestants.items()]
    # Round by round, so that a machine that is slow for a while is slow for both; the interval is that of a median, by ranks.
    ratios = sorted(a / b for a, b in zip(theirs.seconds, ours.seconds))
    margin = 0.98 * len(ratios) ** 0.5
    ends = [ratios[max(0, int(len(ratios) / 2 - margin))], ratios[min(len(ratios) - 1, int(len(ratios) / 2 + margin))]]
    ratio = statistics.median(ratios)
    for row in rows:
        print(f"{row['name']:14} {row['median_seconds']:8.3f} s  ({row['min_seconds']:.3f} to {row['max_seconds']:.3f})"
              f"  {row['tokens_per_second']:9.0f} tokens/s")
    print(f"ratio {ratio:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]; {100 * equal:.1f} % of the tokens are equal")
    if args.out:
        import torch
        import transformers

        figures = {
            "settings": {k: v for k, v in vars(args).items() if k != "out"},
            "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "rows": rows, "ratio": ratio, "ratio_95": ends, "equal_tokens": equal,
        }
        pathlib.Path(args.out).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
