"""File formats: one module each, found by the registry. A converter writes a file and opens it again.

Converters know models and rows, never compression methods. Modules whose name begins with `_` are parts of a converter.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgebert.errors import EdgebertError, RequestError, name_list, unknown
from edgebert.faults import install_command, is_installed
from edgebert.files import sha256_file
from edgebert.quantization import Granularity, QuantSpec
from edgebert.registry import Registry, check_call
from edgebert.runtime.session import Session, Source
from edgebert.types import Artifact, Shape

if TYPE_CHECKING:
    import numpy as np

BYTE = 8  # bits
CALIBRATION_ROWS = 64  # real rows that static precisions are calibrated on
READ_PADDING = ("convbert", "fnet")  # families whose answers change with padding, as docs/formats.md found


@dataclass(frozen=True)
class QuantizationVariant:
    """One recipe of a reduced precision that a converter may try: a name and the options that make it.

    Attributes:
        spare: slower or less portable than the others, and tried only where none of them keeps the predictions.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    spare: bool = False


@dataclass(frozen=True)
class Precision:
    """A reduced precision that a converter writes.

    Attributes:
        variants: what to choose from by the task's metric; of those that score alike the first is taken, so the one that is
            preferred, for its speed or its portability, stands first.
        calibrated: it needs `Source.calibration`.
        kind: row of the tolerance table (`edgebert.verify.tolerances.TOLERANCES`).
        compute: what the matrix products run in: fp32, fp16 or int8.
        bits, embedding_bits: stored bits of a weight of a matrix, and of the word table.
        one_scale: whether a whole weight shares one scale, so that its largest number makes all others coarse.
        stored: for a model whose QuantSpec says how its weights are stored, by the granularity of their scales: what stands
            in place of `variants`. Where a granularity is not here, the precision chooses scales of its own.
        rest_bits: of what is not quantized in a file by `stored`: 16 where it computes in half precision.
    """

    title: str
    variants: Sequence[QuantizationVariant] = (QuantizationVariant("default"),)
    calibrated: bool = False
    kind: str = "int8"
    compute: str = "int8"
    bits: int = 8
    embedding_bits: int = 8
    one_scale: bool = False
    stored: Mapping[Granularity, Sequence[QuantizationVariant]] = field(default_factory=dict)
    rest_bits: int = 32

    def variants_of(self, spec: QuantSpec | None) -> Sequence[QuantizationVariant]:
        """What to choose from for a model that was trained with this spec."""
        kinds = {how.granularity for how in spec.weights.values()} if spec else set()
        return next((own for kind, own in self.stored.items() if kind in kinds), self.variants)

    def takes(self, spec: QuantSpec | None) -> bool:
        """Whether a file of this precision has the scales of the spec."""
        return self.variants_of(spec) is not self.variants


def check_stored(spec: QuantSpec) -> None:
    """Raises EdgebertError for a model trained in few bits that no int8 file can store."""
    if not spec.activations:
        raise EdgebertError(
            "quantization.json has scales of weights, and no ranges of what layers read",
            hint="Choose --precision fp32 or fp16, or delete it to leave all scales to the converter.",
        )
    for name, how in (*spec.weights.items(), *spec.activations.items()):
        why = ""
        if how.bits > BYTE:
            why = f"was trained in {how.bits} bits, and int8 files store {BYTE}"
        elif name in spec.weights and (how.granularity != "channel" or not how.symmetric or not how.scale):
            why = "has other scales than one an output or row, and 0 as its zero point"
        if why:
            raise EdgebertError(f"{name} {why}", hint="Choose --precision fp32 or fp16, or train it otherwise.")


