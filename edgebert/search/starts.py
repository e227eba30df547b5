"""What a student may start from: the teacher's own layers, and smaller pretrained checkpoints that lie on this machine.

Looking is cheap and safe: configs are read first, safetensors alone are taken, nothing is downloaded, and what was found
where is told. A checkpoint that was fine-tuned for a task is not taken by itself: its training may have held the test rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError, TeacherError
from edgebert.files import slug
from edgebert.modeling.checkpoint import load_config
from edgebert.modeling.folder import MODULES, encoder_folder, start_folder
from edgebert.modeling.heads import HEADS, MULTI_TASK, head_of
from edgebert.modeling.operators import embedding_width
from edgebert.modeling.source import PACKAGED, TeacherSource, in_cache, in_package, read_checkpoint
from edgebert.types import TEACHER as TEACHER

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

SMALL_WIDTH, SMALL_LAYERS = 384, 6  # a teacher no larger is small itself: nothing is looked for
MOST = 4  # checkpoints that are taken by themselves; a user's own folder may hold more
WEIGHTS = ("model.safetensors*", "pytorch_model.bin*")
COMMON = {
    "all",
    "cased",
    "uncased",
    "en",
    "english",
    "sentence",
    "transformers",
    "model",
}  # words that tell no two apart
LONGEST_PREFIX = 24


@dataclass(frozen=True)
class Start:
    """One thing whose weights students may start with.

    Attributes:
        name: TEACHER, or the checkpoint's name as it was given or found.
        config: of transformers, with the task's head.
        source: the checkpoint; None is the teacher, once it has its head.
        prefix: of its students' names, "" for the teacher's own layers.
        why_own_tokenizer: why the teacher cannot read its tokens; "" where it can.
    """

    name: str
    config: ModelConfig
    source: TeacherSource | None = None
    prefix: str = ""
    why_own_tokenizer: str = ""


@dataclass(frozen=True)
class StartPlace:
    """A folder where a checkpoint may lie."""

    name: str
    folder: Path
    origin: str
    named: bool = False  # the user named the folder, so that everything in it gets a word


def is_small(config: ModelConfig) -> bool:
    """A teacher whose own layers are what a student should start from."""
    return int(config.hidden_size) <= SMALL_WIDTH and int(config.num_hidden_layers) <= SMALL_LAYERS


def encoder_parameters(config: ModelConfig) -> int:
    """Parameters of the bare encoder without its word table. Raises for a family that has no encoder."""
    return count_parameters(config, "AutoModel") - config.vocab_size * embedding_width(config)


def find_checkpoints(
    teacher: TeacherSource, config: ModelConfig, folders: Sequence[str] = ()
) -> tuple[list[TeacherSource], list[str]]:
    """Pretrained encoders smaller than the teacher's, and notes on those that were left out.

    Those in `folders` come first, then those beside a teacher that is a local folder, in installed packages and in the
    hub cache, each by name. Of a small teacher, `folders` alone are looked at.

    Raises:
        RequestError: one of `folders` is no folder, or holds no checkpoint.
    """
    around, notes = ([], []) if is_small(config) else places_around(teacher)
    places = [*places_named(folders), *around]
    limit = encoder_parameters(config) if places else 0
    results: list[tuple[bool, TeacherSource]] = []
    seen = {teacher.sha256}
    for place in places:
        try:
            source = _read(place, limit)
        except TeacherError as error:
            notes.append(_left_out(place, error.what))
            continue
        if source is None or source.sha256 in seen:
            continue
        seen.add(source.sha256)
        results.append((place.named, source))
    kept = [source for i, (named, source) in enumerate(results) if named or i < MOST]
    notes += [
        f"{source.name} ({source.origin}) was found too, and is not tried: {MOST} starts are enough; --student names one"
        for _, source in results
        if source not in kept
    ]
    return kept, notes


def _left_out(place: StartPlace, why: str) -> str:
    return f"students do not start from {place.name} ({place.origin}): {why}"


def _read(place: StartPlace, limit: int) -> TeacherSource | None:
    """The checkpoint of a place; None for what nobody would take for a small encoder, where the user did not name it.

    Raises TeacherError that says why a small encoder is left out.
    """
    try:
        config = load_config(place.folder)
        if why := _no_small_encoder(config, limit):
            raise TeacherError(why)
        if not any(any(encoder_folder(place.folder).glob(pattern)) for pattern in WEIGHTS):
            raise TeacherError("it has no weights")
    except (TeacherError, OSError) as error:
        if place.named:
            raise TeacherError(getattr(error, "what", str(error))) from None
        return None
    if fine_tuned := _task_head(config):
        raise TeacherError(
            f"it was fine-tuned for a task ({fine_tuned}), perhaps on rows of this test; --student {place.name} takes it"
        )
    return read_checkpoint(place.name, place.folder, place.origin)


def _no_small_encoder(config: ModelConfig, limit: int) -> str:
    """Why a config is none of an encoder with fewer parameters than `limit`; "" where it is."""
    from transformers import AutoModelForMaskedLM

    if getattr(config, "is_encoder_decoder", False) or type(config) not in AutoModelForMaskedLM._model_mapping:
        return f"the family {config.model_type} is no encoder that was pretrained on hidden words"
    try:
        n = encoder_parameters(config)
    except Exception as error:  # each family fails in its own way on sizes that do not go together
        return f"its config.json cannot be built: {' '.join(str(error).split())}"
    return "" if n < limit else f"its encoder of {n:,} parameters is no smaller than the teacher's of {limit:,}"


def _task_head(config: ModelConfig) -> str:
    """The class of a checkpoint that was fine-tuned for a task, "" for a bare or a pretrained one."""
    names = [name for name in config.architectures or () if head_of(name).of_states is None]
    return names[0] if names else (HEADS.get(MULTI_TASK).auto_model if hasattr(config, "edgebert_heads") else "")


# ---------------------------------------------------------------- where checkpoints lie


def places_named(folders: Sequence[str]) -> Iterator[StartPlace]:
    """A checkpoint's own folder, or those in a folder, also as AUTHOR/MODEL."""
    for name in folders:
        folder = start_folder(name)
        inside = [folder] if _is_checkpoint(folder) else [*_checkpoints(folder)]
        inside += [] if inside else [two for item in _folders(folder) for two in _checkpoints(item)]
        if not inside:
            what = "no folder in it holds a config.json, so there is no checkpoint to start from"
            raise RequestError(what, where=f"--starts {name}", hint="Give the folder in which the checkpoints lie.")
        yield from (StartPlace(str(item), item, "local folder", named=True) for item in inside)


