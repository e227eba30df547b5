"""edgebert compress"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import (
    column_options,
    json_option,
    print_json,
    print_table,
    read_columns,
    read_params,
    training_end_options,
)

if TYPE_CHECKING:
    from edgebert.results import CompressResult


@click.command(
    "compress",
    short_help="Apply a recipe to a checkpoint and write the smaller checkpoint.",
    epilog="""\b
Examples:
  edgebert compress ./my-ner --recipe drop-layers+minilm --set drop-layers.n_layers=3 --task ner --data ./my-rows
  edgebert compress ./my-bert --recipe squeezebert+kd --task classify --data rows.csv -o small
  edgebert compress ./my-bert --recipe trim-vocab+drop-layers+tinybert --max-size-mb 8 --task ner --data ./my-rows
  edgebert compress ./my-bert --recipe well-read --task classify --data rows.csv --unlabelled texts.txt

MODEL's own head is used where it fits the labels of the data; otherwise a new head is fine-tuned first, as in `edgebert
fit`. The student that is written opens in `edgebert convert`, and in transformers where its family and head are theirs:
labels over a checkpoint of sentence-transformers have a head of ours, but for --set classify.pooling=cls. A command that
was stopped goes on where it was when it is given again.""",
)
@click.argument("model", metavar="MODEL")
@click.option(
    "--recipe",
    required=True,
    help="The compression methods in order, joined by + (`edgebert methods` lists them), or a TOML file.",
)
@click.option(
    "--set",
    "params",
    multiple=True,
    metavar="NAME.PARAM=VALUE",
    help="Set a parameter of a method or an option of a task.",
)
@click.option(
    "--task", default="ner", show_default=True, help="What the model is for: a name that `edgebert tasks` lists."
)
@click.option(
    "--data",
    multiple=True,
    help="Labelled rows: a file, a folder, a hub id, a name that `edgebert data` lists, or SPLIT=PATH. May be repeated.  [default: the task's demo data]",
)
@click.option("--student", help="The checkpoint whose weights the student starts from.  [default: MODEL]")
@click.option(
    "--unlabelled",
    multiple=True,
    metavar="PATH",
    help="Text without labels that kd and other methods learn from too: a file with one text a line, or a folder of .txt files. May be repeated.",
)
@click.option("--output", "-o", help="The folder to write the student to.  [default: MODEL-small]")
@click.option(
    "--max-size-mb",
    type=click.FloatRange(min=0, min_open=True),
    help="Largest size of the student's int8 file, 1 MB = 10^6 bytes; parameters that --set leaves open are chosen to meet it.",
)
@column_options
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="How long to train.",
)
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    help="Epochs of each training of the recipe.  [default: by --effort and rows]",
)
@click.option(
    "--teacher-epochs",
    type=click.FloatRange(min=0, min_open=True),
    help="Epochs of MODEL, where it needs a new head.  [default: by --effort and rows]",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Peak learning rate.  [default: by the model's width]",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Rows of a training step."
)
@click.option(
    "--max-length",
    type=click.IntRange(min=8),
    help="Tokens that the model reads at once; a longer text is read in windows or cut, as its task says.  [default: 128]",
)
@click.option(
    "--mixed-precision",
    type=click.Choice(["auto", "no", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="Precision of training; auto is bf16 where the processor multiplies matrices of it (AMX, most GPUs), else no.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random choice.")
@training_end_options
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of text files.")
@click.option(
    "--allow-pickle", is_flag=True, help="Read pickled weights, which can run code: only for authors that you trust."
)
@click.option("--force", is_flag=True, help="Replace a student that is in the output folder.")
@click.option("--quiet", is_flag=True, help="Print no progress.")
@json_option
def command(params: tuple[str, ...], quiet: bool, as_json: bool, **options: Any) -> int:
    """Applies a recipe to the checkpoint MODEL (a folder or hub id) and writes the student: the step between teacher and conversion of `edgebert fit`."""
    from edgebert.api import compress
    from edgebert.cli._progress import Progress

    with Progress(quiet, request="compressing {teacher}: {task} on {data}") as progress:
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
    click.echo(f"scores: in torch, float32; test has {result.test.n} rows; recipe: {result.recipe}")
    click.echo(f"written to {result.folder}")
    click.echo(f"next: edgebert convert {result.folder} --format onnx,tflite,coreml")
