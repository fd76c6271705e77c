"""Writes invented rows twice: as the published files have them, and as the hub has them, with Apache Arrow
(`pip install pyarrow`). The columns and their types are those of the repositories that the task files name."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "hub"


def folder(name, text):
    path = FOLDER / "folder" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def repo(name, columns, types=None):
    path = FOLDER / "repo" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(types) if types else None
    pq.write_table(pa.table(columns, schema=schema), path, compression="snappy")


def tsv(name, header, rows):
    folder(name, "".join("\t".join(map(str, row)) + "\n" for row in [header, *rows]))


def jsonl(name, rows):
    folder(name, "".join(json.dumps(row) + "\n" for row in rows))


PART = "{}-00000-of-00001.parquet"

# RTE: names of classes there, numbers here.
NAMES = ["entailment", "not_entailment"]
for ours, theirs, first in [("train", "train", 0), ("dev", "validation", 3)]:
    labels = [(first + n) % 2 for n in range(3)]
    pairs = [(f"{ours} {n} has a dog.", f"{ours} {n} has an animal.") for n in range(3)]
    tsv(
        f"glue/RTE/{ours}.tsv",
        ["index", "sentence1", "sentence2", "label"],
        [[n, a, b, NAMES[label]] for n, ((a, b), label) in enumerate(zip(pairs, labels))],
    )
    repo(
        "rte/" + PART.format(theirs),
        {
            "sentence1": [a for a, _ in pairs],
            "sentence2": [b for _, b in pairs],
            "label": labels,
            "idx": list(range(3)),
        },
        [("sentence1", pa.string()), ("sentence2", pa.string()), ("label", pa.int64()), ("idx", pa.int32())],
    )

# GSM8K.
for split in ["train", "test"]:
    rows = [
        {"question": f"{split}: what is {n} + 1?", "answer": f"It is <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1}"} for n in range(3)
    ]
    jsonl(f"gsm8k/{split}.jsonl", rows)
    repo("main/" + PART.format(split), {key: [row[key] for row in rows] for key in ["question", "answer"]})

# MBPP: one file here, four there.
tasks = [
    {
        "text": f"Write a function that adds {n}.",
        "code": f"def add(x):\r\n  return x + {n}",
        "task_id": n,
        "test_setup_code": "",
        "test_list": [f"assert add({x}) == {x + n}" for x in range(3)],
        "challenge_test_list": [],
    }
    for n in [1, 10, 11, 510, 511, 600, 601, 974]
]
jsonl("mbpp/mbpp.jsonl", tasks)
TYPES = [
    ("task_id", pa.int32()),
    ("text", pa.string()),
    ("code", pa.string()),
    ("test_list", pa.list_(pa.string())),
    ("test_setup_code", pa.string()),
    ("challenge_test_list", pa.list_(pa.string())),
]
for split, low, high in [("prompt", 1, 10), ("test", 11, 510), ("validation", 511, 600), ("train", 601, 974)]:
    rows = [task for task in tasks if low <= task["task_id"] <= high]
    repo("full/" + PART.format(split), {key: [row[key] for row in rows] for key, _ in TYPES}, TYPES)

# SQuAD 2.0: a row for each question there, some without an answer.
ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
for ours, theirs in [("train", "train"), ("dev", "validation")]:
    context = f"In the {ours} garden stand a red rose and a white rose."
    questions = [
        ("Which rose stands first?", ["red", "a red rose"], [context.index("red"), context.index("a red rose")]),
        ("Which tree stands there?", [], []),
    ]
    answer = lambda texts, starts: [{"text": text, "answer_start": start} for text, start in zip(texts, starts)]
    qas = [
        {"id": str(n), "question": question, "answers": answer(texts, starts), "is_impossible": not texts}
        for n, (question, texts, starts) in enumerate(questions)
    ]
    document = {"title": "Roses", "paragraphs": [{"context": context, "qas": qas}]}
    folder(f"squad/{ours}-v2.0.json", json.dumps({"version": "v2.0", "data": [document]}))
    repo(
        "squad_v2/" + PART.format(theirs),
        {
            "id": ["0", "1"],
            "title": ["Roses"] * 2,
            "context": [context] * 2,
            "question": [question for question, _, _ in questions],
            "answers": [{"text": texts, "answer_start": starts} for _, texts, starts in questions],
        },
        [(name, pa.string()) for name in ["id", "title", "context", "question"]] + [("answers", ANSWERS)],
    )

# MATH-500: what the problem ends with here is not there.
ASK = "\nPlease reason step by step, and put your final answer within \\boxed{}."
problems = [{"problem": f"What is ${n} + 1$?", "answer": str(n + 1), "subject": "Sums", "level": 1} for n in range(3)]
jsonl("math500/math500.jsonl", [{"answer": p["answer"], "prompt": p["problem"] + ASK} for p in problems])
(FOLDER / "repo" / "test.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
