"""Writes metrics.json: texts, and what the reference implementations say about them.

    python -m venv venv
    venv/bin/pip install scikit-learn scipy sacrebleu rouge-score lm-eval 'transformers<5' datasets torch torchmetrics
    venv/bin/python make_metrics.py

The versions used are in the file written. `lm-eval` holds Hendrycks' `is_equiv`; the one place where it differs from the
original is patched below. `transformers` holds the script of SQuAD 2.0, `torchmetrics` that of SQuAD 1.1, which must
agree wherever a question has an answer that is more than articles and punctuation. All texts were written for this file.
"""

import importlib.metadata
import json
import math
import re
import warnings
from pathlib import Path

import sacrebleu
from lm_eval.tasks.hendrycks_math import utils as hendrycks
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer
from scipy.stats import ConstantInputWarning, pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, log_loss, matthews_corrcoef
from torchmetrics.functional.text.squad import squad as squad_1
from transformers.data.metrics import squad_metrics

# The original catches everything here and returns the string; lm-eval lets a ValueError of `int` through.
caught = hendrycks.fix_a_slash_b


def fix_a_slash_b(string):
    try:
        return caught(string)
    except ValueError:
        return string


hendrycks.fix_a_slash_b = fix_a_slash_b

# --- overlap ---------------------------------------------------------------------------------------------------------

PAIRS = [
    (["The quick brown fox jumps over the lazy dog."], "The quick brown dog jumps on the log."),
    (["A flooded road closed the school for three days."], "Schools were closed for three days after flooding."),
    (["Ministers have rejected the committee's proposal."], "The committee's proposals are being rejected by ministers"),
    (["He was dying to see the skies of Norway."], "He died seeing the sky of Norway, lying on news."),
    (["the the the the the"], "the the"),
    (["the cat the cat on the mat"], "the cat the cat the cat the cat"),
    (["one"], "one"),
    (["one two"], "two one"),
    (["one two three"], "one two three"),
    (["one two three four"], "one two three four"),
    (["a b c d e f g h"], "h g f e d c b a"),
    (["Something entirely different."], "No word is shared here"),
    (["Only a reference."], ""),
    ([""], "Only an answer."),
    ([""], ""),
    (["..."], "!?"),
    (["It costs $1,234.50, not 1.234,50!"], "It costs $1234.50 , not 1.234,50 !"),
    (["state-of-the-art, 5-4 win; 1990-2000"], "state of the art , 5 - 4 win ; 1990 - 2000"),
    (["\"Quoted\" &quot;entities&quot; &amp; &lt;tags&gt; <skipped>here"], "\"Quoted\" \"entities\" & <tags> here"),
    (["A line-\nbroken word\nand another line"], "A linebroken word and another line"),
    (["A line that ends in a hyphen-\n"], "A line that ends in a hyphen-"),
    (["Das Mädchen aß 3½ Äpfel – „süß“ fand sie's."], "das mädchen aß 3½ äpfel – \"süß\" fand sie's"),
    (["К\u0443рсив и Straße İstanbul \u212aelvin"], "курсив и STRASSE istanbul kelvin"),
    (["tabs\tand\x1cseparators\x1fof\u00a0all\u2003kinds"], "tabs and separators of all kinds"),
    (["東京は日本の首都です。"], "東京は 日本の 首都です。"),
    (["flies, tries, ties, dies, dying, lying, skies, news, innings"], "fly try tie die die lie sky new inning"),
    (["happily generalizing relational conditional rationality"], "happy generalizations relate condition rational"),
    (["digitizer vietnamization predication operator feudalism"], "digitize vietnamize predicate operate feudal"),
    (["decisiveness hopefulness callousness formality sensitivity"], "decisive hopeful callous formal sensitive"),
    (["1990s 2nd 3rd 42nd x2y3 a1b2c3ing"], "1990 2 3 42 x2y3 a1b2c3"),
    (["A cat sat.", "One cat was sitting on the mat.", "The mat had a cat on it."], "A cat was on the mat."),
    (["short", "a much longer reference of nine words in all"], "an answer of five words"),
    (["three words here", "five words are in here"], "four words in here"),
    (["same same", "same", "same same same"], "same same same same same"),
    (["x", ""], ""),
    (["The name is Dirt: Showdown (2012), rated E 10+."], "Dirt: Showdown from 2012 is rated E 10+."),
    (["Would you say [laughs] it's 'fine'?"], "would you say it's \u2018fine\u2019?"),
]

