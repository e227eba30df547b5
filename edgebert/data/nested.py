"""JSON files of more than rows: splits by name (clinc150's), and articles with paragraphs and questions (SQuAD's)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgebert.errors import DataError
from edgebert.types import Record


def is_squad(value: object) -> bool:
    articles = value.get("data") if isinstance(value, Mapping) else None
    return (
        isinstance(articles, list)
        and bool(articles)
        and isinstance(articles[0], Mapping)
        and "paragraphs" in articles[0]
    )


def is_splits(value: object) -> bool:
    """An object of lists, of which each holds rows: objects, or lists of cells."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(rows, list) and rows and isinstance(rows[0], list | Mapping) for rows in value.values())


def squad_records(value: Mapping[str, object], place: str) -> list[Record]:
    """One record a question: question, context, answers, id, and the article's title as `group`.

    Raises DataError where an article, a paragraph or a question lacks a part.
    """
    return list(_questions(value, place))


def _questions(value: Mapping[str, Any], place: str) -> Iterator[Record]:
    for a, article in enumerate(value["data"], 1):
        where = f"{place}:article {a}"
        for p, paragraph in enumerate(_list(article, "paragraphs", where), 1):
            spot = f"{where}, paragraph {p}"
            for q, question in enumerate(_list(paragraph, "qas", spot), 1):
                if not isinstance(question, Mapping) or "question" not in question:
                    raise _broken(f"{spot}, question {q}", "question")
                columns = {
                    "question": question["question"],
                    "context": paragraph.get("context"),
                    "answers": question.get("answers", []),
                    "id": question.get("id"),
                    "group": str(article.get("title", a)),
                }
                yield Record(columns, f"{spot}, question {question.get('id', q)}")


def _list(node: object, name: str, where: str) -> list[Any]:
    result = node.get(name) if isinstance(node, Mapping) else None
    if not isinstance(result, list):
        raise _broken(where, name)
    return result


def _broken(where: str, name: str) -> DataError:
    hint = 'SQuAD\'s form: {"data": [{"title", "paragraphs": [{"context", "qas": [{"question", "answers"}]}]}]}'
    return DataError(f"'{name}' is missing here, or is of another kind", where=where, hint=hint)


def row_records(rows: Sequence[object], place: str) -> list[Record]:
    """One record a row: an object as it is, a list of cells as column1, column2 and so on."""
    records: list[Record] = []
    for i, row in enumerate(rows, 1):
        where = f"{place}:item {i}"
        if isinstance(row, list):
            row = {f"column{k}": cell for k, cell in enumerate(row, 1)}
        if not isinstance(row, Mapping) or len(row) != len(records[0].columns if records else row):
            raise DataError(
                "this row has other columns than the first", where=where, hint="Every row has the same columns."
            )
        records.append(Record(dict(row), where))
    return records
