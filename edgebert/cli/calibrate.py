"""edgebert calibrate"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import json_option, print_json, print_table, split_names

if TYPE_CHECKING:
    from edgebert.measure.calibrate import Calibrated


@click.command(
    "calibrate",
    short_help="Fit the cost model of a device to times measured on it.",
    epilog="""\b
Examples:
  edgebert calibrate --on here
  edgebert calibrate --on browser --threads 1,4
  edgebert calibrate --on ssh:pi@raspberrypi --device rpi5 --threads 4
  edgebert calibrate --on adb --device ./my-phone.toml

Small models of random weights are written once (about 1.5 GB in the user's cache; TFLite files take more than an hour,
for an LSTM's steps are written out one by one for each length), then timed for some minutes with nothing else running.
What is fitted is kept beside a profile of your own, and for a built-in one in the user's data
folder; from then on predictions for the device use it. edgebert devices show NAME tells.""",
)
@click.option("--on", required=True, metavar="TARGET", help="here, browser, ssh:user@host, adb …")
@click.option("--device", metavar="NAME", help="The profile that it is.  [default: where the target tells]")
@click.option("--threads", metavar="N,N", help="Of the runtime; one calibration each.  [default: the profile's]")
@click.option("--cores", metavar="N,N", help="Cores to run on, by comma.  [default: the system chooses]")
@click.option("--format", default="onnx", show_default=True, help="Of the files.")
@click.option("--precision", "precisions", multiple=True, help="By comma or repeated.  [default: fp32,int8]")
@click.option("--length", "lengths", type=int, multiple=True, help="Tokens; repeated.  [default: seven, 8 to 253]")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=600, show_default=True,
    help="Seconds for the eight files that take turns together.",
)  # fmt: skip
@click.option("--output", "-o", metavar="FILE", help="Write it there instead; predictions do not look there.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
def command(
    threads: str | None,
    cores: str | None,
    precisions: tuple[str, ...],
    lengths: tuple[int, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measures the cost of each kind of operator on TARGET, so that latencies of models that do not exist yet are told
    within a known error instead of from published figures."""
    from edgebert.api import calibrate
    from edgebert.cli._progress import Progress

    chosen: dict[str, Any] = {"precisions": split_names(precisions)} if precisions else {}
    with Progress(quiet) as progress:
        found = calibrate(
            threads=_numbers(threads, "--threads"),
            cores=_numbers(cores, "--cores"),
            lengths=tuple(dict.fromkeys(lengths)),
            on_event=progress,
            **chosen,
            **options,
        )
    if as_json:
        bare = [replace(one, probes=()) for one in found.calibrations]  # the file has the raw times
        print_json(replace(found, calibrations=tuple(bare)))
    else:
        _print(found)


def _numbers(text: str | None, option: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(","))) if text else ()
    except ValueError:
        raise click.BadParameter(f"'{text}' is not numbers by comma, such as 1,2", param_hint=option) from None


def _print(found: Calibrated) -> None:
    rows = [
        (
            one.precision,
            str(one.threads),
            f"{one.runtime} {one.runtime_version}",
            f"{one.n_architectures} architectures, {one.n_points} times",
            f"{100 * one.error_p50:.1f} %",
            f"{100 * one.error_p90:.1f} %",
            f"{100 * (one.low - 1):+.0f} to {100 * (one.high - 1):+.0f} %",
        )
        for one in found.calibrations
    ]
    print_table(("precision", "threads", "runtime", "fitted to", "error p50", "error p90", "interval"), rows)
    click.echo("Errors are of each architecture when it is left out of the fit; the interval holds them all.")
    click.echo(f"{found.device}: {found.path}, in {found.seconds:.0f} s")
