"""edgebert calibrate"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import json_option, print_json, print_table, split_names

if TYPE_CHECKING:
    from edgebert.workflows.calibrate import Calibrated


@click.command(
    "calibrate",
    short_help="Fit the cost model of a device to times measured on it.",
    epilog="""\b
Examples:
  edgebert calibrate --on here
  edgebert calibrate --on browser --threads 1,4
  edgebert calibrate --on ssh:pi@raspberrypi --device rpi5 --threads 4
  edgebert calibrate --on adb --device ./my-phone.toml

Small models of random weights are written once (about 1.5 GB in the user's cache; writing TFLite files takes more than
an hour, because the steps of an LSTM are unrolled for each length). They are then timed for some minutes, with nothing
else running. The calibration is kept beside a device profile of your own, or, for a built-in profile, in the user's data
folder. From then on it is used for predictions on that device; `edgebert devices show NAME` shows it.""",
)
@click.option("--on", required=True, metavar="TARGET", help="Where to measure: here, browser, adb, ssh:USER@HOST.")
@click.option(
    "--device", metavar="NAME", help="The device profile to calibrate.  [default: the one that the target names]"
)
@click.option(
    "--threads",
    metavar="N,N",
    help="Numbers of threads of the runtime, separated by commas; each gets a calibration.  [default: the profile's]",
)
@click.option(
    "--cores", metavar="N,N", help="Numbers of the cores to run on, separated by commas.  [default: the system chooses]"
)
@click.option("--format", default="onnx", show_default=True, help="Format of the timed files.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="Precisions, separated by commas, or give the option again.  [default: fp32,int8]",
)
@click.option(
    "--length",
    "lengths",
    type=int,
    multiple=True,
    help="A length in tokens; may be repeated.  [default: seven lengths from 8 to 253]",
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=600, show_default=True,
    help="Seconds after which measuring a group of eight files is stopped.",
)  # fmt: skip
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="A file to write the calibration to instead; predictions do not use it there.",
)
@click.option("--quiet", is_flag=True, help="Print no progress.")
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
    """Measures the cost of each kind of operator on TARGET, so that the latency of a model that does not exist yet is
    predicted within a known error, instead of from published figures."""
    from edgebert.api import calibrate
    from edgebert.cli._progress import Progress

    chosen: dict[str, Any] = {"precisions": split_names(precisions)} if precisions else {}
    with Progress(quiet, after="the probes that were written are kept for the next time") as progress:
        result = calibrate(
            threads=_numbers(threads, "--threads"),
            cores=_numbers(cores, "--cores"),
            lengths=tuple(dict.fromkeys(lengths)),
            on_event=progress,
            **chosen,
            **options,
        )
    if as_json:
        bare = [replace(calibration, probes=()) for calibration in result.calibrations]  # the file has the raw times
        print_json(replace(result, calibrations=tuple(bare)))
    else:
        _print(result)


def _numbers(text: str | None, option: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(","))) if text else ()
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no list of numbers separated by commas, such as 1,2", param_hint=option
        ) from None


def _print(calibrated: Calibrated) -> None:
    rows = [
        (
            calibration.precision,
            str(calibration.threads),
            f"{calibration.runtime} {calibration.runtime_version}",
            f"{calibration.n_architectures} architectures, {calibration.n_points} times",
            f"{100 * calibration.error_p50:.1f} %",
            f"{100 * calibration.error_p90:.1f} %",
            f"{100 * (calibration.low - 1):+.0f} to {100 * (calibration.high - 1):+.0f} %",
        )
        for calibration in calibrated.calibrations
    ]
    print_table(("precision", "threads", "runtime", "fitted to", "error p50", "error p90", "interval"), rows)
    click.echo(
        f"Times are p50: {', '.join(dict.fromkeys(calibration.statistic for calibration in calibrated.calibrations))}."
    )
    click.echo(
        "Error: of each architecture's prediction when it was left out of the fit; the interval contains all of them."
    )
    click.echo(f"{calibrated.device}: {calibrated.path}, in {calibrated.seconds:.0f} s")
