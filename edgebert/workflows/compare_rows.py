"""Rows on which files answer differently, and what that means for the files after the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgebert.report.comparison import KINDS, DifferingRow, Kind
from edgebert.results import RowOutcomes
from edgebert.tasks._vectors import ranks

RIGHT = 1 - 1e-9  # share from which an answer is right


@dataclass(frozen=True)
class KeptRows:
    """What a run kept of its test rows: their lines, a file's answers, and what each row adds to the score."""

    lines: Sequence[Mapping[str, Any]]  # texts, gold, where
    answers: Sequence[Any]
    outcomes: RowOutcomes


@dataclass(frozen=True)
class _Scored:
    """How right every answer of a file is.

    Attributes:
        shares: 0 to 1; None where the row does not count or ranks are scored.
        displaced: where ranks are scored, how far the row's rank is from the right one, as a share of the rows.
        heads: of a model with several, the one that each row is for.
    """

    shares: list[float | None]
    displaced: list[float | None]
    heads: list[str]


def differing_rows(files: Sequence[KeptRows]) -> tuple[tuple[DifferingRow, ...], list[Counter[Kind]]]:
    """The rows, those that lost most first, and of each file after the first how many there are of each kind.

    Args:
        files: of equal rows.
    """
    scored = [_scored(item.outcomes) for item in files]
    found: list[tuple[int, float, int, DifferingRow]] = []
    counts: list[Counter[Kind]] = [Counter() for _ in files[1:]]
    for at, line in enumerate(files[0].lines):
        head = scored[0].heads[at]
        answers = tuple(_of_head(item.answers[at], head) for item in files)
        pairs = [_judged(scored[0], other, at, answers[0], answers[i]) for i, other in enumerate(scored[1:], 1)]
        kinds = [pair for pair in pairs if pair]
        for count, pair in zip(counts, pairs, strict=True):
            if pair:
                count[pair[0]] += 1
        if kinds:
            kind, loss = min(kinds, key=lambda pair: (KINDS.index(pair[0]), -pair[1]))
            texts, gold = tuple(line["texts"]), _of_head(line["gold"], head)
            shares = tuple(item.shares[at] for item in scored)
            row = DifferingRow(kind, at + 1, line["where"], texts, gold, answers, shares)
            found.append((KINDS.index(kind), -loss, at, row))
    return tuple(row for *_, row in sorted(found, key=lambda item: item[:3])), counts


def _judged(old: _Scored, new: _Scored, at: int, before: Any, after: Any) -> tuple[Kind, float] | None:
    """What a row means for the new file, and how much it lost there; None where both answer alike or are right."""
    was, now = old.displaced[at], new.displaced[at]
    if was is not None and now is not None:
        return None if was == now else ("further" if now > was else "nearer", now - was if now > was else was - now)
    share, other = old.shares[at], new.shares[at]
    differs = _identity(before) != _identity(after)
    if share is None or other is None:
        return ("not scored", 0.0) if differs else None
    if share == other and (not differs or share >= RIGHT):
        return None
    kind: Kind = "lost" if share >= RIGHT else "won" if other >= RIGHT else "both wrong"
    return kind, other - share if kind == "won" else share - other


def _scored(outcomes: RowOutcomes) -> _Scored:
    result = _Scored([None] * outcomes.n, [None] * outcomes.n, [""] * outcomes.n)
    for part in outcomes.parts:
        a, b = part.whole
        if part.ranked:
            own, right = ranks(a), ranks(b)
        for k, row in enumerate(part.rows):
            result.heads[row] = part.head
            if part.ranked:
                result.displaced[row] = abs(own[k] - right[k]) / len(part.rows)
            else:
                result.shares[row] = a[k] / b[k] if b[k] else 1.0  # nothing is there, and nothing was found
    return result


def _of_head(answer: Any, head: str) -> Any:
    """Of the answers or right answers of all heads, that of the head that the row is for."""
    return answer.get(head) if head and isinstance(answer, dict) else answer


def _identity(answer: Any) -> Any:
    """An answer without its certainty."""
    if isinstance(answer, dict):
        return {name: value for name, value in answer.items() if name != "score"}
    return [_identity(item) for item in answer] if isinstance(answer, list) else answer
