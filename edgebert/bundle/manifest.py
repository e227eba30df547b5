"""manifest.json of a bundle: what the files are, and whether they are still what they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgebert.errors import RequestError
from edgebert.run import sha256_file

MANIFEST, TOKENIZER, LABELS, GOLDEN, README = (
    "manifest.json",
    "tokenizer.json",
    "labels.json",
    "golden.jsonl",
    "README.md",
)
SCHEMA = 2
AGAIN = "Copy the whole bundle again, or make it anew with edgebert fit."


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file of the folder but the manifest, by name."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)
    return {
        name: {"sha256": sha256_file(folder / name), "size_bytes": (folder / name).stat().st_size} for name in names
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle. Raises RequestError when there is none or it is not one that this edgebert reads."""
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError("the manifest cannot be read", where=str(path), hint=f"{error}. {AGAIN}") from None
    needed = {
        "schema",
        "task",
        "task_options",
        "format",
        "precision",
        "model",
        "max_length",
        "pad_id",
        "tolerance",
        "files",
    }
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA or not needed <= manifest.keys():
        raise RequestError(f"this is no manifest of schema {SCHEMA}", where=str(path), hint=AGAIN)
    names = [manifest["model"], *manifest["files"]]
    if outside := [name for name in names if not (folder / name).resolve().is_relative_to(folder.resolve())]:
        raise RequestError(f"the manifest names a file outside the bundle: {outside[0]}", where=str(path), hint=AGAIN)
    return manifest


def damage(folder: Path, manifest: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with each file that is not as the manifest says, by name; empty when all are whole."""
    wrong = {}
    for name, facts in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            wrong[name] = "is missing"
        elif path.stat().st_size != facts["size_bytes"]:
            wrong[name] = f"has {path.stat().st_size} bytes, the manifest says {facts['size_bytes']}"
        elif sha256_file(path) != facts["sha256"]:
            wrong[name] = "has another sha256 than the manifest says"
    return wrong
