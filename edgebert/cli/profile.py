"""edgebert profile"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgebert.cli._show import json_option, print_json, print_table

if TYPE_CHECKING:
    from edgebert.measure.figures import Measured, Measurement


@click.command(
    "profile",
    short_help="Measure latency, load and memory of files where they will run.",
    epilog="""\b
Examples:
  edgebert profile runs/ner-atis-pixel6 --on here
  edgebert profile model.onnx model.tflite --on ssh:pi@raspberrypi --threads 4 --output pi.json
  edgebert profile ./my-model-edge --on here --on browser --texts lines.txt
  edgebert profile model.onnx --on adb --length 128

Texts are run at their own lengths and padded to 128 tokens. Every figure says whether it was measured or emulated. A
browser's answers on test rows of the run are judged too. The exit code is 1 when they are wrong, 2 when something that was
asked for could not be measured.""",
)
@click.argument("artifacts", metavar="ARTIFACT...", nargs=-1, required=True)
@click.option(
    "--on",
    multiple=True,
    required=True,
    metavar="TARGET",
    help="Where to measure: here, browser, adb, ssh:USER@HOST. May be repeated.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of the runtime.")
@click.option(
    "--cores", metavar="N,N", help="Numbers of the cores to run on, separated by commas.  [default: the system chooses]"
)
@click.option("--length", type=int, help="Measure one input of this many tokens instead of texts.")
@click.option("--texts", metavar="FILE", help="A file with one text a line.")
@click.option("--run", metavar="RUN", help="A run or bundle whose texts are measured.  [default: the run of ARTIFACT]")
@click.option(
    "--max-seconds", type=click.FloatRange(min=0), default=60, show_default=True,
    help="The most seconds to go on measuring a file after its first 50 runs, while p50 is not stable.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1), default=600, show_default=True,
    help="Seconds after which measuring at one kind of lengths is stopped; what was measured by then is kept.",
)  # fmt: skip
@click.option(
    "--rows", type=int, default=200, show_default=True,
    help="Test rows of the run by which a browser's answers are judged, in at most --max-seconds a file; 0: none.",
)  # fmt: skip
@click.option("--output", "-o", metavar="FILE", help="A JSON file to write everything to, raw times included.")
@click.option("--quiet", is_flag=True, help="Print no progress.")
@json_option
def command(cores: str | None, output: str | None, quiet: bool, as_json: bool, **options: Any) -> int:
    """Measures each ARTIFACT (a file, a bundle, a run folder or what edgebert convert wrote) on each TARGET."""
    from edgebert.api import profile
    from edgebert.cli._progress import Progress

    with Progress(quiet, after="what was measured is not kept") as progress:
        result = profile(cores=_cores(cores), output=output, on_event=progress, **options)
    if as_json:
        print_json(result)
    else:
        _print(result)
        if output:
            click.echo(f"raw times: {output}")
    return result.exit_code


def _cores(text: str | None) -> tuple[int, ...]:
    try:
        cores = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        cores = (-1,)
    if any(core < 0 for core in cores):
        raise click.BadParameter(
            f"'{text}' is no list of numbers separated by commas, such as 4,5", param_hint="--cores"
        )
    return cores


def _print(result: Measurement) -> None:
    several = len({item.target for item in result.results}) > 1
    columns = (
        "file",
        *(("on",) if several else ()),
        "tokens",
        "p50",
        "p90",
        "p99",
        "load",
        "first",
        "peak MB",
        "runs",
        "",
    )
    print_table(columns, [_row(item, several) for item in result.results if item.n_runs or not item.failure])
    for line in dict.fromkeys(_basis(item) for item in result.results if item.n_runs):
        click.echo(line)
    for on in dict.fromkeys(item.target for item in result.results if item.n_runs and item.how == "emulated"):
        click.echo(f"{on}: emulated, so its times and memory say nothing of such a device; its outputs do")
    click.echo("times in ms; " + result.statistic)
    for on, facts in result.facts.items():
        if description := _facts(facts):
            click.echo(f"{on}: {description}")
    from edgebert.report import format as fmt

    for pad in result.padding:
        click.echo(f"{pad.file} on {pad.target}: {fmt.padding(pad)}")
    for item in result.results:
        if item.compared:
            click.echo(
                f"{item.file} on {item.target}: {100 * item.equal_predictions:.2f} % of predictions equal those of this machine, largest "
                f"difference {item.max_difference:.2g} ({item.compared} inputs)"
                if item.max_difference is not None and item.equal_predictions is not None
                else f"{item.file} on {item.target}: its outputs are not numbers"
            )
    for proof in result.engines:
        click.echo(f"{'error: ' if proof.failures else ''}{fmt.engine(proof)}", err=bool(proof.failures))
    for note in result.notes:
        click.echo(f"note: {note}")
    for item in result.results:
        if item.failure:
            click.echo(f"error: {item.file} on {item.target}: {item.failure}", err=True)
    for on, failure in result.failures.items():
        click.echo(f"error: {on}: {failure}", err=True)


def _row(measured: Measured, several: bool) -> tuple[str, ...]:
    tokens = (
        str(measured.seq_len) if measured.lengths == "fixed" else f"{min(measured.n_tokens)}–{max(measured.n_tokens)}"
    )
    times = (measured.p50_ms, measured.p90_ms, measured.p99_ms, measured.load_ms, measured.first_run_ms)
    return (
        measured.file,
        *((measured.target,) if several else ()),
        tokens,
        *("-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in times),
        "-" if measured.peak_memory_bytes is None else f"{measured.peak_memory_bytes / 1e6:.1f}",
        str(measured.n_runs),
        "cut short" if measured.failure else "" if measured.stable else "not stable",
    )


def _basis(measured: Measured) -> str:
    threads = f"{measured.threads} thread{'s' if measured.threads > 1 else ''}"
    on = f" on core {', '.join(map(str, measured.cores))}" if measured.cores else ""
    lengths = f"own lengths of {measured.inputs}" if measured.lengths == "data" else f"fixed length, {measured.inputs}"
    return f"{measured.target}: {measured.how}, {measured.device}, {measured.runtime} {measured.runtime_version}, {threads}{on}, batch 1, {lengths}"


def _facts(facts: Any) -> str:
    parts = []
    for name, unit in (("clock_mhz", "MHz"), ("temperature_c", "°C")):
        values = facts.get(name)
        values = values if isinstance(values, list) else [values]
        if all(isinstance(value, (int, float)) for value in values):
            parts.append(
                " before, ".join(f"{value:g} {unit}" for value in values) + (" after" if len(values) > 1 else "")
            )
    return "; ".join(parts)
