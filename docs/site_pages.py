"""A hook of mkdocs: pages of the site that are not files under docs/.

The reports of benchmarks, the changelog and CONTRIBUTING.md stay where a reader of the repository looks for them, and links
between them and docs/ are written for that reader. Here they become pages, and links are rewritten to where pages are.
`reference/commands.md` is what every command prints for --help.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]*)(#[^)\s]*)?\)")
COMMANDS = "reference/commands.md"


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that lie elsewhere, or nowhere."""
    elsewhere = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("benchmarks/**/*.md"))]
    for path in elsewhere:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    files.append(File.generated(config, COMMANDS, content=commands()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as the site needs them; a link to a file that is no page becomes its path."""
    here = page.file.src_uri
    folder = posixpath.dirname(here if _is_moved(here) else f"docs/{here}")

    def rewritten(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target or ":" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        page_uri = path.removeprefix("docs/")
        if files.get_file_from_path(page_uri) is None:
            if not (ROOT / path).exists():
                return match[0]  # mkdocs then warns, which ends a strict build
            return text if "`" in text else f"`{path}`"
        return f"[{text}]({posixpath.relpath(page_uri, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(rewritten, markdown)


def _is_moved(uri: str) -> bool:
    return uri.startswith("benchmarks/") or uri in ("CHANGELOG.md", "CONTRIBUTING.md")


def commands() -> str:
    """The help of every command and of its subcommands."""
    from edgebert.cli import cli

    parts = ["# Command line\n\nWhat each command prints for `--help`.\n"]
    with click.Context(cli, info_name="edgebert", **_settings(cli)) as context:
        parts.append(_help(cli, context, "edgebert"))
        for name in cli.list_commands(context):
            parts += _with_subcommands(cli.get_command(context, name), context, name)
    return "\n".join(parts)


def _with_subcommands(command: Any, parent: click.Context, name: str) -> list[str]:
    with click.Context(command, info_name=name, parent=parent, **_settings(command)) as context:
        found = [_help(command, context, context.command_path)]
        for sub in getattr(command, "commands", {}):
            found += _with_subcommands(command.get_command(context, sub), context, sub)
    return found


def _help(command: Any, context: click.Context, title: str) -> str:
    return f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"


def _settings(command: Any) -> dict[str, Any]:
    return {**command.context_settings, "max_content_width": 100, "terminal_width": 100}
