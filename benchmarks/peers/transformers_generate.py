"""The peer of `benchmarks/src/bin/generate.rs`, with transformers' `generate`."""

import argparse
import json
import sys
import time

import torch
import transformers

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--prompts", required=True)
parser.add_argument("--new-tokens", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
args = parser.parse_args()

torch.set_num_threads(args.threads)
model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
prompts = json.load(open(args.prompts))
longest = max(map(len, prompts))
ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    with torch.inference_mode():
        out = model.generate(
            ids, attention_mask=mask, do_sample=False, num_beams=1, pad_token_id=0, eos_token_id=None,
            max_new_tokens=args.new_tokens, min_new_tokens=args.new_tokens,
        )
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "tokens": out[:, longest:].tolist()}), flush=True)
