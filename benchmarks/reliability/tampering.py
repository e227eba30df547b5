"""Ways to damage or edit a bundle: each is a function of its folder. What they are for: `tampered_bundles`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgebert.bundle.manifest import (
    DIGEST,
    FIELDS,
    NEW_FIELDS,
    SBOM,
    describe_files,
    digest_of,
    read_digest,
    texts_sha256,
)
from edgebert.bundle.strict_json import write_json
from edgebert.files import sha256_file

Edit = Callable[[Path], None]
PLAIN, FILES, DIGESTED = "as it is", "sizes and sha256 updated", "digest updated too"
LEVELS = (PLAIN, FILES, DIGESTED)
WITHIN = "golden: outputs moved by 0.0005, within the tolerance"


def seal(folder: Path, level: str) -> None:
    """Makes the manifest agree with the edited files: with sizes and sha256 alone, or with the digest and the texts too."""
    if level == PLAIN or not (folder / "manifest.json").is_file() or not (folder / "golden.jsonl").is_file():
        return
    try:
        manifest = read(folder)
        _agree(folder / SBOM)
        if level == DIGESTED:
            texts = [json.loads(line)["texts"] for line in golden_text(folder).splitlines()]
            manifest["golden"] = {"n_texts": len(texts), "sha256": texts_sha256(texts)}
            manifest["files"] = describe_files(folder)
            page, _ = read_digest(folder)
            (folder / "README.md").write_text(f"{page}{DIGEST}`{digest_of(manifest, page)}`\n", encoding="utf-8")
        write(folder, manifest | {"files": describe_files(folder)})
    except (ValueError, KeyError, TypeError, OSError, AttributeError, RecursionError):
        return  # so damaged that nobody can make it agree
    except Exception as error:
        if type(error).__module__ != "edgebert.errors":
            raise


def _agree(path: Path) -> None:
    """Makes the bill of materials list the files as they are now."""
    if path.is_file():
        bill = json.loads(path.read_text(encoding="utf-8"))
        for item in bill["metadata"]["component"]["components"]:
            if (path.parent / item["name"]).is_file():
                item["hashes"][0]["content"] = sha256_file(path.parent / item["name"])
        write_json(path, bill)


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def write(folder: Path, manifest: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def golden_text(folder: Path) -> str:
    return (folder / "golden.jsonl").read_text(encoding="utf-8")


# ---------------------------------------------------------------- manifest


def field(name: str, change: Callable[[Any], Any]) -> Edit:
    def edit(folder: Path) -> None:
        manifest = read(folder)
        manifest[name] = change(manifest[name])
        write(folder, manifest)

    return edit


def without(name: str) -> Edit:
    def edit(folder: Path) -> None:
        manifest = read(folder)
        del manifest[name]
        write(folder, manifest)

    return edit


def raw(name: str, change: Callable[[str], str]) -> Edit:
    """Of a file, its text."""

    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return edit


def listed(change: Callable[[dict[str, Any]], None]) -> Edit:
    """Of the manifest, its list of files. It is not sealed over, for it is edited after the files were described."""

    def edit(folder: Path) -> None:
        manifest = read(folder)
        change(manifest["files"])
        write(folder, manifest)

    return edit


EDITED: dict[str, Callable[[Any], Any]] = {
    "schema": lambda v: 2,
    "task": lambda v: "tag" if v == "ner" else "ner",
    "task_options": lambda v: {**v, "class_weighting": True},
    "format": lambda v: "tflite",
    "precision": lambda v: "int8" if v == "fp32" else "fp32",
    "model": lambda v: "model.onnx",
    "inputs": lambda v: v[:-1],
    "outputs": lambda v: [v[0] | {"name": "scores"}, *v[1:]],
    "max_length": lambda v: v - 1,
    "pad_id": lambda v: v + 1,
    "labels": lambda v: [*v[1:], *v[:1]] if v else ["a"],
    "tolerance": lambda v: {"absolute": 10.0, "relative": 1.0},
    "facts": lambda v: {**v, "score": 0.99},
    "golden": lambda v: {**v, "n_texts": v["n_texts"] - 1},
    "pad_token": lambda v: "[MASK]",
    "model_metadata": lambda v: {**v, "precision": "int4"},
}


def manifest_edits() -> Iterator[tuple[str, Edit]]:
    for name in FIELDS | NEW_FIELDS:
        yield f"manifest: {name} removed", without(name)
        yield f"manifest: {name} of another type", field(name, lambda v: [str(v)] if not isinstance(v, list) else "x")
        if name in EDITED:
            yield f"manifest: {name} edited", field(name, EDITED[name])
    yield "manifest: a label renamed", field("labels", lambda v: [*v[:-1], "renamed"])
    yield "manifest: numbers as texts", field("max_length", str)
    yield "manifest: max_length 10^9", field("max_length", lambda v: 10**9)
    yield "manifest: pad_id true", field("pad_id", lambda v: True)
    yield "manifest: precision fp16", field("precision", lambda v: "fp16")
    yield "manifest: tolerance tightened", field("tolerance", lambda v: {"absolute": 1e-4, "relative": 0.0})
    yield "manifest: tolerance not a number", raw("manifest.json", lambda text: text.replace("0.001", "NaN", 1))
    yield "manifest: an option that there is not", field("task_options", lambda v: {**v, "nonsense": 1})
    yield "manifest: teacher renamed", field("facts", lambda v: {**v, "teacher": "somebody's"})
    yield "manifest: empty", raw("manifest.json", lambda text: "")
    yield "manifest: a list", raw("manifest.json", lambda text: "[]")
    yield "manifest: cut short", raw("manifest.json", lambda text: text[: len(text) // 2])
    yield "manifest: a name twice", raw("manifest.json", lambda text: text.replace("{", '{"pad_id": 3, ', 1))
    yield "manifest: nested 100,000 deep", raw("manifest.json", lambda text: "[" * 100_000)
    yield "manifest: half of a surrogate pair", field("facts", lambda v: {**v, "note": "\ud800"})


# ---------------------------------------------------------------- golden vectors


def line(number: int, change: Callable[[dict[str, Any]], Any]) -> Edit:
    """Of the golden vectors, one line as JSON; `change` edits it in place or gives another."""

    def edit(folder: Path) -> None:
        lines = golden_text(folder).splitlines()
        item = json.loads(lines[number])
        lines[number] = json.dumps(change(item) or item)
        (folder / "golden.jsonl").write_text("".join(f"{text}\n" for text in lines))

    return edit


def lines(change: Callable[[list[str]], list[str]]) -> Edit:
    return raw("golden.jsonl", lambda text: "".join(f"{item}\n" for item in change(text.splitlines())))


def first_output(change: Callable[[float], Any], *, padded: bool = False) -> Callable[[dict[str, Any]], None]:
    """Changes every number of the first window's outputs."""

    def walk(value: Any) -> Any:
        return [walk(item) for item in value] if isinstance(value, list) else change(value)

    def edit(one: dict[str, Any]) -> None:
        holder = one["windows"][0]["padded"] if padded else one["windows"][0]
        holder["outputs"] = {name: walk(value) for name, value in holder["outputs"].items()}

    return edit


