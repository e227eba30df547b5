"""edgebert fit"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._fit_options import fit_options, given_values, groups
from edgebert.cli._groups import GroupedCommand
from edgebert.cli._show import column_options, json_option, print_json, print_table, stdout_console

if TYPE_CHECKING:
    from edgebert.results import FitResult
    from edgebert.workflows.config_fit import DeviceResult

GROUPS = groups(
    ("config",),
    data=("text-column", "second-column", "label-column"),
    output=("locked", "quiet", "json", "help"),
)


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
  edgebert fit --config edgebert.toml
  edgebert fit --config edgebert.toml --effort quick --locked

The run folder keeps every finished stage. The same command goes on where it was stopped, and another request in the
same folder reuses the stages that it shares. Where nothing has changed since the run ended, nothing is done. The exit code is 1 when no file meets the budget or a file fails parity.

The latency budget is judged by a measurement on the device where one can be reached: the target of --on, or else a
phone on the cable that is the --device. Otherwise it is judged by the predicted latency.""",
)
@click.option(
    "--config",
    metavar="FILE",
    help="The request as a file, edgebert.toml; options that are given beside it count more.",
)
@fit_options()
@column_options
@click.option(
    "--locked",
    is_flag=True,
    help="Refuse where versions, data, teacher, request or device differ from the manifest.json of the run.",
)
@click.option("--quiet", is_flag=True, help="Print no progress.")
@json_option
def command(config: str | None, locked: bool, quiet: bool, as_json: bool, **options: Any) -> int:
    """Distil or prune a teacher into a student that meets a device's budget, convert it with int8, prove that the file
    still computes the same, measure it, and package it."""
    return carry_out(given_values(options), config, locked=locked, quiet=quiet, as_json=as_json)


def carry_out(given: dict[str, Any], config: str | None, *, locked: bool, quiet: bool, as_json: bool) -> int:
    """The fit that was asked for, shown as it goes and when it is done. Returns the exit code."""
    from edgebert.api import fit, fit_config
    from edgebert.cli._progress import Progress

    if config is None and "device" not in given:
        raise click.UsageError("Missing option '--device' or '--config'.")
    with Progress(quiet) as progress:
        if config is None:
            result = fit(**given, locked=locked, command=_command_line(), on_event=progress)
        else:
            all_results = fit_config(config, given, locked=locked, command=_command_line(), on_event=progress)
    if config is not None:
        return _show_all(all_results, as_json)
    if as_json:
        print_json(result)
    else:
        _show(result)
    return result.exit_code


def _show(result: FitResult) -> None:
    from edgebert.report.terminal import print_report

    print_report(result.report, stdout_console(), result.run)


def _show_all(results: tuple[DeviceResult, ...], as_json: bool) -> int:
    """Each device's report and packages; of several a summary at the end. Returns the worst of their exit codes."""
    if as_json:
        print_json(results)
    else:
        for item in results:
            if len(results) > 1:
                click.echo(f"== {item.device}")
            if item.fit:
                _show(item.fit)
            for package in item.packages:
                click.echo(f"  package {package.folder} ({package.platform}, {package.size_bytes / 1e6:.1f} MB)")
                click.echo(f"    prove it {package.prove}  (in that folder)")
            for error in item.errors:
                click.echo(f"error: {error}", err=True)
        if len(results) > 1:
            print_table(("device", "packaged", "MB", "score", "exit"), [_line(item) for item in results])
    return max(item.exit_code for item in results)


def _line(item: DeviceResult) -> tuple[str, ...]:
    """A device's line of the summary."""
    winner = item.fit.report.winner if item.fit else None
    if item.fit is None or winner is None:
        return item.device, "nothing", "-", "-", str(item.exit_code)
    files = {f"{s.name}/{a.artifact.name}": a for s in item.fit.report.students for a in s.artifacts}
    size, score = files[winner].artifact.size_bytes / 1e6, 100 * files[winner].parity.score.value
    return item.device, winner, f"{size:.1f}", f"{score:.2f} %", str(item.exit_code)


def _command_line() -> str:
    # A name may hold bytes that are no UTF-8, which no report can.
    return shlex.join(["edgebert", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
