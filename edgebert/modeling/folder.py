"""Which files of a checkpoint folder are read, and what a folder is that is no checkpoint."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from edgebert.errors import RequestError, TeacherError, shown, unknown
from edgebert.quantization.spec import FILE as QUANTIZATION

MODULES = "modules.json"  # of sentence-transformers
ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin", "pytorch_adapter.bin")
TOKENIZER_FILES = (  # what transformers makes a tokenizer of, and what says how
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json",
    "merges.txt", "bpe.codes", "spiece.model", "spm.model", "sentencepiece.model", "sentencepiece.bpe.model",
    "tokenizer.model", "prophetnet.tokenizer", "entity_vocab.json",
)  # fmt: skip
VOCABULARIES = tuple(
    name for name in TOKENIZER_FILES if not name.endswith(("_config.json", "_map.json", "_tokens.json"))
)
SENTENCE_FILES = (MODULES, "config_sentence_transformers.json", "sentence_*_config.json")
OTHER_KINDS = {  # a file that tells what a folder without safetensors holds instead
    "tf_model.h5": "TensorFlow weights", "*.ckpt.index": "TensorFlow weights", "flax_model.msgpack": "Flax weights",
    "rust_model.ot": "weights for rust-bert", "*.gguf": "a GGUF file", "*.onnx": "an ONNX file", "*.tflite": "a TFLite file",
    "meta.json": "a spaCy pipeline",
}  # fmt: skip


LFS = "version https://git-lfs"


LARGEST_JSON = 1 << 29  # bytes; a tokenizer.json of a million tokens has a tenth of them
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def check_file(path: Path) -> None:
    """Raises TeacherError where a name of a checkpoint leads to something that is no file: a pipe or a device would be
    read for ever. Links are followed, for the hub's cache is made of them."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = f"this is {KINDS.get(stat.S_IFMT(mode), 'a device')}, not a file"
        raise TeacherError(what, where=str(path), hint="Fetch the checkpoint again.")


def is_pointer(path: Path) -> bool:
    """A file of Git LFS that says where the content is. Raises TeacherError for what is no file."""
    check_file(path)
    with path.open("rb") as stream:
        return stream.read(len(LFS)) == LFS.encode()


def pointer(path: Path) -> TeacherError:
    return TeacherError(
        "this is a pointer of Git LFS, not the file", where=str(path), hint="Run git lfs pull in the folder."
    )


def named_folder(name: str, where: str = "") -> Path | None:
    """The folder that a checkpoint's name means; None for a hub id. Nothing of it is read.

    Args:
        where: the option that names it, for messages.

    Raises:
        RequestError: there is no such folder, but some are near it, which are named.
        TeacherError: there is no such folder, or it is a file.
    """
    path, place = Path(name).expanduser(), f"{where} {name}".strip()
    if path.is_dir():
        return path
    if path.exists():
        raise TeacherError("a checkpoint is a folder, this is a file", where=place)
    if not name.startswith((".", "/", "~")) and name.count("/") <= 1:
        return None
    near = [item.name for item in path.parent.iterdir() if item.is_dir()] if path.parent.is_dir() else []
    if near:
        raise unknown("folder", path.name, near, where=place)
    raise TeacherError("no such folder", where=place)


def start_folder(name: str) -> Path:
    """A folder of `--starts`. Raises RequestError where there is none."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise RequestError("no such folder", where=f"--starts {name}")
    return folder


def read_json(path: Path) -> Any:
    """Raises TeacherError, with the file, where it cannot be read as JSON."""
    try:
        if is_pointer(path):
            raise pointer(path)
        if (size := path.stat().st_size) > LARGEST_JSON:
            what = f"it has {size >> 20:,} MB, of which {LARGEST_JSON >> 20} are read"
            raise TeacherError(what, where=str(path), hint="Is it the file that it is called?")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TeacherError(f"cannot be read: {' '.join(str(error).split())}", where=str(path)) from None


def read_object(path: Path) -> dict[str, Any]:
    """Raises TeacherError, with the file, where it does not hold a JSON object."""
    description = read_json(path)
    if not isinstance(description, dict):
        raise TeacherError(f"it holds {type(description).__name__}, not an object of fields", where=str(path))
    return description


def inner(folder: Path, name: Any, where: Path) -> Path:
    """A file or folder that `where` names inside `folder`. Raises TeacherError for a path that leads out of it."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ("..",)
    strange = "\\" in str(name) or "\0" in str(name) or any(map(_too_long, parts))
    if ".." in parts or (parts and parts[0].startswith("/")) or strange:
        raise TeacherError(f"{shown(repr(name))} is no path inside the folder", where=str(where))
    return folder.joinpath(*parts)


