"""How a comparison is told: sentences and cells that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgebert.report import format as fmt
from edgebert.report.comparison import SIGNIFICANT, Against, ComparedFile, Comparison, DifferingRow, Figure, Kind

State = Literal["right", "wrong", "missing", "plain"]
TITLES: Mapping[Kind, str] = {
    "lost": "right in the first, wrong in another",
    "won": "wrong in the first, right in another",
    "both wrong": "wrong in each, in another way",
    "further": "farther from the right rank",
    "nearer": "nearer to the right rank",
    "not scored": "answered differently, and not scored",
}
INTERVALS = "Intervals: 95 %, by a paired bootstrap over rows; they hold 0 where the test finds no difference."
LABELS = f"p is corrected by Holm's method for the number of labels that changed; up to {SIGNIFICANT:g} a change is no chance."


@dataclass(frozen=True)
class Cell:
    """A figure of a file, and what it is against the first file's; "" for that one itself."""

    value: str
    against: str = ""
    is_apart: bool = False  # the two cannot be compared; `against` says why


@dataclass(frozen=True)
class Item:
    """A part of an answer: an entity, a label, a text."""

    text: str
    state: State


def heading(file: ComparedFile) -> list[str]:
    """What stands over a file's figures: its title, and its name where that says more."""
    return [file.title, *([] if file.title.endswith(file.name) else [file.name])]


# ---------------------------------------------------------------- scores


def verdict(against: Against, first: ComparedFile) -> str:
    """The first thing that a person wants to know, in a sentence."""
    points = fmt.points(against.difference).lstrip("+−")
    way = "more" if against.difference > 0 else "fewer"
    if against.score is None:
        return f"{against.file} scores {points} points {way} than {first.title}; no test says whether that is chance"
    test = against.score
    if test.changed == 0:
        return f"{against.file} and {first.title} get the same rows right and wrong"
    basis = f"{test_text(against)}; {test.changed:,} of {test.n:,} rows changed"
    if test.p > SIGNIFICANT:
        return f"{against.file} and {first.title} cannot be told apart on these rows: {fmt.points(test.difference)} points ({basis})"
    better = "better" if test.difference > 0 else "worse"
    return f"{against.file} is {better} than {first.title}: {points} points {way} ({basis})"


def test_text(against: Against) -> str:
    """The interval in points, what p is and where it comes from."""
    test = against.score
    assert test is not None, "asked for where there is a test"
    return f"95 % interval {interval(test.low, test.high)}; {test.test}, {p_text(test.p)}"


def interval(low: float, high: float) -> str:
    """-0.026, -0.008 -> '−2.60 to −0.80'."""
    return f"{fmt.points(low)} to {fmt.points(high)}"


def p_text(p: float, name: str = "p = ") -> str:
    """0.0312 -> 'p = 0.031'; what is less than 0.001 is told as such. In a table, `name` is ""."""
    return f"{name.rstrip('= ')} < 0.001".strip() if p < 0.001 else f"{name}{p:.2g}" if p < 0.995 else f"{name}1"


def counts_text(against: Against) -> str:
    """'31 lost, 12 won, 9 both wrong'."""
    return ", ".join(f"{n:,} {kind}" for kind in TITLES if (n := against.n_by_kind.get(kind, 0)))


# ---------------------------------------------------------------- figures


def figure_rows(comparison: Comparison) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """The score and every figure: its name, and a cell of each file."""
    score = comparison.files[0].score
    cells = [Cell(f"{fmt.percent(score.value, 2)} %")]
    for file, against in zip(comparison.files[1:], comparison.against, strict=True):
        test = against.score
        more = f"\n{interval(test.low, test.high)}\n{p_text(test.p)}" if test else ""
        cells.append(Cell(f"{fmt.percent(file.score.value, 2)} %", f"{fmt.points(against.difference)} points{more}"))
    yield f"{score.metric}\n{score.split}, n = {fmt.count(score.n)}", tuple(cells)
    for figure in comparison.figures:
        yield (
            figure.name,
            tuple(
                Cell(value_text(value, figure.unit), ratio_text(figure, at), bool(figure.apart[at]))
                for at, value in enumerate(figure.values)
            ),
        )


