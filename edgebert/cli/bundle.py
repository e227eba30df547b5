"""edgebert bundle"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

# By their files: importing them takes longer than --help may.
FOLDER = Path(__file__).parent.parent / "bundle" / "platforms"
PLATFORMS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


@click.command(
    "bundle",
    short_help="Package a proven file for Android, iOS, the web or Python.",
    epilog="""\b
Examples:
  edgebert bundle runs/ner-atis-pixel6 --platform web
  edgebert bundle runs/ner-atis-pixel6 --platform android --name com.example.slots -o app/slots
  edgebert bundle runs/ner-atis-pixel6 --platform python --json

The package is a folder and an archive that the platform's own tools take as they are. It holds the model, a tokenizer in the
platform's language, the code from a text to its answer, and golden vectors that prove on the platform itself that it
computes what Python computed; the command for that is told at the end.""",
)
@click.argument("path", metavar="RUN")
@click.option("--platform", required=True, metavar="NAME", help=f"{', '.join(PLATFORMS[:-1])} or {PLATFORMS[-1]}.")
@click.option("-o", "--output", metavar="FOLDER", help="The package's folder. [default: NAME-PLATFORM]")
@click.option("--name", metavar="NAME", help="Name of the package. [default: of the task and the data]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(path: str, platform: str, output: str | None, name: str | None, as_json: bool) -> None:
    """Packages the winner of RUN (a run or bundle folder) for a platform. Where the platform cannot run the winner's format,
    the same student's file in a format that it runs is taken, if it passed parity in the same run."""
    from edgebert.api import package
    from edgebert.files import plain

    def tell(event: dict[str, Any]) -> None:
        click.echo(event["text"], err=True)

    result = package(path, platform, output=output, name=name, on_event=tell)
    if as_json:
        click.echo(json.dumps(plain(result), ensure_ascii=False))
        return
    click.echo(f"{result.folder}: {result.n_files} files, {result.size_bytes / 1e6:.1f} MB")
    click.echo(f"  archive  {result.archive}, {result.archive_bytes / 1e6:.1f} MB")
    click.echo(f"  model    {result.format} {result.precision}")
    click.echo(f"  prove it {result.prove}  (in that folder)")
