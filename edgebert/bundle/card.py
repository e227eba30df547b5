"""The pages of a bundle and of a package that are for people: the model card, and whose terms go with the model.

The card begins with metadata in the form of Hugging Face's hub: YAML between two lines of three dashes
(https://huggingface.co/docs/hub/model-cards). What is not known is left out, but for the licence.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from edgebert.bundle.licences import hub_id
from edgebert.bundle.manifest import model_files

if TYPE_CHECKING:
    from edgebert.bundle.manifest import Manifest
    from edgebert.tasks import Task

LOCAL = "local folder"  # where `edgebert.modeling.source` found a checkpoint
UNKNOWN = "not recorded: find out before you publish"
MOST_LABELS = 40  # that a card lists
LIMITS = (
    "The score holds for texts like those of the test rows. Texts of another language, domain or style were not scored.",
    "A small model repeats what is wrong or one-sided in its data and its teacher.",
)
PIPELINES = {  # what the hub calls a task, by the kind of the task's decoder
    "ner": "token-classification", "tag": "token-classification", "classify": "text-classification",
    "pair": "text-classification", "qa": "question-answering", "embed": "feature-extraction",
    "similarity": "sentence-similarity",
}  # fmt: skip
METRICS = {  # what the hub calls a metric, by a word of its name
    "f1": "f1", "exact": "exact_match", "accuracy": "accuracy", "spearman": "spearmanr", "recall": "recall",
    "precision": "precision",
}  # fmt: skip
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def bundle_name(manifest: Manifest) -> str:
    """What a model is called where nobody named it: by its task and its data."""
    data = source_of(manifest["facts"], "data")
    words = re.findall("[a-z0-9]+", f"{manifest['task']} {data['name'] if data else ''}".lower())
    return "-".join(words) or "model"


# ---------------------------------------------------------------- metadata


def front_matter(name: str, manifest: Manifest, task: Task, *, library: str = "edgebert") -> str:
    """The metadata of a card, with its two lines of dashes.

    Args:
        library: that the hub shall say loads the model.
    """
    import yaml

    text = yaml.safe_dump(
        metadata(name, manifest, task, library=library), sort_keys=False, allow_unicode=True, width=1000
    )
    return f"---\n{text}---\n"


def metadata(name: str, manifest: Manifest, task: Task, *, library: str = "edgebert") -> dict[str, Any]:
    facts = manifest["facts"]
    source, data = source_of(facts, "start") or source_of(facts, "teacher"), source_of(facts, "data")
    licence = source["licence"] if source else ""
    results: dict[str, Any] = {"license": hub_id(licence)}
    if results["license"] == "other":
        results["license_name"] = licence
    if language := source["language"] if source else "":
        results["language"] = language
    results["library_name"] = library
    results["tags"] = ["edgebert", manifest["format"], manifest["precision"], manifest["task"]]
    if pipeline := pipeline_tag(task, manifest["labels"]):
        results["pipeline_tag"] = pipeline
    if base := base_of(facts):
        results["base_model"] = base
    if data and _HUB_ID.fullmatch(data["name"]):
        results["datasets"] = [data["name"]]
    if score := score_of(facts):
        scores = [*_scores(score, pipeline or task.name)]
        results["metrics"] = list(dict.fromkeys(metric_id(item["metric"]) for _, item in scores))
        title = data["name"] if data else "not recorded"
        results["model-index"] = [{"name": name, "results": [_result(kind, item, title) for kind, item in scores]}]
    return results


def _scores(score: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The score, or those of each head, each with the kind of its task."""
    parts = score.get("parts") or {}
    yield from ((head, part) for head, part in parts.items()) if parts else [(kind, score)]


def _result(kind: str, score: Mapping[str, Any], data: str) -> dict[str, Any]:
    return {
        "task": {"type": kind},
        "dataset": {"name": data, "type": data, "split": score["split"]},
        "metrics": [{"type": metric_id(score["metric"]), "value": round(score["value"], 6), "name": score["metric"]}],
    }


def pipeline_tag(task: Task, labels: Sequence[str]) -> str:
    """What the hub calls the task; "" where it has no name for it."""
    return PIPELINES.get(str((task.decoder(labels) or {}).get("kind")), "")


def metric_id(name: str) -> str:
    """What the hub calls a metric; for one that it does not know, its words with dashes."""
    small = name.lower()
    known = next((known for word, known in METRICS.items() if word in small), "")
    return known or "-".join(re.findall("[a-z0-9]+", small))


