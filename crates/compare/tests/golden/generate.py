"""Numbers that crates/compare's statistics are checked against, from scipy, statsmodels and networkx.

    pip install scipy==1.17.1 statsmodels==0.15.0 networkx pandas
    python generate.py > golden.json
"""

import itertools
import json
import sys
import warnings

import networkx
import numpy
import pandas
import scipy
import statsmodels
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    power_proportions_2indep,
    proportion_confint,
    proportion_effectsize,
    proportions_ztest,
)

warnings.simplefilter("ignore")
rng = numpy.random.default_rng(20250101)


def wilson():
    for k, n in [(0, 10), (1, 10), (10, 10), (631, 1319), (694, 1319), (3, 500), (250, 500)]:
        for confidence in (0.9, 0.95, 0.99):
            low, high = proportion_confint(k, n, alpha=1 - confidence, method="wilson")
            yield {"successes": k, "n": n, "confidence": confidence, "low": low, "high": high}


def mcnemar_cases():
    for b, c, n in [(15, 5, 100), (0, 6, 50), (7, 7, 40), (1, 0, 10), (120, 90, 1319), (300, 210, 1319), (0, 0, 20)]:
        exact = mcnemar([[n - b - c, b], [c, 0]], exact=True).pvalue if b + c else 1.0
        mid = exact - stats.binom.pmf(min(b, c), b + c, 0.5) if b != c else 1.0
        case = {"only_a": b, "only_b": c, "items": n, "mid_p": mid, "odds_low": None, "odds_high": None}
        if b + c:
            ci = stats.binomtest(b, b + c).proportion_ci(0.95, method="exact")
            case["odds_low"] = ci.low / (1 - ci.low)
            case["odds_high"] = ci.high / (1 - ci.high) if ci.high < 1 else None
        yield case


def proportions():
    for a, m, b, n in [(631, 1319, 694, 1319), (30, 100, 45, 120), (0, 50, 5, 50), (80, 80, 79, 80)]:
        low, high = confint_proportions_2indep(a, m, b, n, method="newcomb", compare="diff")
        yield {
            "a": a / m,
            "m": m,
            "b": b / n,
            "n": n,
            "p_value": proportions_ztest([a, b], [m, n])[1],
            "low": low,
            "high": high,
            "cohen_h": proportion_effectsize(a / m, b / n),
        }


def holm():
    for size in (1, 2, 5, 12):
        p = (rng.random(size) ** 3).tolist()
        yield {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}
    p = [0.01, 0.01, 0.2, 0.03, 1.0]
    yield {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}


def bootstrap():
    """Intervals of a mean; `error` is the Monte-Carlo standard error of an end, from repeated bootstraps."""

    def ratio(total, count, axis=-1):
        return total.sum(axis=axis) / count.sum(axis=axis)

    skewed = [[x] for x in numpy.round(rng.exponential(1.0, 40), 4).tolist()]
    clustered = [numpy.round(rng.normal(c, 0.5, size), 4).tolist()
                 for c, size in zip(rng.normal(0, 1, 30), rng.integers(1, 5, 30))]
    pairs = [rng.integers(0, 2, 2).astype(float).tolist() for _ in range(60)]
    for clusters in (skewed, clustered, pairs):
        data = (numpy.array([sum(c) for c in clusters]), numpy.array([len(c) for c in clusters]))
        case = {"clusters": clusters}
        for method in ("percentile", "BCa"):
            ends = [
                stats.bootstrap(data, ratio, paired=True, vectorized=True, method=method, n_resamples=20000, batch=2000,
                                rng=numpy.random.default_rng(seed)).confidence_interval
                for seed in range(12)
            ]
            ends = numpy.array([[e.low, e.high] for e in ends])
            case[method] = {"low": ends[:, 0].mean(), "high": ends[:, 1].mean(), "error": ends.std(axis=0).max()}
        yield case


def pigeonhole():
    """The definition, with numpy: rows and columns drawn with replacement."""
    scores = (rng.random((60, 3)) < stats.norm.cdf(rng.normal(0, 1, (60, 1)) + rng.normal(0, 0.2, (1, 3)))).astype(float)
    ends = []
    for _ in range(12):
        means = [scores[rng.integers(0, 60, 60)][:, rng.integers(0, 3, 3)].mean() for _ in range(20000)]
        ends.append(numpy.percentile(means, [2.5, 97.5]))
    ends = numpy.array(ends)
    yield {"scores": scores.tolist(), "low": ends[:, 0].mean(), "high": ends[:, 1].mean(),
           "error": ends.std(axis=0).max()}


