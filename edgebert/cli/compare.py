"""edgebert compare"""

from __future__ import annotations

import click

from edgebert.cli._show import json_option, print_json, stdout_console


@click.command(
    "compare",
    short_help="Show what two runs differ in: rows, labels, score, size and latency.",
    epilog="""\b
Examples:
  edgebert compare runs/last runs/new
  edgebert compare runs/last runs/new -o compare.html
  edgebert compare runs/new runs/new:teacher/onnx-fp32 --rows 50
  edgebert compare runs/new:L3-v4096/onnx-int8 runs/new:L3-v4096/tflite-int8 --json

The exit code is 0 also where they differ: `edgebert gate` is what judges.""",
)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True)
@click.option(
    "--rows", type=click.IntRange(min=0), default=20, show_default=True, metavar="N",
    help="The most rows to show here; the page and --json have all.",
)  # fmt: skip
@click.option("-o", "--output", metavar="FILE", help="A file for the page: one HTML file that needs nothing else.")
@json_option
def command(runs: tuple[str, ...], rows: int, output: str | None, as_json: bool) -> None:
    """Holds the files of runs against that of the first: rows that one gets right and another wrong, the score and every
    label with a paired test over rows, size, latency, load time and memory, and what else the runs differ in.

    RUN is a run folder, whose packaged file is meant, or RUN:STUDENT/FILE for another file of it."""
    from edgebert.api import compare

    result = compare(runs, output=output)
    if as_json:
        print_json(result)
        return
    from edgebert.report.compare_terminal import print_comparison

    print_comparison(result, stdout_console(), rows)
    if output:
        click.echo(f"page: {output}")
