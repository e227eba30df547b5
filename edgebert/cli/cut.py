"""edgebert cut"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import json_option, print_json, print_table, split_names

if TYPE_CHECKING:
    from edgebert.results import CutResult

SHARE = click.FloatRange(min=0, max=1, min_open=True)
POSITIVE = click.FloatRange(min=0, min_open=True)


class Numbers(click.ParamType):
    """Numbers joined by comma."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"'{value}' is not numbers joined by comma", param, ctx)


@click.command(
    "cut",
    short_help="Cut a smaller network out of one that dynabert trained.",
    epilog="""\b
Examples:
  edgebert compress ./my-ner --recipe dynabert --task ner --data ./my-rows -o supernet
  edgebert cut supernet --device pixel6
  edgebert cut supernet --device rpi4 --max-latency-ms 8 -o small
  edgebert cut supernet --width 0.5 --depth 0.67 -o half
  edgebert cut supernet --layers 1,3,5 --widths 1,0.5,0.25 -o uneven

Nothing is trained: the smaller network computes with a part of the weights. Without a shape the one with the best
development score is taken of those that dynabert scored and that are predicted to be within the limits. Exit code 1: none is.""",
)
@click.argument("model", metavar="SUPERNET")
@click.option("--device", help="Whose limits hold, and for which times are predicted.  [default: this machine]")
@click.option("--max-latency-ms", type=POSITIVE, help="Largest predicted time of a pass.  [default: the device's]")
@click.option(
    "--max-size-mb", type=POSITIVE, help="Largest size of the file, 1 MB = 10^6 bytes.  [default: the device's]"
)
@click.option("--width", type=SHARE, help="Share of each layer's heads and neurons to keep.")
@click.option("--depth", type=SHARE, help="Share of the layers to keep.")
@click.option("--layers", type=Numbers(int), default=(), help="Numbers of the layers to keep, from 0, by comma.")
@click.option("--widths", type=Numbers(float), default=(), help="A share for each layer that stays, by comma.")
@click.option(
    "--format", "formats", multiple=True, help="The file's format, for the prediction.  [default: the device's]"
)
@click.option("--precision", default="int8", show_default=True, help="The file's precision, for the prediction.")
@click.option(
    "--length", type=click.IntRange(min=1),
    help="Tokens of the pass whose time is predicted.  [default: the 95th percentile of the rows that it was trained on]",
)  # fmt: skip
@click.option("--output", "-o", help="The folder to write the smaller checkpoint to.  [default: SUPERNET-cut]")
@click.option("--force", is_flag=True, help="Replace a checkpoint that is in the output folder.")
@json_option
def command(model: str, formats: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Writes a smaller network out of the checkpoint SUPERNET, which `--recipe dynabert` left, without training."""
    from edgebert.api import cut

    result = cut(model, formats=split_names(formats), **options)
    if as_json:
        print_json(result)
    else:
        _print(result)
    return 0


def _print(result: CutResult) -> None:
    latency = result.chosen.latency
    print_table(
        ("", "parameters", f"{result.precision} MB", "ms", f"{result.metric}, dev", ""),
        [
            (
                item.name,
                f"{item.n_parameters:,}",
                f"{item.size_bytes / 1e6:.2f}",
                f"{item.latency.p50_ms:.2f}",
                "not scored" if item.dev is None else f"{100 * item.dev:.2f}",
                "taken" if item is result.chosen else "; ".join(item.misses),
            )
            for item in result.candidates
        ],
    )
    click.echo(f"scores: in torch, float32, {result.n} rows; sizes predicted")
    click.echo(
        f"times: predicted for {latency.device}, {latency.runtime}, {latency.seq_len} tokens, {latency.threads} threads"
    )
    click.echo(f"written to {result.folder}")
    click.echo(f"next: edgebert convert {result.folder} --format onnx,tflite,coreml")
