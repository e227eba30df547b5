"""Which column of a table is the text, which the label: as the user says, by the usual names, else guessed and told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgebert.errors import unknown
from edgebert.types import Record

TEXTS = ("text", "second")
WORDY = frozenset({"words", "tags", "spans"})  # roles whose reader knows its own names
LABEL_ROLES = ("label", "score", "tags", "answers")  # what --label-column may name
SAMPLE = 1000  # rows that a guess is made from
DISTINCT = 10  # rows of which each has another value: what they have is no label
MOST_LISTED = 8  # names of columns in a note
BOOKKEEPING = frozenset(  # columns that say something of the row, and are never guessed to be its text or label
    [
        "id",
        "idx",
        "index",
        "guid",
        "uid",
        "uuid",
        *("split", "splits", "partition", "subset", "set", "fold", "semeval_set"),
        "source",
        "meta",
        "user",
        "annotator",
        "annotator_id",
        "annotation_id",
        "created_at",
        "updated_at",
        "lead_time",
        "row_id",
        "sentence_id",
        "sent_id",
        "document_id",
        "doc_id",
        "timestamp",
        "date",
        "url",
        "answer",
        "__index_level_0__",
        "level_0",
        "_input_hash",
        "_task_hash",
        "_session_id",
        "_view_id",
        "_annotator_id",
        "_timestamp",
        "options",
        "accept",
    ]
)
HEADER_NAMES = (
    frozenset(  # what tasks call their columns, by which a header is told from a row; a test holds them equal
        [
            "#1 string",
            "#2 string",
            "answer",
            "answer_text",
            "answers",
            "article",
            "category",
            "class",
            "comment",
            "comment_text",
            "content",
            "context",
            "document",
            "entailment_label",
            "entities",
            "first",
            "gold_label",
            "group",
            "hypo",
            "hypothesis",
            "intent",
            "is_duplicate",
            "label",
            "labels",
            "message",
            "ner",
            "ner_tags",
            "paragraph",
            "paraphrase",
            "passage",
            "pos",
            "pos_tags",
            "premise",
            "quality",
            "query",
            "question",
            "question1",
            "question2",
            "relatedness_score",
            "review",
            "score",
            "second",
            "sentence",
            "sentence1",
            "sentence2",
            "sentence_a",
            "sentence_b",
            "sentiment",
            "similarity",
            "similarity_score",
            "spans",
            "tags",
            "target",
            "text",
            "text1",
            "text2",
            "text_a",
            "text_b",
            "title",
            "tokens",
            "topic",
            "tweet",
            "upos",
            "utt",
            "utterance",
            "words",
        ]
    )
)
USUAL_NAMES = HEADER_NAMES | BOOKKEEPING
_ID = re.compile(r"(?:.*[_\- #.])?ids?\d*|[qpstu]id\d*|(?:user|tweet|doc|answer|worker|prompt|caption|pair)id")
_YES, _NO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false", "", "none"})


def assign(
    records: Sequence[Record], roles: Mapping[str, tuple[str, ...]], given: Mapping[str, str]
) -> tuple[list[Record], list[str]]:
    """Records whose columns are named by the roles that they play, and notes on what was guessed.

    Args:
        roles: role -> usual names of its column, matched without case.
        given: role -> column; `label` stands for the role among LABEL_ROLES that there is.

    Raises:
        RequestError: a given column that no record has.
    """
    notes: list[str] = []
    if not records:
        return [], notes
    columns = list(dict.fromkeys(column for record in records for column in record.columns))
    result = _given(columns, roles, given)
    for role, usual in roles.items():
        taken = set(result.values())
        names = {str(column).strip().casefold(): column for column in reversed(columns) if column not in taken}
        column = next((names[name] for name in (role, *usual) if name in names), None)
        if role not in result and column is not None:
            result[role] = column
    if not WORDY & roles.keys():
        notes += _guess(records[:SAMPLE], columns, roles, result)
        flags = _flags(records, columns, result) if "label" in roles and "label" not in result else []
        if flags:
            notes.append(f"label: the columns {', '.join(flags)}, where a row says 1 or true")
            result["label"] = "label"
            records = [_flagged(record, flags) for record in records]
        notes += _aside(records[:SAMPLE], columns, result, flags)
    renamed = {column: role for role, column in result.items()}
    if all(column == role for column, role in renamed.items()) and all(len(r.columns) == len(columns) for r in records):
        return list(records), notes
    return [replace(record, columns=_renamed(record.columns, renamed)) for record in records], notes


def is_bookkeeping(column: object) -> bool:
    """Whether a column says something of the row, as an id does, and is never guessed to be its text or label."""
    name = str(column).strip().casefold()
    return name in BOOKKEEPING or _ID.fullmatch(name) is not None


def _n_phrases(texts: Sequence[str]) -> int:
    """How many different texts there are of several words: labels are few, or of one word."""
    return len({text for text in texts if " " in text.strip()})


def _aside(
    records: Sequence[Record], columns: Sequence[str], results: Mapping[str, str], flags: Sequence[str]
) -> list[str]:
    """A note on the columns that hold something and play no part."""
    answers = [c for c in columns if c == "answer" and _n_phrases([str(r.columns.get(c)) for r in records]) > 1]
    free = [c for c in columns if c not in (*results.values(), *flags) and (not is_bookkeeping(c) or c in answers)]
    aside = [
        str(column)
        for column in free
        if any(record.columns.get(column) not in (None, "", []) for record in records)
        and not any(isinstance(record.columns.get(column), Mapping) for record in records)
    ]
    more = f" and {len(aside) - MOST_LISTED} more" if len(aside) > MOST_LISTED else ""
    return [f"columns that are not read: {', '.join(aside[:MOST_LISTED])}{more}"] if aside else []


def _given(columns: Sequence[str], roles: Mapping[str, tuple[str, ...]], given: Mapping[str, str]) -> dict[str, str]:
    results = {}
    for name, column in given.items():
        if column not in columns:
            raise unknown("column", column, map(str, columns), where=f"--{name}-column")
        role = name
        if name == "label":
            role = next((role for role in LABEL_ROLES if role in roles), name)
        if name == "text" and "words" in roles and "spans" not in columns and "entities" not in columns:
            role = "words"
        results[role] = column
    return results


def _guess(
    records: Sequence[Record], columns: Sequence[str], roles: Mapping[str, tuple[str, ...]], results: dict[str, str]
) -> list[str]:
    """Fills the roles that no name told, in place; the longest texts, then the column of fewest values."""
    notes = []
    values = {
        column: [value for record in records if (value := record.columns.get(column)) is not None] for column in columns
    }

    def take(role: str, column: str | None) -> None:
        if column is not None:
            results[role] = column
            notes.append(f"{role}: read from the column '{column}'")

    def free(kind: type | tuple[type, ...]) -> list[str]:
        left = [c for c in columns if c not in results.values() and not is_bookkeeping(c)]
        return [column for column in left if values[column] and all(isinstance(v, kind) for v in values[column])]

    if "score" in roles and "score" not in results:
        numbers = (column for column in free((str, int, float)) if all(map(is_number, values[column])))
        take("score", next(numbers, None))
    open_texts = [role for role in TEXTS if role in roles and role not in results]
    texts = [column for column in free(str) if not all(map(is_number, values[column]))]
    longest = sorted(texts, key=lambda column: (-_n_phrases(values[column]), -sum(map(len, values[column]))))
    for role, column in zip(open_texts, sorted(longest[: len(open_texts)], key=columns.index), strict=False):
        take(role, column)
    if "label" in roles and "label" not in results and len(_flags(records, columns, results)) < 2:
        kinds = {column: len({str(value) for value in values[column]}) for column in free((str, int, list))}
        kinds = {column: n for column, n in kinds.items() if n < max(len(values[column]), DISTINCT)}
        several = {column: n for column, n in kinds.items() if n > 1} or kinds
        take("label", min(several, key=lambda c: several[c], default=None))
    return notes


def _flags(records: Sequence[Record], columns: Sequence[str], results: Mapping[str, str]) -> list[str]:
    """Columns that say yes or no of a label, one a column; none unless there are several."""

    def says(column: str) -> bool:
        seen = {str(record.columns.get(column)).strip().casefold() for record in records}
        return bool(seen & (_YES | {"0", "0.0", "false"})) and seen <= _YES | _NO

    free = [c for c in columns if c not in results.values() and not is_bookkeeping(c)]
    flags = [column for column in free if says(column)]
    given = any(_is_yes(record.columns.get(column)) for record in records for column in flags)
    return flags if len(flags) > 1 and given else []


def _flagged(record: Record, flags: Sequence[str]) -> Record:
    """The record with the list of its labels as `label`, where the file has a column a label."""
    return replace(record, columns={**record.columns, "label": [c for c in flags if _is_yes(record.columns.get(c))]})


def _is_yes(value: object) -> bool:
    return str(value).strip().casefold() in _YES


def is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]  # what is none raises
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _renamed(columns: Mapping[str, object], renamed: Mapping[str, str]) -> dict[str, object]:
    """Columns that play no part keep their name, unless a role needs it; a row without one has None there."""
    roles = set(renamed.values())
    kept = {name: value for name, value in columns.items() if name not in renamed and name not in roles}
    return {**kept, **{role: columns.get(column) for column, role in renamed.items()}}
