"""Whether what edgebert.toml names is there: devices, task, files, methods, formats, platforms. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

from edgebert.bundle.platforms import PLATFORMS
from edgebert.converters import CONVERTERS, check_shape
from edgebert.errors import EdgebertError, RequestError, unknown
from edgebert.files import exists
from edgebert.tasks import find_task
from edgebert.types import TEACHER
from edgebert.workflows.config import Config, where
from edgebert.workflows.data import check_data
from edgebert.workflows.device import find_device
from edgebert.workflows.names import configured, default_recipe
from edgebert.workflows.options import BY_FIELD
from edgebert.workflows.recipe import read_recipe


def wrong_names(config: Config) -> Iterator[RequestError]:
    """Each name that is not there, with its place in the file."""
    yield from check_platforms(config)
    yield from _missing_files(config)
    asked = config.values.get("formats", ())
    unknown_formats = [*_unknown(config, "formats", asked, CONVERTERS.all())]
    yield from unknown_formats
    offered = () if unknown_formats else asked
    for name in config.devices:
        try:
            offered = offered or find_device(name).formats
        except EdgebertError:  # told below
            continue
    for name in config.devices:
        yield from _raised(config, "devices" if config.several else "device", partial(find_device, name))
    yield from _wrong_for_formats(config, offered or tuple(CONVERTERS.all()))


def check_platforms(config: Config) -> Iterator[RequestError]:
    """Each platform that does not exist."""
    return _unknown(config, "platforms", config.platforms, PLATFORMS.all())


def _wrong_for_formats(config: Config, formats: tuple[str, ...]) -> Iterator[RequestError]:
    """Of precisions, task, rows and recipe."""
    values = config.values
    precisions = values.get("precisions", BY_FIELD["precisions"].default)
    offered = {name for item in formats for name in CONVERTERS.get(item).precisions} | {"fp32"}
    wrong = [*_unknown(config, "precisions", precisions, offered)]
    yield from wrong
    yield from _raised(config, "shape", lambda: check_shape(values.get("shape"), formats))
    try:
        task, params = configured(find_task(values.get("task", BY_FIELD["task"].default)), values.get("params", {}))
    except EdgebertError as error:
        yield _placed(config, "params" if error.where == "--set" else "task", error)
        return
    yield from _raised(config, "data", lambda: check_data(values.get("data", ()), task))
    reduced = [name for name in precisions if name != "fp32"]
    if not wrong and reduced:
        recipe = values.get("recipe") or default_recipe(formats, reduced)
        yield from _raised(config, "recipe" if "recipe" in values else "params", lambda: read_recipe(recipe, params))


def _missing_files(config: Config) -> Iterator[RequestError]:
    for name in ("teacher", "student"):
        text = str(config.values.get(name, ""))
        is_path = text.startswith((".", "/", "~")) or text.count("/") > 1
        if is_path and text != TEACHER and not (exists(path := Path(text).expanduser()) and path.is_dir()):
            yield _placed(config, name, RequestError(f"there is no folder {text}"))
    for name in ("starts", "unlabelled"):
        for text in config.values.get(name, ()):
            if not exists(Path(text).expanduser()):
                yield _placed(config, name, RequestError(f"there is no file or folder {text}"))


def _unknown(config: Config, field: str, names: Iterable[str], known: Collection[str]) -> Iterator[RequestError]:
    for name in names:
        if name not in known:
            yield _placed(config, field, unknown(field.removesuffix("s"), name, known))


def _raised(config: Config, field: str, check: Callable[[], object]) -> Iterator[RequestError]:
    try:
        check()
    except EdgebertError as error:
        yield _placed(config, field, error)


def _placed(config: Config, field: str, error: EdgebertError) -> RequestError:
    """The error with the place in the file that it is about, in front of its own."""
    option = BY_FIELD[field]
    own = f": {error.where}" if error.where and not error.where.startswith("--") else ""
    hint = error.hint or f"Paths are relative to the folder of {config.path.name}."
    return RequestError(error.what, where=f"{where(config.path, option.name, option.table)}{own}", hint=hint)
