"""edgebert check"""

from __future__ import annotations

import click


@click.command(
    "check",
    short_help="Prove a bundle again on this machine.",
    epilog="\b\nExample:\n  edgebert check runs/ner-atis-pixel6",
)
@click.argument("path", metavar="RUN")
def command(path: str) -> None:
    """Compares the files of RUN (a run or bundle folder) with the sha256 in its manifest, what they say with one another, and
    runs its golden vectors: texts with the token ids, outputs and answers that the model gave when it was packaged.

    This proves that the bundle is whole and agrees with itself, not who made it: for that, compare the digest."""
    from edgebert.api import check

    result = check(path)
    click.echo("every file is as it was packaged, and the golden vectors reproduce")
    click.echo(f"  {result.n_texts} texts, {result.n_padded} of them also padded")
    if result.digest:
        click.echo(f"  digest {result.digest}")
    for note in result.notes:
        click.echo(f"  note: {note}")