def basis(comparison: Comparison) -> str:
    """How the figures were obtained."""
    latencies = [item for file in comparison.files for item in file.latencies]
    kinds = dict.fromkeys((item.how, item.statistic) for item in latencies)
    times = "; ".join(f"{how}: {statistic}" for how, statistic in kinds)
    spread = "; ±: as far as the two measurements spread" if any(any(x.noise) for x in comparison.figures) else ""
    return INTERVALS + (f" Latency: p50, batch 1 ({times}){spread}." if times else "")


def value_text(value: float | None, unit: str) -> str:
    if value is None:
        return fmt.NONE
    return fmt.megabytes(int(value)) if unit == "bytes" else f"{fmt.milliseconds(value)} ms"


def ratio_text(figure: Figure, at: int) -> str:
    """What stands beside a file's figure: its ratio to the first file's, or why there is none."""
    ratio, noise = figure.ratios[at], figure.noise[at]
    if figure.apart[at]:
        return f"not comparable ({figure.apart[at]})"
    if ratio is None:
        return ""
    return f"{ratio:.2f}×" + (f" ± {ratio * noise:.2f}" if noise is not None else "")


# ---------------------------------------------------------------- rows


def items(row: DifferingRow, at: int) -> tuple[Item, ...]:
    """An answer in parts: right ones, wrong ones, and right ones that are missing. What all files say and is right stands
    in `n_alike` alone."""
    alike, right = _alike(row), {_key(part) for part in _parts(row.gold)}
    own = _parts(row.answers[at])
    if row.shares[at] is None or not _is_comparable(row):
        return tuple(Item(_shown(part), "plain") for part in own)
    given: list[Item] = [
        Item(_shown(part), "right" if _key(part) in right else "wrong") for part in own if _key(part) not in alike
    ]
    if _wants_all(row.gold, row.answers[at]):
        found = {_key(part) for part in own}
        given += [Item(_shown(part), "missing") for part in _parts(row.gold) if _key(part) not in found]
    return tuple(given) or (Item("nothing more" if alike else "nothing", "plain"),)


def gold_items(row: DifferingRow) -> tuple[Item, ...]:
    """The right answer, without what all files got right."""
    alike = _alike(row)
    left = [Item(_shown(part), "plain") for part in _parts(row.gold) if _key(part) not in alike]
    return tuple(left) or (Item("nothing more" if alike else "nothing", "plain"),)


def n_alike(row: DifferingRow) -> int:
    """Parts that are right in every file, and so are not shown."""
    return len(_alike(row))


def share_text(share: float | None) -> str:
    """How right an answer is, where it is neither right nor wrong."""
    return "" if share is None or share in (0.0, 1.0) else fmt.percent(share, 0) + " %"


def _alike(row: DifferingRow) -> set[str]:
    if not _is_comparable(row):
        return set()
    sides = [{_key(part) for part in _parts(answer)} for answer in (row.gold, *row.answers)]
    return set.intersection(*sides)


def _is_comparable(row: DifferingRow) -> bool:
    """Whether the answers are of the kind that the right one is, so that their parts can be held against it."""
    return row.gold is not None and not isinstance(row.gold, (int, float)) and None not in row.answers


def _wants_all(gold: Any, answer: Any) -> bool:
    """Whether all parts of the right answer must be there: of the texts that answer a question any one is right, and of one
    label nobody needs to be told that it is missing where another stands."""
    return isinstance(answer, list) and not (len(gold) == 1 and answer and isinstance(gold[0], str))


def _parts(answer: Any) -> Sequence[Any]:
    if answer is None:
        return ()
    return answer if isinstance(answer, list) else (answer,)


def _key(part: Any) -> str:
    """What makes two parts the same: a label, a text, or an entity with its place; not how certain it is."""
    if isinstance(part, dict):
        if "label" in part:
            return str(part["label"])
        return repr(sorted((name, value) for name, value in part.items() if name != "score"))
    return str(part)


def _shown(part: Any) -> str:
    if not isinstance(part, dict):
        return f"{part:.4g}" if isinstance(part, float) else str(part) or "(no answer)"
    if "label" in part:
        label = "out of scope" if part["label"] is None else str(part["label"])
        return f"{label} {fmt.percent(part['score'], 0)} %" if "score" in part else label
    kind = part.get("type", part.get("tag"))
    if kind is not None:
        return f"{part.get('text')} [{kind}]"
    return ", ".join(f"{name} {_shown(value)}" for name, value in part.items())