CORPORA = {
    "all": list(range(len(PAIRS))),
    "single references": [i for i, (references, _) in enumerate(PAIRS) if len(references) == 1],
    "sentences": [0, 1, 2, 3, 16, 17, 18, 35],
    "short answers": [6, 7],
    "three words at most": [6, 7, 8],
    "four words": [9],
    "no four-gram in common": [1, 3, 7],
    "no bigram in common": [10, 11, 7],
    "nothing in common": [11, 15],
    "empty answers": [12, 14],
    "longer than the references": [5, 33, 13],
    "too short": [4, 11, 30, 31],
}

ROUGE = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
BLEU = sacrebleu.BLEU()


def overlap(references, output):
    rouge = ROUGE.score_multi(references, output)
    bleu = BLEU.corpus_score([output], [[reference] for reference in references])
    return {
        "references": references,
        "output": output,
        **{name: float(score.fmeasure) for name, score in rouge.items()},
        "bleu": [*bleu.counts, *bleu.totals, bleu.sys_len, bleu.ref_len],
    }


def corpus_bleu(indices):
    most = max(len(PAIRS[i][0]) for i in indices)
    # `None` stands for a reference that a sentence lacks.
    streams = [[PAIRS[i][0][at] if at < len(PAIRS[i][0]) else None for i in indices] for at in range(most)]
    return BLEU.corpus_score([PAIRS[i][1] for i in indices], streams).score / 100


STEMS = """caresses ponies ties caress cats feed agreed plastered bled motoring sing conflated troubled sized hopping tanned
falling hissing fizzed failing filing happy sky relational conditional rational valenci hesitanci digitizer conformabli
radicalli differentli vileli analogousli vietnamization predication operator feudalism decisiveness hopefulness callousness
formaliti sensitiviti sensibiliti triplicate formative formalize electriciti electrical hopeful goodness revival allowance
inference airliner gyroscopic adjustable defensible irritant replacement adjustment dependent adoption homologou communism
activate angulariti homologous effective bowdlerize probate rate cease controll roll skies dying lying tying news innings
inning outings outing cannings canning howe proceed exceed succeed dies died flies spied tried fully really carefully
skillfully theoretically geology theology archaeology apology logic syzygy yyyy yyyyed toying enjoying enjoyment saying
played aeiou eeeed ieds ally rally totally normally finally usually generally geologies mayor being aged aging used using
agreeing owned axed boxed mixing fixes keying eying oxen ions lion nation nations national nationality nationalization
controlling controller controlled rolled fell filled wholly dully 1234 12ed 12ing b2bs 90ies abli ably possibly sensibly
""".split()

# --- span ------------------------------------------------------------------------------------------------------------

SPANS = [
    (["Paris"], "Paris"),
    (["Paris"], "paris."),
    (["the Eiffel Tower", "Eiffel Tower in Paris"], "Eiffel Tower, Paris"),
    (["The Who"], "who"),
    (["The"], "a"),
    (["The", "Prince"], "an"),
    (["The", "Prince"], "prince the"),
    ([], ""),
    ([], " . "),
    ([], "the"),
    ([], "anything"),
    (["something"], ""),
    (["something"], "the"),
    (["..."], ""),
    (["42"], "42 %"),
    (["$1,000"], "1000"),
    (["U.S."], "US"),
    (["U.S."], "u s"),
    (["twenty-one"], "twentyone"),
    (["twenty-one"], "twenty one"),
    (["to be or not to be"], "be be be"),
    (["to be or not to be"], "not or to"),
    (["a b c"], "c b a"),
    (["b c"], "b c d e f"),
    (["Straße"], "STRASSE"),
    (["ΟΔΟΣ"], "οδος"),
    (["İzmir"], "i̇zmir"),
    (["caf\u00e9 a"], "cafe\u0301 a\u0301"),
    (["a\u0301"], "\u0301"),
    (["x² the"], "x²"),
    (["an²"], "²"),
    (["“quoted”"], "quoted"),
    (["1990–2000"], "19902000"),
    (["tab\tand\u00a0space\u2003wide\x1fend"], "tab and space wide end"),
    (["東京"], "東京 "),
    (["a_b"], "ab"),
    (["the_theme"], "thetheme"),
    (["An apple a day"], "apple the day"),
]


