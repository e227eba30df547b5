#!/usr/bin/env bash
# pandas 3.1.1, pyarrow 26.0.1
#
# One would guess that a list of words survives Parquet -> pandas -> CSV -> ast.literal_eval, the usual advice for lists in
# a CSV. pandas gives the lists of a Parquet file as numpy arrays, to_csv writes an array without commas, ['New' 'York'],
# and Python joins string literals that stand side by side: literal_eval gives ['NewYork'], one word, without an error.
# The column of tags becomes one tag the same way, so that a check of equal lengths passes too, and a tagger is trained on
# sentences of one word with tags such as 'B-LOCI-LOC'. Call .tolist() on the cells before to_csv, or write JSON.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pandas==3.1.1" "pyarrow==26.0.1"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import ast

import pandas

words, tags = ["New", "York", "is", "big"], ["B-LOC", "I-LOC", "O", "O"]
pandas.DataFrame({"words": [words], "tags": [tags]}).to_parquet("rows.parquet")
pandas.read_parquet("rows.parquet").to_csv("rows.csv", index=False)
again = pandas.read_csv("rows.csv", converters={"words": ast.literal_eval, "tags": ast.literal_eval})
print(open("rows.csv").read())
print("read again:", again.words[0], again.tags[0])
assert again.words[0] == ["NewYorkisbig"] and again.tags[0] == ["B-LOCI-LOCOO"], "it has changed"
PY
