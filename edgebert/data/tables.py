"""The readers of tables, one record a row with the row's own columns: CSV and TSV, JSON, Parquet, labelled lines."""

from edgebert.data.delimited import read_csv, read_tsv
from edgebert.data.json_rows import read_json
from edgebert.data.labelled_lines import read_labelled_lines, read_lines
from edgebert.data.parquet import name_labels, read_parquet

__all__ = ["name_labels", "read_csv", "read_json", "read_labelled_lines", "read_lines", "read_parquet", "read_tsv"]
