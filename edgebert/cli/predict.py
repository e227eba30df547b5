"""edgebert predict"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click


@click.command(
    "predict",
    short_help="Answers of a packaged model.",
    epilog="""\b
Examples:
  edgebert predict runs/ner-atis-pixel6 "show me flights from boston to denver on monday"
  cat lines.txt | edgebert predict runs/ner-atis-pixel6 - --json""",
)
@click.argument("path", metavar="RUN")
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a text and line.")
def command(path: str, texts: tuple[str, ...], as_json: bool) -> None:
    """Runs the packaged model of RUN (a run or bundle folder) on TEXT; - reads a text a line from standard input."""
    from edgebert.api import load

    predictor = load(path)
    for text in _texts(texts):
        answers = predictor.predict([text])[0]
        if as_json:
            click.echo(json.dumps({"text": text, "entities": answers}, ensure_ascii=False))
        else:
            _print(answers)


def _texts(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if text == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin)
        else:
            yield text


def _print(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        click.echo(f"{answer['start']:>5}-{answer['end']:<5} {answer['type']:<30} {answer['text']}")
    if not answers:
        click.echo("      nothing found")
