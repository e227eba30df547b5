"""Golden vectors: texts with all that lies between them and their answer, to hold any platform against.

One line of golden.jsonl a text:
    texts                  what is asked: one text, or two
    words, offsets         where the task tags words: the words of the first text and their (start, end) characters
    windows                of each: input_ids, type_ids, words (of each piece: the word whose first piece it is and
                           which this window answers for, or -1; [] where no words are tagged), outputs by name,
                           rounded to 6 decimals
    answer                 from those rounded outputs, so it follows from the file alone
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.types import Feature, Outputs, Row

if TYPE_CHECKING:
    import numpy as np

    from edgebert.bundle.engine import Engine
    from edgebert.tasks import Task

DECIMALS = 6
EDGE_TEXTS = (
    "Denver",
    "Zoë flew from São Paulo to Malmö, naïvely.",
    "show me flights ✈️ to boston 🙂",
    "我想从北京飞到上海",
)


def golden_rows(rows: Iterable[Row], task: Task, max_length: int) -> list[Row]:
    """The rows as read from their text, as an application would, then the edge cases; blank and repeated ones once."""
    too_long = " ".join(("denver", "to", "boston")[i % 3] for i in range(max_length + 1))
    firsts = [(row.text if row.text is not None else " ".join(row.words), row.second) for row in rows]
    edges: list[tuple[str, str | None]] = [(text, None) for text in (*EDGE_TEXTS, too_long)]
    if len(task.inputs) == 2:
        edges = [(EDGE_TEXTS[0], text) for text, _ in edges]
        firsts = [(first, second if second is not None else first) for first, second in firsts]
    texts = [tuple(text for text in pair if text is not None) for pair in (*firsts, *edges)]
    return [task.read_texts(*pair) for pair in dict.fromkeys(texts) if all(text.strip() for text in pair)]


def write_golden(path: Path, engine: Engine, rows: Sequence[Row]) -> None:
    """Runs the rows and writes a line each."""
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(_line(engine, row), ensure_ascii=True, separators=(",", ":")) + "\n")


def read_golden(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def _line(engine: Engine, row: Row) -> dict[str, Any]:
    features = engine.encode([row])
    outputs = [{name: _rounded(array) for name, array in one.items()} for one in engine.outputs(features)]
    return {
        "texts": texts_of(row),
        "words": row.words,
        "offsets": row.offsets,
        "windows": [_window(feature, one) for feature, one in zip(features, outputs, strict=True)],
        "answer": engine.answers([row], features, outputs)[0],
    }


def texts_of(row: Row) -> list[str]:
    """A row's one or two texts."""
    return [text for text in (row.text, row.second) if text is not None]


def _window(feature: Feature, outputs: Outputs) -> dict[str, Any]:
    return {
        "input_ids": feature.input_ids,
        "type_ids": feature.type_ids,
        "words": feature.words,
        "outputs": {name: array.tolist() for name, array in outputs.items()},
    }


def _rounded(logits: np.ndarray) -> np.ndarray:
    return logits.astype("float64").round(DECIMALS)