def span(answers, output):
    gold = [a for a in answers if squad_metrics.normalize_answer(a)] or [""]
    exact = max(squad_metrics.compute_exact(a, output) for a in gold)
    f1 = max(squad_metrics.compute_f1(a, output) for a in gold)
    if answers and gold == answers:
        target = {"id": "0", "answers": {"text": answers, "answer_start": [0] * len(answers)}}
        first = squad_1([{"id": "0", "prediction_text": output}], [target])
        # Percent in 32 bits.
        assert abs(first["exact_match"] / 100 - exact) < 1e-6 and abs(first["f1"] / 100 - f1) < 1e-6, (answers, output)
    return {"answers": answers, "output": output, "exact_match": exact, "f1": f1}


# --- math ------------------------------------------------------------------------------------------------------------

ANSWERS = [
    r"\frac{1}{2}", r"\frac12", r"\dfrac{1}{2}", r"\tfrac12", r"1/2", "0.5", ".5", r"\frac{1}2", r"\frac1{2}", "1 / 2",
    r"x=\frac12", "k = 0.5", "f(x) = 0.5", "a=b=0.5", "50%", r"50\%", "50", "50 ", r"50\text{ cm}", r"50\text{cm}",
    r"50\text{ cm}\text{ }", r"5\text{ a}\text{ b}", r"90^\circ", r"90^{\circ}", "90", r"\$90", "$90$",
    r"\sqrt3", r"\sqrt{3}", r"\sqrt 3", r"2\sqrt3", r"\sqrt", r"\frac", r"\frac1", r"3\frac", r"\sqrt3\sqrt",
    r"\left(1, 2\right)", "(1,2)", "(1, 2)", r"\left( 1,2 \right)", "1,234", "1234", r"1,\!234", r"10\,000",
    r"\text{A}", "A", r"\textbf{A}", "-3/4", r"-\frac{3}{4}", r"\frac{-3}{4}", "+3/4", "03/4", "3/04", "0/4", "-0/4", "x/2",
    r"\frac{x}{2}", r"\fracx2", "3/4/5", "/", "1/", "/2", "", " ", "\n", r"\\", "\\", ".", " .5", "{.5}", "{0.5}", r"\frac{.5}{2}",
    r"\frac{0.5}{2}", "0.50", "1e3", "x", "x ", "X", "é/2", r"\sqrté", r"\fracé2", r"\frac2é", "٣/٤", "10 \n0", "100", r"\!1\!0",
    r"\frac{1}{2}\frac12", r"\frac{1}{2}\frac{1}{2}", r"\frac1\frac2", "==", "=", "x=", "=5", "5", "xyz=5", "é=5", "éé=5",
    r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\2\end{pmatrix}", "2^{10}", "2^10", r"\pi", "\\pi ",
]

BOXED = [
    r"So \boxed{3}.", r"\boxed{\frac{1}{2}}", r"\boxed{1} then \boxed{2}", r"\boxed{{a}{b}}", r"\boxed{}", r"\boxed{1",
    r"\boxed", r"\boxed 7$ is it", r"$\boxed 7$", r"\boxed{a\boxed{b}c}", r"no box", "", r"\boxed{a}}", r"\boxed{é{ü}}", r"\boxed[3]{4}",
    r"\boxed{1} and \boxed{2", r"\boxed\frac12",
]


