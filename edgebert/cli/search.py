"""edgebert search"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._fit_options import fit_options, given_values
from edgebert.cli._groups import GroupedGroup
from edgebert.cli._show import column_options, json_option, print_json, print_table
from edgebert.cli.fit import GROUPS, carry_out

if TYPE_CHECKING:
    from edgebert.results import SearchState

DEFAULTS = {"recipe": "trim-vocab+dynabert+cut+kd", "search_trials": 200}


@click.group(
    "search",
    cls=GroupedGroup,
    invoke_without_command=True,
    subcommand_metavar="[COMMAND …]",
    groups={title: tuple(name for name in names if name != "config") for title, names in GROUPS.items()},
    short_help="Fit with the best of many networks that are cut out of one.",
    epilog="""\b
Examples:
  edgebert search --device pixel6 --task ner
  edgebert search --device rpi4 --max-latency-ms 5 --task classify --data rows.csv --search-trials 500
  edgebert search --device pixel6 --recipe trim-vocab+drop-layers+dynabert+cut+kd --set drop-layers.n_layers=6
  edgebert search --device pixel6 --study postgresql://me@host/edgebert
  edgebert search worker postgresql://me@host/edgebert --run /shared/runs/second
  edgebert search status ner-atis-pixel6
  edgebert search best ner-atis-pixel6 --recipe > best.toml

This is `edgebert fit --recipe trim-vocab+dynabert+cut+kd --search-trials 200`: one network is trained out of which smaller ones
are cut, so many of them are judged on the development rows, untrained, and the --candidates best that are predicted to be
within the budget are trained on, converted, proven, measured and packaged. It needs: pip install "edgebert[search]"
""",
)
@fit_options(**DEFAULTS)
@column_options
@click.option(
    "--locked",
    is_flag=True,
    help="Refuse where versions, data, teacher, request or device differ from the manifest.json of the run.",
)
@click.option("--quiet", is_flag=True, help="Print no progress.")
@json_option
@click.pass_context
def command(ctx: click.Context, locked: bool, quiet: bool, as_json: bool, **options: Any) -> int | None:
    """Judges many students that are cut out of one network by their score and predicted latency, trains the best of them that
    are within the device's budget, and goes on as `edgebert fit` does."""
    given = given_values(options)
    if ctx.invoked_subcommand:
        if given or locked or quiet or as_json:
            raise click.UsageError(f"Give options behind the command: edgebert search {ctx.invoked_subcommand} …")
        return None
    return carry_out({**DEFAULTS, **given}, None, locked=locked, quiet=quiet, as_json=as_json)


@command.command(
    "worker",
    short_help="Take part in a search from another process or machine.",
    epilog="""\b
Examples:
  edgebert search worker postgresql://me@host/edgebert
  edgebert search worker postgresql://me@host/edgebert --run /shared/runs/second --name second

The request comes from the search, which was begun with --study URL; files must lie where they lie there, or be named.
Finished stages are taken from sibling run folders, so runs in one shared folder train nothing twice. A worker that is killed
costs at most the trial that it was at, which another judges again. A password is best left out of the URL: PostgreSQL's
drivers read PGPASSWORD and ~/.pgpass.""",
)
@click.argument("url")
@click.option("--name", help="What this worker is called.  [default: the machine and the process's number]")
@click.option("--run", help="The folder that keeps its stages.  [default: runs/search-NAME]")
@click.option("--teacher", help="Where the teacher lies here.  [default: as in the search]")
@click.option("--data", multiple=True, help="Where the rows lie here. May be repeated.  [default: as in the search]")
@click.option("--allow-pickle", is_flag=True, help="Read pickled weights, which can run code.")
@click.option("--quiet", is_flag=True, help="Print no progress.")
@json_option
def worker(url: str, name: str | None, quiet: bool, as_json: bool, **given: Any) -> None:
    """Judges networks for the search in the database URL until it has its trials."""
    from edgebert.api import search_worker
    from edgebert.cli._progress import Progress

    with Progress(quiet) as progress:
        result = search_worker(
            url, name=name, on_event=progress, **{key: value for key, value in given.items() if value}
        )
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"{result.worker}: {result.n_judged} trials, of {result.n_networks} different networks that were judged"
        )


@command.command("status", short_help="Show how far a search is.")
@click.argument("where")
@click.option("--root", default="runs", show_default=True, help="The folder that contains the runs.")
@json_option
def status(where: str, root: str, as_json: bool) -> None:
    """Shows trials, workers and the best networks so far of the search WHERE: a run, or the URL of its database."""
    from edgebert.api import search_state

    state = search_state(where, root)
    if as_json:
        print_json(state)
        return
    left = "" if state.seconds_left is None else f", about {state.seconds_left:.0f} s left"
    again = f", {state.n_again} given back by workers that ended" if state.n_again else ""
    click.echo(f"{state.n_done} of {state.n_trials} trials{again}{left}")
    if state.workers:
        lines = [(item.name, str(item.trial), f"{item.seconds:.0f} s ago") for item in state.workers]
        print_table(("worker", "at trial", "heard of"), lines)
    _show_front(state)


@command.command("best", short_help="Show the best networks of a search, or the recipe of the best.")
@click.argument("where")
@click.option("--recipe", "as_recipe", is_flag=True, help="Print the best one's recipe: a file that --recipe takes.")
@click.option("--root", default="runs", show_default=True, help="The folder that contains the runs.")
@json_option
def best(where: str, as_recipe: bool, root: str, as_json: bool) -> None:
    """Shows of the search WHERE (a run, or the URL of its database) the networks within the limits that no other beats in
    score and time."""
    from edgebert.api import best_recipe, search_state

    state = search_state(where, root)
    if as_recipe:
        click.echo(best_recipe(state), nl=False)
    elif as_json:
        print_json(state.front)
    else:
        _show_front(state)


def _show_front(state: SearchState) -> None:
    lines = [
        (
            f"{100 * line.dev:.2f}",
            f"{line.p50_ms:.2f}",
            ",".join(map(str, line.layers)),
            ",".join(f"{w:g}" for w in line.widths),
        )
        for line in state.front
    ]
    print_table(("dev", "ms", "layers", "widths"), lines)
    if not lines:
        click.echo("no network within the limits so far")
