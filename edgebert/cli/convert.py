"""edgebert convert"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from edgebert.cli._show import column_options, json_option, print_json, print_table, read_columns, split_names
from edgebert.devices.accelerators import rule_of
from edgebert.types import Shape

if TYPE_CHECKING:
    from edgebert.results import Conversion, ConvertResult


@click.command(
    "convert",
    short_help="Convert a checkpoint to ONNX, TFLite or Core ML, and prove each file.",
    epilog="""\b
Examples:
  edgebert convert ./my-model --format onnx,tflite,coreml --precision fp32,fp16,int8
  edgebert convert ./my-model --format tflite --length 64 --length 128 --texts lines.txt --precision int8-static
  edgebert convert ./my-ner --format onnx --task ner --data ./my-rows
  edgebert convert ./my-model --format tflite --runtime tflite-runtime --precision int8-weights

Every file is run and compared with the model in torch, on real rows and on edge rows (padding, one token, full length,
unknown words). A file that differs is put under rejected/ with the reason, and the exit code is 1. float32 is always
converted first, because the other precisions are made from it.

Files are put into the output all together at the end. With --force those of an earlier conversion go: files of another
model in every format, of the same model what is made anew. Where a new file is rejected nothing is replaced, and only the
rejected one is put under rejected/. Files that edgebert convert did not write stay.""",
)
@click.argument("model", metavar="MODEL")
@click.option(
    "--format",
    "formats",
    multiple=True,
    required=True,
    help="File formats, such as onnx, tflite, coreml, coreai, openvino or executorch; separated by commas, or give the option again.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="Precisions, separated by commas, or give the option again.  [default: fp32,int8]",
)
@click.option("--output", "-o", help="The folder to write to.  [default: MODEL-edge]")
@click.option(
    "--head", help="The task head, where config.json does not tell: sentence-embedding for an encoder without a head."
)
@click.option(
    "--length",
    "lengths",
    type=int,
    multiple=True,
    help="A number of tokens that a file with fixed lengths accepts; may be repeated.  [default: 32, 64 and 128]",
)
@click.option(
    "--shape",
    type=click.Choice(get_args(Shape)),
    help="How a Core ML or Core AI file takes its lengths; functions is a fixed program for each, which share the weights.  "
    "[default: enumerated]",
)
@click.option("--texts", help="A file with one text a line, to calibrate and to compare on.")
@click.option("--task", help="How --data is read: a name that `edgebert tasks` lists.")
@click.option(
    "--data", multiple=True, help="Labelled rows to calibrate, to compare and to score on; as in `edgebert fit`."
)
@column_options
@click.option(
    "--rows", type=click.IntRange(min=1), default=200, show_default=True, help="The most real rows to compare on."
)
@click.option("--runtime", help="An older runtime that must run the files, such as tflite-runtime.")
@click.option(
    "--tokenizer-inside", is_flag=True, help="Also write a file that contains the tokenizer and reads text (ONNX only)."
)
@click.option("--force", is_flag=True, help="Replace the files of an earlier conversion, all or none.")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of text files.")
@click.option(
    "--allow-pickle", is_flag=True, help="Read pickled weights, which can run code: only for authors that you trust."
)
@click.option("--quiet", is_flag=True, help="Print no progress.")
@json_option
def command(formats: tuple[str, ...], precisions: tuple[str, ...], quiet: bool, as_json: bool, **options: Any) -> int:
    """Converts the checkpoint MODEL (a folder or hub id) and proves that each file still computes the same."""
    from edgebert.api import convert
    from edgebert.cli._progress import Progress

    with Progress(quiet, after="nothing was written or replaced") as progress:
        result = convert(
            formats=split_names(formats),
            precisions=split_names(precisions) or ("fp32", "int8"),
            on_event=progress,
            columns=read_columns(options),
            **options,
        )
    if as_json:
        print_json(result)
    else:
        _print(result)
    return result.exit_code


def _print(result: ConvertResult) -> None:
    created = [conversion for conversion in result.conversions if conversion.artifact is not None]
    print_table(
        ("file", "MB", "zip MB", "of fp32", "worst diff.", "nrmse", "equal", "score", "s", "variant", ""),
        [_row(item) for item in created],
    )
    for item in created:
        if item.comparison is not None:
            for failure in item.comparison.failures:
                click.echo(f"rejected: {item.format} {item.precision}: {failure}")
        for finding, count in item.accelerator_fallbacks.items():
            click.echo(f"{item.format} {item.precision}: {count} x {finding}")
        if item.with_tokenizer is not None:
            path, size = item.with_tokenizer.path, item.with_tokenizer.size_bytes / 1e6
            click.echo(f"{item.format} {item.precision}: {path} reads text itself, {size:.2f} MB")
    found = dict.fromkeys(rule_of(name) for item in created for name in item.accelerator_fallbacks)
    for rule in (rule for rule in found if rule is not None):
        click.echo(f"accelerators: {rule.finding.format('an operator')}: {rule.why} ({rule.cited})")
    for conversion in result.conversions:
        if conversion.note:
            click.echo(f"{conversion.format} {conversion.precision}: not written. {conversion.note}")
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(f"compared on {result.n_rows} rows ({result.rows_from}) and on edge rows, with {_runtimes(created)}")
    click.echo(f"written to {result.folder}")


def _row(conversion: Conversion) -> tuple[str, ...]:
    compared = conversion.comparison
    assert conversion.artifact is not None and compared is not None
    score = getattr(compared, "score", None)
    return (
        f"{conversion.format} {conversion.precision}",
        f"{conversion.artifact.size_bytes / 1e6:.2f}",
        f"{(conversion.artifact.zip_bytes or 0) / 1e6:.2f}",
        f"{100 * conversion.size_share:.1f} %",
        f"{max([compared.max_logit_difference, *compared.edges.values()]):.2g}",
        f"{compared.nrmse:.4f}",
        f"{100 * compared.equal_predictions:.2f} %",
        f"{100 * score.value:.2f}" if score else "-",
        f"{conversion.seconds:.1f}",
        conversion.variant,
        "rejected" if compared.failures else "",
    )


def _runtimes(created: list[Conversion]) -> str:
    return ", ".join(dict.fromkeys(item.runtime for item in created))
