"""Numbers that crates/compare's statistics of columns are checked against, from scikit-learn, scipy and sacrebleu.

    pip install scipy==1.17.1 scikit-learn==1.9.1 sacrebleu==2.6.0 numpy
    python columns.py > columns.json
"""

import json
import sys
import warnings

import numpy
import sacrebleu
import scipy
import sklearn
from scipy import stats
from sklearn.metrics import f1_score, log_loss, matthews_corrcoef

warnings.simplefilter("ignore")
rng = numpy.random.default_rng(20250102)


def labels():
    """Classes, -1 where the answer was none of them."""
    for size, classes, unparsable in [(40, 2, 0.0), (300, 2, 0.1), (200, 5, 0.05), (1000, 3, 0.0)]:
        gold = rng.integers(0, classes, size)
        predicted = numpy.where(rng.random(size) < 0.6, gold, rng.integers(0, classes, size))
        predicted[rng.random(size) < unparsable] = -1
        yield gold, predicted
    ones = numpy.ones(20, int)
    yield ones, rng.integers(0, 2, 20)
    yield rng.integers(0, 2, 20), numpy.zeros(20, int)
    yield numpy.zeros(20, int), numpy.zeros(20, int)
    yield ones, -ones


def matthews():
    for gold, predicted in labels():
        yield {"items": numpy.stack([gold, predicted], 1).tolist(), "value": matthews_corrcoef(gold, predicted)}


def f1():
    for gold, predicted in labels():
        # Class 1 against the rest.
        value = f1_score(gold == 1, predicted == 1, zero_division=0)
        yield {"items": numpy.stack([gold, predicted], 1).tolist(), "value": value}


def values():
    for size, digits, shift in [(5, 3, 0), (100, 1, 0), (1500, 2, 0), (60, 0, 0), (200, 4, 1e6)]:
        gold = numpy.round(rng.uniform(0, 5, size) + shift, digits)
        yield gold, numpy.round(gold + rng.normal(0, 1.5, size), digits)
    gold = rng.uniform(0, 5, 50)
    yield gold, -gold


def pearson():
    for gold, predicted in values():
        yield {"items": numpy.stack([gold, predicted], 1).tolist(), "value": stats.pearsonr(gold, predicted).statistic}


def spearman():
    for gold, predicted in values():
        yield {"items": numpy.stack([gold, predicted], 1).tolist(), "value": stats.spearmanr(gold, predicted).statistic}


def bleu():
    words = "the a cat dog sat ran on under mat tree , .".split()
    for size, noise, longest in [(1, 0.2, 12), (50, 0.3, 20), (200, 0.6, 15), (30, 0.95, 6), (10, 0.3, 3), (3, 1.0, 8)]:
        metric = sacrebleu.BLEU()
        references, outputs = [], []
        for _ in range(size):
            reference = rng.choice(words, rng.integers(1, longest + 1)).tolist()
            output = [rng.choice(words) if rng.random() < noise else word for word in reference]
            references.append(" ".join(reference))
            outputs.append(" ".join(output[: rng.integers(1, len(output) + 1)] + output[:2]))
        if noise == 1.0:
            outputs = ["nothing alike"] * size
        items = []
        for output, reference in zip(outputs, references):
            score = metric.corpus_score([output], [[reference]])
            items.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
        yield {"items": items, "value": metric.corpus_score(outputs, [references]).score / 100}


def texts():
    """Log-likelihood of texts whose tokens are drawn from distributions over four tokens."""
    for size in (1, 20, 300):
        items, chances, drawn = [], [], []
        for _ in range(size):
            tokens = int(rng.integers(1, 30))
            p = rng.dirichlet([0.7] * 4, tokens)
            token = numpy.array([rng.choice(4, p=row) for row in p])
            items.append([log_loss(token, p, labels=[0, 1, 2, 3], normalize=False), tokens, 4 * tokens + int(rng.integers(0, 5))])
            chances.append(p)
            drawn.append(token)
        yield items, log_loss(numpy.concatenate(drawn), numpy.concatenate(chances), labels=[0, 1, 2, 3])


