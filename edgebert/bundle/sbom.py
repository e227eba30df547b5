"""sbom.cdx.json: a bill of materials (CycloneDX 1.6) of what a bundle or a package was made of and needs.

It is made of the manifest alone: no clock, no random number and nothing of the machine, so that equal bundles have equal
bills. Its serial number is of its content, its time that of the run.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from edgebert.bundle.card import (
    LIMITS,
    base_of,
    latencies_of,
    latency_place,
    metric_id,
    pipeline_tag,
    score_of,
    source_of,
)
from edgebert.bundle.licences import spdx_id
from edgebert.bundle.manifest import GOLDEN, PAGES, README, SBOM, model_files
from edgebert.bundle.strict_json import write_json
from edgebert.converters import CONVERTERS, find_precision
from edgebert.files import digest

if TYPE_CHECKING:
    from edgebert.bundle.manifest import ListedFile, Manifest
    from edgebert.tasks import Task

SPEC = "1.6"
SERIAL = uuid.UUID("5e1b8a5c-0f0e-5d0c-9a55-edbe4700b111")  # names the serial numbers that are made of content
OF_THE_SYSTEM = {
    "coreml": {"type": "framework", "name": "Core ML", "supplier": {"name": "Apple"}}
}  # no registry has it


@dataclass(frozen=True)
class Library:
    """A library that runs a model.

    Attributes:
        registry: the type of a package URL: "pypi", "npm", "maven".
        name: as the registry has it, with its group or scope before a slash: "com.google.ai.edge.litert/litert".
        version: "" where whoever installs it chooses one.
        requirement: which versions will do, where none is fixed: ">=2.3,<3".
    """

    registry: str
    name: str
    version: str = ""
    requirement: str = ""

    @property
    def purl(self) -> str:
        path = "/".join(quote(part, safe="") for part in self.name.split("/"))
        return f"pkg:{self.registry}/{path}" + (f"@{quote(self.version, safe='')}" if self.version else "")

    @classmethod
    def of_requirement(cls, requirement: str) -> Library:
        """What pip is asked for: "onnxruntime>=1.20"."""
        name = requirement[: next((i for i, c in enumerate(requirement) if c in "<>=!~ "), len(requirement))]
        return cls("pypi", name, requirement=requirement[len(name) :].strip())


@dataclass(frozen=True)
class PackageFacts:
    """What a package for a platform is, beside the bundle's model in it.

    Attributes:
        platform: its title.
        libraries: that the platform's package manager brings.
        files: of the package, by name.
    """

    name: str
    platform: str
    libraries: Sequence[Library]
    files: Mapping[str, ListedFile]


def write_sbom(folder: Path, name: str, manifest: Manifest, task: Task, package: PackageFacts | None = None) -> None:
    write_json(folder / SBOM, bill_of_materials(name, manifest, task, package))


def bill_of_materials(
    name: str, manifest: Manifest, task: Task, package: PackageFacts | None = None
) -> dict[str, object]:
    """The bill as JSON types. It lists the files of the model, or those of the package.

    Args:
        manifest: of the bundle.
        package: that the bundle's file was put in; None for the bundle itself.
    """
    facts = manifest["facts"]
    libraries = package.libraries if package else _libraries(manifest)
    sources = [*_sources(facts)]
    runtimes = [*map(_library, libraries)]
    if manifest["format"] in OF_THE_SYSTEM:
        runtimes.append({"bom-ref": "runtime", **OF_THE_SYSTEM[manifest["format"]]})
    model = _model(name, manifest, task)
    needs = [item["bom-ref"] for item in runtimes]
    made_of = [item["bom-ref"] for item in sources]
    if package is None:
        top, others = model | {"components": _files(of_the_model(manifest))}, []
        links = [{"ref": "model", "dependsOn": made_of + needs}]
    else:
        top, others = _package(package), [model]
        links = [
            {"ref": "package", "dependsOn": ["model", *needs]},
            *([{"ref": "model", "dependsOn": made_of}] if made_of else []),
        ]
    bill: dict[str, object] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {
            **({"timestamp": facts["created"]} if facts.get("created") else {}),
            "tools": {"components": [*_tools(facts.get("versions") or {})]},
            "component": top,
        },
        "components": [*others, *sources, *runtimes],
        "dependencies": links,
    }
    content = json.dumps(bill, sort_keys=True, separators=(",", ":"))
    return bill | {"serialNumber": f"urn:uuid:{uuid.uuid5(SERIAL, content)}"}


# ---------------------------------------------------------------- components


def _model(name: str, manifest: Manifest, task: Task) -> dict[str, Any]:
    sums = [facts["sha256"] for facts in model_files(manifest).values()]
    precision = find_precision(manifest["format"], manifest["precision"])
    quantization = {
        "format": manifest["format"],
        "precision": manifest["precision"],
        "weight_bits": precision.bits,
        "embedding_bits": precision.embedding_bits,
        "compute": precision.compute,
        "max_length": manifest["max_length"],
        "recipe": manifest["facts"].get("recipe"),
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "version": (sums[0] if len(sums) == 1 else digest(sums, 64))[:12],
        "description": f"{task.title}, {manifest['format']} {manifest['precision']}",
        **({"hashes": _hashes(sums[0])} if len(sums) == 1 else {}),
        "modelCard": _model_card(manifest, task),
        "properties": [
            {"name": f"edgebert:{key}", "value": str(value)} for key, value in quantization.items() if value
        ],
    }


def _model_card(manifest: Manifest, task: Task) -> dict[str, object]:
    facts = manifest["facts"]
    config = (facts.get("checkpoint") or {}).get("config") or {}
    data = source_of(facts, "data")
    parameters = {
        "approach": {"type": "supervised"},
        "task": pipeline_tag(task, manifest["labels"]) or task.name,
        **({"architectureFamily": config["model_type"]} if config.get("model_type") else {}),
        **({"modelArchitecture": config["architectures"][0]} if config.get("architectures") else {}),
        **({"datasets": [{"ref": "data"}]} if data else {}),
        "inputs": [{"format": f"{port['name']}: {port['type']}"} for port in manifest["inputs"]],
        "outputs": [{"format": f"{port['name']}: {port['type']}"} for port in manifest["outputs"]],
    }
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": [*_scores(facts), *_latencies(facts)]},
        "considerations": {"technicalLimitations": list(LIMITS)},
    }


def _scores(facts: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    if not (score := score_of(facts)):
        return
    rows = f"{score['split']}, {score['n']} rows"
    yield {"type": f"{metric_id(score['metric'])} ({score['metric']})", "value": f"{score['value']:.6g}", "slice": rows}
    for name, value in score["more"].items() if score.get("more") else ():
        yield {"type": f"{metric_id(name)} ({name})", "value": f"{value:.6g}", "slice": rows}
    for head, part in (score.get("parts") or {}).items():
        what = f"{metric_id(part['metric'])} ({head}: {part['metric']})"
        yield {"type": what, "value": f"{part['value']:.6g}", "slice": f"{part['split']}, {part['n']} rows"}


def _latencies(facts: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    for item in latencies_of(facts):
        bounds = {"lowerBound": item.get("low_ms"), "upperBound": item.get("high_ms")}
        known = {name: f"{value:.6g}" for name, value in bounds.items() if value is not None}
        yield {
            "type": f"latency p50 in ms, {item['how']}",
            "value": f"{item['p50_ms']:.6g}",
            "slice": latency_place(item),
            **({"confidenceInterval": known} if len(known) == 2 else {}),
        }


def _sources(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the model was made of: the teacher, the checkpoint that it started from where that is another one, the data."""
    for kind in ("teacher", "start"):
        if source := source_of(facts, kind):
            yield {
                "type": "machine-learning-model",
                "bom-ref": kind,
                "name": source["name"],
                "description": f"{_ROLES[kind]}, from {source['origin'] or 'an unknown place'}",
                **_proofs(source),
                **({"purl": f"pkg:huggingface/{source['name']}"} if base_of({"teacher": facts[kind]}) else {}),
            }
    if source := source_of(facts, "data"):
        contents = {"type": "dataset", "name": source["name"], "description": source["origin"] or "not recorded"}
        yield {"type": "data", "bom-ref": "data", "name": source["name"], **_proofs(source), "data": [contents]}


