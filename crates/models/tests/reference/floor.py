"""The frozen floor of this crate against transformers' Llama: time in interleaved rounds, memory in runs of their own.

    cargo build --release -p models --example floor
    python crates/models/tests/reference/floor.py [--rounds 15] [--arguments recompute]

Both do the same work on 2 threads: hidden 512, 8 layers, 8 heads, intermediate 1376, vocabulary 4096, batch 8 x 256,
f32, all weights frozen, the embedding output requires the gradient, loss on every next token. Memory is the largest
anonymous resident memory seen during the steps less that before the first.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path


def contestant_transformers():
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(2)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=512, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8, intermediate_size=1376,
        vocab_size=4096, attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config).requires_grad_(False).train()
    ids = torch.randint(0, 4096, (8, 256))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        embedded = model.get_input_embeddings()(ids).requires_grad_(True)
        loss = model(inputs_embeds=embedded, labels=ids, use_cache=False).loss
        loss.backward()
        mean, norm = loss.item(), embedded.grad.norm().item()
        print(f"{time.perf_counter() - start:.4f} {mean:.4f} {norm:.3e}", flush=True)


class Contestant:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def anonymous(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def growth(command, steps=5):
    contestant = Contestant(command)
    before, peak, done = contestant.anonymous(), 0.0, threading.Event()

    def sample():
        nonlocal peak
        while not done.is_set():
            peak = max(peak, contestant.anonymous())
            time.sleep(0.001)

    thread = threading.Thread(target=sample)
    thread.start()
    for _ in range(steps):
        contestant.step()
    done.set()
    thread.join()
    contestant.close()
    return peak - before


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--arguments", nargs="*", default=[])
    parser.add_argument("--transformers", action="store_true", help="be the contestant")
    options = parser.parse_args()
    if options.transformers:
        return contestant_transformers()
    root = Path(__file__).resolve().parents[4]
    commands = {
        "models": [str(root / "target/release/examples/floor"), *options.arguments],
        "transformers": [sys.executable, __file__, "--transformers"],
    }
    contestants = {name: Contestant(command) for name, command in commands.items()}
    times = {name: [] for name in commands}
    for round_ in range(options.rounds + 2):
        for name, contestant in contestants.items():
            seconds, loss, norm = contestant.step()
            if round_ >= 2:
                times[name].append(float(seconds))
            if round_ == 0:
                print(f"{name}: loss {loss}, gradient norm {norm}")
    for contestant in contestants.values():
        contestant.close()
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(f"{name}: median {medians[name] * 1e3:.0f} ms, best {min(values) * 1e3:.0f}, {growth(commands[name]):.0f} MiB")
    ratios = [a / b for a, b in zip(times["models"], times["transformers"])]
    print(f"ratio of medians {medians['models'] / medians['transformers']:.3f}, median of ratios {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
