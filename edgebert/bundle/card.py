"""The pages of a package that are for people: the model card, and whose terms go with the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgebert.bundle.manifest import Manifest
    from edgebert.tasks import Task

UNKNOWN = "not recorded: find out before you publish"
MOST_LABELS = 40  # that a card lists


def model_card(name: str, manifest: Manifest, task: Task) -> str:
    """Markdown: what the model does, what it was made of, how well and how fast it does it and how that was obtained."""
    facts, labels = manifest["facts"], manifest["labels"]
    size = sum(item["size_bytes"] for file, item in manifest["files"].items() if file.startswith(manifest["model"]))
    lines = [
        f"# {name}",
        "",
        f"Task: {task.title} (`{task.name}`). File: `{manifest['model']}`, {manifest['format']}, {manifest['precision']}, "
        f"{size / 1e6:.1f} MB. It reads {manifest['max_length']} tokens at once; a longer text is "
        f"{'cut' if task.cuts else 'read in overlapping windows'}.",
        "",
    ]
    if labels:
        more = f" and {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else ""
        lines += [f"Labels ({len(labels)}): {', '.join(map(_code, labels[:MOST_LABELS]))}{more}.", ""]
    lines += ["## Figures", "", *_figures(facts), "", "## Made of", "", *_sources(facts)]
    if facts.get("recipe"):
        lines.append(f"- Recipe: {_code(str(facts['recipe']))}, seed and versions in `manifest.json`")
    lines += [
        "",
        "## Limits",
        "",
        "The score holds for texts like those of the test rows. Texts of another language, domain or style were not scored. "
        "A small model repeats what is wrong or one-sided in its data and its teacher.",
        "",
    ]
    return "\n".join(lines)


def notice(manifest: Manifest) -> str:
    """Markdown: whose terms go with the package."""
    facts = manifest["facts"]
    return "\n".join(
        [
            "# Licences of this package",
            "",
            "The code is edgebert's, under the Apache License 2.0 (`edgebert-Apache-2.0.txt`). The model was made from "
            "others' work, whose terms go with it:",
            "",
            *_sources(facts),
            "",
        ]
    )


def _sources(facts: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("data", "teacher"):
        fact = facts.get(kind)
        known = fact if isinstance(fact, Mapping) else {"name": fact} if fact else {}
        name, origin, licence = (_text(known.get(key)) for key in ("name", "origin", "licence"))
        place = f", from {origin}" if origin else ""
        yield f"- {kind.capitalize()}: {name or 'not recorded'}{place}. Licence: {licence or UNKNOWN}"


def _figures(facts: Mapping[str, Any]) -> Iterator[str]:
    for key, whose in (("score", "this file"), ("teacher_score", "the teacher")):
        if score := facts.get(key):
            what = f"{score['metric']} {100 * score['value']:.2f}, {score['split']} rows, n = {score['n']}"
            yield f"- {whose.capitalize()}: {what}"
    for latency in facts.get("latencies") or ():
        lengths = "the data's lengths, median " if latency.get("lengths") == "data" else ""
        yield (
            f"- {latency['p50_ms']:.3g} ms ({latency['how']}; {latency.get('called') or latency['device']}, "
            f"{latency['runtime']} {latency['runtime_version']}, {latency['threads']} "
            f"thread{'s' if latency['threads'] > 1 else ''}, {lengths}{latency['seq_len']} tokens, batch {latency['batch']})"
        )


def _text(value: object) -> str:
    """What a fact says, on one line, with nothing that Markdown or HTML would read; "" for none."""
    return re.sub(r"([\\`*<>\[\]])", r"\\\1", " ".join(str(value).split())) if value else ""


def _code(text: str) -> str:
    """A label as Markdown shows it as it is, on one line."""
    line = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if not line or "`" in (line[0], line[-1]) else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"
