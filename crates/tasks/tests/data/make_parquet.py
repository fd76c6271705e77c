"""Writes the Parquet files that the reader is held against, with Apache Arrow: `pip install pyarrow`."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent
ROWS = {
    "q": ["one", 'two "x"', "dreiä"] * 20,
    "a": ["yes indeed", "no, sir", "7"] * 20,
    "n": list(range(60)),
    "answers": [{"text": ["a", "b"], "answer_start": [0, 3]}, {"text": [], "answer_start": []}] * 30,
}
for codec in ["none", "snappy", "zstd"]:
    # Three row groups.
    pq.write_table(pa.table(ROWS), FOLDER / f"rows-{codec}.parquet", compression=codec, row_group_size=25)
