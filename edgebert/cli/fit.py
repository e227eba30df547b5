"""edgebert fit"""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

from edgebert.cli._show import (
    column_options,
    json_option,
    print_json,
    read_columns,
    read_params,
    split_names,
    stdout_console,
)


@click.command(
    "fit",
    short_help="Teacher in, verified and packaged student out.",
    epilog="""\b
Examples:
  edgebert fit --device pixel6 --task ner
  edgebert fit --device rpi4 --teacher ./my-model --data ./my-rows --max-drop 1
  edgebert fit --device pixel6 --data train=a.conll --data test=b.conll
  edgebert fit --device pixel6 --task classify --data rows.csv --text-column body --label-column topic
  edgebert fit --device pixel6 --task slots=ner --task intent=classify --data slots=./a --data intent=./b.jsonl
  edgebert fit --device pixel6 --format onnx --precision int4-embedding
  edgebert fit --device pixel6 --recipe trim-vocab+drop-layers+tinybert --set tinybert.temperature=1
  edgebert fit --device rpi4 --recipe drop-layers+minilm --unlabelled texts.txt
  edgebert fit --device rpi5 --on ssh:pi@raspberrypi

The run folder keeps every finished stage: the same command goes on where it was stopped, and another request in the
same place reuses what it can. Ends with 1 when a budget or parity failed.

Where a target answers (--on, see edgebert profile; without it the device's own, such as the phone on the cable), files
are measured there and the latency budget is judged by that; else by the prediction.""",
)
@click.option("--device", required=True, help="A profile's name (edgebert devices), or a TOML file.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    help="What the model does (edgebert tasks); repeated: one head each.  [default: ner]",
)
@click.option("--teacher", help="Checkpoint folder or hub id.  [default: all-MiniLM-L6-v2]")
@click.option("--student", help="A checkpoint for the student to start from.  [default: the teacher itself]")
@click.option(
    "--unlabelled", multiple=True, metavar="FILE", help="Texts, one a line, for methods that learn from them."
)
@click.option("--data", multiple=True, help="File, folder, hub id, catalogue name or split=path; may be repeated.")
@click.option("--recipe", help="Methods joined by +, or a TOML file.  [default: trim-vocab+drop-layers+kd]")
@column_options
@click.option("--set", "params", multiple=True, metavar="NAME.PARAM=VALUE", help="A parameter of a method or task.")
@click.option("--max-latency-ms", type=click.FloatRange(min=0, min_open=True), help="Overrides the device's budget.")
@click.option(
    "--max-size-mb", type=click.FloatRange(min=0, min_open=True), help="Of the model file, 1 MB = 10^6 bytes."
)
@click.option(
    "--max-drop", type=click.FloatRange(min=0), help="Points of the metric under the teacher, 1 point = 0.01."
)
@click.option("--candidates", type=click.IntRange(min=1), help="How many student shapes to train.")
@click.option("--effort", type=click.Choice(["quick", "standard", "thorough"]), default="standard", show_default=True)
@click.option("--run", help="The run folder.  [default: runs/TASK-DATA-DEVICE]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--epochs", type=click.FloatRange(min=0, min_open=True), help="Of the student's last training.")
@click.option(
    "--teacher-epochs", type=click.FloatRange(min=0, min_open=True), help="When the teacher needs a new head."
)
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Peak.  [default: by width]")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--max-length", type=click.IntRange(min=8), help="Tokens of a window.  [default: 128]")
@click.option("--mixed-precision", type=click.Choice(["no", "bf16", "fp16"]), default="no", show_default=True)
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="Of files, by comma or repeated: onnx, tflite, coreml.  [default: the device's]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="Beside fp32, by comma or repeated; the first is planned for.  [default: int8]",
)
@click.option(
    "--on",
    metavar="TARGET",
    help="Measure there too: adb, ssh:user@host, browser, …; or none.  [default: the device's own, where it answers]",
)
@click.option("--twins", is_flag=True, help="Of several heads: also fit each alone, and compare.")
@click.option("--allow-pickle", is_flag=True, help="Read pickled weights; only of authors that you trust.")
@click.option("--quiet", is_flag=True, help="No progress.")
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
    return shlex.join(["edgebert", *sys.argv[1:]])
