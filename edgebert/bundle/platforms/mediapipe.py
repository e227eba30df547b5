"""mediapipe: one TFLite file that MediaPipe's TextClassifier and TextEmbedder take on Android, iOS, the web and in Python.

MediaPipe brings its own tokenizer, which is BERT's lower-case one by ASCII's rules: on text with accents or ideographs it gives
other ids than the model was trained with. edgebert's own packages do not; this one serves apps that use MediaPipe already.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebert.bundle.card import model_card
from edgebert.bundle.manifest import CARD, GOLDEN, TOKENIZER, Manifest, read_manifest
from edgebert.bundle.platforms import Platform
from edgebert.bundle.platforms._mediapipe_file import write_file
from edgebert.bundle.ports.assets import LICENCES, write_licences, write_template
from edgebert.bundle.sbom import Library
from edgebert.errors import RequestError
from edgebert.tasks import find_task

TEMPLATES = Path(__file__).parent / "templates" / "mediapipe"
VECTORS = ("embed", "similarity")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    return (
        ""
        if NAME.fullmatch(name)
        else "a file's name here has letters, digits, dashes and underscores, such as intents"
    )


def default_name(words: Sequence[str]) -> str:
    return "-".join(words)


def write(bundle: Path, folder: Path, name: str) -> None:
    manifest = read_manifest(bundle)
    task = find_task(manifest["task"]).configured(manifest["task_options"])
    decoder = task.decoder(manifest["labels"]) or {}
    kind, several = decoder.get("kind"), bool(decoder.get("multi_label"))
    if kind not in ("classify", *VECTORS):
        what = f"MediaPipe classifies a text or gives its vector, and has nothing for the task {task.name}"
        raise RequestError(what, where="--platform", hint="--platform android and --platform ios run it.")
    if broken := [label for label in manifest["labels"] if "\n" in label or "\r" in label]:
        raise RequestError(
            f"a label with a line break cannot stand in a list of lines: {broken[0]!r}", where=str(bundle)
        )
    vocabulary = _vocabulary(bundle / TOKENIZER, manifest)
    last = "" if kind in VECTORS else "sigmoid" if several else "softmax"
    length = write_file(
        bundle / manifest["model"],
        folder / f"{name}.tflite",
        vocabulary=vocabulary,
        labels=manifest["labels"],
        last=last,
    )
    shutil.copyfile(bundle / GOLDEN, folder / GOLDEN)
    (folder / CARD).write_text(model_card(name, manifest, task), encoding="utf-8")
    write_licences(folder / LICENCES, manifest)
    values = {
        "NAME": name,
        "LENGTH": str(length),
        "TASK": "TextEmbedder" if kind in VECTORS else "TextClassifier",
        "CALL": "embed" if kind in VECTORS else "classify",
    }
    for template in sorted(TEMPLATES.iterdir()):
        write_template(template, folder / template.name.removesuffix(".txt"), values)


def _vocabulary(path: Path, manifest: Manifest) -> list[str]:
    """The tokens in the order of their ids. Raises RequestError for a tokenizer that MediaPipe does not have."""
    parts = json.loads(path.read_text(encoding="utf-8"))
    wrong = next((what for what, holds in _needs(parts, manifest).items() if not holds), "")
    if wrong:
        what = f"MediaPipe has BERT's lower-case WordPiece alone, and this tokenizer differs: {wrong}"
        raise RequestError(what, where=str(path), hint="--platform android and --platform ios copy the tokenizer.")
    return [token for token, _ in sorted(parts["model"]["vocab"].items(), key=lambda item: item[1])]


def _needs(parts: Mapping[str, Any], manifest: Manifest) -> dict[str, bool]:
    """What the tokenizer has to be, in words, and whether it is."""
    model, normalizer = parts["model"], parts["normalizer"] or {}
    vocabulary = model.get("vocab")
    words = vocabulary if isinstance(vocabulary, dict) else {}
    return {
        f"its model is {model['type']}": model["type"] == "WordPiece",
        "its continuing tokens do not begin with ##": model.get("continuing_subword_prefix") == "##",
        "it does not lower the case": normalizer.get("type") == "BertNormalizer" and bool(normalizer.get("lowercase")),
        "it splits words in another way": (parts["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer",
        "it lacks [CLS], [SEP] or [UNK]": {"[CLS]", "[SEP]", "[UNK]"} <= words.keys(),
        "its ids are not numbered without a gap": sorted(words.values()) == list(range(len(words))),
        "it has tokens beside its vocabulary": all(item["content"] in words for item in parts["added_tokens"]),
        f"its padding has the id {manifest['pad_id']}, not 0": manifest["pad_id"] == 0,
    }


PLATFORM = Platform(
    name="mediapipe",
    title="a file for MediaPipe's text tasks",
    formats=("tflite",),
    prove="python check.py",
    check_name=check_name,
    default_name=default_name,
    write=write,
    requires=lambda manifest: [Library("pypi", "mediapipe")],
)
