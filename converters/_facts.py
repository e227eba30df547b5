"""What a file says of itself, in formats that keep one text for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgebert.errors import EdgebertError
from edgebert.runtime.session import AGAIN, Source, check_inputs, check_labels, stated_count, stated_texts

FACTS = "edgebert"  # under what name a file keeps it


@dataclass(frozen=True)
class Facts:
    """Attributes:
    inputs: names, in the order in which the file takes them.
    outputs: name -> whether it has one entry a token; {} where the file names none.
    more: all that the file states, these included; nothing else of it was checked.
    """

    labels: tuple[str, ...]
    inputs: list[str]
    outputs: Mapping[str, bool]
    precision: str
    pad_id: int
    more: Mapping[str, Any]


def facts_of(source: Source, precision: str, **more: object) -> str:
    """The text for a file of this source."""
    values = {
        "labels": list(source.labels),
        "family": source.family,
        "precision": precision,
        "pad_id": source.pad_id,
        "inputs": list(source.inputs),
        "outputs": {spec.name: spec.per_token for spec in source.output_specs},
        "producer": "edgebert",
        **more,
    }
    return json.dumps(values, ensure_ascii=False)


def read_facts(text: object, where: str) -> Facts:
    """Raises EdgebertError where the text is none of ours, or states what cannot be."""
    try:
        stated = json.loads(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        stated = None
    if not isinstance(stated, dict):
        raise EdgebertError("the file does not say what it is", where=where, hint=AGAIN)
    labels = check_labels(stated_texts(stated.get("labels"), "labels", where), where)
    inputs = stated_texts(stated.get("inputs"), "inputs", where)
    check_inputs(inputs, where)
    outputs = stated.get("outputs")
    return Facts(
        labels,
        inputs,
        {name: bool(value) for name, value in outputs.items()} if isinstance(outputs, dict) else {},
        str(stated.get("precision")),
        stated_count(stated.get("pad_id"), "pad_id", where),
        stated,
    )