def likelihood():
    for items, nats_per_token in texts():
        characters, tokens = sum(item[2] for item in items), sum(item[1] for item in items)
        yield {"items": items, "nats_per_token": nats_per_token, "perplexity": numpy.exp(nats_per_token),
               "bits_per_character": nats_per_token / numpy.log(2) * tokens / characters}


def correlation(x, y, axis=-1):
    return stats.pearsonr(x, y, axis=axis).statistic


def rank_correlation(x, y, axis=-1):
    return correlation(stats.rankdata(x, axis=axis), stats.rankdata(y, axis=axis), axis)


def rate(x, y, axis=-1):
    return x.sum(axis=axis) / y.sum(axis=axis)


def intervals():
    """`error` is the Monte-Carlo standard error of an end, from repeated bootstraps."""
    gold = numpy.round(rng.normal(0, 1, 50), 2)
    predicted = numpy.round(gold + rng.normal(0, 0.7, 50), 1)
    tokens = rng.integers(5, 60, 50).astype(float)
    nats = numpy.round(tokens * rng.gamma(4, 0.5, 50), 3)
    for name, statistic, data in [("pearson", correlation, (gold, predicted)), ("spearman", rank_correlation, (gold, predicted)),
                                  ("nats_per_token", rate, (nats, tokens))]:
        ends = [
            stats.bootstrap(data, statistic, paired=True, vectorized=True, method="BCa", n_resamples=20000, batch=2000,
                            rng=numpy.random.default_rng(seed)).confidence_interval
            for seed in range(12)
        ]
        ends = numpy.array([[e.low, e.high] for e in ends])
        yield {"statistic": name, "items": numpy.stack(data, 1).tolist(), "low": ends[:, 0].mean(), "high": ends[:, 1].mean(),
               "error": ends.std(axis=0).max()}


def randomization():
    """Two systems' answers to each item exchanged with probability one half."""
    def matthews_of(gold, answers, axis):
        return numpy.apply_along_axis(lambda row: matthews_corrcoef(gold, row), axis, answers)

    def of_values(statistic):
        return lambda gold, answers, axis: statistic(numpy.broadcast_to(gold, answers.shape), answers, axis=axis)

    for name, statistic, size, resamples in [
        ("pearson", of_values(correlation), 10, None), ("pearson", of_values(correlation), 120, 100_000),
        ("spearman", of_values(rank_correlation), 11, None), ("spearman", of_values(rank_correlation), 120, 100_000),
        ("matthews", matthews_of, 12, None), ("matthews", matthews_of, 80, 10_000),
    ]:
        if name == "matthews":
            gold = rng.integers(0, 2, size)
            a, b = [numpy.where(rng.random(size) < share, gold, 1 - gold) for share in (0.85, 0.7)]
        else:
            gold = numpy.round(rng.normal(0, 1, size), 2)
            a, b = [numpy.round(gold + rng.normal(0, spread, size), 2) for spread in (0.7, 1.0)]
        result = stats.permutation_test(
            (a, b), lambda x, y, axis=-1: statistic(gold, x, axis) - statistic(gold, y, axis), permutation_type="samples",
            n_resamples=numpy.inf if resamples is None else resamples, vectorized=True, batch=2000,
            rng=numpy.random.default_rng(7))
        yield {"statistic": name, "gold": gold.tolist(), "a": a.tolist(), "b": b.tolist(), "p_value": result.pvalue,
               "exact": resamples is None}


sections = [matthews, f1, pearson, spearman, bleu, likelihood, intervals, randomization]
golden = {section.__name__: list(section()) for section in sections}
golden["made_with"] = {"scipy": scipy.__version__, "scikit-learn": sklearn.__version__, "sacrebleu": sacrebleu.__version__,
                       "numpy": numpy.__version__}
json.dump(golden, sys.stdout, default=float)
sys.stdout.write("\n")
