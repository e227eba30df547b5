"""What Swift, Foundation and XCTest have, as far as the packages' sources use it."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.swift.grammar import mangled, safe


class SwiftError(Exception):
    """What Swift throws."""


NOTHING = object()
_CASES: dict[str, Any] = {}


class Value:
    """A class, struct or enum."""

    _stored: Sequence[str] = ()
    _case = ""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other) if self._case or self._stored else self is other

    __hash__ = object.__hash__


def make(kind: Any, labels: Sequence[str], values: Sequence[Any]) -> Any:
    made = object.__new__(kind)
    for name in kind._stored:
        if default := getattr(kind, f"_default_{name}", None):
            setattr(made, safe(name), default(made))
    if start := getattr(kind, mangled("init", labels), None):
        start(made, *values)
        return made
    if set(labels) - set(kind._stored):
        raise TypeError(f"{kind.__name__}({labels})")
    for label, value in zip(labels, values, strict=True):
        setattr(made, safe(label), value)
    return made


def implicit(name: str, *values: Any) -> Any:
    if name not in _CASES:
        return name
    made = object.__new__(_CASES[name])
    made._case, made._payload = name, values
    return made


def payload(value: Any, name: str) -> Any:
    if isinstance(value, Value) and value._case == name:
        return value._payload[0] if value._payload else True
    return NOTHING


def call(target: Any, name: str, labels: Sequence[str], values: Sequence[Any]) -> Any:
    if name == "map" and isinstance(target, NSRange):  # of an optional one
        return values[0](target)
    if isinstance(target, Value) or (isinstance(target, type) and issubclass(target, Value)):
        return getattr(target, mangled(name, labels))(*values)
    known = METHODS.get(f"{name}({''.join(f'{label}:' for label in labels)})")
    if known is None:
        return getattr(target, name)(*values)
    return known(target, *values)


def prop(target: Any, name: str) -> Any:
    if name == "self":
        return target
    if isinstance(target, type) and not hasattr(target, safe(name)):  # a function that is handed on
        return getattr(target, next(known for known in vars(target) if known.startswith(f"{name}__")))
    if isinstance(target, Value | type):
        return getattr(target, safe(name))
    if name.isdigit():
        return target[int(name)]
    known = PROPERTIES.get(name)
    return getattr(target, name) if known is None else known(target)


def at(target: Any, index: Any) -> Any:
    if isinstance(index, Range):
        if isinstance(target, str):
            return bytes_of(units_of(target)[index.lower : index.upper])
        if not 0 <= index.lower <= index.upper <= len(target):
            raise IndexError(f"{index.lower}..<{index.upper} of {len(target)}")
        return target[index.lower : index.upper]
    if isinstance(target, dict):
        return target.get(index)
    if isinstance(target, list) and not 0 <= index < len(target):
        raise IndexError(f"{index} of {len(target)}")
    return target[index]


class Range:
    def __init__(self, lower: int, upper: int) -> None:
        if lower > upper:
            raise IndexError(f"{lower}..<{upper}")
        self.lower, self.upper = lower, upper

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.lower, self.upper))


def items_of(value: Any) -> Any:
    return value.items() if isinstance(value, dict) else value


def copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else dict(value) if isinstance(value, dict) else value


def divided(a: Any, b: Any) -> Any:
    return (
        (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1) if isinstance(a, int) and isinstance(b, int) else a / b
    )


def attempt(body: Callable[[], Any]) -> Any:
    try:
        return body()
    except (SwiftError, OSError):
        return None


def thrown(value: Any) -> SwiftError:
    error = SwiftError(value.description)
    error.description = value.description  # type: ignore[attr-defined]
    return error


def shown(value: Any) -> str:
    return str(value)


def units_of(text: str) -> list[int]:
    data = text.encode("utf-16-le", "surrogatepass")
    return [data[i] | data[i + 1] << 8 for i in range(0, len(data), 2)]


def bytes_of(units: Sequence[int]) -> str:
    return b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "replace")


def string(value: Any = "", decoding: Any = None, as_: Any = None, **more: Any) -> str:
    if "repeating" in more:
        return str(more["repeating"] * more["count"])
    if decoding is not None:
        return bytes_of(decoding) if as_ == "UTF16" else bytes(decoding).decode("utf-8", "replace")
    return "".join(value)


def number(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return None


def _split(value: Sequence[Any], separator: Any, keep: bool = False) -> list[list[Any]]:
    parts: list[list[Any]] = [[]]
    for item in value:
        if item == separator:
            parts.append([])
        else:
            parts[-1].append(item)
    return [part for part in parts if part or keep]


def _each(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """A closure of two names takes a pair apart."""
    return (lambda item: function(*item)) if function.__code__.co_argcount == 2 else function


def _sorted_by(value: Any, before: Callable[[Any, Any], bool]) -> list[Any]:
    return sorted(value, key=functools.cmp_to_key(lambda a, b: -1 if before(a, b) else 1 if before(b, a) else 0))


def _mapped(value: Any, function: Callable[..., Any]) -> Any:
    if value is None or isinstance(value, str | Range):  # an optional one
        return None if value is None else function(value)
    return [_each(function)(item) for item in items_of(value)]


def _moved(value: Any, start: int, by: int, limit: int) -> int | None:
    return start + by if start + by <= limit else None


METHODS: dict[str, Callable[..., Any]] = {
    "append(u:)": lambda a, x: a.append(x),
    "append(contentsOf:)": lambda a, x: a.extend(x),
    "insert(u:at:)": lambda a, x, i: a.insert(i, x),
    "insert(u:)": lambda a, x: a.add(x),
    "removeLast()": lambda a: a.pop(),
    "removeLast(u:)": lambda a, n: a.__delitem__(slice(len(a) - n, None)),
    "popLast()": lambda a: a.pop() if a else None,
    "reserveCapacity(u:)": lambda a, n: None,
    "contains(u:)": lambda a, x: any(map(x, a)) if callable(x) else x in a,
    "first(u:)": lambda a, test: next(filter(test, a), None),
    "firstIndex(of:)": lambda a, x: a.index(x) if x in a else None,
    "map(u:)": _mapped,
    "filter(u:)": lambda a, test: [x for x in a if test(x)],
    "reduce(u:u:)": lambda a, start, by: sum(a, start),
    "prefix(u:)": lambda a, n: a[:n],
    "dropFirst(u:)": lambda a, n: a[n:],
    "enumerated()": lambda a: list(enumerate(a)),
    "joined(separator:)": lambda a, mark: mark.join(a),
    "sorted()": sorted,
    "sorted(u:)": _sorted_by,
    "sort()": lambda a: a.sort(),
    "max()": lambda a: max(a, default=None),
    "min()": lambda a: min(a, default=None),
    "split(separator:)": _split,
    "split(separator:omittingEmptySubsequences:)": lambda a, x, omit: _split(a, x, not omit),
    "hasPrefix(u:)": lambda a, x: a.startswith(x),
    "hasSuffix(u:)": lambda a, x: a.endswith(x),
    "rounded(u:)": lambda x, how: float(round(x)),
    "squareRoot()": math.sqrt,
    "index(u:offsetBy:limitedBy:)": _moved,
}  # fmt: skip
PROPERTIES: dict[str, Callable[[Any], Any]] = {
    "count": len,
    "isEmpty": lambda a: not a,
    "first": lambda a: a[0] if a else None,
    "last": lambda a: a[-1] if a else None,
    "keys": list,
    "utf8": lambda a: list(a.encode()),
    "utf16": units_of,
    "unicodeScalars": list,
    "value": ord,
    "isFinite": math.isfinite,
    "startIndex": lambda a: 0,
    "endIndex": len,
    "lowerBound": lambda a: a.lower,
    "upperBound": lambda a: a.upper,
}


class NSRange(Value):
    _stored = ("location", "length")


class NSLock(Value):
    def lock__(self) -> None: ...

    def unlock__(self) -> None: ...


class XCTestCase(Value): ...


class URL:
    def __init__(self, path: Path) -> None:
        self.path = path

    def appendingPathComponent(self, name: str) -> URL:
        return URL(self.path / name)


class Files:
    """FileManager."""

    def fileExists(self, path: Path) -> bool:
        return path.exists()


class FileManager:
    default = Files()


class Bundle:
    """Of the package that a test sets."""

    module: Any = None

    def __init__(self, folder: Path) -> None:
        self.bundleURL = self.resourceURL = URL(folder)
        self.folder = folder

    def url(self, name: str, suffix: str) -> URL:
        return URL(next(self.folder.parent.parent.rglob(f"{name}.{suffix}")))


def data(value: Any = b"", contentsOf: URL | None = None) -> bytes:
    return contentsOf.path.read_bytes() if contentsOf else bytes(value)


class _Digest:
    def hash(self, value: bytes) -> bytes:
        return hashlib.sha256(value).digest()


def equal(a: Any, b: Any, message: str = "", accuracy: float = 0.0) -> None:
    close = abs(a - b) <= accuracy if accuracy else a == b
    assert close, f"{message}: {a!r} is not {b!r}"


def throws(body: Callable[[], Any], read: Callable[[Any], Any] = lambda error: None) -> None:
    try:
        body()
    except SwiftError as error:
        read(error)
        return
    raise AssertionError("nothing was thrown")


def _true(value: Any, message: str = "") -> None:
    assert value, message


def _set(values: Any = ()) -> set[Any]:
    return set(values)


class Int(int):
    max = 2**63 - 1


class Double(float):
    infinity = math.inf
    nan = math.nan

    def __new__(cls, value: Any) -> Any:  # type: ignore[misc]
        return number(value)


RUNTIME_STORED = {"NSRange": ["location", "length"]}
RUNTIME: dict[str, Any] = {
    "Value": Value, "make": make, "implicit": implicit, "payload": payload, "call": call, "prop": prop, "at": at, "Range": Range,
    "items_of": items_of, "copied": copied, "divided": divided, "attempt": attempt, "thrown": thrown, "shown": shown, "NOTHING": NOTHING,
    "SwiftError": SwiftError, "_CASES": _CASES, "NSRange": NSRange, "NSLock": lambda: make(NSLock, (), ()), "NSNotFound": 2**63 - 1,
    "Array": lambda value=(): list(items_of(value)), "Int": Int, "Int8": int, "Int32": int, "UInt8": int, "UInt16": int, "UInt32": int,
    "UInt64": lambda value=0, bitPattern=0: value or bitPattern, "Int64": int, "Double": Double, "Float": float, "String": string, "Set": _set, "UTF8": "UTF8", "UTF16": "UTF16", "zip": lambda a, b:
    list(zip(a, b, strict=False)), "min": min, "max": max, "abs": abs, "exp": math.exp, "log1p": math.log1p, "URL": URL, "FileManager": FileManager,
    "Bundle": Bundle, "Data": data, "SHA256": _Digest(), "XCTestCase": XCTestCase, "XCTAssertEqual": equal, "XCTAssertTrue": _true,
    "XCTAssertFalse": lambda value, message="": _true(not value, message), "XCTAssertNil": lambda value: equal(value, None),
    "XCTFail": lambda message: _true(False, message), "throws": throws, "XCTAssertThrowsError": throws, "XCTAssertLessThanOrEqual": lambda a, b, message="": _true(a <= b, message),
    "defer": lambda body: None,
}  # fmt: skip
