"""Makes tests/golden/minilm.json: sentence embeddings of all-MiniLM-L6-v2 by transformers, the mean of the last hidden
states over the tokens of a padded batch.

    python crates/models/tests/reference/minilm.py ../shared/models
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

SENTENCES = [
    "The little dog ran down the hill.",
    "Low-rank updates of frozen weights, 16 dimensions wide: cheap & often enough!",
    "Nothing.",
]
folder = Path(sys.argv[1]) / "all-minilm-l6-v2"
model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
batch = AutoTokenizer.from_pretrained(folder)(SENTENCES, padding=True, return_tensors="pt")
with torch.no_grad():
    states = model(**batch).last_hidden_state
mask = batch["attention_mask"].unsqueeze(-1)
means = (states * mask).sum(1) / mask.sum(1)
rows = [{"text": text, "ids": ids[m.bool()].tolist(), "embedding": mean.tolist()}
        for text, ids, m, mean in zip(SENTENCES, batch["input_ids"], batch["attention_mask"], means)]
path = Path(__file__).resolve().parents[1] / "golden/minilm.json"
path.write_text(json.dumps(rows) + "\n")
