"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .check import check
from .errors import ModelError
from .files import read_settings
from .model import open_model


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 a golden vector is not reproduced, 2 the request cannot be carried out."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    try:
        with _without_announcements():
            return _run(arguments)
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the answers has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: Sequence[str] | None) -> int:
    settings = read_settings()
    inputs: list[str] = settings["task"]["inputs"]
    parser = argparse.ArgumentParser(
        prog=settings["name"],
        description="Answers texts with the model of this package.",
        epilog="In a line of standard input, two texts are separated by a tab." if len(inputs) > 1 else None,
    )
    what = (
        f"{' and '.join(inputs)}; or - to read one {'pair' if len(inputs) > 1 else 'text'} a line from standard input"
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help=what)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line for each text")
    parser.add_argument("--check", action="store_true", help="replay the golden vectors; 1 where one is not reproduced")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="that one call of the model may use [1]")
    given = parser.parse_args(arguments)
    if not given.texts and not given.check:
        parser.error("give a text, - or --check")
    if given.threads < 1:
        parser.error("--threads is at least 1")
    with open_model(threads=given.threads) as model:
        if given.check:
            return 0 if check(model, print) else 1
        for row in _rows(given.texts, len(inputs), parser):
            answer = model.predict(*row)
            if given.json:
                named = {**dict(zip(inputs, row, strict=True)), settings["task"]["answer_name"]: answer}
                print(json.dumps(named, ensure_ascii=False))
            else:
                _print(answer)
    return 0


@contextmanager
def _without_announcements() -> Iterator[None]:
    """Keeps what native code of a runtime says from standard error, which Python's own messages still reach."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    own = sys.stderr
    sys.stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = own
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _rows(texts: Sequence[str], n: int, parser: argparse.ArgumentParser) -> Iterator[tuple[str, ...]]:
    """As many texts as the model reads: neighbours on the command line, tabs between them in a line of input."""
    given: list[str] = []
    for text in texts:
        if text == "-":
            for number, line in enumerate(sys.stdin, 1):
                whole = line.rstrip("\r\n")
                parts = tuple(whole.split("\t")) if n > 1 else (whole,)
                if len(parts) != n:
                    parser.error(f"standard input:{number}: {len(parts)} texts, {n} are needed")
                yield parts
        else:
            given.append(text)
            if len(given) == n:
                yield tuple(given)
                given = []
    if given:
        parser.error(f"the model reads {n} texts at once, and the last of them are {len(given)}")


def _print(answer: Any, indent: str = "") -> None:
    """A line a found thing; one thing as `name: value`; several heads under their names."""
    if isinstance(answer, list):
        for item in answer:
            print(indent + _line(item))
        if not answer:
            print(f"{indent}      nothing found")
        return
    for name, value in answer.items():
        if isinstance(value, dict) or (isinstance(value, list) and (not value or isinstance(value[0], dict))):
            print(f"{indent}{name}:")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{name}: {_text(value)}")


def _line(item: dict[str, Any]) -> str:
    rest = dict(item)
    place = f"{rest.pop('start')!s:>5}-{rest.pop('end')!s:<5} " if {"start", "end"} <= rest.keys() else ""
    kind = next((f"{rest.pop(name)!s:<30} " for name in ("type", "tag", "label") if name in rest), "")
    return f"{place}{kind}{' '.join(_text(value) for value in rest.values())}".rstrip()


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values, from {' '.join(_text(item) for item in value[:4])}; --json gives all"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
