"""edgebert convert"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import column_options, json_option, print_json, print_table, read_columns, split_names

if TYPE_CHECKING:
    from edgebert.types import Conversion, ConvertResult


@click.command(
    "convert",
    short_help="A checkpoint into ONNX, TFLite or Core ML files, each proven.",
    epilog="""\b
Examples:
  edgebert convert ./my-model --format onnx,tflite,coreml --precision fp32,fp16,int8
  edgebert convert ./my-model --format tflite --length 64 --length 128 --texts lines.txt --precision int8-static
  edgebert convert ./my-ner --format onnx --task ner --data ./my-rows
  edgebert convert ./my-model --format tflite --runtime tflite-runtime --precision int8-weights

Every file is run and compared with the model in torch, on real rows and on edge rows; one that differs is put under
rejected/ with the reason, and the command ends with 1. fp32 is always made: the others are reduced from it.""",
)
@click.argument("model", metavar="MODEL")
@click.option("--format", "formats", multiple=True, required=True, help="By comma or repeated: onnx, tflite, coreml.")
@click.option("--precision", "precisions", multiple=True, help="By comma or repeated.  [default: fp32,int8]")
@click.option("--output", "-o", help="Folder of the files.  [default: MODEL-edge]")
@click.option("--head", help="Instead of what config.json says, such as sentence-embedding for a bare encoder.")
@click.option(
    "--length", "lengths", type=int, multiple=True, help="Of files that fix it; repeated.  [default: 32 64 128]"
)
@click.option(
    "--shape", type=click.Choice(["fixed", "enumerated", "ranged"]), help="Of Core ML lengths.  [default: enumerated]"
)
@click.option("--texts", help="A text a line: to calibrate and compare on.")
@click.option("--task", help="How --data is read, such as ner (edgebert tasks).")
@click.option("--data", multiple=True, help="Labelled rows: to calibrate, compare and score on; as in fit.")
@column_options
@click.option(
    "--rows", type=click.IntRange(min=1), default=200, show_default=True, help="Most real rows to compare on."
)
@click.option("--runtime", help="An older runtime that must run the files, such as tflite-runtime.")
@click.option("--tokenizer-inside", is_flag=True, help="Also a file that reads text; onnx only.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
@click.option("--allow-pickle", is_flag=True, help="Read pickled weights; only of authors that you trust.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def command(formats: tuple[str, ...], precisions: tuple[str, ...], quiet: bool, as_json: bool, **options: Any) -> int:
    """Converts the checkpoint MODEL (a folder or hub id) and proves that each file still computes the same."""
    from edgebert.api import convert
    from edgebert.cli._progress import Progress

    with Progress(quiet) as progress:
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
    made = [one for one in result.conversions if one.artifact is not None]
    print_table(
        ("file", "MB", "of fp32", "worst diff.", "cosine", "equal", "score", "s", "variant", ""),
        [_row(one) for one in made],
    )
    for one in made:
        if one.likeness is not None:
            for failure in one.likeness.failures:
                click.echo(f"rejected: {one.format} {one.precision}: {failure}")
        for finding, count in one.leaves_accelerator.items():
            click.echo(f"{one.format} {one.precision}: {count} x {finding}")
        if one.with_tokenizer is not None:
            path, size = one.with_tokenizer.path, one.with_tokenizer.size_bytes / 1e6
            click.echo(f"{one.format} {one.precision}: {path} reads text itself, {size:.2f} MB")
    for one in result.conversions:
        if one.note:
            click.echo(f"{one.format} {one.precision}: not written. {one.note}")
    click.echo(f"compared on {result.n_rows} rows ({result.rows_from}) and on edge rows, with {_runtimes(made)}")
    click.echo(f"written to {result.folder}")


def _row(one: Conversion) -> tuple[str, ...]:
    like = one.likeness
    assert one.artifact is not None and like is not None
    score = getattr(like, "score", None)
    return (
        f"{one.format} {one.precision}",
        f"{one.artifact.size_bytes / 1e6:.2f}",
        f"{100 * one.size_share:.1f} %",
        f"{max([like.max_logit_difference, *like.edges.values()]):.2g}",
        f"{like.min_cosine:.5f}",
        f"{100 * like.equal_predictions:.2f} %",
        f"{100 * score.value:.2f}" if score else "-",
        f"{one.seconds:.1f}",
        one.trial,
        "rejected" if like.failures else "",
    )


def _runtimes(made: list[Conversion]) -> str:
    return ", ".join(dict.fromkeys(one.runtime for one in made))
