"""edgebert search"""

from __future__ import annotations

from typing import Any

import click

from edgebert.cli._fit_options import fit_options, given_values
from edgebert.cli._groups import GroupedCommand
from edgebert.cli._show import column_options, json_option
from edgebert.cli.fit import GROUPS, carry_out

TRIALS = 200


@click.command(
    "search",
    cls=GroupedCommand,
    groups={title: tuple(name for name in names if name != "config") for title, names in GROUPS.items()},
    short_help="Fit with the best of many networks that are cut out of one.",
    epilog="""\b
Examples:
  edgebert search --device pixel6 --task ner
  edgebert search --device rpi4 --max-latency-ms 5 --task classify --data rows.csv --search-trials 500
  edgebert search --device pixel6 --recipe trim-vocab+drop-layers+dynabert+cut+kd --set drop-layers.n_layers=6

This is `edgebert fit --recipe trim-vocab+dynabert+cut+kd --search-trials 200`: one network is trained out of which smaller ones
are cut, so many of them are judged on the development rows, untrained, and the --candidates best that are predicted to be
within the budget are trained on, converted, proven, measured and packaged. It needs: pip install "edgebert[search]"
""",
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
def command(locked: bool, quiet: bool, as_json: bool, **options: Any) -> int:
    """Judges many students that are cut out of one network by their score and predicted latency, trains the best of them that
    are within the device's budget, and goes on as `edgebert fit` does."""
    from edgebert.workflows.recipe import SEARCHED_RECIPE

    given = {"recipe": SEARCHED_RECIPE, "search_trials": TRIALS, **given_values(options)}
    return carry_out(given, None, locked=locked, quiet=quiet, as_json=as_json)
