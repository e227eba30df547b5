"""Golden vectors: texts with all that lies between them and their answer, to hold any platform against.

One line of golden.jsonl a text:
    class                  `data`, or what the text is there for: a name of `edge_texts`
    texts                  what is asked: one text, or two
    settings               what the answer depends on: task, task_options, max_length, pad_id
    words, offsets         where the task tags words: the words of the first text and their (start, end) characters
    windows                of each: input_ids, type_ids, words (of each token: the word whose first token it is and
                           which this window answers for, or -1; [] where no words are tagged), spans (of each token
                           of a context: its (start, end) characters, else (-1, -1); [] where no context is read),
                           outputs by name, rounded to 6 decimals
    windows[0].padded      in every fourth line, where there is room: length, and the outputs of the same window padded
                           to it (ids with pad_id, mask and types with 0), cut back to the window's own tokens
    answer                 from those rounded outputs, so it follows from the file alone
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.bundle.edge_texts import FIRST, OLD_TEXTS, texts_for, too_long
from edgebert.bundle.strict_json import parse, read_text
from edgebert.errors import DataError
from edgebert.runtime.specs import INPUT_IDS
from edgebert.types import Feature, Outputs, Row

if TYPE_CHECKING:
    import numpy as np

    from edgebert.bundle.engine import Engine

DECIMALS = 6
DATA = "data"  # the class of texts that come from the model's own data
MOST_BYTES = 1 << 28
Texts = tuple[str, ...]  # one text, or two


# ---------------------------------------------------------------- which texts


def edge_cases(engine: Engine) -> dict[Texts, str]:
    """Every text, or pair, that the golden vectors of this tokenizer and task hold beside the data's, with its class.

    A task of two texts reads each text second, after a short one, and pairs of which the first or both are too long.
    One that reads its two texts alone gets two of them at once, which keeps the file small.
    """
    named = texts_for(engine.tokenizer, engine.max_length)
    texts = list(named.items())
    if len(engine.task.inputs) == 1:
        results: dict[Texts, str] = {(text,): name for name, text in texts}
    elif engine.task.paired:
        halves = zip(texts[::2], [*texts[1::2], texts[0]], strict=False)
        results = {(item, other): f"{name}; {more}" for (name, item), (more, other) in halves}
    else:
        long = texts[-1][1]
        results = {(long, FIRST): "a long first text", (long, f"{long} {FIRST}"): "two long texts"}
        results |= {(FIRST, text): name for name, text in texts}
    windows = engine.windows([engine.task.read_texts(*texts) for texts in results])
    # A tokenizer that frames no text gives no token at all for some, and a model cannot run on that.
    runs = [all(window.input_ids for window in of_text) for of_text in windows]
    return {texts: name for (texts, name), one_runs in zip(results.items(), runs, strict=True) if one_runs}


def golden_texts(rows: Iterable[Row], engine: Engine) -> dict[Texts, str]:
    """The rows as read from their text, as an application would, then the edge cases, each with its class; blank and
    repeated ones once."""
    firsts = [(row.text if row.text is not None else " ".join(row.words), row.second) for row in rows]
    if len(engine.task.inputs) == 2:
        firsts = [(first, second if second is not None else first) for first, second in firsts]
    own = [tuple(text for text in pair if text is not None) for pair in firsts]
    results = {texts: DATA for texts in own if all(text.strip() for text in texts)}
    return results | {texts: name for texts, name in edge_cases(engine).items() if texts not in results}


def edge_cases_of_schema_2(engine: Engine) -> set[Texts]:
    """What a bundle of schema 2 holds of them."""
    texts = [*OLD_TEXTS, too_long(engine.max_length)]
    return {(text,) if len(engine.task.inputs) == 1 else (FIRST, text) for text in texts}


def padded_length(number: int, n_tokens: int, max_length: int) -> int | None:
    """To how many tokens the first window of line `number` (from 0) is also run padded; None where it is not.

    By turns to the longest window and to one half as far, so that a file of several fixed lengths runs at more of them.
    """
    length = max_length if number % 8 == 0 else (n_tokens + max_length) // 2
    return length if number % 4 == 0 and length > n_tokens else None


# ---------------------------------------------------------------- the file


def write_golden(path: Path, engine: Engine, texts: dict[Texts, str]) -> None:
    """Runs the texts, given with their classes, and writes a line each."""
    rows = [engine.task.read_texts(*text) for text in texts]
    settings, windows = engine.settings(), engine.windows(rows)
    with path.open("w", encoding="utf-8") as stream:
        for number, (item, name) in enumerate(texts.items()):
            vectors = _vectors(engine, rows[number], windows[number], number)
            line = {"class": name, "texts": item, "settings": settings, **vectors}
            stream.write(json.dumps(line, ensure_ascii=True, separators=(",", ":"), allow_nan=False) + "\n")


def read_golden(path: Path) -> Iterator[dict[str, Any]]:
    """Each line, which has `texts`. Raises DataError with the line's place for one that is not as we write it."""
    for number, text in enumerate(read_text(path, MOST_BYTES).removesuffix("\n").split("\n"), 1):
        where = f"{path}:{number}"
        line = parse(text, where, finite=False)  # a number that is none is told where it is compared
        texts = line.get("texts") if isinstance(line, dict) else None
        if not isinstance(texts, list) or not texts or not all(isinstance(item, str) for item in texts):
            raise DataError("the line has no texts", where=where)
        yield line


def _vectors(engine: Engine, row: Row, features: Sequence[Feature], number: int) -> dict[str, object]:
    outputs = [_rounded(output) for output in engine.outputs(features)]
    windows = [_window(feature, output) for feature, output in zip(features, outputs, strict=True)]
    if features and (length := padded_length(number, len(features[0].input_ids), engine.max_length)):
        padded = _rounded(engine.padded_outputs(features[0], length))
        windows[0]["padded"] = {"length": length, "outputs": _lists(padded)}
    answer = engine.answers([row], features, outputs)[0]
    return {"words": row.words, "offsets": row.offsets, "windows": windows, "answer": answer}


def _window(feature: Feature, outputs: Outputs) -> dict[str, object]:
    return {
        INPUT_IDS: feature.input_ids,
        "type_ids": feature.type_ids,
        "words": feature.words,
        "spans": feature.spans,
        "outputs": _lists(outputs),
    }


def _rounded(outputs: Outputs) -> dict[str, np.ndarray]:
    return {name: array.astype("float64").round(DECIMALS) for name, array in outputs.items()}


def _lists(outputs: Outputs) -> dict[str, Sequence[object]]:
    return {name: array.tolist() for name, array in outputs.items()}
