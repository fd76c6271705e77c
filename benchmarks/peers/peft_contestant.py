"""One contestant of `benchmarks/compare_with_peft.py`: a Hugging Face PEFT model that takes a training step on request.

Speaks lines of JSON on standard output, one for each line on standard input:
  "step"    -> {"seconds": ..., "loss": ..., "grad_norm": ...}
  "memory"  -> {"growth_bytes": ...}   peak anonymous resident memory over its value after loading the model; sampling ends
"""

import argparse
import json
import sys
import threading
import time


LONG = 1_000_000  # steps of a run of which these are the first


def lora(peft, rank, common, **more):
    return peft.LoraConfig(r=rank, lora_alpha=2 * rank, **common, **more)


CONFIGS = {
    "lora": lora,
    "dora": lambda peft, rank, common: lora(peft, rank, common, use_dora=True),
    "adalora": lambda peft, rank, common: peft.AdaLoraConfig(
        init_r=rank, target_r=rank // 2, lora_alpha=2 * rank, total_step=LONG, tinit=LONG // 10, tfinal=LONG // 10, **common
    ),
    "bone": lambda peft, rank, common: peft.MissConfig(r=rank, init_weights=True, **common),
    "bat": lambda peft, rank, common: peft.MissConfig(r=rank, init_weights="bat", **common),
    "vera": lambda peft, rank, common: peft.VeraConfig(r=rank, **common),
}


def anonymous_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon in /proc/self/status")


class Peak(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            self.peak = max(self.peak, anonymous_bytes())
            time.sleep(0.005)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--method", choices=["floor", *CONFIGS], required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    import transformers

    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    model.requires_grad_(False)
    # Touch every weight, so that pages of a mapped file are read before the clock starts.
    checksum = sum(float(p.double().sum()) for p in model.parameters())
    ids = torch.arange(args.rows * args.length).view(args.rows, args.length) * 7919 % model.config.vocab_size
    loaded = anonymous_bytes()
    peak = Peak()
    peak.start()

    if args.method != "floor":
        import peft

        torch.manual_seed(0)
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        config = CONFIGS[args.method](peft, args.rank, {"target_modules": targets, "task_type": "CAUSAL_LM"})
        model = peft.get_peft_model(model, config)
        trainable = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=1e-3, weight_decay=0.0)
    else:
        # The frozen floor: forward, and backward to the embedding's output, nothing trains.
        model.enable_input_require_grads()
        trainable, optimizer = [], None
    model.train()

    print(json.dumps({"ready": True, "checksum": checksum, "trainable": sum(p.numel() for p in trainable)}), flush=True)
    steps = 0
    for line in sys.stdin:
        if line.strip() == "memory":
            peak.ended.set()
            print(json.dumps({"growth_bytes": peak.peak - loaded}), flush=True)
            continue
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        norm = 0.0
        if optimizer is not None:
            norm = float(torch.stack([p.grad.norm() for p in trainable]).norm())
            optimizer.step()
            steps += 1
            if args.method == "adalora":
                model.base_model.update_and_allocate(steps)
            optimizer.zero_grad()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "loss": loss.item(), "grad_norm": norm}), flush=True)


if __name__ == "__main__":
    main()
