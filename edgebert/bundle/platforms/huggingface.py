"""huggingface: a folder that optimum's ORTModelFor… and transformers.js load as it is, and that can be pushed to a hub."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgebert.bundle.card import card_text, front_matter, pipeline_tag
from edgebert.bundle.manifest import GOLDEN, TOKENIZER, Manifest, read_manifest
from edgebert.bundle.platforms import Platform
from edgebert.bundle.ports.assets import write_licences, write_template
from edgebert.bundle.sbom import Library
from edgebert.bundle.strict_json import write_json
from edgebert.errors import RequestError
from edgebert.files import copy_tree
from edgebert.tasks import find_task

TEMPLATES = Path(__file__).parent / "templates" / "huggingface"
# What optimum calls a model, by the kind of the task's decoder. Neither reads a sentence_embedding that the
# file has pooled itself, nor a file of several heads.
CLASSES = {
    "ner": "ORTModelForTokenClassification",
    "tag": "ORTModelForTokenClassification",
    "classify": "ORTModelForSequenceClassification",
    "pair": "ORTModelForSequenceClassification",
    "qa": "ORTModelForQuestionAnswering",
}
NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][A-Za-z0-9._-]{0,94}[A-Za-z0-9]")
# What transformers.js asks for by its option `dtype`.
DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "q8"}
FILES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "q8": "model_quantized.onnx"}


def check_name(name: str) -> str:
    if NAME.fullmatch(name):
        return ""
    return "a repository has 2 to 96 letters, digits, dots, dashes and underscores, such as slots-small"


def default_name(words: Sequence[str]) -> str:
    return "-".join(words)


def write(bundle: Path, folder: Path, name: str) -> None:
    manifest = read_manifest(bundle)
    task = find_task(manifest["task"]).configured(manifest["task_options"])
    kind = (task.decoder(manifest["labels"]) or {}).get("kind")
    checkpoint = manifest["facts"].get("checkpoint") or {}
    if kind not in CLASSES:
        what = (
            f"transformers.js and optimum have no pipeline that reads the outputs of the task {task.name} in one file"
        )
        raise RequestError(what, where="--platform", hint="--platform web and --platform python run it.")
    if not checkpoint.get("config", {}).get("model_type"):
        what = "the bundle does not say what transformers needs to know of its model"
        raise RequestError(what, where=str(bundle), hint="An older edgebert made it: fit makes it anew.")
    dtype = DTYPES.get(manifest["precision"], "q8")  # every other precision is of whole numbers
    file = FILES[dtype]
    (folder / "onnx").mkdir()
    copy_tree(bundle / manifest["model"], folder / "onnx" / file)
    shutil.copyfile(bundle / TOKENIZER, folder / TOKENIZER)
    shutil.copyfile(bundle / GOLDEN, folder / GOLDEN)
    write_json(folder / "config.json", _config(checkpoint["config"], manifest["labels"]))
    write_json(folder / "tokenizer_config.json", _tokenizer_config(checkpoint.get("tokenizer_config") or {}, manifest))
    write_licences(folder / "LICENSES", manifest)
    values = {
        "CLASS": CLASSES[str(kind)],
        "PIPELINE": pipeline_tag(task, manifest["labels"]),
        "NAME": name,
        "FILE": file,
        "DTYPE": dtype,
        "EXAMPLE": _example(task.example),
    }
    for template in sorted(TEMPLATES.iterdir()):
        write_template(template, folder / template.name.removesuffix(".txt"), values)
    text = card_text(name, manifest, task).partition("\n")[2].strip()  # without its title
    usage = (folder / "README.md").read_text(encoding="utf-8").replace("<!-- card -->", text)
    described = front_matter(name, manifest, task, library="transformers.js") + "\n" + usage
    (folder / "README.md").write_text(described, encoding="utf-8")


def _config(config: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """As transformers writes it. Without labels of their own its models number two."""
    if not labels:
        return config
    names = {str(i): label for i, label in enumerate(labels)}
    return config | {"id2label": names, "label2id": {label: i for i, label in enumerate(labels)}}


def _tokenizer_config(config: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    """The inputs that the file has are those that the tokenizer gives: transformers.js passes on what it is given."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **config,
        "model_max_length": manifest["max_length"],
        "model_input_names": [port["name"] for port in manifest["inputs"]],
    }


def _example(texts: Sequence[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


PLATFORM = Platform(
    name="huggingface",
    title="a Hugging Face repository",
    formats=("onnx",),
    prove="python check.py",
    check_name=check_name,
    default_name=default_name,
    write=write,
    requires=lambda manifest: [
        Library("pypi", "optimum-onnx"),
        Library("npm", "@huggingface/transformers", requirement=">=4"),
    ],
)
