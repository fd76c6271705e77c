"""Makes tests/golden/stories.json: greedy continuations by transformers of the two pretrained story models.

    python crates/models/tests/reference/stories.py ../shared/models
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = ["Once upon a time", "Tom had a big red car.", "The little cat was sad because"]
models = Path(sys.argv[1])
texts = {}
for name in ["tinystories656k", "stories260k"]:
    model = AutoModelForCausalLM.from_pretrained(models / name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(models / name)
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        out = model.generate(ids, max_new_tokens=200, do_sample=False, pad_token_id=0)
        new = out[0, ids.shape[1] :]
        texts.setdefault(name, {})[prompt] = tokenizer.decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
path = Path(__file__).resolve().parents[1] / "golden/stories.json"
path.write_text(json.dumps(texts, indent=1) + "\n")
