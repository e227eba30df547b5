"""OntoNotes as the shared tasks CoNLL-2011 and 2012 have it: a word a line, entities as brackets, `(GPE*` to `*)`.

Pradhan et al. (2012), "CoNLL-2012 Shared Task: Modeling Multilingual Unrestricted Coreference in OntoNotes".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgebert.errors import DataError

WORD, ENTITY = 3, 10  # columns; those of the predicates behind them differ from sentence to sentence
_LEAST = 12
_BRACKET = re.compile(r"(?P<begin>(?:\([A-Z_]+)*)\*?(?P<end>\)*)")
Words = list[tuple[int, str, str]]  # (line, word, tag)


def is_ontonotes(text: Sequence[str]) -> bool:
    """Whether the first lines of words have its columns."""
    rows = [line.split() for line in text[:200] if line.strip() and not line.startswith("#")]
    fitting = [cells for cells in rows if len(cells) >= _LEAST and cells[2].isdecimal() and _is_entity(cells[ENTITY])]
    return bool(rows) and len(fitting) == len(rows)


def _is_entity(cell: str) -> bool:
    match = _BRACKET.fullmatch(cell)
    return match is not None and cell != ""


def read_sentences(text: Sequence[str], place: str) -> list[Words]:
    """The words of each sentence with BIO tags; of nested entities the outer one.

    Raises DataError with file:line for a line without these columns.
    """
    sentences: list[Words] = [[]]
    open_kinds: list[str] = []
    for number, line in enumerate(text, 1):
        if not line.strip() or line.startswith("#"):
            sentences.append([])
            open_kinds = []
            continue
        cells = line.split()
        match = _BRACKET.fullmatch(cells[ENTITY]) if len(cells) >= _LEAST else None
        if match is None:
            hint = "A line has at least 12 columns, the 11th with brackets of entities: (GPE*, *, *) or (GPE)."
            raise DataError("not a line of CoNLL-2012", where=f"{place}:{number}", hint=hint)
        begins = not open_kinds
        open_kinds += [kind for kind in match["begin"].split("(") if kind]
        kind = open_kinds[0] if open_kinds else ""
        sentences[-1].append((number, cells[WORD], f"{'B' if begins else 'I'}-{kind}" if kind else "O"))
        open_kinds = open_kinds[: max(0, len(open_kinds) - len(match["end"]))]
    return [sentence for sentence in sentences if sentence]
