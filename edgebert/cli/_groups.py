"""Options of a command's --help in groups, those that matter first at the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click


class GroupedCommand(click.Command):
    """A command whose --help lists its options under titles.

    Args:
        groups: title -> options by their longest name, without dashes, in the order in which they are shown.
    """

    def __init__(self, *arguments: Any, groups: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.groups = groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = {max(option.opts, key=len).lstrip("-"): option for option in self.get_params(ctx)}
        for title, names in self.groups.items():
            records = [options[name].get_help_record(ctx) for name in names]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])


class GroupedGroup(GroupedCommand, click.Group):
    """The same of a command that has further commands, which are listed below the options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)
