"""What every platform's package holds: the model, `tokenizer.json`, `edgebert.json` with all that lies between a text and
its answer, golden vectors, a model card, licences, and the sha256 of every file.

edgebert.json:
    schema, name
    task            name, inputs, labels, and the task's decoder, see `edgebert.tasks.Task.decoder`
    model           file, format, precision, inputs, outputs, sha256, size_bytes
    files           sha256 and size_bytes of the tokenizer and of each file of the model, for whoever opens them
    max_length      of a window, in tokens
    pad_id          what fills an input_ids up where a file has fixed lengths; masks and types are filled with 0
    tolerance       how far outputs may lie from the golden ones
    tokenizer       see `edgebert.bundle.ports.tokenizers`
    words           tables of the rule of `edgebert.data.words`: spaces, marks (peeled off words), ideographs; and combining
                    (marks that belong to the letter before them)

golden.jsonl: the bundle's lines (`edgebert.bundle.golden`), and `tokens`: of each text the ids and offsets of its tokens
without frame, uncut. All offsets are in code points.
"""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.bundle.card import model_card, notice
from edgebert.bundle.engine import open_engine
from edgebert.bundle.golden import read_golden
from edgebert.bundle.manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    TOKENIZER,
    describe_files,
    model_files,
    read_digest,
    read_manifest,
)
from edgebert.bundle.ports.tokenizers import describe
from edgebert.bundle.ports.unicode import where
from edgebert.bundle.strict_json import write_json
from edgebert.data.words import IDEOGRAPHS, is_mark
from edgebert.errors import RequestError, name_list
from edgebert.files import copy_tree, plain
from edgebert.runs.engines import read_proofs
from edgebert.tasks._encode import valid_unicode

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgebert.bundle.manifest import Manifest
    from edgebert.bundle.platforms import Platform
    from edgebert.results import EngineProof
    from edgebert.tasks import Task

SCHEMA = 1
SETTINGS, LICENCES = "edgebert.json", "LICENSES"
KINDS = frozenset(
    {"ner", "tag", "classify", "pair", "similarity", "embed", "qa", "multi"}
)  # of decoders that packages have


def write_assets(
    bundle: Path, folder: Path, name: str, *, golden: Path | None = None, port: bool = True
) -> dict[str, Any]:
    """Writes model, tokenizer.json, edgebert.json, golden.jsonl, MODEL_CARD.md and LICENSES/ into `folder`.

    Args:
        golden: another folder for golden.jsonl, where an application does not carry it.
        port: a tokenizer in another language reads edgebert.json; otherwise it has no `tokenizer`, and every tokenizer will do.

    Returns:
        What edgebert.json holds.

    Raises:
        RequestError: no program but edgebert knows the task, or no port a component of the tokenizer.
    """
    manifest = read_manifest(bundle)
    engine = open_engine(bundle, manifest)
    settings = _settings(manifest, engine.task, engine.tokenizer if port else None, name)
    folder.mkdir(parents=True, exist_ok=True)
    copy_tree(bundle / manifest["model"], folder / manifest["model"])
    if port:
        write_tokenizer(engine.tokenizer, folder / TOKENIZER)
    else:
        shutil.copyfile(bundle / TOKENIZER, folder / TOKENIZER)
    settings["files"] = describe_files(folder)
    write_json(folder / SETTINGS, settings)
    golden = golden or folder
    golden.mkdir(parents=True, exist_ok=True)
    engine.tokenizer.no_padding()
    engine.tokenizer.no_truncation()
    with (golden / GOLDEN).open("w", encoding="utf-8") as stream:
        for line in read_golden(bundle / GOLDEN):
            line["tokens"] = [_tokens(engine.tokenizer, text) for text in line["texts"]]
            stream.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
    (folder / CARD).write_text(model_card(name, manifest, engine.task), encoding="utf-8")
    write_licences(folder / LICENCES, manifest)
    return settings


def write_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """tokenizer.json as the library has it in memory, for readers of JSON that take numbers by their every digit.

    The library does not: of a Unigram score of 17 digits it gets a neighbour in one case of four, and of two ways to cut
    a word that score alike it may take the other one. What it writes itself is read alike by all.
    """
    path.write_text(tokenizer.to_str(), encoding="utf-8")


