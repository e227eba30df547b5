"""edgebert predict"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click


@click.command(
    "predict",
    short_help="Answer texts with a packaged model.",
    epilog="""\b
Examples:
  edgebert predict runs/ner-atis-pixel6 "show me flights from boston to denver on monday"
  cat lines.txt | edgebert predict runs/ner-atis-pixel6 - --json
  edgebert predict runs/qa-mine-pixel6 "who wrote it" "The report was written by Ada."

A task that reads two texts takes them from two arguments; in a line of standard input they are separated by a tab.""",
)
@click.argument("path", metavar="RUN")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each text.")
def command(path: str, texts: tuple[str, ...], as_json: bool) -> None:
    """Runs the packaged model of RUN (a run or bundle folder) on TEXT; with - it reads one text a line from
    standard input."""
    from edgebert.api import load

    predictor = load(path)
    task = predictor.task
    for row in _rows(texts, len(task.inputs)):
        answer = predictor.predict([row])[0]
        if as_json:
            named = dict(zip(task.inputs, row, strict=True)) | {task.answer_name: answer}
            click.echo(json.dumps(named, ensure_ascii=False))
        else:
            _print(answer)


def _rows(texts: Sequence[str], n_inputs: int) -> Iterator[tuple[str, ...]]:
    """Rows of as many texts as the task reads: neighbours on the command line, tabs between them in a line of input."""
    given: list[str] = []
    for text in texts:
        if text == "-":
            for number, line in enumerate(sys.stdin, 1):
                parts = tuple(line.rstrip("\r\n").split("\t")) if n_inputs > 1 else (line.rstrip("\r\n"),)
                if len(parts) != n_inputs:
                    raise click.UsageError(f"standard input:{number}: {len(parts)} texts, {n_inputs} are needed")
                yield parts
        else:
            given.append(text)
            if len(given) == n_inputs:
                yield tuple(given)
                given = []
    if given:
        raise click.UsageError(f"the task reads {n_inputs} texts a row, and the last row has {len(given)}")


def _print(answer: Any, indent: str = "") -> None:
    """A line a found thing; one thing as `name: value`; several heads under their names."""
    if isinstance(answer, list):
        for item in answer:
            click.echo(indent + _line(item))
        if not answer:
            click.echo(f"{indent}      nothing found")
        return
    if not isinstance(answer, dict):
        click.echo(f"{indent}{_text(answer)}")
        return
    for name, value in answer.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            click.echo(f"{indent}{name}:")
            _print(value, indent + "  ")
        else:
            click.echo(f"{indent}{name}: {_text(value)}")


def _line(item: object) -> str:
    if not isinstance(item, dict):
        return str(item)
    rest = dict(item)
    place = f"{rest.pop('start')!s:>5}-{rest.pop('end')!s:<5} " if {"start", "end"} <= rest.keys() else ""
    kind = next((f"{rest.pop(name)!s:<30} " for name in ("type", "tag", "label") if name in rest), "")
    return f"{place}{kind}{' '.join(_text(value) for value in rest.values())}".rstrip()


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values, from {' '.join(_text(item) for item in value[:4])}; --json gives all"
    from edgebert.errors import visible

    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    return visible(text)  # it may be of a text that somebody else wrote