def _too_long(part: str) -> bool:
    """For a file system: the name of a file has at most 255 bytes."""
    return len(part.encode(errors="surrogatepass")) > 255


def encoder_folder(folder: Path) -> Path:
    """Where config, weights and tokenizer lie: the folder itself, or what modules.json of sentence-transformers names
    (`0_Transformer` before 2021)."""
    path = folder / MODULES
    if not path.is_file():
        return folder
    modules = read_json(path)
    first = modules[0] if isinstance(modules, list) and modules else None
    if not isinstance(first, dict) or not isinstance(first.get("type"), str):
        raise TeacherError("is no list of modules", where=str(path))
    named = inner(folder, first.get("path", ""), path)
    if first["type"].split(".")[-1] == "Transformer" or (named / "config.json").exists():
        return named
    return folder


def files_read(folder: Path, weights: list[Path]) -> list[Path]:
    """Every file that a teacher is made of: its result depends on nothing else."""
    encoder = encoder_folder(folder)
    results = {encoder / "config.json", encoder / QUANTIZATION, *weights}
    results |= {encoder / name for name in TOKENIZER_FILES}
    for pattern in SENTENCE_FILES:
        results |= {*folder.glob(pattern), *encoder.glob(pattern)}
    for pattern in ("*/config.json", "*/model.safetensors", "*/pytorch_model.bin"):  # 1_Pooling, 2_Dense, …
        results |= {path for path in folder.glob(pattern) if path.parent.name[:1].isdigit()}
    results |= set(encoder.glob("*.index.json"))
    return sorted(path for path in results if path.is_file())


def no_checkpoint(folder: Path) -> TeacherError:
    """The error for a folder without config.json: what it holds instead, and what to do."""
    if (folder / ADAPTER).exists() or any((folder / name).exists() for name in ADAPTER_WEIGHTS):
        return adapter_alone(folder)
    inside = [path.parent.name for path in sorted(folder.glob("*/config.json"), key=lambda path: path.stat().st_mtime)]
    models = [name for name in inside if not name[:1].isdigit() or name.endswith("Transformer")]
    hint = f"Did you mean {folder / models[-1]}?" if models else "Save one with save_pretrained()."
    what = next(iter(_others(folder)), None)
    message = (
        f"no config.json: this is {what}, not a checkpoint" if what else "no config.json: this is not a checkpoint"
    )
    return TeacherError(message, where=str(folder), hint=hint)


def _others(folder: Path) -> Iterator[str]:
    return (what for pattern, what in OTHER_KINDS.items() if any(folder.glob(pattern)))


def adapter_alone(folder: Path) -> TeacherError:
    """The error for an adapter without the model that it belongs to."""
    path = folder / ADAPTER
    description = read_json(path) if path.is_file() else {}
    description = description if isinstance(description, dict) else {}
    kind, base = (
        description.get("peft_type") or "",
        description.get("base_model_name_or_path") or description.get("model_name") or "",
    )
    named = {"LORA": "a LoRA adapter"}.get(str(kind), f"an adapter ({kind})" if kind else "an adapter")
    of = f" of {base}" if base else ""
    hint = (
        "Merge it into its model with peft: load the model, PeftModel.from_pretrained(model, FOLDER).merge_and_unload()"
        ".save_pretrained(DIR), save the tokenizer there too, and give DIR."
    )
    if "PROMPT" in str(kind) or "PREFIX" in str(kind) or "P_TUNING" in str(kind):
        hint = "Learnt prompts cannot be merged into a model: fine-tune a whole model, or use LoRA and merge it."
    return TeacherError(f"this is {named}{of}, not a whole model", where=str(folder), hint=hint)


def no_weights(folder: Path) -> TeacherError:
    """The error for a config without weights."""
    if (folder / ADAPTER).exists() or any((folder / name).exists() for name in ADAPTER_WEIGHTS):
        return adapter_alone(folder)
    shards = sorted(folder.glob("model-*-of-*.safetensors")) + sorted(folder.glob("pytorch_model-*-of-*.bin"))
    if shards:
        index = "model.safetensors.index.json" if shards[0].suffix == ".safetensors" else "pytorch_model.bin.index.json"
        what = f"parts of the weights are there ({shards[0].name}), the list of them is not"
        return TeacherError(what, where=str(folder / index), hint="Fetch that file too.")
    others = [*_others(folder)]
    instead = f", but {others[0]}" if others else ""
    variants = [path.name for path in sorted(folder.glob("*.safetensors")) if path.name.startswith("model.")]
    if variants:
        instead = f", but {variants[0]}"
    hint = "Rename it." if variants else "Save with save_pretrained()."
    return TeacherError(f"no model.safetensors in this folder{instead}", where=str(folder), hint=hint)
