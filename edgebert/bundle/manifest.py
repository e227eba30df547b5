"""manifest.json of a bundle: what the files are, and whether they are still what they were."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from edgebert.bundle.strict_json import kind_of, parse, read_text
from edgebert.errors import DataError, RequestError, control_in
from edgebert.files import sha256_file

MANIFEST, TOKENIZER, LABELS, GOLDEN, README = (
    "manifest.json",
    "tokenizer.json",
    "labels.json",
    "golden.jsonl",
    "README.md",
)
CARD, SBOM = "MODEL_CARD.md", "sbom.cdx.json"
BESIDE_MODEL = (GOLDEN, LABELS, README, TOKENIZER)
SCHEMA = 3
OLDER = 2  # is read too
AGAIN = "Copy the whole bundle again, or make it anew with edgebert fit."
MOST = 1 << 22  # tokens of a window, and tokens of a vocabulary
PAGES = (CARD, SBOM)  # that bundles of schema 3 have, but for the first of them
MOST_BYTES = 1 << 24  # of a manifest, of labels, of a README
DIGEST = "\nDigest of this page and of what `manifest.json` says: "  # ends README.md, followed by 64 digits


class ListedFile(TypedDict):
    """What the manifest says of a file beside it."""

    sha256: str
    size_bytes: int


class GoldenFacts(TypedDict):
    """What the manifest says of the texts of the golden vectors."""

    n_texts: int
    sha256: str


class Manifest(TypedDict, total=False):
    """manifest.json. `golden`, `pad_token` and `model_metadata` came with schema 3."""

    schema: int
    task: str
    task_options: dict[str, object]
    format: str
    precision: str
    model: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    max_length: int
    pad_id: int
    labels: list[str]
    tolerance: dict[str, float]
    facts: dict[str, Any]
    files: dict[str, ListedFile]
    golden: GoldenFacts
    pad_token: str | None
    model_metadata: dict[str, object]


FIELDS: dict[str, type] = {
    "schema": int, "task": str, "task_options": dict, "format": str, "precision": str, "model": str, "inputs": list,
    "outputs": list, "max_length": int, "pad_id": int, "labels": list, "tolerance": dict, "facts": dict, "files": dict,
}  # fmt: skip
NEW_FIELDS: dict[str, type] = {"golden": dict, "pad_token": object, "model_metadata": dict}  # of schema 3
_SHA256 = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"[^/\\:\x00-\x1f]+(/[^/\\:\x00-\x1f]+)*")


def find_bundle(path: Path) -> Path:
    """The bundle that a path is, or that a run has. Raises RequestError where there is none."""
    for folder in (path, path / "bundle"):
        if os.path.lexists(folder / MANIFEST) and not (folder / "request.toml").exists():  # a run has a manifest too
            return folder
    what = "this run has no bundle" if (path / "request.toml").exists() else "there is no bundle here"
    hint = "Give a bundle or a run folder that has one; edgebert runs lists the runs, edgebert fit makes a bundle."
    raise RequestError(what, where=str(path), hint=hint)


def describe_files(folder: Path) -> dict[str, ListedFile]:
    """Size and sha256 of every file of the folder but the manifest, by name."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)
    return {
        name: {"sha256": sha256_file(folder / name), "size_bytes": (folder / name).stat().st_size} for name in names
    }


# ---------------------------------------------------------------- reading


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle, whose fields all have their types and name nothing outside of the folder.

    Raises RequestError when there is none or it is not one that this edgebert reads.
    """
    path = folder / MANIFEST
    try:
        manifest = parse(read_text(path, MOST_BYTES), str(path))
    except DataError as error:
        what = f"the manifest cannot be read: {error.what}"
        raise RequestError(what, where=str(path), hint=AGAIN) from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if type(schema) is not int or schema not in (OLDER, SCHEMA):
        newer = isinstance(schema, int) and schema > SCHEMA
        what = f"this is no manifest of schema {OLDER} or {SCHEMA}, which this edgebert reads"
        raise RequestError(what, where=str(path), hint="A newer edgebert made it: install that." if newer else AGAIN)
    if wrong := next(_wrong_fields(manifest), None):
        raise RequestError(f"the manifest is damaged: {wrong}", where=str(path), hint=AGAIN)
    return cast("Manifest", manifest)


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of labels.json. Raises DataError where it is no list of texts."""
    labels = parse(read_text(path, MOST_BYTES), str(path))
    if not is_texts(labels):
        raise DataError("this is no list of texts", where=str(path), hint=AGAIN)
    if label := control_in(labels):
        raise DataError(f"the label '{label}' holds a control character", where=str(path), hint=AGAIN)
    return tuple(labels)


def is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _wrong_fields(manifest: Mapping[str, Any]) -> Iterator[str]:
    new = manifest["schema"] == SCHEMA
    if not new and (mixed := sorted(NEW_FIELDS.keys() & manifest.keys())):
        yield f"it says schema {OLDER}, which has no {mixed[0]}"
    for name, kind in (FIELDS | (NEW_FIELDS if new else {})).items():
        if name not in manifest:
            yield f"it has no {name}"
        elif not isinstance(manifest[name], kind) or isinstance(manifest[name], bool):
            yield f"its {name} is {_short(manifest[name])}"
    if not is_texts(manifest["labels"]):
        yield "its labels are no list of texts"
    for name, least in (("max_length", 1), ("pad_id", 0)):
        if not least <= manifest[name] <= MOST:
            yield f"its {name} is {_short(manifest[name])}"
    if new and not (type(manifest["golden"].get("n_texts")) is int and _is_sha256(manifest["golden"].get("sha256"))):
        yield "its golden lacks n_texts or sha256"
    yield from _wrong_names(manifest)