def permutation():
    def mean_difference(x, y, axis=-1):
        return (x - y).mean(axis=axis)

    for size, shift, resamples in [(8, 0.5, None), (12, 0.3, None), (12, 0.0, None), (80, 0.15, 200_000)]:
        a = numpy.round(rng.normal(shift, 1, size), 3)
        b = numpy.round(a - shift + rng.normal(0, 0.6, size), 3)
        count = numpy.inf if resamples is None else resamples
        result = stats.permutation_test((a, b), mean_difference, permutation_type="samples", n_resamples=count,
                                        vectorized=True, batch=2000, rng=numpy.random.default_rng(7))
        yield {"a": a.tolist(), "b": b.tolist(), "p_value": result.pvalue, "exact": resamples is None}


def crossed():
    """Mean squares of a two-way layout without replication, from an analysis of variance."""
    for clusters, seeds, between_seeds in [(20, 3, 0.0), (20, 3, 1.0), (50, 2, 0.5), (12, 5, 0.3)]:
        y = rng.normal(0, 1, (clusters, 1)) + rng.normal(0, between_seeds, (1, seeds)) + rng.normal(0.2, 0.5, (clusters, seeds))
        y = numpy.round(y, 4)
        frame = pandas.DataFrame([(c, s, y[c, s]) for c in range(clusters) for s in range(seeds)], columns=["c", "s", "y"])
        table = anova_lm(ols("y ~ C(c) + C(s)", frame).fit())
        squares = table["mean_sq"]
        # Satterthwaite, written out from the mean squares of the library.
        parts = [(1.0, squares["C(c)"], clusters - 1)]
        if squares["C(s)"] > squares["Residual"]:
            parts += [(1.0, squares["C(s)"], seeds - 1), (-1.0, squares["Residual"], (clusters - 1) * (seeds - 1))]
        variance = sum(sign * ms for sign, ms, _ in parts)
        freedom = variance**2 / sum(ms**2 / df for _, ms, df in parts)
        error = (variance / (clusters * seeds)) ** 0.5
        t = stats.t(freedom)
        yield {"scores": y.tolist(), "ms_clusters": squares["C(c)"], "ms_seeds": squares["C(s)"],
               "ms_residual": squares["Residual"], "standard_error": error, "degrees_of_freedom": freedom,
               "p_value": 2 * t.sf(abs(y.mean()) / error),
               "low": y.mean() - t.ppf(0.975) * error, "high": y.mean() + t.ppf(0.975) * error}


def letters():
    """Letters are the maximal cliques of the graph of ties."""
    for size, share in [(1, 0.5), (4, 0.3), (6, 0.5), (8, 0.2), (8, 0.7), (12, 0.4)]:
        differ = [pair for pair in itertools.combinations(range(size), 2) if rng.random() < share]
        ties = networkx.Graph()
        ties.add_nodes_from(range(size))
        ties.add_edges_from(set(itertools.combinations(range(size), 2)) - set(differ))
        yield {"n": size, "differ": differ, "groups": sorted(sorted(c) for c in networkx.find_cliques(ties))}


def unpaired_power():
    for base, difference, items in [(0.5, 0.05, 1319), (0.5, 0.01, 1319), (0.8, 0.03, 5000), (0.1, 0.2, 60)]:
        result = power_proportions_2indep(difference, base, items, alternative="two-sided", alpha=0.05)
        yield {"base_rate": base, "difference": difference, "items": items, "power": result.power}


def paired_power():
    """Exact power of McNemar's mid-p by enumeration of the discordant tables."""
    for discordance, difference, items in [(0.2, 0.05, 500), (0.2, 0.03, 1319), (0.1, 0.05, 300), (0.4, 0.1, 200)]:
        b = numpy.arange(items + 1)
        power = 0.0
        for total in range(items + 1):
            weight = stats.binom.pmf(total, items, discordance)
            if weight < 1e-12:
                continue
            b = numpy.arange(total + 1)
            low = numpy.minimum(b, total - b)
            p = 2 * stats.binom.cdf(low, total, 0.5) - stats.binom.pmf(low, total, 0.5)
            p[b == total - b] = 1.0
            chance = stats.binom.pmf(b, total, (discordance + difference) / (2 * discordance))
            power += weight * chance[p <= 0.05].sum()
        yield {"discordance": discordance, "difference": difference, "items": items, "power": power}


def effect_sizes():
    """Cohen's d of paired differences, t / sqrt(n)."""
    for size, shift in [(5, 1.0), (40, 0.2), (300, -0.05)]:
        a = numpy.round(rng.normal(shift, 1, size), 3)
        b = numpy.round(a - shift + rng.normal(0, 0.6, size), 3)
        yield {"a": a.tolist(), "b": b.tolist(), "cohen_d": stats.ttest_rel(a, b).statistic / size**0.5}


sections = [wilson, mcnemar_cases, proportions, holm, bootstrap, pigeonhole, permutation, crossed, letters,
            unpaired_power, paired_power, effect_sizes]
golden = {section.__name__.removesuffix("_cases"): list(section()) for section in sections}
golden["made_with"] = {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "numpy": numpy.__version__,
                       "networkx": networkx.__version__}
json.dump(golden, sys.stdout, indent=1, default=float)
sys.stdout.write("\n")
