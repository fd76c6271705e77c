"""Steps of HF PEFT's LoRA-FA optimizer, for tests/lora_fa.rs.

Made with torch 2.11.0 and peft 0.21.2: python lora_fa.py
The product with the inverse is computed in float32 (PEFT takes bfloat16 where it can).
"""

import torch
from peft import LoraConfig, get_peft_model
from peft.optimizers import create_lorafa_optimizer, lorafa
from safetensors.torch import save_file

lorafa.is_bf16_available = lambda: False
torch.manual_seed(0)

RANK, ALPHA, STEPS = 4, 8, 6
model = torch.nn.Sequential(torch.nn.Linear(16, 16, bias=False))
model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["0"]))
layer = model.base_model.model[0]
a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
optimizer = create_lorafa_optimizer(model, r=RANK, lora_alpha=ALPHA, lr=1e-2)
optimizer.param_groups[0]["eps"] = 1e-12  # so small that it does not matter where it is added

tensors = {"a": a.detach().clone()}
for step in range(STEPS):
    b.grad = torch.randn_like(b) + 0.5
    tensors[f"gradient.{step}"] = b.grad.clone()
    optimizer.step()
    tensors[f"b.{step}"] = b.detach().clone()
save_file(tensors, "lora_fa.safetensors", {"made_with": f"torch {torch.__version__}, peft 0.21.2"})