def _set(one: dict[str, Any], name: str, value: Any) -> None:
    one[name] = value


def _window(name: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda item: _set(item["windows"][0], name, value(item["windows"][0][name]))


def golden_edits() -> Iterator[tuple[str, Edit]]:
    yield "golden: empty", lines(lambda all_: [])
    yield "golden: cut inside a line", raw("golden.jsonl", lambda text: text[:-200])
    yield "golden: last line dropped", lines(lambda all_: all_[:-1])
    yield "golden: an edge text dropped", lines(lambda all_: all_[:9] + all_[10:])
    yield "golden: a line of the data dropped", lines(lambda all_: all_[1:])
    yield "golden: all edge texts dropped", lines(lambda all_: [item for item in all_ if '"class":"data"' in item])
    yield "golden: a line twice", lines(lambda all_: [*all_, all_[0]])
    yield "golden: lines in another order", lines(lambda all_: all_[::-1])
    yield "golden: a blank line", lines(lambda all_: [*all_[:3], "", *all_[3:]])
    yield "golden: not JSON", lines(lambda all_: ["x", *all_[1:]])
    yield "golden: nested 100,000 deep", lines(lambda all_: ["[" * 100_000, *all_[1:]])
    yield "golden: a name twice", lines(lambda all_: [all_[0].replace("{", '{"answer":[],', 1), *all_[1:]])
    yield "golden: a word changed", line(0, lambda item: _set(item, "texts", ["zebra", *item["texts"][1:]]))
    yield (
        "golden: a word in upper case",
        line(0, lambda entry: _set(entry, "texts", [t.upper() for t in entry["texts"]])),
    )
    yield "golden: an id changed", line(0, _window("input_ids", lambda v: [*v[:1], v[1] + 1, *v[2:]]))
    yield "golden: a type changed", line(0, _window("type_ids", lambda v: [1 - v[0], *v[1:]]))
    yield "golden: ids as texts", line(0, _window("input_ids", lambda v: [str(element) for element in v]))
    yield "golden: an id true", line(0, _window("type_ids", lambda v: [False, *v[1:]]))
    yield "golden: a word's owner moved", line(0, _window("words", lambda v: [*v[1:], *v[:1]] if v else [0]))
    yield "golden: a place moved", line(0, lambda element: _set(element, "offsets", [[0, 1], *element["offsets"][1:]]))
    yield "golden: a span moved", line(0, _window("spans", lambda v: [*v[:-2], [1, 2], [3, 4]]))
    yield "golden: outputs zeroed", line(0, first_output(lambda v: 0.0))
    yield "golden: outputs times 1000", line(0, first_output(lambda v: 1000 * v))
    yield "golden: outputs moved by 0.5", line(2, first_output(lambda v: v + 0.5))
    yield WITHIN, line(0, first_output(lambda v: v + 0.0005))
    yield "golden: an output NaN", line(0, first_output(lambda v: float("nan")))
    yield "golden: an output infinite", line(0, first_output(lambda v: float("inf")))
    yield "golden: outputs as texts", line(0, first_output(str))
    yield (
        "golden: an output renamed",
        line(0, _window("outputs", lambda v: {f"{k}s": each_item for k, each_item in v.items()})),
    )
    yield (
        "golden: outputs of one token",
        line(0, _window("outputs", lambda v: {k: each_item[:1] for k, each_item in v.items()})),
    )
    yield "golden: padded outputs zeroed", line(0, first_output(lambda v: 0.0, padded=True))
    yield "golden: padded left out", line(0, lambda each_item: _set(each_item["windows"][0], "padded", {}))
    yield "golden: padded to another length", line(0, lambda item_2: _set(item_2["windows"][0]["padded"], "length", 13))
    yield "golden: an answer changed", line(1, lambda item_3: _set(item_3, "answer", [{"label": "x", "score": 1.0}]))
    yield "golden: an answer left out", line(1, lambda item_4: {k: v for k, v in item_4.items() if k != "answer"})
    yield "golden: a class renamed", line(12, lambda item_5: _set(item_5, "class", "harmless"))
    yield "golden: a text of the data given a class", line(0, lambda item_6: _set(item_6, "class", "accents"))
    yield "golden: a name more", line(0, lambda item_7: _set(item_7, "more", 1))
    yield "golden: settings edited", line(0, lambda item_8: _set(item_8["settings"], "max_length", 12))
    yield "golden: no windows", line(0, lambda item_9: _set(item_9, "windows", []))
    yield "golden: windows a text", line(0, lambda item_10: _set(item_10, "windows", "x"))
    yield "golden: one window more", line(0, lambda item_11: _set(item_11, "windows", item_11["windows"] * 2))
    yield "golden: a text too many", line(0, lambda item_12: _set(item_12, "texts", [*item_12["texts"], "x"]))


# ---------------------------------------------------------------- labels, tokenizer, files


def _as_json(name: str, change: Callable[[Any], Any]) -> Edit:
    def change_text(text: str) -> str:
        value = json.loads(text)
        if (changed := change(value)) == value:
            raise LookupError("nothing to change")
        return json.dumps(changed or value, ensure_ascii=False)

    return raw(name, change_text)


def _both(*edits: Edit) -> Edit:
    def edit(folder: Path) -> None:
        for item in edits:
            item(folder)

    return edit


def _swapped(first: str, second: str) -> Callable[[dict[str, Any]], None]:
    def change(tokenizer: dict[str, Any]) -> None:
        tokens = tokenizer["model"]["vocab"]
        tokens[first], tokens[second] = tokens[second], tokens[first]

    return change


def other_edits() -> Iterator[tuple[str, Edit]]:
    turned = lambda v: [*v[1:], *v[:1]]  # noqa: E731
    yield "labels.json: in another order", _as_json("labels.json", turned)
    yield "labels.json: one renamed", _as_json("labels.json", lambda v: [*v[:-1], "renamed"])
    yield "labels.json: one more", _as_json("labels.json", lambda v: [*v, "more"])
    yield "labels.json: numbers", _as_json("labels.json", lambda v: [1, 2])
    yield (
        "labels.json and manifest: in another order",
        _both(_as_json("labels.json", turned), field("labels", turned)),
    )
    yield "tokenizer: two tokens swapped", _as_json("tokenizer.json", _swapped("e", "##e"))
    yield "tokenizer: two rare tokens swapped", _as_json("tokenizer.json", _swapped("quartz", "zebra"))
    yield "tokenizer: lower-casing off", _as_json("tokenizer.json", lambda v: v["normalizer"].update(lowercase=False))
    yield "tokenizer: accents kept", _as_json("tokenizer.json", lambda v: v["normalizer"].update(strip_accents=False))
    yield (
        "tokenizer: Chinese not split",
        _as_json("tokenizer.json", lambda v: v["normalizer"].update(handle_chinese_chars=False)),
    )
    yield "tokenizer: no cleaning", _as_json("tokenizer.json", lambda v: v["normalizer"].update(clean_text=False))
    yield (
        "tokenizer: words of 200 letters",
        _as_json("tokenizer.json", lambda v: v["model"].update(max_input_chars_per_word=200)),
    )
    yield "tokenizer: no frame", _as_json("tokenizer.json", lambda v: v.update(post_processor=None))
    cut = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    yield "tokenizer: truncation on", _as_json("tokenizer.json", lambda v: v.update(truncation=cut))
    fill = {"strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]"}  # fmt: skip
    yield "tokenizer: padding on", _as_json("tokenizer.json", lambda v: v.update(padding=fill))
    new = {"id": 4, "content": "denver", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True,
           "special": False}  # fmt: skip
    yield "tokenizer: a token added", _as_json("tokenizer.json", lambda v: v["added_tokens"].append(new))
    yield "tokenizer: another pad token", _as_json("tokenizer.json", _swapped("[PAD]", "z"))
    yield "tokenizer: not one", _as_json("tokenizer.json", lambda v: {"version": "1.0"})
    yield "README: a licence edited", raw("README.md", lambda text: text.replace("licence: ", "licence: MIT, not ", 1))
    yield "README: no digest", raw("README.md", lambda text: text.rpartition("\nDigest")[0])
    yield from file_edits()


def file_edits() -> Iterator[tuple[str, Edit]]:
    for name in ("golden.jsonl", "labels.json", "tokenizer.json", "README.md", "manifest.json"):
        yield f"files: {name} missing", lambda folder, name=name: (folder / name).unlink()
    yield "files: the model missing", lambda folder: (folder / read(folder)["model"]).unlink()
    yield "files: one unlisted", lambda folder: (folder / "notes.txt").write_text("x") and None
    yield "files: a hidden one unlisted", lambda folder: (folder / ".cache").write_text("x") and None
    yield "files: a folder unlisted", lambda folder: (folder / "more").mkdir()
    yield (
        "files: a second model",
        lambda folder: shutil.copy(folder / read(folder)["model"], folder / "model2.onnx") and None,
    )
    yield "files: a symbolic link for the labels", _linked("labels.json")
    yield "files: a symbolic link beside", lambda folder: (folder / "etc").symlink_to("/etc")
    yield "files: a pipe for the golden vectors", _piped("golden.jsonl")
    yield "files: a pipe for the manifest", _piped("manifest.json")
    yield "files: a folder for the tokenizer", _folder("tokenizer.json")
    yield "files: labels not UTF-8", lambda folder: (folder / "labels.json").write_bytes(b'["\xff"]') and None


def list_edits() -> Iterator[tuple[str, Edit]]:
    """Edits of the list of files itself, which updated sizes and sha256 would undo."""
    yield "list: the model not listed", _unlisted_model
    yield "list: golden.jsonl not listed", listed(lambda files: files.pop("golden.jsonl"))
    yield "list: nothing listed", listed(lambda files: files.clear())
    yield "list: a size as text", listed(lambda files: files["README.md"].update(size_bytes="12"))
    yield "list: a sha256 null", listed(lambda files: files["README.md"].update(sha256=None))
    entry = {"sha256": "0" * 64, "size_bytes": 1}
    for name in ("../outside", "/etc/hostname", "a\\b", "Labels.json", "manifest.json", ""):
        yield f"list: {name or 'no name'} listed", listed(lambda files, name=name: files.update({name: entry}))


def _unlisted_model(folder: Path) -> None:
    listed(lambda files: files.pop(read(folder)["model"]))(folder)


def _linked(name: str) -> Edit:
    def edit(folder: Path) -> None:
        elsewhere = folder.with_name(f"{folder.name}-{name}")
        (folder / name).replace(elsewhere)
        (folder / name).symlink_to(elsewhere)

    return edit


def _piped(name: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return edit


def _folder(name: str) -> Edit:
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return edit
