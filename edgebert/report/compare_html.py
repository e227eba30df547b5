"""The page of `edgebert compare -o`: one file, rendered by jinja2 with everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgebert.report import colours
from edgebert.report import compare_view as told
from edgebert.report import format as fmt
from edgebert.report.comparison import SIGNIFICANT, Against, Comparison
from edgebert.report.html import environment


@dataclass(frozen=True)
class Headline:
    """One file against the first, as the page begins."""

    word: str  # of the badge
    tone: str  # good, bad or even
    text: str
    counts: str


def render(comparison: Comparison) -> str:
    """The text of the page."""
    first = comparison.files[0]
    return (
        environment()
        .get_template("compare.html.jinja")
        .render(
            comparison=comparison,
            first=first,
            others=comparison.files[1:],
            headlines=[headline(item, first.title, told.verdict(item, first)) for item in comparison.against],
            figures=list(told.figure_rows(comparison)),
            basis=told.basis(comparison),
            labelled=[item for item in comparison.against if any(x.test.changed for x in item.labels)],
            kinds=kinds(comparison),
            told=told,
            fmt=fmt,
            colours=colours,
            significant=SIGNIFICANT,
        )
    )


def headline(against: Against, first: str, text: str) -> Headline:
    test = against.score
    if test is None:
        return Headline("not tested", "even", text, "")
    if test.p > SIGNIFICANT:
        return Headline(
            "no difference" if test.changed == 0 else "no sure difference", "even", text, told.counts_text(against)
        )
    better = test.difference > 0
    return Headline("better" if better else "worse", "good" if better else "bad", text, told.counts_text(against))


def kinds(comparison: Comparison) -> Sequence[tuple[str, str, int]]:
    """The kinds of rows that there are: name, what it means, and how many."""
    found = [(kind, title, sum(row.kind == kind for row in comparison.rows)) for kind, title in told.TITLES.items()]
    return [item for item in found if item[2]]
