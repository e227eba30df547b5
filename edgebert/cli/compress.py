"""edgebert compress"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import column_options, json_option, print_json, print_table, read_columns, read_params

if TYPE_CHECKING:
    from edgebert.types import CompressResult


@click.command(
    "compress",
    short_help="A recipe applied to a checkpoint: a smaller checkpoint.",
    epilog="""\b
Examples:
  edgebert compress ./my-ner --recipe drop-layers+minilm --set drop-layers.n_layers=3 --task ner --data ./my-rows
  edgebert compress ./my-bert --recipe squeezebert+kd --task classify --data rows.csv -o small
  edgebert compress ./my-bert --recipe trim-vocab+drop-layers+tinybert --max-size-mb 8 --task ner --data ./my-rows
  edgebert compress ./my-bert --recipe well-read --task classify --data rows.csv --unlabelled texts.txt

MODEL's own head is used where it fits the labels; else a new one is fine-tuned first, as in fit. What is written opens in
transformers, and in edgebert convert. A stopped command goes on where it was when it is given again.""",
)
@click.argument("model", metavar="MODEL")
@click.option("--recipe", required=True, help="Methods joined by + (edgebert methods), or a TOML file.")
@click.option("--set", "params", multiple=True, metavar="NAME.PARAM=VALUE", help="A parameter of a method or task.")
@click.option("--task", default="ner", show_default=True, help="What the model does (edgebert tasks).")
@click.option("--data", multiple=True, help="Labelled rows, as in fit.  [default: the task's demo data]")
@click.option("--student", help="A checkpoint for the student to start from.  [default: MODEL itself]")
@click.option(
    "--unlabelled", multiple=True, metavar="FILE", help="Texts, one a line, for methods that learn from them."
)
@click.option("--output", "-o", help="Folder of the student.  [default: MODEL-small]")
@click.option(
    "--max-size-mb", type=click.FloatRange(min=0, min_open=True), help="Of an int8 file: sizes left open follow."
)
@column_options
@click.option("--effort", type=click.Choice(["quick", "standard", "thorough"]), default="standard", show_default=True)
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Of each training of the recipe.")
@click.option("--teacher-epochs", type=click.FloatRange(min=0, min_open=True), help="When MODEL needs a new head.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Peak.  [default: by width]")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--max-length", type=click.IntRange(min=8), help="Tokens of a window.  [default: 128]")
@click.option("--mixed-precision", type=click.Choice(["no", "bf16", "fp16"]), default="no", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
@click.option("--allow-pickle", is_flag=True, help="Read pickled weights; only of authors that you trust.")
@click.option("--force", is_flag=True, help="Replace a student that exists.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def command(params: tuple[str, ...], quiet: bool, as_json: bool, **options: Any) -> int:
    """Applies a recipe to the checkpoint MODEL (a folder or hub id) and writes the student, nothing else."""
    from edgebert.api import compress
    from edgebert.cli._progress import Progress

    with Progress(quiet) as progress:
        result = compress(columns=read_columns(options), params=read_params(params), on_event=progress, **options)
    if as_json:
        print_json(result)
    else:
        _print(result)
    return 0


def _print(result: CompressResult) -> None:
    print_table(
        ("", "parameters", f"{result.teacher.metric}, dev", "test"),
        [
            ("teacher", f"{result.teacher_parameters:,}", "", f"{100 * result.teacher.value:.2f}"),
            (
                result.name,
                f"{result.n_parameters:,}",
                f"{100 * result.dev.value:.2f}",
                f"{100 * result.test.value:.2f}",
            ),
        ],
    )
    for note in result.notes:
        click.echo(f"  {note}")
    click.echo(f"measured in torch, float32, on {result.test.n} test rows; {result.recipe}")
    click.echo(f"written to {result.folder}")
    click.echo(f"next: edgebert convert {result.folder} --format onnx,tflite,coreml")
