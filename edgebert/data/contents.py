"""The bytes of a data file: ordinary files only, compressed ones unpacked, and no more than memory can hold."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edgebert.errors import DataError, first_line

MAX_BYTES = 512 * 2**20  # of one file, unpacked
MAX_CELLS = 50_000_000  # lines, cells, JSON values: each becomes an object of Python
MAX_ROWS = 2_000_000  # of one table
_OPENERS: dict[str, Callable[[IO[bytes]], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
PACKED = frozenset({*_OPENERS, ".zip"})
_KINDS = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
_SEPARATORS = (b"\n", b"\r", b",", b"\t", b";", b"|", b"{", b"[")
_SAVE = "Save it as CSV, JSON lines or Parquet"
_OTHER_FORMATS = {  # ending -> (what it is, how to make rows of it)
    ".xlsx": ("an Excel workbook", f"{_SAVE} there."),
    ".xls": ("an Excel workbook", f"{_SAVE} there."),
    ".ods": ("a spreadsheet", f"{_SAVE} there."),
    ".pkl": ("a pickle, which can run code when it is read", f"{_SAVE}: DataFrame.to_csv."),
    ".pickle": ("a pickle, which can run code when it is read", f"{_SAVE}: DataFrame.to_csv."),
    ".arrow": ("an Arrow file", f"{_SAVE}: datasets.load_from_disk(FOLDER)['train'].to_parquet('train.parquet')."),
    ".feather": ("an Arrow file", f"{_SAVE}: pandas.read_feather(FILE).to_parquet('rows.parquet')."),
    ".zst": ("a file compressed by Zstandard", "Unpack it: unzstd FILE. Read as they are: .gz .bz2 .xz .zip"),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), ("an archive", "Unpack it and name the file or the folder.")),
}  # fmt: skip
_PAGE = ("a web page", "Download the file itself, not the page that shows it.")
_MARKS = {  # beginning of the bytes in lower case -> what they are, whatever the file is called
    b"version https://git-lfs": ("a pointer of Git LFS in place of the file", "Fetch the file: git lfs pull"),
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"<?xml": ("an XML file", f"{_SAVE}."),
    b"\x1f\x8b": ("a file compressed by gzip", "Let its name end in .gz: it is unpacked then."),
    b"pk\x03\x04": ("an Excel workbook or an archive", f"{_SAVE}, or let the name of an archive end in .zip."),
}


def bare_name(path: Path) -> Path:
    """The path without the ending of a compression: rows.csv for rows.csv.gz."""
    return path.with_suffix("") if path.suffix.lower() in PACKED else path


def read_bytes(path: Path, place: str) -> bytes:
    """The file's bytes, unpacked. Raises DataError for what is no ordinary file, or unpacks to more than MAX_BYTES."""
    suffix = path.suffix.lower()
    if suffix in _OTHER_FORMATS:
        what, hint = _OTHER_FORMATS[suffix]
        raise DataError(f"this is {what}, which edgebert does not read", where=place, hint=hint)
    try:
        _check_ordinary(path, place)
        with path.open("rb") as file:
            if path.stat().st_size > MAX_BYTES:
                raise _too_long(place)
            content = _unpacked(file, suffix, place) if suffix in PACKED else _bounded(file, place)
    except OSError as error:  # gzip's BadGzipFile is one too
        raise DataError(f"cannot be read: {error.strerror or first_line(error)}", where=place) from None
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        what = f"the file is no complete {suffix} file: {first_line(error)}"
        raise DataError(what, where=place, hint="Copy or write it again.") from None
    for mark, (what, hint) in _MARKS.items():
        if content[:100].lstrip().lower().startswith(mark):
            raise DataError(f"this is {what}, which edgebert does not read", where=place, hint=hint)
    check_cells(content, place)
    return content


def _check_ordinary(path: Path, place: str) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise DataError("this is a folder, and a file is needed", where=place, hint="Name a file in it.")
    for test, kind in _KINDS.items():
        if test(mode):
            hint = "Data is read more than once: write it into a file and name that."
            raise DataError(f"this is {kind}, not a file", where=place, hint=hint)


def _unpacked(file: IO[bytes], suffix: str, place: str) -> bytes:
    if suffix != ".zip":
        with _OPENERS[suffix](file) as unpacked:
            return _bounded(unpacked, place)
    with zipfile.ZipFile(file) as archive:
        names = [item for item in archive.namelist() if not item.endswith("/") and not item.startswith("__MACOSX/")]
        if len(names) != 1:
            what = f"the archive holds {len(names)} files, and one can be read from it: {', '.join(names[:5])}"
            raise DataError(what, where=place, hint="Unpack it and name the file or the folder.")
        if archive.getinfo(names[0]).flag_bits & 1:
            raise DataError("the archive is encrypted", where=place, hint="Unpack it and name the file.")
        with archive.open(names[0]) as unpacked:
            return _bounded(unpacked, place)


def _bounded(file: IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile, place: str) -> bytes:
    """All of it. Raises DataError once there is more than MAX_BYTES, however long the file says it is."""
    held = io.BytesIO()
    while block := file.read(2**20):
        held.write(block)
        if held.tell() > MAX_BYTES:
            raise _too_long(place)
    return held.getvalue()


def _too_long(place: str) -> DataError:
    return too_large(f"more than {MAX_BYTES // 2**20} MB", place)


def check_cells(content: bytes, place: str) -> None:
    """Raises DataError where the bytes would become more than MAX_CELLS lines, cells or values."""
    n_cells = 0
    for separator in _SEPARATORS if len(content) > MAX_CELLS else ():
        n_cells += content.count(separator)
        if n_cells > MAX_CELLS:
            raise too_large(f"more than {MAX_CELLS:,} lines, cells or values", place)


def too_large(what: str, place: str) -> DataError:
    hint = "Rows are held in memory: give a sample of them, or split the file into parts."
    return DataError(f"the file holds {what}", where=place, hint=hint)
