"""The other side of peft_logits.rs.

    peft_logits.py MODEL FOLDER

Reads FOLDER/ids.safetensors and the adapters FOLDER/ours/*, and writes for each the logits that PEFT computes. Makes
FOLDER/theirs/adapter, a trained-looking LoRA adapter of PEFT's own, with its logits.
"""

import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

model, folder = sys.argv[1], Path(sys.argv[2])
ids = load_file(folder / "ids.safetensors")["ids"]


def base():
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()


def save_logits(adapted, name):
    with torch.no_grad():
        save_file({"logits": adapted(ids).logits.contiguous()}, folder / f"{name}.logits.safetensors")


for adapter in sorted((folder / "ours").iterdir()):
    save_logits(PeftModel.from_pretrained(base(), adapter), adapter.name)

torch.manual_seed(0)
config = LoraConfig(
    r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"v_proj": 2}, task_type="CAUSAL_LM"
)
theirs = get_peft_model(base(), config)
for name, parameter in theirs.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(parameter, std=0.1)
theirs.save_pretrained(folder / "theirs")
save_logits(theirs.eval(), "theirs")
save_logits(base(), "base")
