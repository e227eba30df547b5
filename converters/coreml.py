"""Core ML: ML programs by coremltools, in float32, float16, 8, 6 and 4 bits; run by Core ML on a Mac, elsewhere by
our interpreter (`edgebert.runtime.mil`), whose times say nothing of a device.

A file takes one row of int32 tokens and gives float32. Its lengths are fixed, enumerated (the default for several), ranged,
or functions: a fixed program for each, which share the weights. Functions, and enumerated lengths of more than one input,
need iOS 18.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edgebert.converters import Converter, Precision, QuantizationVariant, describe
from edgebert.converters._coreml_contents import contents
from edgebert.converters._coreml_convert import HINT, Plan, convert, padding_moves, plan, sample
from edgebert.converters._coreml_functions import merged
from edgebert.converters._coreml_trained import trained
from edgebert.devices.accelerators import ENUMERATED, FLOAT32, RANGED
from edgebert.errors import EdgebertError
from edgebert.faults import raise_if_fault
from edgebert.runtime.quiet import quiet
from edgebert.runtime.session import Session, Source
from edgebert.runtime.specs import ATTENTION_MASK, INPUT_IDS, TOKEN_TYPE_IDS
from edgebert.types import Artifact, Shape

if TYPE_CHECKING:
    from coremltools.models import MLModel
    from coremltools.proto.MIL_pb2 import NamedValueType

    from edgebert.runtime.mil.package import Package

NAME = "model.mlpackage"
STRUCTURE = 1e-3  # a float32 program that differs more from torch computes something else
MAIN = "edgebert."  # begins the names of what we put into a file's metadata


def export(source: Source, folder: Path) -> Artifact:
    """model.mlpackage in float32, tried against torch at each of its lengths.

    Of shapes, none asked for takes `enumerated`, or `ranged` for a family whose answers change with padding (convbert,
    fnet): its rows must not be padded. The artifact's options and the file's metadata say which it was.

    Raises:
        EdgebertError: the family cannot be expressed, or not with this shape.
        RequestError: lengths that the model does not take.
    """
    moved = padding_moves(source)
    if source.shape not in (None, "ranged") and moved > STRUCTURE:
        raise EdgebertError(
            f"{source.family} reads padding: it moves an output by {moved:.2g}, so rows cannot be padded to a length",
            where=source.family,
            hint="Take ranged lengths.",
        )
    wanted = plan(source, source.shape or ("ranged" if moved > STRUCTURE else "enumerated"))
    models = [convert(source, part, half=False) for part in wanted.parts]
    path = _save(models, source, "fp32", wanted, folder)
    try:
        _prove(source, path, wanted)
    except EdgebertError:
        shutil.rmtree(path)
        raise
    return _artifact(path, "fp32", wanted, {})


def reduce(source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path) -> Artifact:
    """The file of a variant, with the lengths of `artifact`, the float32 file.

    It is converted anew: where float16 begins is decided while converting, and what the Neural Engine runs is float16.
    """
    from edgebert.converters import _coreml_static as static
    from edgebert.converters import _coreml_weights as weights

    options = {**artifact.options, **variant.options}
    half = options.get("compute", "float16") == "float16"
    wanted = plan(source, options.get("shape", "enumerated"), ios=OLDEST[precision])
    finish: Callable[[MLModel], MLModel] | None = None
    with ExitStack() as around:
        if options.get("range") == "trained":
            around.enter_context(trained(source))
        elif precision == "int8-static":
            steps = static.calibrate(source, clip=options["range"] == "error")
            around.enter_context(static.quantized_inputs(source, steps))
            finish = weights.to_int8
        elif precision in BITS:
            around.enter_context(weights.padded_vocabulary(source, options["group"]))
            finish = partial(weights.to_palette, bits=BITS[precision], group=options["group"])
        elif precision == "int8":
            finish = weights.to_int8
        models = [convert(source, part, half=half) for part in wanted.parts]
        models = [finish(model) for model in models] if finish else models
    return _artifact(_save(models, source, precision, wanted, folder), precision, wanted, variant.options)


def open_session(path: Path, threads: int) -> Session:
    """Core ML on a Mac, where `threads` has no meaning; our interpreter elsewhere."""
    from edgebert.runtime.mil.session import CoreMLSession, MilSession

    return CoreMLSession(path) if sys.platform == "darwin" else MilSession(path, threads)


def accelerator_fallbacks(path: Path) -> Mapping[str, int]:
    """What keeps a program off the Neural Engine, as far as `edgebert.devices.accelerators` knows; of several functions, in the
    one that runs where none is named.

    Float32 is counted in ops, ranged and enumerated lengths in inputs and layer norms. Of enumerated lengths Apple says that
    each can run there (forums, thread 724930). Lookups with 32-bit indices are counted, too: coremltools hands 16-bit ones to
    tables of up to 32767 rows, as vocabularies may exceed; whether a lookup can then run there is not documented. Apple
    publishes no list of supported ops: on a Mac, Xcode's performance report is the last word.
    """
    from edgebert.runtime.mil.package import open_package, reading

    with reading(path):
        return _fallbacks(open_package(path))


def _fallbacks(package: Package) -> Mapping[str, int]:
    name, description = next(iter(package.functions.items()))
    operations = package.block(name).operations
    computing = [item for item in operations if item.type not in ("const", "cast") and "constexpr" not in item.type]
    kinds = {output.name: _dtype(output) for item in operations for output in item.outputs}
    kinds |= {item.name: _dtype(item) for item in package.spec.mlProgram.functions[name].inputs}
    results = {
        FLOAT32.finding: sum(any(_dtype(output) == "FLOAT32" for output in item.outputs) for item in computing),
        RANGED.finding: sum(
            item.type.multiArrayType.WhichOneof("ShapeFlexibility") == "shapeRange" for item in description.input
        ),
        ENUMERATED.finding: sum(item.type == "layer_norm" for item in computing)
        * any(len(item.type.multiArrayType.enumeratedShapes.shapes) > 1 for item in description.input),
        "lookups with 32-bit indices": sum(
            kinds.get(item.inputs["indices"].arguments[0].name) == "INT32"
            for item in computing
            if item.type.startswith("gather")
        ),
    }
    return {name: count for name, count in results.items() if count}


def _dtype(value: NamedValueType) -> str:
    tensor = value.type.tensorType
    return str(type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[tensor.dataType].name)


def _prove(source: Source, path: Path, wanted: Plan) -> None:
    """Runs the file at its lengths against the graph: a trace may have kept the length that it was made with."""
    import torch

    from edgebert.runtime.mil.session import MilSession

    session = MilSession(path)
    lengths = wanted.lengths if wanted.shape != "ranged" else (1, min(24, wanted.longest), wanted.longest)
    for length in lengths:
        inputs = sample(source, length, length * 2 // 3)
        try:
            result = session.programs[session.function_of(length)].run(dict(zip(source.inputs, inputs, strict=True)))
        except EdgebertError as error:
            raise EdgebertError(
                f"{source.family} cannot be written as Core ML with {wanted.shape} length: at {length}, {error.what}",
                where=source.family,
                hint=f"Take one length. {HINT}" if wanted.shape == "enumerated" else HINT,
            ) from error
        with torch.inference_mode():
            expected = source.graph(*inputs)
        worst = max(
            float((result[name] - tensor).abs().max()) if result[name].shape == tensor.shape else float("inf")
            for name, tensor in zip(source.outputs, expected, strict=True)
        )
        if not worst <= STRUCTURE:
            raise EdgebertError(
                f"{source.family} is not the same in Core ML: at length {length} an output differs by {worst:.2g}",
                where=source.family,
                hint=HINT,
            )


def _save(models: Sequence[MLModel], source: Source, precision: str, wanted: Plan, folder: Path) -> Path:
    """Writes beside and moves into place, so that no half file is left under the name. `models` are those of `Plan.parts`."""
    for part, model in zip(wanted.parts, models, strict=True):
        _describe_ports(model, source, part)
    path = folder / NAME
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".coreml-") as beside, quiet(capture=True):
            model = models[0]
            if len(models) > 1:
                model = merged(dict(zip(wanted.lengths, models, strict=True)), Path(beside))
            _describe(model, source, precision, wanted)
            model.save(str(Path(beside) / NAME))
            _make_reproducible(Path(beside) / NAME)
            if path.exists():
                shutil.rmtree(path)
            (Path(beside) / NAME).replace(path)
    except OSError as error:
        raise_if_fault(error, folder)
        raise EdgebertError(f"the package cannot be written: {error.strerror or error}", where=str(path)) from None
    return path


def _make_reproducible(package: Path) -> None:
    """Equal models as equal bytes: coremltools draws the manifest's identifiers at random and writes the day into the
    metadata, and protobuf writes the entries of a map in an order that changes from process to process."""
    from coremltools.models import _METADATA_CONVERSION_DATE
    from coremltools.proto import Model_pb2

    manifest = package / "Manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    names = {
        name: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])) for name, item in content["itemInfoEntries"].items()
    }
    content["itemInfoEntries"] = {
        names[old]: content["itemInfoEntries"][old] for old in sorted(names, key=names.__getitem__)
    }
    content["rootModelIdentifier"] = names[content["rootModelIdentifier"]]
    manifest.write_text(json.dumps(content, indent=4), encoding="utf-8")
    for path in package.rglob("*.mlmodel"):
        spec = Model_pb2.Model()
        spec.ParseFromString(path.read_bytes())
        spec.description.metadata.userDefined.pop(_METADATA_CONVERSION_DATE, None)
        path.write_bytes(spec.SerializeToString(deterministic=True))


def _describe(model: MLModel, source: Source, precision: str, wanted: Plan) -> None:
    from importlib.metadata import version

    model.author = "edgebert"
    model.short_description = source.title or f"{source.family}, {precision}"
    model.version = version("edgebert")
    values = {
        "labels": source.labels,
        "family": source.family,
        "precision": precision,
        "shape": wanted.shape,
        "lengths": wanted.lengths,
        "pad_id": source.pad_id,
        "minimum_ios": wanted.ios,
    }
    for name, value in values.items():
        model.user_defined_metadata[MAIN + name] = value if isinstance(value, str) else json.dumps(value)


def _describe_ports(model: MLModel, source: Source, wanted: Plan) -> None:
    lengths = f"1 to {wanted.longest}" if wanted.shape == "ranged" else " or ".join(map(str, wanted.lengths))
    for name in source.inputs:
        model.input_description[name] = INPUTS[name].format(pad=source.pad_id) + f" One row of {lengths} tokens."
    for name in source.outputs:
        model.output_description[name] = next(text for end, text in OUTPUTS.items() if name.endswith(end))


def _artifact(path: Path, precision: str, wanted: Plan, options: Mapping[str, object]) -> Artifact:
    shape = {"shape": wanted.shape, "lengths": list(wanted.lengths), "minimum_ios": wanted.ios}
    return describe(path, "coreml", precision, {**shape, **options})


INPUTS = {
    INPUT_IDS: "Token ids, padded with {pad}.",
    ATTENTION_MASK: "1 for a token, 0 for padding.",
    TOKEN_TYPE_IDS: "0 for the first text, 1 for a second one, 0 for padding.",
}
OUTPUTS = {  # by how the name ends: before it a head of several has its own
    "start_logits": "One score a token: that the answer begins there.",
    "end_logits": "One score a token: that the answer ends there.",
    "logits": "One score a label, in the order of the metadata's edgebert.labels; by token where the model tags tokens.",
    "sentence_embedding": "A vector of length 1.",
}
OLDEST = {"fp16": 15, "int8": 16, "int6": 18, "int4": 18, "int8-static": 17}  # iOS that knows the precision's ops
BITS = {"int6": 6, "int4": 4}

CONVERTER = Converter(
    name="coreml",
    families_without={"funnel": "it cannot read a row of one token"},
    title="Core ML",
    suffix=".mlpackage",
    extra="coreml",
    needs=("coremltools",),
    runtime="coremltools",
    runtime_on_device=False,
    export=export,
    precisions={
        "fp16": Precision(
            "float16", (QuantizationVariant("fp16"),), kind="fp16", compute="fp16", bits=16, embedding_bits=16
        ),
        "int8": Precision("8-bit weights, float16 arithmetic", (QuantizationVariant("w8"),), compute="fp16"),
        "int6": Precision(
            "6-bit palettes, float16 arithmetic",
            (QuantizationVariant("palette", {"group": 32}),),
            kind="int6",
            compute="fp16",
            bits=6,
            embedding_bits=6,
        ),
        "int4": Precision(
            "4-bit palettes, float16 arithmetic",
            (QuantizationVariant("palette", {"group": 16}),),
            kind="int4",
            compute="fp16",
            bits=4,
            embedding_bits=4,
        ),
        "int8-static": Precision(
            "8-bit weights and activations",
            (
                QuantizationVariant("w8a8-greatest", {"range": "greatest"}),
                QuantizationVariant("w8a8-error", {"range": "error"}),
            ),
            calibrated=True,
            kind="int8-static",
            stored={"channel": (QuantizationVariant("trained", {"range": "trained"}),)},
            rest_bits=16,
        ),
    },
    reduce=reduce,
    open=open_session,
    accelerator_fallbacks=accelerator_fallbacks,
    contents=contents,
    shapes=get_args(Shape),
    untimed=lambda: "" if sys.platform == "darwin" else "Core ML runs on a Mac; edgebert's interpreter is not timed",
)