_ROLES = {"teacher": "the model that it was taught by", "start": "the checkpoint whose weights it started with"}


def _proofs(source: Mapping[str, str]) -> dict[str, object]:
    """Sum and licence, as far as they are recorded."""
    known: dict[str, object] = {"hashes": _hashes(source["sha256"])} if source["sha256"] else {}
    if licence := source["licence"]:
        spdx = spdx_id(licence)
        known["licenses"] = [{"license": {"id": spdx} if spdx else {"name": licence}}]
    return known


def _libraries(manifest: Manifest) -> list[Library]:
    """What runs a bundle, in the versions that its golden vectors were computed with."""
    known = manifest["facts"].get("versions") or {}
    names = ["tokenizers", "numpy"]
    if manifest["format"] not in OF_THE_SYSTEM:
        names.insert(0, CONVERTERS.get(manifest["format"]).runtime.replace("_", "-"))
    return [Library("pypi", name, known.get(name, "").replace("not installed", "")) for name in names]


def _library(library: Library) -> dict[str, Any]:
    group, _, name = library.name.rpartition("/")
    return {
        "type": "library",
        "bom-ref": f"runtime:{library.name}",
        **({"group": group} if group else {}),
        "name": name,
        **({"version": library.version} if library.version else {}),
        "purl": library.purl,
        **(
            {"properties": [{"name": "edgebert:requirement", "value": library.requirement}]}
            if library.requirement
            else {}
        ),
    }


def _tools(versions: Mapping[str, str]) -> Iterator[dict[str, object]]:
    """What made it. edgebert is told without an address: no registry has it."""
    kinds = {"edgebert": "application", "python": "platform"}
    for name, version in sorted(versions.items(), key=lambda item: (item[0] != "edgebert", item[0])):
        if version == "not installed":
            continue
        purl = {} if name in kinds else {"purl": Library("pypi", name, version).purl}
        yield {"type": kinds.get(name, "library"), "name": name, "version": version, **purl}


def _package(package: PackageFacts) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": "package",
        "name": package.name,
        "version": digest(package.files, 64)[:12],
        "description": f"a model as {package.platform}",
        "components": _files(package.files),
    }


def of_the_model(manifest: Manifest) -> dict[str, ListedFile]:
    """The files that the model consists of. Golden vectors prove it, and pages tell of it."""
    return {name: facts for name, facts in manifest["files"].items() if name not in (GOLDEN, README, *PAGES)}


def _files(files: Mapping[str, ListedFile]) -> list[dict[str, object]]:
    return [
        {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _hashes(facts["sha256"])}
        for name, facts in sorted(files.items())
    ]


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]