def boxed(text):
    found = hendrycks.last_boxed_only_string(text)
    try:
        inner = hendrycks.remove_boxed(found)
    except (AssertionError, TypeError):
        inner = None
    return {"text": text, "inner": inner}


# --- extraction ------------------------------------------------------------------------------------------------------

# The rules of LLM-Adapters (`commonsense_evaluate.py`, `evaluate.py`) as Python runs them, and what stands for them in a
# task file. A rule's first match counts, or its last.
RULES = {
    "boolq": (r"true|false", 0, "", r"true|false", "text"),
    "piqa": (r"solution1|solution2", 0, "", r"solution1|solution2", "text"),
    "siqa": (r"answer1|answer2|answer3|answer4|answer5", 0, "", r"answer[1-5]", "text"),
    "hellaswag": (r"ending1|ending2|ending3|ending4", 0, "", r"ending[1-4]", "text"),
    "winogrande": (r"option1|option2", 0, "", r"option[12]", "text"),
    "aqua": (r"A|B|C|D|E", 0, "", r"A|B|C|D|E", "text"),
    "numbers": (r"-?\d+\.?\d*", -1, ",", r"-?[0-9][0-9,]*\.?[0-9,]*", "close"),
}
EXTRACTED = {
    "boolq": ("true", ["the correct answer is true", "false, not true", "True", "untrue", "", "it is false", "truefalse"]),
    "piqa": ("solution2", ["the correct answer is solution2", "solution1 or solution2", "solution", "solution 2", "solution22"]),
    "siqa": ("answer3", ["the correct answer is answer3", "answer1 no answer3", "answer", "answer6 answer3", "answer 3"]),
    "hellaswag": ("ending4", ["ending4", "ending5 ending4", "the ending"]),
    "winogrande": ("option1", ["option1.", "option2", "option3 option1", "Option1"]),
    "aqua": ("B", ["The answer is B.", "A or B", "B", "b", "(B)", "No. B"]),
    "numbers": (
        "1234.5",
        ["1,234.5", "first 1, then 1234.5", "1234.5 apples of 3", "1234.501", "1234.5009", "1234.502", "-1234.5", "$1,234.50.", "", "none", "1234.", "1 234.5", "12,34.5"],
    ),
}


def extracted(name):
    pattern, which, remove, rule, equality = RULES[name]
    gold, outputs = EXTRACTED[name]
    right = []
    for output in outputs:
        found = re.findall(pattern, output.strip().replace(remove, "") if remove else output.strip())
        if not found:
            right.append(0)
        elif equality == "close":
            right.append(int(abs(float(gold) - float(found[which])) <= 0.001))
        else:
            right.append(int(found[which] == gold))
    occurrence = "first" if which == 0 else "last"
    rule = {"pattern": rule, "occurrence": occurrence, "remove": remove}
    equality = {"close": 0.001} if equality == "close" else equality
    return {"name": name, "rule": rule, "equality": equality, "gold": gold, "outputs": outputs, "right": right}


# --- labels and values -----------------------------------------------------------------------------------------------

LABELS = [
    ([0, 1, 1, 0, 1, 0, 1, 1], [0, 1, 0, 0, 1, 1, 1, 0], 2),
    ([0, 1, 1, 0], [0, 1, 1, 0], 2),
    ([0, 1, 1, 0], [1, 0, 0, 1], 2),
    ([0, 1, 1, 0], [1, 1, 1, 1], 2),
    ([0, 1, 1, 0], [0, 0, 0, 0], 2),
    ([0, 0, 0, 0], [0, 0, 0, 0], 2),
    ([0, 0, 0, 0], [0, 1, 0, 0], 2),
    ([1, 1, 1, 1], [1, 1, 1, 1], 2),
    ([1], [1], 2),
    ([1, 0, 1, 1, 0], [1, -1, 0, -1, 0], 2),
    ([1, 0, 1], [-1, -1, -1], 2),
    ([0, 1, 2, 0, 1, 2, 2], [0, 2, 2, 0, 1, 1, 2], 3),
    ([0, 1, 2, 0], [-1, 1, 2, 2], 3),
    ([0, 1, 2, 0], [1, 1, 1, 1], 3),
]

