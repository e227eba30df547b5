"""Parquet files, whose size is known before they are unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgebert.data.contents import MAX_BYTES, MAX_CELLS, MAX_ROWS, too_large
from edgebert.data.delimited import distinct
from edgebert.errors import DataError, first_line
from edgebert.types import Record

if TYPE_CHECKING:
    from pyarrow import Array, Table

SCANNED = 2**16  # values that are looked at at once


def read_parquet(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a row; numbers whose names the file carries (as `datasets` writes them) become those names.

    Raises DataError for a file that is damaged, or that unpacks to more than memory should hold.
    """
    import pyarrow
    from datasets import Features
    from pyarrow import parquet

    try:
        table = _read(content, place)
        names = distinct(table.column_names, [] if notes is None else notes)
        table = table.rename_columns(names)
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError, TypeError) as error:
        hint = "Write or copy it again."
        what = f"not a readable Parquet file: {first_line(error)[:200]}"
        raise DataError(what, where=place, hint=hint) from None
    try:
        features: Mapping[str, object] = Features.from_arrow_schema(parquet.read_schema(pyarrow.BufferReader(content)))
    except Exception:  # columns of a kind that `datasets` does not know have no names of labels
        features = {}
    return [Record(name_labels(row, features), f"{place}:row {i}") for i, row in enumerate(rows, 1)]


def _read(content: bytes, place: str) -> Table:
    """The table, its repeated texts held once until it is known how long they are altogether."""
    import pyarrow
    from pyarrow import parquet

    metadata = parquet.read_metadata(pyarrow.BufferReader(content))
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    if metadata.num_rows > MAX_ROWS:
        raise too_large(f"{metadata.num_rows:,} rows, of which {MAX_ROWS:,} are the most", place)
    if (size := sum(group.total_byte_size for group in groups)) > MAX_BYTES:
        raise too_large(f"{size / 2**20:,.0f} MB unpacked, of which {MAX_BYTES // 2**20} are the most", place)
    # what pyarrow says of a column ends the process where the file is damaged; a scan, which keeps nothing, raises
    parquet.ParquetFile(pyarrow.BufferReader(content)).scan_contents(batch_size=SCANNED)
    columns = [group.column(i) for group in groups for i in range(metadata.num_columns)]
    if (n := sum(column.num_values for column in columns)) > MAX_CELLS:
        raise too_large(f"{n:,} values, of which {MAX_CELLS:,} are the most", place)
    if (size := sum(column.total_uncompressed_size for column in columns)) > MAX_BYTES:
        raise too_large(f"{size / 2**20:,.0f} MB unpacked, of which {MAX_BYTES // 2**20} are the most", place)
    texts = sorted({column.path_in_schema for column in columns if column.physical_type == "BYTE_ARRAY"})
    file = parquet.ParquetFile(pyarrow.BufferReader(content), read_dictionary=texts)
    table = file.read(use_threads=False)
    size = sum(_unpacked(chunk) for column in table.columns for chunk in column.chunks)
    if size > MAX_BYTES:
        raise too_large(f"{size / 2**20:,.0f} MB of text unpacked, of which {MAX_BYTES // 2**20} are the most", place)
    return table


def _unpacked(array: Array) -> int:
    """Bytes of the array once each of its texts stands for itself."""
    import pyarrow
    from pyarrow import compute

    kind = array.type
    if pyarrow.types.is_dictionary(kind) and not pyarrow.types.is_nested(kind.value_type):
        lengths = compute.binary_length(array.dictionary)
        return int(compute.sum(compute.take(lengths, array.indices)).as_py() or 0)
    if pyarrow.types.is_struct(kind):
        return sum(_unpacked(array.field(i)) for i in range(kind.num_fields))
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return _unpacked(array.flatten())
    return int(array.nbytes)


def name_labels(row: Mapping[str, object], features: Mapping[str, object]) -> dict[str, object]:
    """`row` with the numbers of ClassLabel columns, or of lists of them, turned into names."""
    return {column: _named(value, features.get(column)) for column, value in row.items()}


def _named(value: object, feature: object) -> object:
    names = getattr(getattr(feature, "feature", feature), "names", None)
    if not isinstance(names, list) or value is None:
        return value
    if isinstance(value, list):
        return [_named(item, feature) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
