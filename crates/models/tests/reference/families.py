"""Makes tests/golden/families/*: a tiny random model of every family with what transformers generates from it.

    python crates/models/tests/reference/families.py

Decoders: greedy continuations of a left-padded batch with the logits they were chosen from, and the logits of a
right-padded batch. BART: hypotheses of beam search with their scores. Encoders: logits and loss of a span head.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parents[1] / "golden" / "families"
VOCAB = 41
COMMON = dict(vocab_size=VOCAB, bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.3)
LLAMA = dict(
    COMMON, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64,
)
DECODERS = {
    "mistral": ("Mistral", dict(LLAMA, sliding_window=5, tie_word_embeddings=True, head_dim=4)),
    "qwen2": ("Qwen2", dict(LLAMA, use_sliding_window=True, sliding_window=4, max_window_layers=1)),
    "qwen3": ("Qwen3", dict(LLAMA, head_dim=6, tie_word_embeddings=True)),
    "gemma2": (
        "Gemma2",
        dict(LLAMA, head_dim=6, sliding_window=4, query_pre_attn_scalar=9, attn_logit_softcapping=3.0, final_logit_softcapping=4.0),
    ),
    "gpt2": ("GPT2", dict(COMMON, n_embd=16, n_layer=2, n_head=4, n_positions=64, n_inner=24, scale_attn_weights=False)),
    "gptj": ("GPTJ", dict(COMMON, n_embd=24, n_layer=2, n_head=2, n_positions=64, rotary_dim=8)),
    "opt": ("OPT", dict(hidden_size=16, ffn_dim=24, enable_bias=False)),
    "opt-350m": ("OPT", dict(hidden_size=16, ffn_dim=24, do_layer_norm_before=False, word_embed_proj_dim=8)),
}
OPT = dict(COMMON, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64, init_std=0.3, dropout=0.0)
BERT = dict(
    vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=40, initializer_range=0.3,
)
SPANS = {
    "bert-span": ("Bert", dict(BERT)),
    "deberta-span": (
        "DebertaV2",
        dict(
            BERT, relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=False, position_buckets=6,
            norm_rel_ebd="layer_norm", share_att_key=True, conv_kernel_size=3, conv_act="gelu", type_vocab_size=2,
        ),
    ),
}
BEAMS = [
    dict(num_beams=1, max_new_tokens=8),
    dict(num_beams=3, max_new_tokens=8),
    dict(num_beams=4, max_new_tokens=12, length_penalty=2.0),
    dict(num_beams=4, max_new_tokens=12, length_penalty=-1.0, early_stopping=True),
    dict(num_beams=3, max_new_tokens=10, length_penalty=1.0, early_stopping="never"),
    dict(num_beams=2, max_new_tokens=6, forced_eos_token_id=2, forced_bos_token_id=7),
]


def build(head, family, settings, seed):
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**settings, attn_implementation="eager")
    model = getattr(transformers, head)(config).float().eval()
    for parameter in model.parameters():  # norms and biases start at constants, which would hide mistakes
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.mean()), std=0.2)
    return model


def write(name, model, inputs, expected):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder / "model")
    (folder / "model/generation_config.json").unlink(missing_ok=True)
    metadata = {"transformers": transformers.__version__, "torch": torch.__version__, "script": "reference/families.py"}
    save_file({k: v.contiguous() for k, v in inputs.items()}, folder / "inputs.safetensors", metadata)
    save_file({k: v.detach().contiguous() for k, v in expected.items()}, folder / "expected.safetensors", metadata)


@torch.no_grad()
def decoder(name, family, settings):
    heads = {"GPT2": "GPT2LMHeadModel"}
    settings = {**OPT, **settings} if family == "OPT" else settings
    for seed in range(100):
        model = build(heads.get(family, f"{family}ForCausalLM"), family, settings, seed)
        ids = torch.randint(3, VOCAB, (3, 14))
        mask = torch.ones_like(ids)
        mask[1, 9:] = 0
        prompt_mask = torch.ones(3, 7, dtype=torch.long)
        prompt_mask[0, :3] = 0
        prompt_mask[2, :6] = 0
        prompts = torch.randint(3, VOCAB, (3, 7)) * prompt_mask
        out = model.generate(
            prompts, attention_mask=prompt_mask, max_new_tokens=10, do_sample=False, eos_token_id=None,
            output_logits=True, return_dict_in_generate=True,
        )
        logits = torch.stack(out.logits, 1)
        top = logits.topk(2, -1).values
        varied = len(set(out.sequences[:, 7:].flatten().tolist())) > 6
        if (top[..., 0] - top[..., 1]).min() > 1e-2 and varied:  # rounding must not decide a token
            break
    else:
        raise RuntimeError(name)
    expected = {
        "logits": model(input_ids=ids, attention_mask=mask).logits,
        "generated": out.sequences[:, 7:],
        "generated_logits": logits,
    }
    write(name, model, dict(input_ids=ids, attention_mask=mask, prompts=prompts, prompt_mask=prompt_mask), expected)


@torch.no_grad()
def beams(name="bart"):
    settings = dict(
        vocab_size=VOCAB, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=20, max_position_embeddings=32, init_std=0.3,
        pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
        scale_embedding=True,
    )
    for seed in range(200):
        model = build("BartForConditionalGeneration", "Bart", settings, seed)
        # An end that is likely enough to come at different lengths.
        model.final_logits_bias[0, 2] = 2.0
        ids = torch.randint(3, VOCAB, (4, 9))
        mask = torch.ones_like(ids)
        mask[1, 5:] = 0
        mask[3, 3:] = 0
        runs = []
        for beam in BEAMS:
            keep = beam["num_beams"]
            out = model.generate(
                ids, attention_mask=mask, do_sample=False, num_return_sequences=keep, return_dict_in_generate=True,
                output_scores=True, **beam,
            )
            new = out.sequences[:, 1:].view(4, keep, -1).tolist()
            if keep > 1:
                scores = out.sequences_scores.view(4, keep).tolist()
            else:
                scores = [[None]] * 4
            trimmed = [[row[: row.index(2) + 1] if 2 in row else row for row in rows] for rows in new]
            runs.append(dict(settings=beam, tokens=trimmed, scores=scores))
        gaps = [a - b for run in runs for row in run["scores"] for a, b in zip(row, row[1:])]
        lengths = {len(row) for run in runs for rows in run["tokens"] for row in rows}
        if min(gaps) > 1e-3 and len(lengths) > 5:
            break
    else:
        raise RuntimeError(name)
    write(name, model, dict(input_ids=ids, attention_mask=mask), {})
    (HERE / name / "beams.json").write_text(json.dumps(runs, indent=1) + "\n")


def span(name, family, settings, seed=3):
    model = build(f"{family}ForQuestionAnswering", family, settings, seed)
    ids = torch.randint(3, VOCAB, (3, 12))
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    types = torch.zeros_like(ids)
    types[:, 5:] = 1
    start, end = torch.tensor([2, 6, 0]), torch.tensor([4, 7, 30])
    out = model(input_ids=ids, attention_mask=mask, token_type_ids=types)
    whole = [0, 2]  # transformers' loss of a row depends on its padding
    loss = model(
        input_ids=ids[whole], token_type_ids=types[whole], start_positions=start[whole], end_positions=end[whole]
    ).loss
    expected = {"start": out.start_logits, "end": out.end_logits, "loss": loss}
    inputs = dict(input_ids=ids, attention_mask=mask, token_type_ids=types, start=start, end=end)
    write(name, model, inputs, expected)


if __name__ == "__main__":
    for name, (family, settings) in DECODERS.items():
        decoder(name, family, settings)
    beams()
    for name, (family, settings) in SPANS.items():
        span(name, family, settings)
