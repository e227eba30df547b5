"""Lists that Python, numpy or pandas wrote as text: ['a', 'b'], ['a' 'b'], array(['a'], dtype=object), ("a",), ["a"]."""

from __future__ import annotations

import ast
import json
import re

from edgebert.errors import DataError

_WRAPPERS = ("array(", "np.array(", "list(", "tuple(", "set(", "frozenset(", "Index(")
_QUOTED = r"""(?:np\.str_\()?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)?"""
_ITEM = re.compile(rf"""{_QUOTED}|([^\s,'"\[\](){{}}]+)""", re.DOTALL)
_CONSTANTS = {"None": None, "nan": None, "NaN": None, "<NA>": None, "True": True, "False": False}
MAX_TEXT = 1_000_000  # characters


def read_list(text: str, where: str = "") -> list[object] | None:
    """The list that the text writes; None where it writes none.

    Raises DataError where numpy left the middle out ("...").
    """
    bare = _unwrapped(text.strip())
    if bare[:1] + bare[-1:] not in ("[]", "()", "{}") or len(bare) > MAX_TEXT:
        return None
    if bare[0] == "[":
        try:
            value = json.loads(bare)
            return value if isinstance(value, list) else None
        except (ValueError, RecursionError):
            pass
    results, inner = _ITEM.findall(bare[1:-1]), bare[1:-1]
    bracket = bare[0] == "["
    if _ITEM.sub("", inner).strip(" ,\t\r\n") or (not bracket and not ("," in inner or (results and results[0][0]))):
        return None
    plain = [item for quoted, item in results if not quoted]
    if "..." in plain:
        hint = "Write the whole list, for example with json.dumps(list(values))."
        raise DataError("numpy has left out the middle of this list ('...')", where=where, hint=hint)
    constants = all(item in _CONSTANTS or _number(item) is not None for item in plain)
    words = bracket and 1 < len(plain) == len(results) == inner.count(",") + 1 and ":" not in inner  # [neg, food]
    return [_value(*item) for item in results] if constants or words else None


def _unwrapped(text: str) -> str:
    """What stands between the brackets of array(…, dtype=object) and its like."""
    for wrapper in _WRAPPERS:
        if text.startswith(wrapper) and text.endswith(")"):
            inner = text[len(wrapper) : -1]
            head, mark, _ = inner.rpartition("dtype=")
            return head.rstrip(" ,\n") if mark else inner.strip()
    return text


def _value(quoted: str, plain: str) -> object:
    if not quoted:
        return _CONSTANTS[plain] if plain in _CONSTANTS else plain if (n := _number(plain)) is None else n
    try:
        return ast.literal_eval(quoted)
    except (ValueError, SyntaxError):  # an escape that Python does not know, a line break in the quotes
        return quoted[1:-1]


def _number(text: str) -> int | float | None:
    if not re.fullmatch(r"[+-]?(\d{1,15}|\d{0,15}\.\d{0,15})", text) or not any(map(str.isdigit, text)):
        return None
    return float(text) if "." in text else int(text)
