"""HF PEFT's side of tests/peft_logits.rs: python peft_logits.py MODEL FOLDER

FOLDER holds ids.safetensors and adapters written here, ours/NAME and exported/NAME. Each is loaded on transformers' MODEL;
those of ours are trained for a few steps and saved as theirs/NAME; adapters that PEFT makes itself go to theirs/METHOD.made.
Logits go to ours.NAME.safetensors, exported.NAME.safetensors, theirs.NAME.safetensors; those of the bare model to
base.safetensors.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from peft import AdaLoraConfig, LoraConfig, MissConfig, PeftModel, VeraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

STEPS = 4
model, folder = sys.argv[1], Path(sys.argv[2])
ids = load_file(folder / "ids.safetensors")["ids"]

warnings.simplefilter("error", UserWarning)  # PEFT only warns of tensors that are missing or fit nothing,
warnings.filterwarnings("ignore", message="Specified to not (save|load) vera_A")  # and of what is meant so here
warnings.filterwarnings("ignore", message="The following rank_pattern keys did not match")  # AdaLoRA's own keys
warnings.filterwarnings("ignore", message=".*have invalid shape: .*lora_A:\\(0, ")  # AdaLoRA pruned a layer to nothing


def base():
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()


def save_logits(adapted, name):
    with torch.no_grad():
        save_file({"logits": adapted.eval()(ids).logits.contiguous()}, folder / f"{name}.safetensors")


def train_and_save(adapted, name):
    adapted.train()
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0)
    for step in range(STEPS):
        adapted(ids, labels=ids).loss.backward()
        optimizer.step()
        if hasattr(adapted.base_model, "update_and_allocate"):
            adapted.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    adapted.save_pretrained(folder / "theirs" / name, save_embedding_layers=False)
    save_logits(adapted, f"theirs.{name}")


def as_miss(adapter):
    """What PEFT's script does with adapters from before `BONE` became `MISS`."""
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    if config["peft_type"] == "BONE":
        path.write_text(json.dumps(config | {"peft_type": "MISS"}))
        path = adapter / "adapter_model.safetensors"
        save_file({name.replace(".bone_", ".miss_"): t for name, t in load_file(path).items()}, path)


for adapter in (folder / "exported").iterdir():
    save_logits(PeftModel.from_pretrained(base(), adapter), f"exported.{adapter.name}")
for adapter in (folder / "ours").iterdir():
    as_miss(adapter)
    adapted = PeftModel.from_pretrained(base(), adapter, is_trainable=True)
    save_logits(adapted, f"ours.{adapter.name}")
    train_and_save(adapted, adapter.name)

torch.manual_seed(0)
modules = {"target_modules": ["q_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM"}
lora = {"r": 4, "lora_alpha": 6, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"down_proj": 3}, **modules}
made = {
    "lora": LoraConfig(**lora),
    "rslora": LoraConfig(use_rslora=True, **lora),
    "dora": LoraConfig(use_dora=True, **lora),
    "pissa": LoraConfig(init_lora_weights="pissa", **lora),
    "olora": LoraConfig(init_lora_weights="olora", **lora),
    "adalora": AdaLoraConfig(init_r=6, target_r=3, lora_alpha=8, total_step=STEPS, tfinal=1, **modules),
    "bone": MissConfig(r=8, **modules),
    "bat": MissConfig(r=8, init_weights="bat", **modules),
    "vera": VeraConfig(r=8, projection_prng_key=3, save_projection=False, **modules),
}
for method, config in made.items():
    train_and_save(get_peft_model(base(), config), f"{method}.made")
save_logits(base(), "base")
