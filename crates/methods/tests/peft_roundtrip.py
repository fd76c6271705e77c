"""What HF PEFT makes of adapters written here, for tests/peft_roundtrip.rs: python peft_roundtrip.py FOLDER

FOLDER holds base.safetensors (weights and biases of linear layers by path), inputs.safetensors (an input for each layer)
and one folder for each adapter. Into each goes peft.safetensors (outputs and merged weights) and the folder `again`, the
adapter as PEFT writes it.
"""

import sys
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file


def base_model(tensors):
    root = torch.nn.Module()
    for name, weight in tensors.items():
        if not name.endswith(".weight"):
            continue
        *path, last = name.removesuffix(".weight").split(".")
        module = root
        for part in path:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        bias = tensors.get(name.removesuffix("weight") + "bias")
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        linear.weight.data = weight
        if bias is not None:
            linear.bias.data = bias
        module.add_module(last, linear)
    return root


warnings.simplefilter("error")  # PEFT only warns of missing and unmatched tensors,
warnings.filterwarnings("ignore", message="Specified to not (save|load) vera_A")  # and of what is meant so here
warnings.filterwarnings("ignore", message="The following rank_pattern keys did not match")  # AdaLoRA's own keys
folder = Path(sys.argv[1])
tensors, inputs = load_file(folder / "base.safetensors"), load_file(folder / "inputs.safetensors")
for adapter in sorted(path.parent for path in folder.glob("*/adapter_config.json")):
    model = base_model({name: tensor.clone() for name, tensor in tensors.items()})
    peft = PeftModel.from_pretrained(model, adapter)
    peft.save_pretrained(adapter / "again", save_embedding_layers=False)
    results = {}
    with torch.no_grad():
        for name, x in inputs.items():
            results[f"output.{name}"] = peft.base_model.model.get_submodule(name)(x)
        merged = peft.merge_and_unload()
        for name in inputs:
            results[f"merged.{name}"] = merged.get_submodule(name).weight
    save_file({name: tensor.contiguous() for name, tensor in results.items()}, adapter / "peft.safetensors")
