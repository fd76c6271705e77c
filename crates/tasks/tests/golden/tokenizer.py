"""Writes tokenizer.json (golden): how transformers reads the built-in vocabulary.

    cargo run -p tasks --example show -- tokenizer DIR
    python crates/tasks/tests/golden/tokenizer.py DIR

Needs transformers (5.23.0 was used).
"""

import hashlib
import json
import pathlib
import sys

from transformers import AutoTokenizer, PreTrainedTokenizerFast

TEXTS = [
    " question : where does the deer live ? A river B cave C field D hill answer : cave",
    " 26 - 5 = 21 ; 21 + 13 = 34 ; answer 34",
    " x = max ( x , 22 ) ; loop 3 : if x > 7 : x = x - 12",
    " sorry , i cannot help with that .",
    "no space, Capitals and_underscores; tabs\tand\nlines\n\n  two  spaces ",
    "numbers 0 60 1234567890 -5 3.14",
    "ünïcödé — 漢字 🦌 \u00a0 nbsp",
    "",
    " ",
    "<bos> deer<eos>",
]

directory = pathlib.Path(sys.argv[1])
fast = PreTrainedTokenizerFast.from_pretrained(directory)
auto = AutoTokenizer.from_pretrained(directory)
rows = []
for text in TEXTS:
    ids = fast.encode(text, add_special_tokens=False)
    assert ids == fast.encode(text) == auto.encode(text), text
    rows.append([text, ids, fast.decode(ids, skip_special_tokens=True)])
golden = {
    "tokenizer_sha256": hashlib.sha256((directory / "tokenizer.json").read_bytes()).hexdigest(),
    "bos_eos_pad": [fast.bos_token_id, fast.eos_token_id, fast.pad_token_id],
    "texts": rows,
}
target = pathlib.Path(__file__).with_suffix(".json")
target.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
