"""Makes tests/golden/*: tiny random Llamas with what transformers computes from them (forward and generate).

    python crates/models/tests/reference/golden.py

Layout of a case: model/ (config.json, model.safetensors), inputs.safetensors, expected.safetensors.
The numbers come from transformers (eager, f32 unless named bf16), on inputs fixed by the seed.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parents[1] / "golden"
COMMON = dict(
    vocab_size=41, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=6, max_position_embeddings=64, initializer_range=0.3,
    bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
CASES = {
    "llama-tied-biased-llama3": dict(
        tie_word_embeddings=True, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5,
        rope_parameters=dict(
            rope_type="llama3", rope_theta=1000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=16,
        ),
    ),
    "llama-linear": dict(rms_norm_eps=1e-6, rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
}

SEEDS = [7, 107]


def case(name, settings, seed):
    torch.manual_seed(seed)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model = LlamaForCausalLM(LlamaConfig(**COMMON, **settings, attn_implementation="eager")).float()
    for parameter in model.parameters():  # norms and biases start at constants, which would hide mistakes
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.mean()), std=0.2)
    model.save_pretrained(folder / "model")
    if name == "llama-linear":  # the layout before version 5
        path = folder / "model/config.json"
        config = json.loads(path.read_text())
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope["rope_theta"]
        config["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}
        path.write_text(json.dumps(config, indent=2))

    length = 20
    ids = torch.randint(3, 41, (3, length))
    mask = torch.ones_like(ids)
    mask[1, 14:] = 0
    labels = torch.where(mask == 1, ids, -100)
    labels[0, :6] = -100
    out = model(input_ids=ids, attention_mask=mask, labels=labels, output_hidden_states=True)
    out.loss.backward()
    expected = {"logits": out.logits, "loss": out.loss}
    expected |= {f"hidden.{i}": hidden for i, hidden in enumerate(out.hidden_states)}
    expected |= {f"grad.{n}": p.grad for n, p in model.named_parameters()}
    expected["inv_freq"] = model.model.rotary_emb.inv_freq

    with torch.no_grad():
        half = LlamaForCausalLM.from_pretrained(folder / "model", dtype=torch.bfloat16, attn_implementation="eager")
        expected["bf16_logits"] = half(input_ids=ids, attention_mask=mask).logits.float()
        prompt_mask = torch.ones(3, 9, dtype=torch.long)
        prompt_mask[0, :4] = 0
        prompt_mask[2, :7] = 0
        prompts = torch.randint(3, 41, (3, 9)) * prompt_mask
        generated = model.generate(
            prompts, attention_mask=prompt_mask, max_new_tokens=12, do_sample=False, eos_token_id=None,
            output_logits=True, return_dict_in_generate=True,
        )
        expected["generated"] = generated.sequences[:, 9:]
        expected["generated_logits"] = torch.stack(generated.logits, 1)
        top = expected["generated_logits"].topk(2, -1).values
        margin = (top[..., 0] - top[..., 1]).min().item()
        assert margin > 1e-2, f"rounding must not decide a token: {margin}"
    inputs = dict(input_ids=ids, attention_mask=mask, labels=labels, prompts=prompts, prompt_mask=prompt_mask)
    metadata = {"transformers": transformers.__version__, "torch": torch.__version__, "script": "reference/golden.py"}
    save_file({k: v.contiguous() for k, v in inputs.items()}, folder / "inputs.safetensors", metadata)
    save_file({k: v.detach().contiguous() for k, v in expected.items()}, folder / "expected.safetensors", metadata)


if __name__ == "__main__":
    for seed, (name, settings) in zip(SEEDS, CASES.items()):
        case(name, settings, seed)
