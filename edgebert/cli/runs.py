"""edgebert runs"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgebert.cli._show import json_option, print_json, print_table, stdout_console


@click.group(
    "runs",
    invoke_without_command=True,
    short_help="List the runs, or show one.",
    epilog="\b\nExamples:\n  edgebert runs\n  edgebert runs show ner-atis-pixel6\n"
    "  edgebert runs keys\n  edgebert runs prune ner-atis-pixel6",
)
@click.option("--root", default="runs", show_default=True, help="The folder that contains the runs.")
@json_option
@click.pass_context
def command(ctx: click.Context, root: str, as_json: bool) -> None:
    """Lists the runs and the stages that each has finished."""
    ctx.obj = root
    if ctx.invoked_subcommand:
        return
    from edgebert.api import list_runs

    result = list_runs(root)
    if as_json:
        print_json(result)
        return
    rows = [(run["name"], run["changed"][:16].replace("T", " "), str(len(run["done"])), _state(run)) for run in result]
    print_table(("run", "changed", "stages", "state"), rows)
    if not result:
        click.echo(f"no runs under {root}")


@command.command("show", short_help="Show one run: its stages and its report.")
@click.argument("name")
@json_option
@click.pass_obj
def show(root: str, name: str, as_json: bool) -> None:
    """Shows the run NAME (a name under --root, or a path)."""
    from edgebert.api import show_run

    details = show_run(name, root)
    if as_json:
        print_json(details)
        return
    print_table(("stage", "seconds"), [(stage["name"], _seconds(stage)) for stage in details["stages"]])
    if details["report"]:
        from edgebert.report.terminal import print_report

        print_report(details["report"], stdout_console(), Path(details["folder"]))
    elif details["open"]:
        click.echo(f"interrupted in {', '.join(details['open'])}: run its command again to go on")


@command.command(
    "keys",
    short_help="Print a digest of the finished stages: the key of a cache.",
    epilog="\b\nExamples:\n  edgebert runs keys\n  edgebert runs keys ner-atis-pixel6 --json",
)
@click.argument("names", nargs=-1)
@json_option
@click.pass_obj
def keys(root: str, names: tuple[str, ...], as_json: bool) -> None:
    """Prints one digest of the keys of all finished stages of the runs NAMES, or of all under --root. It is the same on
    every machine, and another as soon as a stage was made anew: a cache of run folders needs no other key."""
    from edgebert.runs.cache import digest_of, find_runs, stage_keys

    found = stage_keys(find_runs(names, Path(root)))
    if as_json:
        print_json({"digest": digest_of(found), "stages": found})
    else:
        click.echo(digest_of(found))


@command.command(
    "prune",
    short_help="Delete stages that a run's last command did not use.",
    epilog="\b\nExamples:\n  edgebert runs prune\n  edgebert runs prune ner-atis-pixel6 --json",
)
@click.argument("names", nargs=-1)
@json_option
@click.pass_obj
def prune(root: str, names: tuple[str, ...], as_json: bool) -> None:
    """Deletes from the runs NAMES, or from all under --root, the stages that the last finished command did not use. What a
    command that was interrupted since then has made stays, and so do report, bundle and packages."""
    from edgebert.runs.cache import find_runs, prune

    results = [prune(folder) for folder in find_runs(names, Path(root))]
    if as_json:
        print_json(results)
        return
    for item in results:
        freed = f"{len(item.stages)} stages deleted, {item.size_bytes / 1e6:.1f} MB"
        click.echo(f"{item.run}: {item.why_not or freed}")


def _state(run: dict[str, Any]) -> str:
    stopped = f"stopped in {', '.join(run['open'])}" if run["open"] else ""
    packaged = "packaged" if run["bundle"] else "" if stopped else "without a bundle"
    return ", ".join(filter(None, (packaged, stopped)))


def _seconds(stage: dict[str, Any]) -> str:
    return "damaged: the run's command makes it again" if stage["damaged"] else f"{stage['seconds']:.1f}"
