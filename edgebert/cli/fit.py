"""edgebert fit"""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

from edgebert.cli._groups import GroupedCommand
from edgebert.cli._show import (
    column_options,
    json_option,
    print_json,
    read_columns,
    read_params,
    split_names,
    stdout_console,
    training_end_options,
)

GROUPS = {
    "Start with these": ("device", "task", "teacher", "data", "run"),
    "Data": ("text-column", "second-column", "label-column", "unlabelled", "encoding", "max-length"),
    "Student": ("student", "starts", "recipe", "set", "candidates", "baselines", "allow-pickle"),
    "Budget": ("max-drop", "max-latency-ms", "max-size-mb", "max-memory-mb", "on"),
    "Training": (
        "effort", "epochs", "teacher-epochs", "learning-rate", "batch-size", "mixed-precision", "average-weights",
        "early-stopping", "seed",
    ),
    "Output": ("format", "precision", "quiet", "json", "help"),
}  # fmt: skip


@click.command(
    "fit",
    cls=GroupedCommand,
    groups=GROUPS,
    short_help="Make a student of a teacher that meets a device's budget, and package it.",
    epilog="""\b
Examples:
  edgebert fit --device pixel6 --task ner
  edgebert fit --device rpi4 --teacher ./my-model --data ./my-rows --max-drop 1
  edgebert fit --device pixel6 --data train=a.conll --data test=b.conll
  edgebert fit --device pixel6 --task classify --data rows.csv --text-column body --label-column topic
  edgebert fit --device pixel6 --task slots=ner --task intent=classify --data slots=./a --data intent=./b.jsonl
  edgebert fit --device pixel6 --format onnx --precision int4-embedding
  edgebert fit --device pixel6 --recipe trim-vocab+drop-layers+tinybert --set tinybert.temperature=1
  edgebert fit --device rpi4 --task classify --data 200-rows.csv --unlabelled my-texts/
  edgebert fit --device pixel6 --set kd.answers=out-of-fold --set kd.folds=5
  edgebert fit --device rpi5 --on ssh:pi@raspberrypi

The run folder keeps every finished stage. The same command goes on where it was stopped, and another request in the
same folder reuses the stages that it shares. The exit code is 1 when no file meets the budget or a file fails parity.

The latency budget is judged by a measurement on the device where one can be reached: the target of --on, or else a
phone on the cable that is the --device. Otherwise it is judged by the predicted latency.""",
)
@click.option(
    "--device", required=True, help="The device to fit: a name that `edgebert devices` lists, or a TOML file."
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    help="What the model is for: a name that `edgebert tasks` lists. Give it several times, as NAME=TASK, for one model with several heads.  [default: ner]",
)
@click.option("--teacher", help="The model to compress: a checkpoint folder or a hub id.  [default: all-MiniLM-L6-v2]")
@click.option(
    "--student",
    help="The checkpoint whose weights the student starts from; `teacher` for the teacher's own layers alone.  [default: those layers, and small checkpoints that lie on this machine]",
)
@click.option(
    "--starts",
    multiple=True,
    metavar="FOLDER",
    help="A folder with small pretrained checkpoints that students may start from, beside those that are found.",
)
@click.option(
    "--unlabelled",
    multiple=True,
    metavar="PATH",
    help="Text without labels that kd and other methods learn from too: a file with one text a line, or a folder of .txt files. May be repeated.",
)
@click.option(
    "--data",
    multiple=True,
    help="Labelled rows: a file, a folder, a hub id, a name that `edgebert data` lists, or SPLIT=PATH. May be repeated.",
)
@click.option(
    "--recipe",
    help="The compression methods in order, joined by + (`edgebert methods` lists them), or a TOML file.  [default: chosen by short trainings]",
)
@column_options
@click.option(
    "--set",
    "params",
    multiple=True,
    metavar="NAME.PARAM=VALUE",
    help="Set a parameter of a method or an option of a task.",
)
@click.option(
    "--max-latency-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="Largest latency on the device, at the data's 95th-percentile length.  [default: the device's budget]",
)
@click.option(
    "--max-size-mb",
    type=click.FloatRange(min=0, min_open=True),
    help="Largest size of the model file, 1 MB = 10^6 bytes.  [default: the device's budget]",
)
@click.option(
    "--max-memory-mb",
    type=click.FloatRange(min=0, min_open=True),
    help="Largest memory of runtime and file, measured on loading and first running it.  [default: the device's budget]",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    help="Largest loss of the metric against the teacher, in points (1 point = 0.01).  [default: the device's budget]",
)
@click.option(
    "--candidates", type=click.IntRange(min=1), help="How many student shapes to train.  [default: by --effort]"
)
@click.option(
    "--effort",
    type=click.Choice(["quick", "standard", "thorough"]),
    default="standard",
    show_default=True,
    help="How long to train, and how many student shapes.",
)
@click.option("--run", help="The folder that keeps stages, report and bundle.  [default: runs/TASK-DATA-DEVICE]")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random choice.")
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    help="Epochs of the student's last training.  [default: by --effort and rows]",
)
@click.option(
    "--teacher-epochs",
    type=click.FloatRange(min=0, min_open=True),
    help="Epochs of the teacher, where it needs a new head.  [default: by --effort and rows]",
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
@training_end_options
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of text files.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="File formats: onnx, tflite, coreml; separated by commas, or give the option again.  [default: the device's]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="Precisions to write beside fp32, separated by commas; sizes are planned for the first.  [default: int8]",
)
@click.option(
    "--on",
    metavar="TARGET",
    help="Where to measure beside this machine: adb, ssh:USER@HOST, browser; none predicts only.  [default: the device, where it can be reached]",
)
@click.option("--baselines", is_flag=True, help="With several heads: also fit a model for each task alone, to compare.")
@click.option(
    "--allow-pickle", is_flag=True, help="Read pickled weights, which can run code: only for authors that you trust."
)
@click.option("--quiet", is_flag=True, help="Print no progress.")
@json_option
def command(
    tasks: tuple[str, ...],
    params: tuple[str, ...],
    formats: tuple[str, ...],
    precisions: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Distil or prune a teacher into a student that meets a device's budget, convert it with int8, prove that the file
    still computes the same, measure it, and package it."""
    from edgebert.api import fit
    from edgebert.cli._progress import Progress

    with Progress(quiet) as progress:
        result = fit(
            columns=read_columns(options),
            **options,
            task=",".join(tasks) or "ner",
            params=read_params(params),
            formats=split_names(formats),
            precisions=split_names(precisions) or ("int8",),
            command=_command_line(),
            on_event=progress,
        )
    if as_json:
        print_json(result)
    else:
        from edgebert.report.terminal import print_report

        print_report(result.report, stdout_console(), result.run)
    return result.exit_code


def _command_line() -> str:
    # A name may hold bytes that are no UTF-8, which no report can.
    return shlex.join(["edgebert", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
