"""edgebert devices"""

from __future__ import annotations

import click

from edgebert.cli._show import json_option, print_json, print_table


@click.group(
    "devices",
    invoke_without_command=True,
    short_help="List the device profiles, show one, or prepare a device.",
    epilog="\b\nExamples:\n  edgebert devices\n  edgebert devices show pixel6\n  edgebert devices show ./my-board.toml",
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Lists the device profiles with their formats and budgets."""
    if ctx.invoked_subcommand:
        return
    from edgebert.api import list_devices

    profiles = list_devices()
    if as_json:
        print_json(list(profiles.values()))
        return
    limit = "{:g}".format
    rows = [
        (
            name,
            profile.title,
            profile.soc,
            ", ".join(profile.formats),
            *("-" if value is None else limit(value) for value in (profile.budget.latency_ms, profile.budget.size_mb)),
        )
        for name, profile in profiles.items()
    ]
    print_table(("name", "device", "chip", "formats", "budget ms", "budget MB"), rows)


@command.command("show", short_help="Show one profile with the source of every figure.")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Explains the profile NAME, or that of a TOML file."""
    from edgebert.api import get_device
    from edgebert.cost.analytic import SPREAD
    from edgebert.cost.calibration import calibrations_of
    from edgebert.files import plain

    profile = get_device(name)
    calibrations = calibrations_of(profile)
    if as_json:
        print_json(
            {
                **plain(profile),
                "calibrations": [
                    {**plain(calibration), "probes": len(calibration.probes)} for calibration in calibrations
                ],
            }
        )
        return
    budget = profile.budget
    rows = [
        ("device", profile.title),
        ("chip", profile.soc),
        *(
            (
                "cores",
                f"{c.count} x {c.name} at {c.clock_ghz:g} GHz, {c.fp32_flops_per_cycle:g} fp32 and "
                f"{c.int8_ops_per_cycle:g} int8 operations a cycle",
            )
            for c in profile.cores
        ),
        ("instructions", ", ".join(profile.instructions)),
        ("memory", f"{profile.ram_mb:,} MB, {profile.memory_gb_per_s:g} GB/s"),
        ("runtimes", ", ".join(profile.runtimes)),
        ("formats", ", ".join(profile.formats)),
        ("target", profile.target and f"{profile.target}: fit measures there by itself where it answers"),
        ("budget", ", ".join(text for limit, text in (
            (budget.latency_ms, f"{budget.latency_ms} ms"), (budget.size_mb, f"{budget.size_mb} MB"),
            (budget.memory_mb, f"memory {budget.memory_mb} MB"),
            (budget.drop_points, f"{budget.drop_points} points under the teacher"),
        ) if limit is not None)),
        *(("latency", f"predicted: {calibration.description}") for calibration in calibrations),
        ("latency", f"{'anything else is ' if calibrations else ''}predicted by a roofline fitted to published latencies, "
                    f"interval ×/÷ {SPREAD:g}; edgebert calibrate fits it to the device"),
        *(("source", f"{figure}: {source}") for figure, source in profile.sources.items()),
        ("notes", profile.notes),
    ]  # fmt: skip
    print_table((name, ""), [row for row in rows if row[1]])


@command.command(
    "prepare",
    short_help="Install on a device what measuring needs.",
    epilog="\b\nExample:\n  edgebert devices prepare ssh:pi@raspberrypi",
)
@click.argument("target")
@click.option("--quiet", is_flag=True, help="Print no progress.")
def prepare(target: str, quiet: bool) -> None:
    """Installs numpy and the runtimes on TARGET, in a folder of edgebert's own, and changes nothing else there."""
    from edgebert.api import prepare_device
    from edgebert.cli._progress import Progress

    with Progress(quiet) as progress:
        installed = prepare_device(target, on_event=progress)
    click.echo(installed)