def places_around(teacher: TeacherSource) -> tuple[list[StartPlace], list[str]]:
    """Beside the teacher, in packages, in the hub cache, each by name; and what is wrong with a package."""
    given = Path(teacher.name).expanduser()
    beside = (given.resolve() if given.name in ("", "..") else given).parent
    local = _checkpoints(beside) if teacher.origin == "local folder" else []
    places = [StartPlace(str(item), item, "beside the teacher") for item in local]
    notes = []
    for name, (_, requirement, *_) in PACKAGED.items():
        try:
            folder = in_package(name)
        except (TeacherError, OSError) as error:
            notes.append(f"students do not start from {name} (package {requirement}): {error}")
            continue
        places += [StartPlace(name, folder, f"package {requirement}")] if folder else []
    for name in _cached():
        with suppress(TeacherError):  # a folder whose name is no hub id
            folder = in_cache(name)
            places += [StartPlace(name, folder, "hub cache")] if folder else []
    return places, notes


def _cached() -> list[str]:
    """Hub ids of the models in the local hub cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = _folders(Path(HF_HUB_CACHE))
    return [
        folder.name.removeprefix("models--").replace("--", "/")
        for folder in folders
        if folder.name.startswith("models--")
    ]


def _is_checkpoint(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / MODULES).is_file()


def _checkpoints(folder: Path) -> list[Path]:
    return [item for item in _folders(folder) if _is_checkpoint(item)]


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; none where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


# ---------------------------------------------------------------- names


def prefixes(names: Iterable[str]) -> list[str]:
    """A short name for each start, unlike any other: sentence-transformers/all-MiniLM-L6-v2 gives minilm-l6."""
    created: list[str] = []
    for name in names:
        short = _short(name)
        if short in created:
            short = next(f"{short}-{i}" for i in range(2, len(created) + 3) if f"{short}-{i}" not in created)
        created.append(short)
    return created


def _short(name: str) -> str:
    words = re.split(r"[-_\s]+", slug(name).lower())
    telling = [word for word in words if word not in COMMON and not re.fullmatch(r"v\d+(\.\d+)*", word)] or words
    short = telling[0][:LONGEST_PREFIX]
    for word in telling[1:]:
        if len(short) + 1 + len(word) > LONGEST_PREFIX:
            break
        short += f"-{word}"
    return short