def base_of(facts: Mapping[str, Any]) -> str:
    """The hub id of the checkpoint that the model started with; "" for a folder of somebody's, which nobody else finds."""
    source = source_of(facts, "start") or source_of(facts, "teacher")
    return source["name"] if source and source["origin"] != LOCAL and _HUB_ID.fullmatch(source["name"]) else ""


# ---------------------------------------------------------------- text


def model_card(name: str, manifest: Manifest, task: Task) -> str:
    """Metadata, and Markdown: what the model does, what it was made of, how well and how fast it does it and how that was
    obtained."""
    return front_matter(name, manifest, task) + "\n" + card_text(name, manifest, task)


def without_metadata(card: str) -> str:
    """The page below the metadata; the whole of one that has none."""
    return card.split("---\n", 2)[2].lstrip() if card.startswith("---\n") and card.count("---\n") > 1 else card


def card_text(name: str, manifest: Manifest, task: Task) -> str:
    facts, labels = manifest["facts"], manifest["labels"]
    size = sum(item["size_bytes"] for item in model_files(manifest).values())
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
        " ".join(LIMITS),
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


def source_of(facts: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Name, origin, licence, language and sha256 of what the model was made of, each on one line, "" for what is not
    recorded; {} for nothing.

    Of a folder the last part alone is told: the others are of somebody's machine.
    """
    fact = facts.get(kind)
    known = fact if isinstance(fact, Mapping) else {"name": fact} if fact else {}
    if not known.get("name"):
        return {}
    keys = ("name", "origin", "licence", "language", "sha256")
    result = {key: " ".join(str(known.get(key) or "").split()) for key in keys}
    return result | {"name": PurePath(result["name"]).name if result["origin"] == LOCAL else result["name"]}


def score_of(facts: Mapping[str, Any], key: str = "score") -> Mapping[str, Any]:
    """A score of the facts as JSON types; {} where there is none, or what somebody edited is none."""
    score = facts.get(key)
    return score if isinstance(score, Mapping) and score.keys() >= {"metric", "value", "split", "n"} else {}


def latencies_of(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The latencies of the facts, without what is none."""
    items = facts.get("latencies") or ()
    return [item for item in items if isinstance(item, Mapping) and item.keys() >= _OF_A_LATENCY]


_OF_A_LATENCY = frozenset(("p50_ms", "how", "device", "runtime", "runtime_version", "threads", "seq_len", "batch"))


def _sources(facts: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("data", "teacher", *(["start"] if facts.get("start") else [])):
        known = source_of(facts, kind)
        name, origin, licence = (_text(known.get(key)) for key in ("name", "origin", "licence"))
        place = f", from {origin}" if origin else ""
        yield f"- {_KINDS[kind]}: {name or 'not recorded'}{place}. Licence: {licence or UNKNOWN}"


_KINDS = {"data": "Data", "teacher": "Teacher", "start": "Weights at the start"}


def _figures(facts: Mapping[str, Any]) -> Iterator[str]:
    for key, whose in (("score", "this file"), ("teacher_score", "the teacher")):
        if score := score_of(facts, key):
            what = f"{score['metric']} {100 * score['value']:.2f}, {score['split']} rows, n = {score['n']}"
            yield f"- {whose.capitalize()}: {what}"
    for latency in latencies_of(facts):
        yield f"- {latency['p50_ms']:.3g} ms ({latency['how']}; {latency_place(latency)})"


def latency_place(latency: Mapping[str, Any]) -> str:
    """Where and how a latency was obtained."""
    lengths = "the data's lengths, median " if latency.get("lengths") == "data" else ""
    threads = f"{latency['threads']} thread{'s' if latency['threads'] > 1 else ''}"
    return (
        f"{latency.get('called') or latency['device']}, {latency['runtime']} {latency['runtime_version']}, {threads}, "
        f"{lengths}{latency['seq_len']} tokens, batch {latency['batch']}"
    )


def _text(value: object) -> str:
    """What a fact says, on one line, with nothing that Markdown or HTML would read; "" for none."""
    return re.sub(r"([\\`*<>\[\]])", r"\\\1", " ".join(str(value).split())) if value else ""


def _code(text: str) -> str:
    """A label as Markdown shows it as it is, on one line; one with a tag of HTML also where code is not understood."""
    line = " ".join(text.split())
    if "<" in line:
        return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(line, quote=False))
    ticks = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if not line or "`" in (line[0], line[-1]) else ""
    return f"{ticks}{pad}{line}{pad}{ticks}"