def write_licences(folder: Path, manifest: Manifest) -> None:
    """The licence of the code, which is edgebert's, and what is known of the data's and the teacher's."""
    own = next(path for path in distribution("edgebert").files or () if path.name == "LICENSE")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(str(own.locate()), folder / "edgebert-Apache-2.0.txt")
    (folder / "NOTICE.md").write_text(notice(manifest), encoding="utf-8")


def _settings(manifest: Manifest, task: Task, tokenizer: Tokenizer | None, name: str) -> dict[str, Any]:
    decoder = task.decoder(manifest["labels"])
    if decoder is None or not _kinds(decoder) <= KINDS:
        what = f"no program but edgebert reads answers of the task {task.name}"
        hint = f"edgebert predict runs it. A package needs a task whose decoder is of the kinds {name_list(sorted(KINDS))}."
        raise RequestError(what, where="--platform", hint=hint)
    facts = manifest["files"]
    model = manifest["model"]
    return {
        "schema": SCHEMA,
        "name": name,
        "task": {"name": task.name, "inputs": task.inputs, "labels": manifest["labels"], **decoder},
        "model": {
            "file": model,
            **{key: manifest[key] for key in ("format", "precision", "inputs", "outputs")},
            **facts.get(model, {}),
        },
        "max_length": manifest["max_length"],
        "pad_id": manifest["pad_id"],
        "tolerance": manifest["tolerance"],
        **({"tokenizer": describe(tokenizer)} if tokenizer else {}),
        "words": word_tables(),
    }


def _kinds(decoder: Mapping[str, Any]) -> set[str]:
    """The kind of a decoder, and those of its heads."""
    return {decoder["kind"], *(head["kind"] for head in decoder.get("heads", ()))}


@cache
def word_tables() -> dict[str, str]:
    """Tables of what words are split at, by the Unicode of this Python."""
    ideographs = re.compile(f"[{IDEOGRAPHS}]")
    return {
        "spaces": where(str.isspace),
        "marks": where(is_mark),
        "ideographs": where(lambda character: bool(ideographs.match(character))),
        "combining": where(lambda character: unicodedata.category(character)[0] == "M"),
    }


def _tokens(tokenizer: Tokenizer, text: str) -> dict[str, object]:
    encoding = tokenizer.encode(valid_unicode(text), add_special_tokens=False)
    return {"ids": encoding.ids, "offsets": encoding.offsets}


def seal(folder: Path, bundle: Path, platform: Platform, name: str) -> None:
    """Writes manifest.json: which bundle this package was made of, the proofs of engines that its run keeps of the model
    file, and the sha256 and size of each of its other files."""
    _, digest = read_digest(bundle)
    manifest = read_manifest(bundle)
    write_json(
        folder / MANIFEST,
        {
            "schema": SCHEMA,
            "platform": platform.name,
            "name": name,
            "edgebert": version("edgebert"),
            "bundle_digest": digest,
            "tolerance": manifest["tolerance"],
            "facts": manifest["facts"],
            **({"engines": plain(proofs_of(bundle, manifest))} if platform.engines else {}),
            "files": describe_files(folder),
        },
    )


def proofs_of(bundle: Path, manifest: Manifest) -> tuple[EngineProof, ...]:
    """What the run that a bundle lies in keeps of engines, of the bundle's very file, without an address of the maker's
    machine. Raises RunError as `read_proofs`."""
    proofs = read_proofs(bundle.parent, tuple(facts["sha256"] for facts in model_files(manifest).values()))
    return tuple(replace(proof, target=proof.target.partition(":")[0]) for proof in proofs)


def fill(text: str, values: Mapping[str, str]) -> str:
    """A template with each `@NAME@` replaced."""
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)


def write_template(source: Path, target: Path, values: Mapping[str, str]) -> None:
    """Writes a template, filled, and the folders that it lies in."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(fill(source.read_text(encoding="utf-8"), values), encoding="utf-8")
