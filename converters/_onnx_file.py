"""ONNX files on disk: one file, or a folder with the weights beside the graph once protobuf's 2 GB are reached."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebert.converters import describe
from edgebert.converters._onnx_exits import with_exits, without_exits
from edgebert.errors import EdgebertError
from edgebert.runtime.session import Source
from edgebert.types import Artifact

if TYPE_CHECKING:
    from onnx import ModelProto

NAME = "model.onnx"
WEIGHTS = "model.onnx.data"
EXTERNAL_FROM = 2_000_000_000  # bytes; protobuf refuses messages of 2 GiB, and the graph itself needs some room


def graph_file(path: Path) -> Path:
    """The .onnx file of an artifact, which is that file or the folder around it and its weights."""
    return path / NAME if path.is_dir() else path


def load(path: Path) -> ModelProto:
    """The ModelProto of an artifact's path, weights included, as a plain graph where the file has exits.

    Raises:
        EdgebertError: the file is missing, cut short or not ONNX.
    """
    import onnx

    try:
        model = onnx.load(str(graph_file(path)))
    except Exception as error:
        raise EdgebertError(f"the ONNX file cannot be read: {first_line(error)}", where=str(path)) from None
    without_exits(model)
    return model


def write(
    model: ModelProto, source: Source, precision: str, folder: Path, options: Mapping[str, object], **more: Any
) -> Artifact:
    """`save` of a ModelProto, with what a reader of the file must know in its metadata."""
    _describe_inside(model, source, precision)
    return save(model, precision, folder, options, **more)


def save(
    model: ModelProto,
    precision: str,
    folder: Path,
    options: Mapping[str, object],
    *,
    external_from: int = EXTERNAL_FROM,
    prove: Callable[[Path], None] | None = None,
) -> Artifact:
    """Saves a ModelProto, with exits where its graph has some; nothing is left behind when it fails.

    Args:
        external_from: bytes from which the weights go into a file of their own.
        prove: is shown the file before it gets its name, and may raise.

    Returns:
        `folder/model.onnx`, or with external weights the folder `folder/model` of model.onnx and model.onnx.data.
    """
    import onnx

    with_exits(model)
    with scratch(folder) as created:
        if model.ByteSize() < external_from:
            onnx.save(model, str(created / NAME))
            path, fresh = folder / NAME, created / NAME
        else:
            onnx.save(model, str(created / NAME), save_as_external_data=True, location=WEIGHTS, size_threshold=1024)
            path, fresh = folder / "model", created
        if prove:
            prove(created / NAME)
        if path.is_dir():
            shutil.rmtree(path)
        fresh.replace(path)
    return describe(path, "onnx", precision, options)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder inside `folder`, on the same disk, that is gone afterwards unless it was renamed."""
    created = Path(tempfile.mkdtemp(prefix=".onnx-", dir=folder))
    created.chmod(0o755)
    try:
        yield created
    finally:
        shutil.rmtree(created, ignore_errors=True)


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line of at most 300 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def _describe_inside(model: ModelProto, source: Source, precision: str) -> None:
    import onnx

    model.producer_name, model.producer_version = "edgebert", ""
    model.doc_string = source.title
    del model.metadata_props[:]
    onnx.helper.set_model_props(
        model,
        {
            "labels": json.dumps(list(source.labels), ensure_ascii=False),
            "family": source.family,
            "precision": precision,
            "pad_id": str(source.pad_id),
            "max_length": str(source.max_length),
            "producer": "edgebert",
        },
    )
