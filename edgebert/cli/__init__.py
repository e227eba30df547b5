"""The command line: parses, calls the API, prints. One command a file; a file imports only click until it runs."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import signal
import sys

import click

from edgebert.cli._stop import Stopped, end_children, stoppable
from edgebert.devices.machine import wait_passively
from edgebert.errors import EdgebertError, WorkerFinished, without_password
from edgebert.faults import absent_of, fault_of

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

Exit codes: 0 done, 1 a budget or parity failed, 2 the request cannot be carried out, 70 a fault of edgebert,
130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
Add --debug anywhere for a traceback.""",
)
@click.version_option(package_name="edgebert")
def cli() -> None:
    """Make a BERT-family model fit an edge device: compress, convert, prove, measure, package."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: every error becomes one clear message and an exit code."""
    for name in ("torchao", "torch.utils._pytree"):  # of packages beside ours: kernels for GPUs, deprecations
        logging.getLogger(name).setLevel(logging.ERROR)
    wait_passively()
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with stoppable():
            sys.exit(cli.main(arguments, prog_name="edgebert", standalone_mode=False) or 0)
    except Stopped as stopped:
        end_children()
        click.echo(str(stopped), err=True)
        sys.exit(stopped.exit_code)
    except WorkerFinished:  # no error: the main process goes on
        sys.exit(WorkerFinished.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        result = error
        if isinstance(error, click.Abort):  # click's word for Ctrl-C, and for any end of file inside a library
            if not isinstance(error.__cause__, Exception):
                click.echo(str(Stopped(signal.SIGINT)), err=True)
                sys.exit(128 + signal.SIGINT)
            result = error.__cause__
        if debug:
            raise
        sys.exit(_report(result))


def _report(error: Exception) -> int:
    error = fault_of(error) or absent_of(error) or error
    if isinstance(error, EdgebertError):
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    click.echo(
        f"internal error: {type(error).__name__}: {without_password(str(error))}\n  This is a fault of edgebert, not of yours; what was finished "
        "is kept. Give the same command with --debug, and report what it prints.",
        err=True,
    )
    return INTERNAL_ERROR
