"""What the gate says, for a terminal, a pull request, a test report and a build log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as xml

from edgebert.budget.findings import Finding, GateResult

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"passed": "green", "failed": "bold red", "missing": "bold yellow", "skipped": "dim"}
SIGNS = {"passed": "✅", "failed": "❌", "missing": "❓", "skipped": "⏭️"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def figure(item: Finding) -> str:
    """The value and its unit; "" where there is none."""
    return "" if item.value is None else f"{_number(item.value)} {item.unit}".strip()


def allowed(item: Finding) -> str:
    if item.bound is None:
        return ""
    return f"{'at least' if item.at_least else 'at most'} {item.bound:g} {item.unit}".strip()


def _number(value: float) -> str:
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3g}"


def headline(result: GateResult) -> str:
    against = f", against {result.baseline}" if result.baseline else ""
    return f"{result.file or result.run} for {result.device}: {result.verdict} (by {result.budget}{against})"


# ---------------------------------------------------------------- terminal


def print_gate(result: GateResult, console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "limit", "figure", "allowed"):
        table.add_column(name, overflow="fold")
    for item in result.findings:
        style = STYLES[item.outcome]
        cells = (item.outcome, item.limit, figure(item), allowed(item))
        table.add_row(*(Text(cell, style=style if i < 2 else "") for i, cell in enumerate(cells)))
    console.print(table)
    for item in result.findings:
        if item.how:
            console.print(Text(f"{item.limit}: {_visible(item.how)}", style="dim"))
    for item in result.findings:
        if item.reason and item.outcome != "skipped":
            console.print(
                Text(f"{item.limit}: ", style=STYLES[item.outcome]) + Text(_visible(item.reason), style="default")
            )
    skipped = [item.limit for item in result.findings if item.outcome == "skipped"]
    if skipped:
        reasons = sorted({item.reason for item in result.findings if item.outcome == "skipped"})
        console.print(Text(f"skipped: {', '.join(skipped)} ({'; '.join(reasons)})", style="dim"))
    for note in result.notes:
        console.print(Text("note: ", style="yellow") + Text(note, style="default"))
    console.print(Text(headline(result), style="bold green" if result.exit_code == 0 else "bold red"))


# ---------------------------------------------------------------- a pull request


def to_markdown(result: GateResult, picture: str = "") -> str:
    """The verdict, a picture, what failed, and every figure in a table that is folded where all passed.

    Args:
        picture: an address or a path of the run's picture, as the reader reaches it.
    """
    sign = SIGNS["passed"] if result.exit_code == 0 else SIGNS["failed"]
    lines = [f"### {sign} edgebert gate: {_plain(result.verdict)}", "", _plain(headline(result)), ""]
    failed = [item for item in result.findings if item.outcome in ("failed", "missing")]
    lines += [f"- **{_plain(item.limit)}**: {_plain(item.reason)}" for item in failed]
    lines += ["", *_chart(result), ""]
    if picture:
        address = "".join(c if c.isalnum() or c in "-._~/:?=&%#" else f"%{ord(c):02X}" for c in picture if ord(c) < 256)
        lines += [f"![Latency and score of every file of the run]({address})", ""]
    lines += [
        "<details><summary>Every figure</summary>",
        "",
        "| | limit | figure | allowed | how |",
        "| --- | --- | --- | --- | --- |",
    ]
    for item in result.findings:
        note = item.reason if item.outcome not in ("failed", "missing") else ""
        how = "; ".join(text for text in (item.how or item.title, note) if text)
        cells = (SIGNS[item.outcome], item.limit, figure(item), allowed(item), how)
        lines.append("| " + " | ".join(_plain(cell) for cell in cells) + " |")
    lines += ["", *(f"- {_plain(note)}" for note in result.notes), "", "</details>"]
    return re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _chart(result: GateResult) -> Iterator[str]:
    """How much of each limit is used, which GitHub and GitLab draw (mermaid)."""
    shares = {}
    for item in result.findings:
        if item.value is None or not item.bound or item.value < 0:
            continue
        share = item.bound / item.value if item.at_least and item.value else item.value / item.bound
        shares[item.limit] = min(200.0, 100 * share)
    if not shares:
        return
    yield "```mermaid"
    yield "xychart-beta horizontal"
    yield '    title "Share of each limit that is used, in percent"'
    yield f"    x-axis {json.dumps(list(shares))}"
    yield f'    y-axis "%" 0 --> {max(110.0, *(value * 1.05 for value in shares.values())):.0f}'
    yield f"    bar [{', '.join(f'{value:.1f}' for value in shares.values())}]"
    yield f"    line [{', '.join('100' for _ in shares)}]"
    yield "```"


def _visible(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    text = _visible(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", text)
    return text.replace("@", "@\u200b")  # a name of a label or a file calls nobody


# ---------------------------------------------------------------- a test report


def to_junit(result: GateResult) -> str:
    """JUnit XML: a case a limit."""
    counts = {kind: sum(item.outcome == kind for item in result.findings) for kind in SIGNS}
    facts = {
        "tests": len(result.findings),
        "failures": counts["failed"],
        "errors": counts["missing"],
        "skipped": counts["skipped"],
    }
    numbers = {name: str(value) for name, value in facts.items()}
    suites = xml.Element("testsuites", numbers)
    suite = xml.SubElement(suites, "testsuite", {"name": _xml(f"edgebert gate {result.run}"), **numbers, "time": "0"})
    for item in result.findings:
        case = xml.SubElement(
            suite, "testcase", {"classname": _xml(f"edgebert.gate.{result.run}"), "name": item.limit, "time": "0"}
        )
        text = _xml(item.reason)
        if item.outcome != "passed":
            tag = {"failed": "failure", "missing": "error", "skipped": "skipped"}[item.outcome]
            xml.SubElement(case, tag, {"message": text}).text = _xml(
                f"{item.title}: {figure(item)}, {allowed(item)}. {item.how}"
            )
        xml.SubElement(case, "system-out").text = _xml(f"{figure(item)}, {allowed(item)}. {item.how}. {item.reason}")
    xml.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(suites, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def as_json(result: GateResult) -> dict[str, object]:
    """Everything but the report, which is the run's own."""
    return {
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        **{name: getattr(result, name) for name in ("run", "file", "device", "task", "budget", "baseline", "notes")},
        "findings": result.findings,
    }


# ---------------------------------------------------------------- a build log


def to_annotations(result: GateResult) -> Iterator[str]:
    """Workflow commands of GitHub Actions: an error a limit that failed, a warning where chance or a missing baseline
    decided."""
    for item in result.findings:
        if item.outcome == "passed" and not item.reason:
            continue
        level = "error" if item.outcome in ("failed", "missing") else "warning"
        title = _escaped(f"edgebert gate, {item.limit}").replace(":", "%3A").replace(",", "%2C")
        yield f"::{level} title={title}::{_escaped(f'{result.file or result.run}: {item.reason}')}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def picture_of(markdown: Path, run: Path) -> str:
    """The run's picture as a path from the Markdown file; "" where there is none."""
    import os

    path = run / "report" / "report.png"
    return os.path.relpath(path, markdown.absolute().parent) if path.is_file() else ""
