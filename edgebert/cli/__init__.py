"""The command line: parses, calls the API, prints. One command a file; a file imports only click until it runs."""

from __future__ import annotations

import errno
import importlib
import logging
import pkgutil
import sys

import click

from edgebert.errors import EdgebertError, RunError

INTERRUPTED = 130
INTERNAL_ERROR = 70


class Commands(click.Group):
    """Finds commands by their file: `edgebert fit` is `edgebert/cli/fit.py`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"edgebert.cli.{name}").command
        return command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Examples:
  edgebert fit --device pixel6 --task ner
  edgebert predict runs/ner-atis-pixel6 "show me flights from boston to denver on monday"
  edgebert devices show pixel6

Exit codes: 0 done, 1 a budget or parity failed, 2 the request cannot be carried out, 130 interrupted.
Add --debug anywhere for a traceback.""",
)
@click.version_option(package_name="edgebert")
def cli() -> None:
    """Make a BERT-family model fit an edge device: compress, convert, prove, measure, package."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: every error becomes one clear message and an exit code."""
    for name in ("torchao", "torch.utils._pytree"):  # of packages beside ours: kernels for GPUs, deprecations
        logging.getLogger(name).setLevel(logging.ERROR)
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        sys.exit(cli.main(arguments, prog_name="edgebert", standalone_mode=False) or 0)
    except click.Abort:
        click.echo("interrupted: run the same command to go on where it was", err=True)
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = str(error.filename) if error.filename else None
        error = RunError("the disk is full", where=place, hint="Free some space and run the same command to go on.")
    elif isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        error = RunError(f"cannot write: {error.strerror}", where=str(error.filename), hint="Choose another --run.")
    if isinstance(error, EdgebertError):
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    click.echo(f"internal error: {type(error).__name__}: {error}\n  Run again with --debug and report it.", err=True)
    return INTERNAL_ERROR