@dataclass(frozen=True)
class Operator:
    """A step of a file's graph.

    Attributes:
        kind: its type with the attributes that decide what it computes; "" for one that a reduced precision may add,
            drop or replace, such as a product or a cast.
        inputs, outputs: names of what it reads and makes; of constants too.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """What a file is made of, so that a reduced one can be held against the float32 one that it was made from.

    Attributes:
        weights: float arrays by their names in the file; those stored in few bits as what these stand for.
        operators: of the whole graph; () where the format's graph is made anew for each precision.
        outputs: names of the graph's results.
        fixed_scales: by which numbers that the graph computes are rounded, where they are in the file.
    """

    weights: Mapping[str, np.ndarray]
    operators: Sequence[Operator] = ()
    outputs: tuple[str, ...] = ()
    fixed_scales: frozenset[float] = frozenset()


# ---------------------------------------------------------------- what a converter's functions are


class Export(Protocol):
    """Writes a model in float32."""

    def __call__(self, source: Source, folder: Path, /) -> Artifact:
        """Args:
            source: the graph to trace with its inputs, outputs, labels and lengths.
            folder: to write in.

        Returns:
            The file, which was run once.

        Raises:
            EdgebertError: the family cannot be expressed; the operator is named where one is to blame.
        """


class Reduce(Protocol):
    """Writes a variant of a reduced precision."""

    def __call__(
        self, source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path, /
    ) -> Artifact:
        """Args:
            source: as `Export` took it.
            artifact: what `Export` wrote.
            precision: a name of `Converter.precisions`.
            variant: of that precision.
            folder: to write in.

        Returns:
            The file, which was run once.

        Raises:
            EdgebertError: rows to calibrate on are missing, or the libraries give up.
        """


class Open(Protocol):
    """Loads a file to run it here."""

    def __call__(self, path: Path, threads: int, /) -> Session:
        """Args:
            path: the file or folder of an artifact.
            threads: 0 means all cores.

        Returns:
            What runs the file and answers by output name.

        Raises:
            EdgebertError: the file is missing, damaged, or not one of ours.
        """


class ReadContents(Protocol):
    """Reads a file's weights and operators, for the gate."""

    def __call__(self, path: Path, /) -> Contents:
        """Args: path: of an artifact. Returns: its contents. Raises EdgebertError: it cannot be read."""


class FindFallbacks(Protocol):
    """Tells what in a file keeps it, or parts of it, off the device's accelerator."""

    def __call__(self, path: Path, /) -> Mapping[str, int]:
        """Args: path: of an artifact. Returns: finding -> count. Raises EdgebertError: it cannot be read."""


class AddTokenizer(Protocol):
    """Writes a file that reads text."""

    def __call__(self, file: Path, tokenizer: Path, folder: Path, texts: Sequence[str], /) -> Artifact:
        """Args:
            file: of an artifact that reads ids.
            tokenizer: tokenizer.json.
            folder: to write in.
            texts: on which the file is proven to give the tokenizer's ids and offsets.

        Returns:
            The file that reads text.

        Raises:
            EdgebertError: the tokenizer cannot be expressed, or gives other ids on one of the texts.
        """


class Untimed(Protocol):
    """Tells why the time of a run on this machine says nothing of a device."""

    def __call__(self) -> str:
        """Returns: why, such as that our interpreter runs the file; "" where the time counts. Raises: nothing."""


@dataclass(frozen=True)
class Converter:
    """The declaration `CONVERTER` of each module of this package. Declaring imports nothing heavy.

    Attributes:
        suffix: of the file or folder that it writes: ".onnx".
        extra: the optional dependency that brings its libraries: `pip install "edgebert[EXTRA]"`; "" for none.
        needs: modules that must be importable to write a file.
        runtime: module that runs the file here.
        export, reduce, open, contents: see `Export`, `Reduce`, `Open` and `ReadContents`; without `contents` the gate
            cannot look inside.
        precisions: reduced precisions by name.
        open_otherwise: ways in which devices run a file with other kernels, by what they are called in a message: a file
            must pass parity with each.
        with_tokenizer: see `AddTokenizer`; None where the format cannot.
        shapes: what `Source.shape` may ask for; () where the format has one way.
        older_runtimes: runtimes that lag behind ours, each with the precisions that it computes wrongly and why.
        families_without: families that it cannot express with any head, and why, as docs/formats.md found.
        oldest_python: that its libraries have releases for.
        untimed, accelerator_fallbacks: see `Untimed` and `FindFallbacks`.
        runtime_on_device: devices load the runtime that runs the file here, so that it counts as peak memory.
    """

    name: str
    title: str
    suffix: str
    extra: str
    needs: tuple[str, ...]
    runtime: str
    export: Export
    precisions: Mapping[str, Precision]
    reduce: Reduce
    open: Open
    accelerator_fallbacks: FindFallbacks
    contents: ReadContents | None = None
    open_otherwise: Mapping[str, Open] = field(default_factory=dict)
    with_tokenizer: AddTokenizer | None = None
    shapes: tuple[Shape, ...] = ()
    older_runtimes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    families_without: Mapping[str, str] = field(default_factory=dict)
    untimed: Untimed = lambda: ""
    runtime_on_device: bool = True
    oldest_python: tuple[int, int] = (3, 10)


