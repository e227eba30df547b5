"""Bytes to lines, with errors that say where a byte could not be read."""

from __future__ import annotations

from edgebert.errors import DataError, RequestError

BEGINNING_BYTES = 2**20  # that tell which encoding to propose
BEGINNING = 4000  # characters that tell whether bytes are text


def check_encoding(encoding: str) -> None:
    """Raises RequestError when Python knows no text encoding of this name."""
    try:
        b"a".decode(encoding)
    except (LookupError, ValueError) as error:
        if isinstance(error, UnicodeError):
            return  # one byte is not a whole text in it, but the encoding exists
        raise RequestError(
            f"unknown text encoding '{encoding}'",
            where="--encoding",
            hint="For example utf-8, latin-1, cp1252, utf-16.",
        ) from None


def decode(content: bytes, place: str, encoding: str) -> str:
    """The text of a file, without a byte order mark. Raises DataError with file:line and the offset of the bad byte."""
    try:
        text = content.decode(encoding).lstrip("\ufeff")
    except UnicodeError as error:
        if not isinstance(error, UnicodeDecodeError):  # of an encoding that is not for files
            what = f"cannot be read as {encoding}: {error}"[:200]
            raise DataError(what, where=place, hint="For example: --encoding utf-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        windows = any(0x80 <= byte <= 0x9F for byte in content[:BEGINNING_BYTES])  # control characters in latin-1
        guess = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252" if windows else "latin-1"
        raise DataError(
            f"byte 0x{content[error.start]:02x} at offset {error.start} is not {encoding}",
            where=f"{place}:{line}",
            hint=f"Pass the file's own encoding, for example: --encoding {guess}",
        ) from None
    nuls = text.count("\0", 0, BEGINNING)
    if nuls > max(4, min(len(text), BEGINNING) / 4):
        wide = "utf-16-be" if text.startswith("\0") else "utf-16-le"
        what = f"{nuls} of the first {min(len(text), BEGINNING)} characters are NUL: this is no text in {encoding}"
        raise DataError(what, where=f"{place}:1", hint=f"Pass the file's own encoding, for example: --encoding {wide}")
    return text


def lines(content: bytes, place: str, encoding: str) -> list[str]:
    """Lines without their ends. Only LF and CRLF end one, or CR where there is neither, as old programs for the Mac write
    it: a word may hold any other separator of Unicode."""
    text = decode(content, place, encoding)
    return [line.removesuffix("\r") for line in text.split("\n" if "\n" in text else "\r")]