VALUES = [
    ([1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.2, 3.7]),
    ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]),
    ([0.0, 5.0, 2.5, 2.5, 1.0, 5.0], [0.2, 4.0, 2.5, 2.5, 2.5, 5.0]),
    ([1.0, 1.0, 2.0, 2.0, 3.0], [3.0, 1.0, 1.0, 2.0, 2.0]),
    ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]),
    ([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]),
    ([1.0, 2.0], [5.0, 7.0]),
    ([1e6, 1e6 + 1, 1e6 + 2, 1e6 + 4], [0.1, 0.3, 0.2, 0.7]),
    ([3.25, 4.0, 0.5, 1.75], [3.0, 0.0, 0.0, 2.0]),
    ([0.0, -0.0, 1.0, 2.0], [1.0, 3.0, -2.0, 0.5]),
]


def labels(gold, predicted, classes):
    two = classes == 2
    return {
        "gold": gold,
        "predicted": predicted,
        "classes": classes,
        "accuracy": float(accuracy_score(gold, predicted)),
        "matthews": float(matthews_corrcoef(gold, predicted)),
        "f1": float(f1_score([g == 1 for g in gold], [p == 1 for p in predicted], zero_division=0)) if two else None,
    }


def values(gold, predicted):
    defined = lambda result: None if math.isnan(result.statistic) else float(result.statistic)
    return {
        "gold": gold,
        "predicted": predicted,
        "pearson": defined(pearsonr(gold, predicted)),
        "spearman": defined(spearmanr(gold, predicted)),
    }


# Probabilities a model gave to the tokens of texts; scikit-learn's cross-entropy of a coin that is always 1.
TEXTS = [([0.5, 0.25, 0.9], 7), ([0.01], 3), ([1e-6, 0.999, 0.3, 0.3], 25), ([], 0)]


def perplexity():
    everything = [p for tokens, _ in TEXTS for p in tokens]
    nats = lambda tokens, mean: float(log_loss([1] * len(tokens), tokens, labels=[0, 1], normalize=mean)) if tokens else 0.0
    characters = sum(characters for _, characters in TEXTS)
    return {
        "outputs": [f"{nats(tokens, False)!r} nats, {len(tokens)} tokens, {characters} characters" for tokens, characters in TEXTS],
        "nats_per_token": nats(everything, True),
        "perplexity": math.exp(nats(everything, True)),
        "bits_per_character": nats(everything, False) / math.log(2) / characters,
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConstantInputWarning)
    packages = ["scikit-learn", "scipy", "sacrebleu", "rouge-score", "nltk", "transformers", "torchmetrics", "lm-eval"]
    stemmer = PorterStemmer()
    golden = {
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "overlap": [overlap(*pair) for pair in PAIRS],
        "bleu": [{"name": name, "items": items, "bleu": corpus_bleu(items)} for name, items in CORPORA.items()],
        "stems": {word: stemmer.stem(word) for word in STEMS},
        "span": [span(*case) for case in SPANS],
        "equivalent": ["".join(str(int(hendrycks.is_equiv(a, b))) for b in ANSWERS) for a in ANSWERS],
        "answers": ANSWERS,
        "boxed": [boxed(text) for text in BOXED],
        "extract": [extracted(name) for name in RULES],
        "labels": [labels(*case) for case in LABELS],
        "values": [values(*case) for case in VALUES],
        "perplexity": perplexity(),
    }
    # One line for each case.
    lines = []
    for name, value in golden.items():
        dump = lambda value: json.dumps(value, ensure_ascii=True)
        if isinstance(value, list):
            lines.append(f'"{name}": [\n' + ",\n".join(dump(case) for case in value) + "\n]")
        else:
            lines.append(f'"{name}": {dump(value)}')
    (Path(__file__).parent / "metrics.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
