"""Replays the golden vectors: does this machine compute what was computed where the model was proven?"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .decoders import Outputs
from .errors import ModelError
from .files import DATA, GOLDEN
from .model import Model
from .windows import Window, valid_unicode

SCORE, NUMBER = (
    1.5e-4,
    2e-6,
)  # how far a score of 4 digits, and any other number of an answer, may lie from the golden one
_SHOWN = 5


def check(model: Model, tell: Callable[[str], None]) -> bool:
    """Whether all golden lines are reproduced; tells what is not, and how many there were.

    Raises:
        ModelError: the golden vectors cannot be read.
    """
    n = n_wrong = 0
    for line in _lines():
        n += 1
        wrong = next(_differences(model, line), None)
        if wrong:
            n_wrong += 1
            if n_wrong <= _SHOWN:
                tell(f"line {n} ({line['class']}): {wrong}")
    tell(f"{n - n_wrong} of {n} golden texts are reproduced: words, tokens, windows, outputs, answers")
    return not n_wrong


def _lines() -> list[dict[str, Any]]:
    try:
        with gzip.open(DATA / GOLDEN, "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ModelError(f"{GOLDEN} cannot be read: {error}") from None


def _differences(model: Model, line: Mapping[str, Any]) -> Iterator[str]:
    for text, tokens in zip(line["texts"], line["tokens"], strict=True):
        encoding = model.windows.plain().encode(valid_unicode(text), add_special_tokens=False)
        if encoding.ids != tokens["ids"]:
            yield "the tokenizer gives other ids"
        if [list(offset) for offset in encoding.offsets] != tokens["offsets"]:
            yield "the tokenizer gives other offsets"
    row = model.read(*line["texts"])
    if [list(span) for span in row.words] != line["offsets"]:
        yield "the text is split into other words"
    windows = model.encode(row)
    if len(windows) != len(line["windows"]):
        yield f"{len(windows)} windows, {len(line['windows'])} there"
    for i, (window, golden) in enumerate(zip(windows, line["windows"], strict=True)):
        yield from (f"window {i}: other {name}" for name in _other(window, golden))
    outputs = [_arrays(golden["outputs"]) for golden in line["windows"]]
    tolerance = model.settings["tolerance"]
    yield from _off([model.run(window) for window in windows], outputs, tolerance)
    for window, golden in zip(windows, line["windows"], strict=True):
        if "padded" in golden:
            padded = model.run(window, golden["padded"]["length"])
            yield from (f"padded: {what}" for what in _off([padded], [_arrays(golden["padded"]["outputs"])], tolerance))
    answer = json.loads(json.dumps(model.decode(row, windows, outputs)))
    if not _alike(answer, line["answer"]):
        yield f"the golden outputs give the answer {answer}, not {line['answer']}"


def _other(window: Window, golden: Mapping[str, Any]) -> Iterator[str]:
    own = {"input_ids": window.ids, "type_ids": window.types, "words": window.words}
    own["spans"] = [list(span) for span in window.spans]  # type: ignore[misc]
    yield from (name for name, values in own.items() if list(values) != golden[name])


def _arrays(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in outputs.items()}


def _off(ours: Sequence[Outputs], golden: Sequence[Outputs], allowed: Mapping[str, float]) -> Iterator[str]:
    for name in golden[0] if golden else ():
        largest = max(float(np.abs(item[name]).max()) for item in golden)
        limit = max(allowed["absolute"], allowed["relative"] * largest)
        for i, (mine, theirs) in enumerate(zip(ours, golden, strict=True)):
            if mine[name].shape != theirs[name].shape:
                yield f"window {i}: {name} are {mine[name].shape}, {theirs[name].shape} there"
                continue
            worst = float(np.abs(mine[name] - theirs[name]).max())
            if not worst <= limit:  # written so that NaN fails
                yield f"window {i}: {name} differ by up to {worst:.3g}, allowed is {limit:.3g}"


def _alike(a: Any, b: Any, tolerance: float = NUMBER) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key], SCORE if key == "score" else NUMBER) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_alike(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        return isinstance(a, (int, float)) and isinstance(b, (int, float)) and abs(a - b) <= tolerance
    return bool(a == b)
