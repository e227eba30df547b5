"""edgebert init"""

from __future__ import annotations

from collections.abc import Sequence

import click

from edgebert.cli._show import split_names


@click.command(
    "init",
    short_help="Write a commented edgebert.toml, by asking or from options.",
    epilog="""\b
Examples:
  edgebert init
  edgebert init --device pixel6 --device iphone13 --task classify --data reviews.csv --platform android --yes
  edgebert init --device rpi4 --task ner --yes -o configs/rpi4.toml""",
)
@click.option("--device", "devices", multiple=True, help="A device to fit, of `edgebert devices`, or a TOML file.")
@click.option("--task", help="What the model is for, of `edgebert tasks`.")
@click.option("--teacher", help="The model to compress: a checkpoint folder or a hub id.")
@click.option("--data", multiple=True, help="Labelled rows, as `edgebert fit --data` takes them; relative to the file.")
@click.option("--platform", "platforms", multiple=True, help="A platform to package for, of `edgebert bundle --help`.")
@click.option("--yes", is_flag=True, help="Ask nothing: what is not given is the default.")
@click.option("-o", "--output", default="edgebert.toml", show_default=True, metavar="FILE", help="The file to write.")
@click.option("--force", is_flag=True, help="Replace a file that exists.")
def command(
    devices: tuple[str, ...],
    task: str | None,
    teacher: str | None,
    data: tuple[str, ...],
    platforms: tuple[str, ...],
    yes: bool,
    output: str,
    force: bool,
) -> None:
    """Asks for what is not given, and writes the whole request of a fit as a file with a comment on every key."""
    from pathlib import Path

    from edgebert.workflows.config_init import check_target, defaults, write_config

    path = Path(output)
    check_target(path, force)
    known = defaults()
    if not yes:
        devices = devices or _asked_list("device", "Devices", known.devices, "pixel6")
        task = task or _asked("task", "Task", known.tasks, "ner")
        teacher = teacher or _free("Teacher, a folder or a hub id", known.teacher)
        data = data or tuple(_free("Rows, separated by spaces (empty: the task's demo data)", "").split())
        platforms = platforms or _asked_list("platform", "Platforms to package for", known.platforms, "none")
    write_config(
        path, split_names(devices) or ("pixel6",), task or "ner", teacher=teacher if teacher != known.teacher else None,
        data=data, platforms=split_names(platforms),
    )  # fmt: skip
    click.echo(f"wrote {path}")
    click.echo(f"  check it  edgebert config check {path}")
    click.echo(f"  run it    edgebert fit --config {path}")


def _free(question: str, default: str) -> str:
    return str(click.prompt(question, default=default, show_default=bool(default)))


def _asked(kind: str, question: str, known: Sequence[str], default: str) -> str:
    (name,) = _asked_list(kind, question, known, default, most=1)
    return name


def _asked_list(kind: str, question: str, known: Sequence[str], default: str, most: int = 99) -> tuple[str, ...]:
    """Names of `known`, or paths of TOML files for devices, asked again until each is one; () for none."""
    from edgebert.errors import unknown

    click.echo(f"\n{question}: {', '.join(known)}" + ("" if most == 1 else "; several are separated by commas"))
    while True:
        names = split_names((str(click.prompt(kind, default=default)),))
        if names == ("none",):
            return ()
        wrong = [name for name in names if name not in known and not (kind == "device" and name.endswith(".toml"))]
        if wrong:
            click.echo(str(unknown(kind, wrong[0], known)))
        elif 0 < len(names) <= most:
            return names
