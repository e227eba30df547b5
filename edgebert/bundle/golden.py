"""Golden vectors: texts with all that lies between them and their answer, to hold any platform against.

One line of golden.jsonl a text:
    text, words, offsets   the words and their (start, end) characters
    windows                of each: input_ids, type_ids, words (of each piece: the word whose first piece it is and
                           which this window answers for, or -1), logits (n_pieces, n_labels) rounded to 6 decimals
    answer                 from those rounded logits, so it follows from the file alone
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.types import Feature, Row

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
    texts = [row.text if row.text is not None else " ".join(row.words) for row in rows]
    unique = dict.fromkeys(text for text in [*texts, *EDGE_TEXTS, too_long] if text.strip())
    return [task.read_text(text) for text in unique]


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
    logits = [_rounded(one) for one in engine.logits(features)]
    return {
        "text": row.text,
        "words": row.words,
        "offsets": row.offsets,
        "windows": [_window(feature, one) for feature, one in zip(features, logits, strict=True)],
        "answer": engine.answers([row], features, logits)[0],
    }


def _window(feature: Feature, logits: np.ndarray) -> dict[str, Any]:
    return {
        "input_ids": feature.input_ids,
        "type_ids": feature.type_ids,
        "words": feature.words,
        "logits": logits.tolist(),
    }


def _rounded(logits: np.ndarray) -> np.ndarray:
    return logits.astype("float64").round(DECIMALS)
