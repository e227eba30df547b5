"""What `edgebert convert` was asked for, and what is wrong with it: found before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.converters import CONVERTERS, check_shape, find_precision, usable_converter
from edgebert.errors import RequestError
from edgebert.faults import check_writable, free_bytes
from edgebert.modeling.folder import encoder_folder, named_folder
from edgebert.modeling.tokenizer import TOKENIZER
from edgebert.types import Shape
from edgebert.workflows.convert_output import exists

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LENGTHS = (32, 64, 128)
N_ROWS = 200
DISK_FACTOR = 6  # times the weights: the largest set of files that stands at once


@dataclass(frozen=True)
class ConvertRequest:
    """What `edgebert convert` was asked for."""

    model: str
    formats: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32", "int8")
    output: str | None = None
    head: str | None = None
    task: str | None = None
    data: tuple[str, ...] = ()  # labelled rows of the task: calibration, parity and the metric
    columns: Mapping[str, str] = field(default_factory=dict)  # "text", "second", "label" -> the column's name
    texts: str | None = None  # a file with a text a line: calibration and parity
    lengths: tuple[int, ...] = ()
    shape: Shape | None = None  # how lengths are taken, where a format has the choice
    rows: int = N_ROWS  # most real rows to compare on
    runtime: str | None = None  # an older runtime that the files must run in
    tokenizer_inside: bool = False  # also a file that reads text
    force: bool = False
    allow_pickle: bool = False
    encoding: str = "utf-8"


def check_names(request: ConvertRequest) -> None:
    named_folder(request.model)
    if not request.formats:
        raise RequestError("no format was named", where="--format", hint=f"Known: {', '.join(CONVERTERS.all())}.")
    offered: dict[str, object] = {"fp32": None}
    for format in request.formats:
        offered |= usable_converter(format).precisions
        if request.runtime is not None:
            _check_runtime(format, request)
    for name in request.precisions:
        if name not in offered:
            find_precision(request.formats[0], name)  # raises, with the nearest names
            raise RequestError(f"none of the formats that were asked for offers {name}", where="--precision")
        calibrated = any(
            result.calibrated for f in request.formats if (result := CONVERTERS.get(f).precisions.get(name))
        )
        if calibrated and not request.data and not request.texts:
            raise RequestError(
                f"{name} is calibrated on real rows, and there are none",
                where="--precision",
                hint="Give --texts FILE (a text a line), or --task and --data.",
            )
    check_shape(request.shape, request.formats)
    if request.tokenizer_inside and not any(CONVERTERS.get(name).with_tokenizer for name in request.formats):
        raise RequestError(
            "none of the formats that were asked for can contain a tokenizer",
            where="--tokenizer-inside",
            hint="Use --format onnx.",
        )
    if request.data and request.task is None:
        raise RequestError("--data needs --task, which says how its rows are read", where="--task")


def _check_runtime(format: str, request: ConvertRequest) -> None:
    """Whether an older runtime executes what was asked for."""
    known = CONVERTERS.get(format).older_runtimes
    if request.runtime not in known:
        raise RequestError(
            f"{CONVERTERS.get(format).title} has no older runtime '{request.runtime}'",
            where="--runtime",
            hint=f"Known: {', '.join(known) or 'none'}.",
        )
    refused = known[str(request.runtime)]
    for name in request.precisions:
        if name in refused:
            valid = [p for p in ("fp32", *CONVERTERS.get(format).precisions) if p not in refused]
            raise RequestError(
                f"{request.runtime} cannot run {name} files: {refused[name]}",
                where="--precision",
                hint=f"It can run {', '.join(valid)}.",
            )


def lengths_of(asked: Sequence[int], limit: int) -> tuple[int, ...]:
    beyond = [length for length in asked if length > limit or length < 1]
    if beyond:
        raise RequestError(
            f"{beyond[0]} tokens were asked for, and the model reads 1 to {limit}",
            where="--length",
            hint="Choose shorter lengths.",
        )
    return tuple(sorted(set(asked))) or tuple(length for length in LENGTHS if length <= limit) or (limit,)


def check_output(output: Path, request: ConvertRequest, checkpoint: Path) -> None:
    """Raises RequestError or RunError for an output that cannot be written, or may not be replaced."""
    if output.exists() and not output.is_dir():
        raise RequestError("this is a file, and a folder is needed", where=str(output), hint="Choose another --output.")
    check_writable(output, "--output")
    for format in request.formats:
        for precision in request.precisions:
            place = output / format / precision
            if not place.exists():
                continue
            if not place.is_dir():
                raise RequestError(
                    "a file is where a folder must be", where=str(place), hint="Choose another --output."
                )
            if any(place.iterdir()) and not request.force:
                raise exists(place)
            check_writable(place, "--output")
    weights = sum(path.stat().st_size for path in encoder_folder(checkpoint).glob("*.safetensors")) or 1
    free = free_bytes(output)
    if free is not None and free < DISK_FACTOR * weights:
        raise RequestError(
            f"{free / 1e6:.0f} MB are free, converting takes up to {DISK_FACTOR * weights / 1e6:.0f} MB",
            where=str(output),
            hint="Free some space, or choose another --output.",
        )


def check_tokenizer_place(output: Path, request: ConvertRequest, tokenizer: Tokenizer) -> None:
    """Raises RequestError where another model's tokenizer lies in the output folder."""
    there = output / TOKENIZER
    if there.exists() and not request.force and there.read_text(encoding="utf-8") != tokenizer.to_str(pretty=True):
        raise exists(there)