def _wrong_names(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the listed files, and with which are listed."""
    model, files = manifest["model"], manifest["files"]
    seen: set[str] = set()
    for name, facts in files.items():
        if not _is_inside(name) or name.casefold() in seen or name == MANIFEST:
            yield f"it lists the file {_short(name)}, which is outside, listed twice or itself"
        seen.add(name.casefold())
        if not isinstance(facts, dict) or facts.keys() != {"sha256", "size_bytes"} or not _is_sha256(facts["sha256"]):
            yield f"what it says of {name} is no sha256 and size_bytes"
        elif type(facts["size_bytes"]) is not int:
            yield f"the size of {name} is {_short(facts['size_bytes'])}"
    if not _is_inside(model) or "/" in model or not model.startswith(f"model.{manifest['precision']}"):
        yield f"the model is called {_short(model)}, not model.{manifest['precision']} with its format's ending"
    of_model = model_files(cast("Manifest", manifest)).keys()
    for name in sorted({*BESIDE_MODEL} - files.keys()):
        yield f"it does not list {name}"
    if not of_model:
        yield f"it does not list the model {model}"
    for name in sorted(files.keys() - of_model - {*BESIDE_MODEL, *(PAGES if manifest["schema"] == SCHEMA else ())}):
        yield f"it lists {name}, which is no part of a bundle"


def model_files(manifest: Manifest) -> dict[str, ListedFile]:
    """The model's file, or the files of a model that is a folder, by name."""
    model = manifest["model"]
    return {name: facts for name, facts in manifest["files"].items() if name == model or name.startswith(f"{model}/")}


def _is_inside(name: str) -> bool:
    """Whether it is a relative path of plain names, the same on every system."""
    return bool(_NAME.fullmatch(name)) and not {".", ".."} & set(name.split("/"))


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


# ---------------------------------------------------------------- files against it


def damage(folder: Path, manifest: Manifest) -> dict[str, str]:
    """What is wrong with each file that is not as the manifest says, by name, with all that it does not list; empty
    when the folder holds the listed files, whole, and nothing else. Raises DataError where the folder cannot be read."""
    try:
        folders = {part for name in manifest["files"] for part in _parents(name)}
        results = dict(_walk(folder, folders))
        listed = {name: _damage_of(folder / name, results, name, facts) for name, facts in manifest["files"].items()}
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(error.filename or folder)) from None
    stray = {
        name: "is not listed in the manifest: remove it" if what in ("a file", "a folder") else f"is {what}"
        for name, what in results.items()
        if name not in manifest["files"] and name != MANIFEST and not (what == "a folder" and name in folders)
    }
    return {name: what for name, what in listed.items() if what} | stray


def _walk(folder: Path, folders: set[str]) -> Iterator[tuple[str, str]]:
    """Name and kind of everything in a folder and in those of its `folders`; links are not followed."""
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        for path in sorted((folder / parent).iterdir()):
            name = path.relative_to(folder).as_posix()
            kind = kind_of(path.lstat().st_mode)
            yield name, kind
            if kind == "a folder" and name in folders:
                waiting.append(name)


def _damage_of(path: Path, results: Mapping[str, str], name: str, facts: ListedFile) -> str:
    if name not in results:
        return "is missing"
    if results[name] != "a file":
        return f"is {results[name]}, not a file"
    size = path.stat().st_size
    if size != facts["size_bytes"]:
        return f"has {size} bytes, the manifest says {facts['size_bytes']}"
    return "" if sha256_file(path) == facts["sha256"] else "has another sha256 than the manifest says"


def _parents(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


def damage_note(wrong: Mapping[str, str]) -> str:
    """The first files of `damage`, in one line."""
    message = "; ".join(f"{ascii(name).strip(chr(39))} {what}" for name, what in list(wrong.items())[:4])
    return message + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else "")


# ---------------------------------------------------------------- what binds them


def texts_sha256(texts: list[list[str]]) -> str:
    """Of the golden texts, in their order."""
    return hashlib.sha256(json.dumps(texts, separators=(",", ":")).encode()).hexdigest()


def digest_of(manifest: Manifest, page: str) -> str:
    """The sha256 of all that the manifest says and of the README's text above its digest.

    Left out are the sha256 of the README, which holds the digest, and of the golden vectors, which are proven by running
    them: their texts are in (`golden.sha256`).
    """
    files = {name: facts for name, facts in manifest["files"].items() if name not in (README, GOLDEN)}
    description = json.dumps({**manifest, "files": files}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{description}\n{page}".encode()).hexdigest()


def read_digest(folder: Path) -> tuple[str, str]:
    """The README's text above its digest, and the digest; "" where there is none. Raises DataError where it is no text."""
    text = read_text(folder / README, MOST_BYTES)
    page, mark, message = text.rpartition(DIGEST)
    return (page, message.strip("`\n")) if mark else (text, "")
