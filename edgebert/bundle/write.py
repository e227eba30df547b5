"""Packages a verified file with all that an application needs to run it and to prove that it runs it right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.bundle.agreement import metadata_of, tolerance
from edgebert.bundle.card import bundle_name, model_card, source_of
from edgebert.bundle.engine import Engine, open_engine
from edgebert.bundle.golden import Texts, golden_texts, write_golden
from edgebert.bundle.manifest import (
    CARD,
    DIGEST,
    GOLDEN,
    LABELS,
    MANIFEST,
    README,
    SCHEMA,
    TOKENIZER,
    describe_files,
    digest_of,
    texts_sha256,
)
from edgebert.bundle.sbom import write_sbom
from edgebert.bundle.strict_json import write_json
from edgebert.errors import RunError
from edgebert.faults import fault_of
from edgebert.files import copy_tree, portable, replace_folder
from edgebert.types import Artifact, Row

if TYPE_CHECKING:
    from edgebert.bundle.manifest import Manifest
    from edgebert.tasks import Task

CHECKPOINT = ("config", "tokenizer_config")
OF_LABELS = ("id2label", "label2id", "_name_or_path")


def write_bundle(
    folder: Path,
    *,
    artifact: Artifact,
    student: Path,
    task: Task,
    labels: Sequence[str],
    golden: Sequence[Row],
    max_length: int,
    facts: Mapping[str, object],
) -> Path:
    """Writes a bundle beside `folder` and renames it into its place; an older one stays until then.

    Args:
        student: folder of the student: its tokenizer.json and config.json are read.
        golden: rows for the golden vectors; fixed edge cases join them.
        facts: what is known of the model, kept in the manifest as JSON. The README shows `data` (name, licence,
            origin) and `teacher` (name, licence) when they are there.

    Raises:
        RunError: the student's files are missing, or the folder cannot be written.
    """
    try:
        with replace_folder(folder) as beside:
            facts = {**facts, "checkpoint": _checkpoint(student)}
            manifest = _describe(artifact, student, task, labels, max_length, facts)
            copy_tree(artifact.path, beside / manifest["model"])
            shutil.copyfile(student / TOKENIZER, beside / TOKENIZER)
            write_json(beside / LABELS, list(labels))
            engine = open_engine(beside, manifest)
            texts = golden_texts(golden, engine)
            write_golden(beside / GOLDEN, engine, texts)
            _seal(beside, manifest | _what_files_say(engine, texts), task)
    except OSError as error:
        if fault := fault_of(error, folder):
            raise fault from None
        what = f"cannot write the bundle: {error.strerror or error}"
        place = str(error.filename or folder)
        raise RunError(what, where=place, hint="Free space or choose another --run, then run it again.") from None
    return folder


def _describe(
    artifact: Artifact,
    student: Path,
    task: Task,
    labels: Sequence[str],
    max_length: int,
    facts: Mapping[str, object],
) -> Manifest:
    return {
        "schema": SCHEMA,
        "task": task.name,
        "task_options": task.options(),
        "format": artifact.format,
        "precision": artifact.precision,
        "model": f"model.{artifact.precision}{artifact.path.suffix}",
        "max_length": max_length,
        "pad_id": _pad_id(student / "config.json"),
        "labels": list(labels),
        "tolerance": tolerance(artifact.precision),
        "facts": _without_folders(facts),
    }


def _what_files_say(engine: Engine, texts: Mapping[Texts, str]) -> Manifest:
    """The part of the manifest that is read from the bundle's own files."""
    inputs, outputs = engine.session.signature()
    return {
        "inputs": inputs,
        "outputs": outputs,
        "model_metadata": metadata_of(engine.session),
        "pad_token": engine.tokenizer.id_to_token(engine.pad_id),
        "golden": {"n_texts": len(texts), "sha256": texts_sha256([list(text) for text in texts])},
    }


def _seal(folder: Path, manifest: Manifest, task: Task) -> None:
    """The pages about the bundle, and the manifest. README.md and manifest.json are written last, each of which the other is bound to: the manifest lists the README's sha256, and the
    README ends with the digest of what the manifest says otherwise."""
    page, name = _readme(manifest, task), bundle_name(manifest)
    manifest["files"] = describe_files(folder)
    (folder / CARD).write_text(model_card(name, manifest, task), encoding="utf-8")
    write_sbom(folder, name, manifest, task)
    manifest["files"] = describe_files(folder)
    digest = digest_of(json.loads(json.dumps(manifest)), page)
    (folder / README).write_text(f"{page}{DIGEST}`{digest}`\n", encoding="utf-8")
    write_json(folder / MANIFEST, manifest | {"files": describe_files(folder)})


def _checkpoint(student: Path) -> dict[str, object]:
    """What transformers needs to know of the model beside its labels, which the manifest has."""
    results: dict[str, object] = {}
    for name in CHECKPOINT:
        path = student / f"{name}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        results[name] = {key: value for key, value in known.items() if key not in OF_LABELS}
    return results


def _pad_id(config: Path) -> int:
    value = json.loads(config.read_text(encoding="utf-8")).get("pad_token_id")
    if value is None:
        raise RunError("the student's config.json has no pad_token_id", where=str(config))
    return int(value)


def _readme(manifest: Manifest, task: Task) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Plain text, not HTML: nothing to escape.
    loader = PackageLoader("edgebert.bundle", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    facts = manifest["facts"]
    return environment.get_template("README.md.jinja").render(
        manifest=manifest,
        n_labels=len(manifest["labels"]),
        task=task,
        data=source_of(facts, "data"),
        teacher=source_of(facts, "teacher"),
    )


def _without_folders(facts: Mapping[str, object]) -> dict[str, object]:
    """The facts as JSON types, where what lay in a folder of this machine is called by the folder's own name."""
    known: dict[str, object] = portable(facts)
    for kind in ("teacher", "start"):
        if isinstance(fact := known.get(kind), dict):
            known[kind] = fact | {"name": source_of(known, kind).get("name", "")}
    return known
