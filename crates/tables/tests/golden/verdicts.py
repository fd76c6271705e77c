"""Verdicts on two proportions, from statsmodels: `pip install statsmodels`, then `python verdicts.py > verdicts.json`.

Ours is `ours` of `n` right, the paper's `paper` of `m`. Wilson's interval says whether the paper's value is in ours, Newcombe's
whether the difference is significant.
"""

import json

from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

WIDTH = 0.06


def finding(ours, n, paper, m):
    low, high = proportion_confint(ours, n, method="wilson")
    if low <= paper / m <= high and high - low <= WIDTH:
        return "agrees"
    low, high = confint_proportions_2indep(ours, n, paper, m, method="newcomb", compare="diff")
    return "within_noise" if low <= 0 <= high else "differs"


cases = []
for n, m in [(1319, 1319), (1319, 1280), (164, 164), (3270, 3270), (500, 5000), (100, 10042)]:
    for rate in [0.03, 0.21, 0.48, 0.77, 0.97]:
        ours = round(rate * n)
        for shift in [-0.2, -0.08, -0.05, -0.035, -0.02, -0.01, 0.0, 0.01, 0.02, 0.035, 0.05, 0.08, 0.2]:
            paper = round((rate + shift) * m)
            if 0 <= paper <= m:
                cases.append({"ours": ours, "n": n, "paper": paper, "m": m, "finding": finding(ours, n, paper, m)})
print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")
