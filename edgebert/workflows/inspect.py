"""What rows look like before anything is trained on them: counts, lengths, labels, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.data import catalogue, find_all, read_rows
from edgebert.data.columns import assign, is_bookkeeping
from edgebert.data.conll import LINES, TAG_LIKE
from edgebert.data.layout import TAG_NAMES, plain_name
from edgebert.data.lists import read_list
from edgebert.data.long import is_long
from edgebert.data.problems import problems
from edgebert.data.splits import overlap_notes, unseen_notes
from edgebert.data.text import check_encoding
from edgebert.data.words import find_words
from edgebert.errors import RequestError
from edgebert.runtime.quiet import quiet
from edgebert.tasks import find_task
from edgebert.types import Row, Split

if TYPE_CHECKING:
    from edgebert.data.parts import Part
    from edgebert.tasks import Task

SHARES = (50, 95)
EXAMPLES = 3  # rows that are shown
GUESSED = 100  # rows that the task is guessed from


@dataclass(frozen=True)
class SplitView:
    """One split: rows, words a row (the median, the 95th percentile, the most), and how often each label stands there."""

    n_rows: int
    words_p50: int
    words_p95: int
    words_max: int
    lengths: tuple[int, ...]  # words of each row
    labels: Mapping[str, int]  # the most frequent first


@dataclass(frozen=True)
class Example:
    """A row as it was understood; what it does not have is empty."""

    split: Split
    where: str
    text: str = ""  # words joined by spaces, where the row has words
    second: str = ""
    tagged: tuple[str, ...] = ()  # word/TAG of each word that has a tag other than O
    labels: tuple[str, ...] = ()
    score: float | None = None  # 0 to 1
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    task: str
    guessed: bool  # whether the task was guessed from the columns
    columns: tuple[str, ...]  # of the first file
    splits: Mapping[Split, SplitView]
    examples: tuple[Example, ...]  # of the first split: rows of different labels, where there are some
    notes: tuple[str, ...]  # what was guessed or repaired
    problems: tuple[str, ...]


def inspect(
    specs: Sequence[str],
    task: str | None = None,
    *,
    encoding: str = "utf-8",
    columns: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Inspection:
    """Reads rows as a fit would, without carving splits.

    Args:
        specs: as `edgebert.data.load` takes them.
        task: a name; None guesses from the columns.
        options: of the task, such as `multi_label`.

    Raises:
        DataError, RequestError: as `edgebert.data.load`.
    """
    if not specs:
        raise RequestError(
            "no data is named",
            where="PATH",
            hint="Name a file, a folder, or data that this command lists: edgebert data",
        )
    check_encoding(encoding)
    name = task or next((catalogue()[spec].task for spec in specs if spec in catalogue()), None)
    chosen = find_task(name or _guess(find_all(specs, None, encoding)[0].parts[0])).configured(options or {})
    result = find_all(specs, chosen, encoding)
    parts = [part for item in result for part in item.parts]
    message = [note for item in result for note in item.notes]
    if task is None and chosen.name == "classify" and not options and _have_several(parts, chosen, columns or {}):
        chosen = chosen.configured({"multi_label": True})
        message.append("rows have several labels, which fit reads with --set classify.multi_label=true")
    rows, notes = read_rows(parts, chosen, columns or {})
    whole: dict[Split, list[Row]] = {"train": [], "dev": [], "test": [], **rows}
    wrong = [*overlap_notes(whole), *(unseen_notes(whole) if rows.get("train") else ()), *problems(rows)]
    if chosen.name == "qa" and not any(row.answers for own in rows.values() for row in own):
        wrong.append(
            "no question has an answer, and nothing is learnt from such rows: --label-column names their column"
        )
    split, first = next(iter(rows.items()))
    return Inspection(
        chosen.name,
        task is None,
        tuple(dict.fromkeys(str(c) for record in parts[0].records for c in record.columns if c != LINES)),
        {split: _view(own) for split, own in rows.items()},
        tuple(_example(row, split) for row in _telling(first)),
        (*message, *notes),
        tuple(wrong),
    )


def _have_several(parts: Sequence[Part], task: Task, columns: Mapping[str, str]) -> bool:
    """Whether some row has a list of several labels."""
    for part in parts:
        for record in assign(part.records, task.columns, columns)[0]:
            label = record.columns.get("label")
            label = read_list(label, record.where) if isinstance(label, str) else label
            if isinstance(label, list | tuple) and len(label) > 1:
                return True
    return False


def _telling(rows: Sequence[Row]) -> list[Row]:
    """At most EXAMPLES rows: the first of each kind of labels, then others, in their order."""
    first = {(row.labels, frozenset(row.tags), bool(row.answers)): i for i, row in reversed(list(enumerate(rows)))}
    numbers = sorted(first.values())[:EXAMPLES]
    numbers += [i for i in range(min(len(rows), 2 * EXAMPLES)) if i not in numbers][: EXAMPLES - len(numbers)]
    return [rows[i] for i in sorted(numbers)]


def _example(row: Row, split: Split) -> Example:
    return Example(
        split,
        row.where,
        text=" ".join(row.words) if row.words else row.text or "",
        second=row.second or "",
        tagged=tuple(f"{word}/{tag}" for word, tag in zip(row.words, row.tags, strict=False) if tag != "O"),
        labels=row.labels,
        score=row.score,
        answers=tuple(answer for answer, _ in row.answers),
    )


def _guess(part: Part) -> str:
    """The task of the columns, by the first value that each holds."""
    columns: dict[str, object] = {}
    for record in part.records[:GUESSED]:
        columns |= {name: value for name, value in record.columns.items() if columns.get(name) is None}
    if is_long(part.records):
        return "ner" if _is_entities(part) else "tag"
    if _has_tags(part, columns):
        return "ner"
    for name in ("qa", "ner", "similarity", "pair", "classify"):
        roles = find_task(name).columns
        results = {role for role, usual in roles.items() if any(str(c).casefold() in (role, *usual) for c in columns)}
        if name == "ner" and {"text", "spans"} <= results and not _has_label(columns):
            return "ner"
        if name == "ner" and {"words", "spans"} <= results:
            return "ner"
        if name == "ner" and {"words", "tags"} <= results:
            return "ner" if _is_entities(part) else "tag"
        if name == "similarity" and not _has_score(part, columns, roles["score"]):
            continue
        if name == "qa" and any(isinstance(columns.get(answer), bool) for answer in roles["answers"]):
            continue  # yes or no of a question and a passage
        if results == roles.keys() or (name == "qa" and {"text", "second", "answers"} <= results):
            return name
    notes = {name: value for name, value in columns.items() if not is_bookkeeping(name)}
    texts = [value for value in notes.values() if isinstance(value, str) and " " in value.strip()]
    if len(notes) == 3 and len(texts) == 2 and any(_is_score(part, name) for name in notes):
        return "similarity"
    return "classify" if len(columns) > 1 else "embed"


def _has_tags(part: Part, columns: Mapping[str, object]) -> bool:
    """Whether a column under a name of tags has B-TYPE and O: as many in each row as its text has words."""
    texts = next((name for name in ("text", "sentence") if isinstance(columns.get(name), str)), None)
    for name in columns if texts else ():
        if plain_name(str(name)) not in TAG_NAMES:
            continue
        tags = [_items(record.columns.get(name)) for record in part.records[:GUESSED]]
        words = [_items(record.columns.get(texts or "")) for record in part.records[:GUESSED]]
        results = {str(tag) for own in tags for tag in own}
        begun = "O" in results and any(tag.startswith(("B-", "I-")) for tag in results)
        if begun and all(map(TAG_LIKE.fullmatch, results)) and list(map(len, tags)) == list(map(len, words)):
            return True
    return False


def _items(value: Any) -> list[Any]:
    return value.split() if isinstance(value, str) else value if isinstance(value, list) else []


def _is_score(part: Part, name: str) -> bool:
    """Whether a column is numbers, not all of them whole, as those of classes are."""
    values = [record.columns.get(name) for record in part.records[:GUESSED]]
    return all(map(_is_number, values)) and any(not float(value or 0).is_integer() for value in values)


def _is_entities(part: Part) -> bool:
    from edgebert.data.bio import are_entities
    from edgebert.data.tagged import read_rows

    return are_entities(tag for _, row in read_rows(part.records[:200])[0] for tag in row.tags)


def _has_label(columns: Mapping[str, object]) -> bool:
    """Whether a column is a label of the whole text, beside its spans."""
    usual = find_task("classify").columns["label"]
    labels = [value for c, value in columns.items() if str(c).casefold() in usual and isinstance(value, str | int)]
    return any(value != columns.get("entities") for value in labels)


def _has_score(part: Part, columns: Mapping[str, object], names: Sequence[str]) -> bool:
    """Whether a column is one of scores: numbers under a name of scores, or under that of labels, if not all whole."""
    for column, value in columns.items():
        name = str(column).casefold()
        if name == "label" and _is_score(part, column):
            return True
        if name != "label" and name in ("score", *names) and _is_number(value):
            return True
    return False


def _is_number(value: object) -> bool:
    from edgebert.data.columns import is_number

    return is_number(value)


def _view(rows: Sequence[Row]) -> SplitView:
    lengths = sorted(_n_words(row) for row in rows)
    counts = Counter(label for row in rows for label in (*row.tags, *row.labels))
    p50, p95 = (lengths[max(1, -(-share * len(lengths) // 100)) - 1] for share in SHARES)
    return SplitView(len(rows), p50, p95, lengths[-1], tuple(lengths), dict(counts.most_common()))


def _n_words(row: Row) -> int:
    return len(row.words) or sum(len(find_words(text)) for text in (row.text, row.second) if text)


def draw(inspection: Inspection, path: Path) -> None:
    """A picture of lengths and labels; the file's ending says its kind. Raises RequestError for one that cannot be."""
    with quiet():  # it tells of its caches
        from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for split, view in inspection.splits.items():
        left.hist(view.lengths, bins=30, histtype="step", label=f"{split} ({view.n_rows})")
    left.set(xlabel="words a row", ylabel="rows", yscale="log")
    left.legend(frameon=False)
    labels = next(iter(inspection.splits.values())).labels
    right.bar(range(len(labels)), list(labels.values()))
    right.set(xlabel=f"{len(labels)} labels, the most frequent first", ylabel="times in the first split")
    try:
        figure.savefig(path)
    except ValueError as error:
        raise RequestError(str(error), where="--picture", hint="End the name in .png or .svg.") from None
