"""What a file answered on every row of a split, kept beside its comparison, so that two runs can be compared row by row.

rows.jsonl              a row a line: its texts, its right answer, and where it stands in the user's files
answers/FILE.jsonl      what the file answered, a line each
outcomes/FILE.json      what each row adds to the file's score (`RowOutcomes`)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.files import digest, from_plain, plain
from edgebert.results import RowOutcomes

if TYPE_CHECKING:
    from edgebert.tasks import Task
    from edgebert.types import Row, Score

ROWS, ANSWERS, OUTCOMES = "rows.jsonl", "answers", "outcomes"
ALIKE = 1e-6  # between a score and the one that its rows' tallies give


def write_rows(folder: Path, task: Task, rows: Sequence[Row]) -> None:
    lines = ({"texts": texts_of(row), "gold": task.gold(row), "where": row.where} for row in rows)
    _write_lines(folder / ROWS, lines)


def write_answers(
    folder: Path, name: str, task: Task, rows: Sequence[Row], predictions: Sequence[Any], score: Score
) -> bool:
    """What a file answered, and what each row adds to its score: this only if it gives that score, which is returned."""
    for kind in (ANSWERS, OUTCOMES):
        (folder / kind).mkdir(exist_ok=True)
    answers = (task.shown(row, prediction) for row, prediction in zip(rows, predictions, strict=True))
    _write_lines(folder / ANSWERS / f"{name}.jsonl", answers)
    key = digest([(texts_of(row), plain(task.gold(row))) for row in rows], 64)
    outcomes = RowOutcomes(score.metric, score.split, key, len(rows), task.outcomes(rows, predictions))
    if not abs(score_of(outcomes) - score.value) <= ALIKE:
        return False
    text = json.dumps(plain(outcomes), ensure_ascii=False, separators=(",", ":"))
    (folder / OUTCOMES / f"{name}.json").write_text(text, encoding="utf-8", errors="backslashreplace")
    return True


def read_outcomes(folder: Path, name: str) -> RowOutcomes | None:
    """None where an older edgebert verified the file."""
    path = folder / OUTCOMES / f"{name}.json"
    return from_plain(RowOutcomes, json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def read_lines(path: Path) -> list[Any]:
    # Not splitlines: a text may hold U+2028 or U+0085, which JSON writes as they are.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def texts_of(row: Row) -> list[str]:
    first = " ".join(row.words) if row.text is None else row.text
    return [first] if row.second is None else [first, row.second]


def score_of(outcomes: RowOutcomes) -> float:
    """The score that the rows' tallies give, 0 to 1."""
    from edgebert.tasks._vectors import spearman

    values = []
    for part in outcomes.parts:
        a, b = part.whole
        values.append(spearman(a, b) if part.ranked else sum(a) / sum(b) if sum(b) else 0.0)
    return sum(values) / len(values) if values else 0.0


def _write_lines(path: Path, values: Iterable[object]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        for value in values:
            stream.write(json.dumps(value, ensure_ascii=False) + "\n")
