"""Whether all that a bundle says twice is said alike, and is what its golden vectors need: all that can be told without
running the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebert.bundle.engine import Engine, open_engine
from edgebert.bundle.golden import DATA, edge_cases, edge_cases_of_schema_2, padded_length, read_golden
from edgebert.bundle.manifest import (
    AGAIN,
    GOLDEN,
    MOST_BYTES,
    README,
    SBOM,
    SCHEMA,
    TOKENIZER,
    damage,
    damage_note,
    digest_of,
    is_texts,
    read_digest,
    read_manifest,
    texts_sha256,
)
from edgebert.bundle.sbom import of_the_model
from edgebert.bundle.strict_json import parse, read_text
from edgebert.converters import CONVERTERS
from edgebert.errors import DataError, EdgebertError
from edgebert.runtime.specs import INPUT_IDS, OutputSpec, file_outputs

if TYPE_CHECKING:
    from edgebert.bundle.manifest import Manifest
    from edgebert.runtime.session import Session

MOST_LISTED = 3  # contradictions in one message

Port = tuple[Sequence[Any], OutputSpec]  # an output's shape in the manifest, and its axes


def tolerance(precision: str) -> dict[str, float]:
    """How far outputs may lie from the golden ones on another machine: `absolute`, or `relative` to the text's largest.

    Float kernels of different CPUs sum in different orders: differences near 1e-5 in the logits, so 1e-3 is ample and
    still far below any that a wrong weight makes. Dynamic int8 rounds every activation to 1 of 255 steps: a difference
    of 1e-6 before the rounding can become a whole step, 0.4 % of the tensor's range, and a few layers add several up.
    5 % leaves room for that; wrong ids or a wrong file differ by the size of the logits themselves.
    """
    return {"absolute": 1e-3, "relative": 0.0 if precision == "fp32" else 0.05}


def open_bundle(folder: Path) -> tuple[Manifest, Engine]:
    """The manifest and the loaded files of a bundle, once its files are whole and nothing in it contradicts another.

    Raises:
        RequestError: there is no readable manifest, or no runtime for the model here.
        DataError: a file is missing, was changed, is not listed, or says something else than another.
    """
    manifest = read_manifest(folder)
    if wrong := damage(folder, manifest):
        raise DataError(damage_note(wrong), where=str(folder), hint=AGAIN)
    engine = open_engine(folder, manifest)
    try:
        _refuse(_contradictions(folder, manifest, engine), str(folder))
    except EdgebertError:
        raise
    except Exception as error:  # of a library that reads what was edited
        raise DataError(f"its files cannot be compared: {type(error).__name__}: {error}", where=str(folder)) from None
    return manifest, engine


def _refuse(problems: Iterable[str], where: str) -> None:
    if results := list(islice(problems, MOST_LISTED)):
        raise DataError("; ".join(results), where=where, hint=AGAIN)


def _contradictions(folder: Path, manifest: Manifest, engine: Engine) -> Iterator[str]:
    yield from _of_the_model(manifest, engine)
    if manifest["task"] != engine.task.name or manifest["task_options"] != engine.task.options():
        yield f"the task and its options are not as {engine.task.name} has them: {manifest['task_options']}"
    if manifest["tolerance"] != tolerance(manifest["precision"]):
        yield f"the tolerance is {manifest['tolerance']}, of {manifest['precision']} it is {tolerance(manifest['precision'])}"
    if manifest["schema"] < SCHEMA:
        return
    token = engine.tokenizer.id_to_token(manifest["pad_id"])
    if token != manifest["pad_token"]:
        yield f"the pad id {manifest['pad_id']} is {token!r} in the tokenizer, {manifest['pad_token']!r} in the manifest"
    texts = [line["texts"] for line in read_golden(folder / GOLDEN)]
    if len(texts) != manifest["golden"]["n_texts"]:
        yield f"{GOLDEN} has {len(texts)} texts, and not the {manifest['golden']['n_texts']} that the manifest tells of"
    elif texts_sha256(texts) != manifest["golden"]["sha256"]:
        yield f"{GOLDEN} has other texts, or in another order, than the manifest tells of"
    if SBOM in manifest["files"]:
        yield from _of_the_bill(folder / SBOM, manifest)


def _of_the_bill(path: Path, manifest: Manifest) -> Iterator[str]:
    """Whether the bill of materials lists the files of the manifest, with their sums."""
    bill = parse(read_text(path, MOST_BYTES), str(path))
    listed = {item["name"]: item["hashes"][0]["content"] for item in bill["metadata"]["component"]["components"]}
    ours = {name: facts["sha256"] for name, facts in of_the_model(manifest).items()}
    if wrong := sorted(name for name in {*ours, *listed} if listed.get(name) != ours.get(name)):
        yield f"{SBOM} says something else of {wrong[0]} than the manifest"


def check_digest(folder: Path, manifest: Manifest) -> str:
    """The digest that the README ends with; "" in a bundle of schema 2. It tells of edits that nothing else shows.

    Raises:
        DataError: it is not that of what the manifest and the README say.
    """
    page, digest = read_digest(folder)
    if digest != (digest_of(manifest, page) if manifest["schema"] >= SCHEMA else ""):
        what = f"manifest.json, or what {README} says, is not what the digest at the end of {README} was made of"
        raise DataError(what, where=str(folder), hint=AGAIN)
    return digest


def _of_the_model(manifest: Manifest, engine: Engine) -> Iterator[str]:
    """Labels, inputs, outputs, precision and pad id against what the model file itself says."""
    labels, session = list(engine.labels), engine.session
    if manifest["labels"] != labels:
        yield f"the manifest's labels are not those of labels.json: {_first_difference(manifest['labels'], labels)}"
    if session.labels and list(session.labels) != labels:
        yield f"the model's labels are not those of labels.json: {_first_difference(session.labels, labels)}"
    ports = json.loads(json.dumps(session.signature()))
    for side, declared, real in zip(("takes", "gives"), (manifest["inputs"], manifest["outputs"]), ports, strict=True):
        if declared != real:
            yield f"the model {side} {_ports(real)}, the manifest says {_ports(declared)}"
    if manifest["precision"] not in ("fp32", *CONVERTERS.get(manifest["format"]).precisions):
        yield f"{manifest['format']} has no precision {manifest['precision']!r}"
    description, facts = metadata_of(session), {"precision": manifest["precision"], "pad_id": manifest["pad_id"]}
    for name in ("precision", "pad_id"):
        if name in description and description[name] != facts[name]:
            yield f"the model's {name} is {description[name]}, the manifest says {facts[name]}"
    tokenizer = manifest["files"][TOKENIZER]["sha256"]
    if description.get("tokenizer_sha256", tokenizer) != tokenizer:
        yield f"the tokenizer inside the model file is not {TOKENIZER}"
    if description.get("max_length", manifest["max_length"]) < manifest["max_length"]:
        yield f"the model takes {description['max_length']} tokens, the manifest says {manifest['max_length']}"
    if manifest["schema"] >= SCHEMA and manifest["model_metadata"] != description:
        yield "the model file does not say of itself what it said when it was packaged"


def metadata_of(session: Session) -> dict[str, Any]:
    """What a model file says of itself, labels included, as JSON types."""
    return {"labels": list(session.labels), **session.metadata}


def _first_difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    return f"{len(ours)} against {len(theirs)}" if at is None else f"number {at} is {ours[at]!r} against {theirs[at]!r}"


def _ports(ports: Any) -> str:
    try:
        return ", ".join(f"{port['name']} {port['type']} ({', '.join(map(str, port['shape']))})" for port in ports)
    except (TypeError, KeyError):
        return ascii(ports)[:80]


# ---------------------------------------------------------------- golden vectors


def read_vectors(folder: Path, manifest: Manifest, engine: Engine) -> list[dict[str, Any]]:
    """The golden lines, each of the form that its check reads, with every text that the tokenizer and the task ask for.

    Raises DataError, with the line's place.
    """
    path, new = folder / GOLDEN, manifest["schema"] >= SCHEMA
    specs = file_outputs(manifest["inputs"], manifest["outputs"])
    outputs = {port["name"]: (port["shape"], spec) for port, spec in zip(manifest["outputs"], specs, strict=True)}
    lines = list(read_golden(path))
    for number, line in enumerate(lines):
        if wrong := next(_wrong_parts(line, engine, outputs, number if new else None), None):
            raise DataError(wrong, where=f"{path}:{number + 1}", hint=AGAIN)
    texts = {tuple(line["texts"]): line.get("class") for line in lines}
    if len(texts) < len(lines):
        raise DataError("a text stands there twice", where=str(path), hint=AGAIN)
    wanted: Mapping[tuple[str, ...], str | None]
    wanted = edge_cases(engine) if new else dict.fromkeys(edge_cases_of_schema_2(engine))
    for item, name in wanted.items():
        if item not in texts:
            what = f"the text of the class '{name}' is not there" if new else f"the text {item[-1][:40]!r} is not there"
            raise DataError(what, where=str(path), hint=AGAIN)
    for number, (item, name) in enumerate(texts.items(), 1):
        if new and name not in (DATA, wanted.get(item, DATA)):
            what = f"the class is {name!r}, of this text it is '{wanted.get(item, DATA)}'"
            raise DataError(what, where=f"{path}:{number}", hint=AGAIN)
    return lines


def _wrong_parts(
    line: Mapping[str, Any], engine: Engine, outputs: Mapping[str, Port], number: int | None
) -> Iterator[str]:
    """What of a line is not of the right form. `number` is its place from 0; None in a bundle of schema 2."""
    new = {"class", "settings"} if number is not None else set()
    if odd := {"texts", "words", "offsets", "windows", "answer", *new} ^ line.keys():
        yield f"the line {'has' if min(odd) in line else 'lacks'} {min(odd)}"
    if len(line["texts"]) != len(engine.task.inputs):
        yield f"the line has {len(line['texts'])} texts, {engine.task.name} reads {len(engine.task.inputs)}"
    if number is not None and line["settings"] != engine.settings():
        yield f"its settings are {line['settings']}, the bundle's are {engine.settings()}"
    if not is_texts(line["words"]) or not _are_places(line["offsets"]) or not isinstance(line["windows"], list):
        yield "words, offsets or windows are not lists of texts, places and windows"
    for i, window in enumerate(line["windows"]):
        named = {INPUT_IDS, "type_ids", "words", "outputs", *(("spans",) if new else ())}
        if not isinstance(window, dict) or window.keys() - {"padded"} != named:
            yield f"window {i} has not {', '.join(sorted(named))}"
        ids = window[INPUT_IDS]
        if not all(_are_ints(window[name]) for name in (INPUT_IDS, "type_ids", "words")):
            yield f"window {i}: ids, types or words are no list of whole numbers"
        if new and not _are_places(window["spans"]):
            yield f"window {i}: spans are no list of places"
        if wrong := _wrong_outputs(window["outputs"], len(ids), outputs):
            yield f"window {i}: {wrong}"
        length = padded_length(number, len(ids), engine.max_length) if number is not None and i == 0 else None
        padded = window.get("padded", {"length": None})
        if not isinstance(padded, dict) or padded.get("length") != length:
            yield f"window {i} is not run padded to {length} tokens" if length else f"window {i} is padded"
        if length and (wrong := _wrong_outputs(padded.get("outputs"), len(ids), outputs)):
            yield f"window {i} padded: {wrong}"


def _wrong_outputs(given: object, n_tokens: int, outputs: Mapping[str, Port]) -> str:
    """What is wrong with outputs by name, each without the batch axis of its shape in the manifest."""
    if not isinstance(given, dict) or given.keys() != outputs.keys():
        return f"the outputs are not {', '.join(outputs)}"
    for name, (shape, spec) in outputs.items():
        try:
            array = np.array(given[name])
        except ValueError:  # rows of different lengths
            return f"{name} is no array"
        fixed = [size if isinstance(size, int) else None for size in shape[1:]]
        if fixed and spec.per_token:
            fixed[0] = n_tokens
        sizes = zip(array.shape, fixed, strict=False)
        if array.dtype.kind not in "iuf" or array.ndim != len(fixed) or any(b not in (a, None) for a, b in sizes):
            return f"{name} has the shape {array.shape}, not {tuple(fixed)}"
    return ""


def _are_ints(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _are_places(value: object) -> bool:
    return isinstance(value, list) and all(_are_ints(item) and len(item) == 2 for item in value)
