"""How README and sample of a package call its model: what platforms whose calls are alike share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

Uses = Mapping[
    str, tuple[str, str, str]
]  # kind of task -> a call, how a sample shows what it gives, and what a README says


class Use(NamedTuple):
    """The call of one model.

    Attributes:
        use: as a README has it: `classify(text)`.
        call: the same with the sample's own variables, `first` and `second`.
        shown, result: see `Uses`.
        hints: what a sample asks for in its fields.
        reads_two: it takes two texts.
    """

    use: str
    call: str
    shown: str
    result: str
    hints: tuple[str, str]
    reads_two: bool


_HINTS = {"pair": ("first", "second"), "similarity": ("first", "second"), "qa": ("question", "context")}


def use_of(task: Mapping[str, Any], uses: Uses) -> Use:
    """Of the `task` of edgebert.json."""
    kind, two = task["kind"], len(task["inputs"]) > 1
    use, shown, result = uses[kind]
    if kind == "multi":
        use = "answers(text, second)" if two else use
        heads = ", ".join(f"`{uses[head['kind']][0]}` asks `{head['name']}` alone" for head in task["heads"])
        result = result.format(heads=heads)
    call = re.sub(r"\(.*\)", "(first, second)" if two else "(first)", use)
    return Use(use, call, shown, result, _HINTS.get(kind, ("text", "second")), two)