def describe(path: Path, format: str, precision: str, options: Mapping[str, object] | None = None) -> Artifact:
    """The Artifact of a file or folder: its size in bytes, and a sha256 that for a folder covers names and contents."""
    files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
    size = sum(item.stat().st_size for item in files)
    if path.is_file():
        digest = sha256_file(path)
    else:
        listing = "".join(f"{item.relative_to(path).as_posix()}\0{sha256_file(item)}\n" for item in files)
        digest = hashlib.sha256(listing.encode()).hexdigest()
    return Artifact(f"{format}-{precision}", format, precision, path, size, digest, dict(options or {}))


def _check(converter: Converter) -> None:
    """Raises TypeError for a declaration that breaks the contract."""
    if not converter.suffix.startswith("."):
        raise ValueError(f"suffix {converter.suffix!r} begins with no dot")
    check_call("export", converter.export, "source", "folder")
    check_call("reduce", converter.reduce, "source", "artifact", "precision", "variant", "folder")
    check_call("open", converter.open, "path", "threads")
    check_call("accelerator_fallbacks", converter.accelerator_fallbacks, "path")
    for name, function in converter.open_otherwise.items():
        check_call(f"open_otherwise[{name!r}]", function, "path", "threads")
    if converter.contents:
        check_call("contents", converter.contents, "path")
    if converter.with_tokenizer:
        check_call("with_tokenizer", converter.with_tokenizer, "file", "tokenizer", "folder", "texts")


CONVERTERS: Registry[Converter] = Registry(
    "format", "edgebert.converters", "CONVERTER", Converter, where="--format", check=_check
)


def find_precision(format: str, name: str) -> Precision:
    """What a format's precision is; fp32 included. Raises RequestError for a name that it does not have."""
    if name == "fp32":
        return Precision("float32", kind="fp32", compute="fp32", bits=32, embedding_bits=32)
    known = CONVERTERS.get(format).precisions
    if name not in known:
        raise unknown("precision", name, ["fp32", *known], where=f"--precision, for {format}")
    return known[name]


def check_shape(shape: Shape | None, formats: Iterable[str], families: Collection[str] = ()) -> None:
    """Raises RequestError where no format has the choice, or a family's rows must not be padded to a length."""
    if shape is None:
        return
    if not any(shape in CONVERTERS.get(name).shapes for name in formats):
        having = name_list(name for name, item in CONVERTERS.all().items() if shape in item.shapes)
        what = f"none of the formats that were asked for can take {shape} lengths"
        raise RequestError(what, where="--shape", hint=f"Add --format with {having or 'another one'}, or leave it out.")
    if shape != "ranged" and (read := [family for family in READ_PADDING if family in families]):
        what = f"{read[0]} reads padding, so rows cannot be padded to a length"
        raise RequestError(what, where="--shape", hint="Take ranged, or leave it out.")


def usable_converter(name: str) -> Converter:
    """The converter of this format, whose libraries are installed.

    Raises:
        RequestError: an unknown format, a Python that is too old, or the pip command that brings what is missing.
    """
    result = CONVERTERS.get(name)
    if sys.version_info[:2] < result.oldest_python:
        needed, here = (".".join(map(str, item)) for item in (result.oldest_python, sys.version_info[:2]))
        what = f"{result.title} needs Python {needed} or later, and this is {here}"
        raise RequestError(what, where=f"--format {name}", hint="Choose other formats with --format.")
    missing = [module for module in result.needs if not is_installed(module)]
    if missing:
        raise RequestError(
            f"{result.title} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            where=f"--format {name}",
            hint=f'Run: pip install "edgebert[{result.extra}]" - or choose other formats with --format.',
        )
    return result


def runnable_converter(name: str) -> Converter:
    """The converter of this format, whose runtime is installed: enough to run a file, not to write one.

    Raises:
        RequestError: an unknown format, or the pip command that brings the runtime.
    """
    result = CONVERTERS.get(name)
    if not is_installed(result.runtime):
        what = f"{result.title} needs {result.runtime}, which is not installed here"
        raise RequestError(what, hint=f"Run: {install_command(result.runtime)}")
    return result
