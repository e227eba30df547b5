"""Core AI: Apple's successor of Core ML (.aimodel), for iOS and macOS 27 and later, by Apple's own converter and quantizer.

Apple's runtime runs it on Linux too, which proves what a file computes and says nothing of a device's time. A file takes one
row of int32 tokens. Its lengths are fixed, enumerated (a function each, which share the weights; `functions` says the same),
or ranged.
"""

from __future__ import annotations

import json
import shutil
import sys
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from edgebert.converters import Contents, Converter, Precision, QuantizationVariant, describe
from edgebert.converters._coreml_convert import Plan, padding_moves, plan
from edgebert.converters._facts import FACTS, facts_of, read_facts
from edgebert.converters._onnx_export import random_rows, reference
from edgebert.converters._onnx_file import first_line
from edgebert.devices.accelerators import RANGED
from edgebert.errors import EdgebertError, unknown
from edgebert.faults import raise_if_fault
from edgebert.files import sha256_file
from edgebert.runtime.quiet import quiet
from edgebert.runtime.scratch import scratch_folder
from edgebert.runtime.session import AGAIN, Batch, Source, stated_count
from edgebert.runtime.specs import INPUT_IDS, OutputSpec, file_outputs, padding_of
from edgebert.types import Artifact, Shape

NAME = "model.aimodel"
SAME = 1e-4
READS_PADDING = 1e-3  # padding that moves an output by more shows


def export(source: Source, folder: Path) -> Artifact:
    """float32. Of shapes, none asked for takes `enumerated`, or `ranged` for a family whose answers change with padding.

    Raises:
        RequestError: lengths that the model does not take.
        EdgebertError: the family cannot be expressed, or not with this shape.
    """
    moved = padding_moves(source) > READS_PADDING
    if moved and source.shape not in (None, "ranged"):
        what = f"{source.family} reads padding, so rows cannot be padded to a length"
        raise EdgebertError(what, where=source.family, hint="Take ranged lengths.")
    return _write(source, "fp32", plan(source, source.shape or ("ranged" if moved else "enumerated")), {}, folder)


def reduce(source: Source, artifact: Artifact, precision: str, variant: QuantizationVariant, folder: Path) -> Artifact:
    """The file of a variant, from the graph in torch, with the lengths of `artifact`, the float32 file.

    Raises:
        RequestError: an unknown precision.
        EdgebertError: coreai-opt gives up.
    """
    if precision not in PRECISIONS:
        raise unknown("Core AI precision", precision, PRECISIONS)
    shape: Shape = artifact.options.get("shape", "enumerated")
    return _write(source, precision, plan(source, shape), dict(variant.options), folder)


def _write(source: Source, precision: str, wanted: Plan, options: dict[str, Any], folder: Path) -> Artifact:
    """Writes beside, proves, and moves into place, so that no half file is left under the name."""
    with scratch_folder(".coreai-", str(folder)) as beside:
        created = beside / NAME
        try:
            with quiet(capture=True):
                from coreai.runtime import AIModelAssetMetadata

                from edgebert.converters._coreai_convert import converted, quantized

                graph = quantized(source, options) if "weights" in options else source.graph
                program = converted(source, graph, wanted, half=bool(options.get("half")))
                metadata = AIModelAssetMetadata()
                metadata.author = "edgebert"
                lengths = list(wanted.lengths)
                facts = facts_of(source, precision, shape=wanted.shape, lengths=lengths, minimum_ios=MINIMUM_IOS)
                metadata.set_custom(
                    FACTS, facts
                )  # one text: of numbers the format gives 1 and 0 back as true and false
                program.save_asset(created, metadata)
            _without_date(created)
        except Exception as error:
            raise_if_fault(error, folder)
            what = f"{source.family} cannot be written as Core AI {precision}: {first_line(error)}"
            raise EdgebertError(what, where=source.title or None) from error
        session = CoreAISession(created)
        try:
            _prove(source, session, wanted, SAME if precision == "fp32" else np.inf)
        finally:
            session.close()
        path = folder / NAME
        if path.exists():
            shutil.rmtree(path)
        created.replace(path)
    return describe(path, "coreai", precision, {"shape": wanted.shape, "lengths": lengths, **options})


def _without_date(asset: Path) -> None:
    """Equal models as equal bytes: the day and second are written beside the program."""
    path = asset / "metadata.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["creationDate"] = "19700101T000000Z"
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False), encoding="utf-8")


def _prove(source: Source, session: CoreAISession, wanted: Plan, most: float) -> None:
    """Runs the file at each of its lengths, full and padded.

    Raises:
        EdgebertError: an output is not finite, or differs from torch's by more than `most`, times the largest where that is
            over 1.
    """
    longest = min(wanted.longest, 512)
    for length in (1, min(3, longest), longest) if wanted.shape == "ranged" else wanted.lengths:
        for n in {length, max(1, length * 2 // 3)}:
            row = random_rows(source, 1, n, seed=n)
            found, expected = session.run(row), reference(source, row)
            for name, theirs in expected.items():
                ours = found[name]
                apart = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.nan
                if not (np.isfinite(apart) and apart <= most * max(1.0, float(np.abs(theirs).max()))):
                    what = f"{source.family} is not the same in Core AI: with {n} tokens {name} differs by {apart:.2g}"
                    raise EdgebertError(what, where=source.title or None)


def check_whole(path: Path) -> None:
    """Apple's reader ends the process on a program that it cannot read, so one that is not as it was written is not handed on.

    Raises:
        EdgebertError: it is no asset, or its program's hash is another than the one beside it.
    """
    program, stated = path / "main.mlirb", path / "main.hash"
    if not program.is_file() or not stated.is_file():
        raise EdgebertError("it is no folder of main.mlirb and main.hash", where=str(path))
    if sha256_file(program) != stated.read_bytes().hex():
        raise EdgebertError("its program is not the one that main.hash is of", where=str(path), hint=AGAIN)


class CoreAISession:
    """An asset in Apple's runtime, row by row, in the smallest function that takes the row."""

    runtime: str = "coreai"

    def __init__(self, path: Path, threads: int = 0) -> None:
        import asyncio
        from importlib.metadata import version

        del threads  # the runtime chooses
        self._path, where = path, str(path)
        self.runtime_version = version("coreai-core")
        self._loop, self._held = asyncio.new_event_loop(), ExitStack()
        self._held.callback(self._loop.close)
        # Called when Python ends, too, while threads and modules still work.
        self._end = weakref.finalize(self, self._held.close)
        try:
            self._open()
            facts = read_facts((self._asset.metadata.creator_defined_metadata or {}).get(FACTS), where)
            self.labels, self._inputs = facts.labels, facts.inputs
            lengths = facts.more.get("lengths")
            if not isinstance(lengths, list) or not lengths:
                raise EdgebertError("it names no lengths", where=where, hint=AGAIN)
            self._lengths = [stated_count(length, "lengths", where) for length in lengths]
            self._ranged, self._pad_id = facts.more.get("shape") == "ranged", facts.pad_id
            self.metadata: Mapping[str, object] = {
                "precision": facts.precision,
                "pad_id": facts.pad_id,
                "max_length": self._lengths[-1],
            }
            self._functions = self._loaded_functions(facts.outputs)
        except EdgebertError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise_if_fault(error, path)
            raise EdgebertError(f"Core AI refuses the file: {first_line(error)}", where=where) from None

    def close(self) -> None:
        """Gives the compiled program back, which lies in a folder of temporary files."""
        self._end()

    def _open(self) -> None:
        check_whole(self._path)
        with quiet(capture=True):
            from coreai.authoring import AIModelAsset
            from coreai.runtime import AIModel

            self._asset, place = AIModelAsset.load(self._path), self._path
            if sys.platform != "darwin":  # as `executable` does, which would end within an event loop only
                place = self._held.enter_context(scratch_folder("coreai-"))
                self._asset._write_odix(place, enable_debug_info=False)
            self._model = self._loop.run_until_complete(AIModel.load(path=place, specialization_options=None))

    def _loaded_functions(self, outputs: Mapping[str, bool]) -> dict[int, Any]:
        """By length. Raises EdgebertError where the file's functions are not what it says."""
        names = {length: "main" if self._ranged else f"main_len_{length}" for length in self._lengths}
        with quiet(capture=True):
            results = {length: self._model.load_function(name) for length, name in names.items()}
        if not outputs:
            raise EdgebertError("it names no outputs", where=str(self._path), hint=AGAIN)
        self._per_token = outputs
        for length, function in results.items():
            about = function.desc
            given = sorted(about.input_names), sorted(about.output_names)
            if given != (sorted(self._inputs), sorted(outputs)):
                what = f"the inputs and outputs of {names[length]} are not those that it names"
                raise EdgebertError(what, where=str(self._path), hint=AGAIN)
        return results

    def run(self, batch: Batch) -> dict[str, np.ndarray]:
        """Float32 outputs by name; see `edgebert.runtime.session.Runner`.

        Raises:
            EdgebertError: more tokens than the file takes, or Core AI fails.
        """
        n_rows, n = batch[INPUT_IDS].shape
        length = next((length for length in self._lengths if n <= length), 0)
        if not length:
            what = f"a row of {n} tokens is longer than the file takes ({self._lengths[-1]})"
            raise EdgebertError(what, where=str(self._path))
        rows = []
        for i in range(n_rows):
            try:
                rows.append(self._loop.run_until_complete(self._row(batch, i, length)))
            except Exception as error:
                what = f"the file does not run on a row of {n} tokens: {first_line(error)[:160]}"
                raise EdgebertError(what, where=str(self._path)) from None
        return {
            name: np.concatenate([row[name][:, :n] if per_token else row[name] for row in rows])
            for name, per_token in self._per_token.items()
        }

    async def _row(self, batch: Batch, i: int, length: int) -> dict[str, np.ndarray]:
        from coreai.runtime import NDArray

        n = batch[INPUT_IDS].shape[1]
        fed = {}
        for name in self._inputs:
            row = np.full((1, n if self._ranged else length), padding_of(name, self._pad_id), np.int32)
            row[0, :n] = batch[name][i]
            fed[name] = NDArray(row)
        results = await self._functions[length](fed)
        return {name: results[name].numpy().astype(np.float32) for name in self._per_token}

    @cached_property
    def output_specs(self) -> tuple[OutputSpec, ...]:
        return file_outputs(*self.signature())

    def signature(self) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
        """Inputs and outputs as {name, type, shape}; a text in a shape is a dynamic dimension, or lengths: "32|64"."""
        length: object = "seq" if self._ranged else self._lengths[0]
        if len(self._lengths) > 1:
            length = "|".join(map(str, self._lengths))
        about = self._functions[self._lengths[-1]].desc
        outputs: list[dict[str, object]] = []
        for name, per_token in self._per_token.items():
            sizes: list[object] = list(about.output_descriptor(name).shape)
            outputs.append(
                {"name": name, "type": "float32", "shape": [1, length, *sizes[2:]] if per_token else [1, *sizes[1:]]}
            )
        return [{"name": name, "type": "int32", "shape": [1, length]} for name in self._inputs], outputs


def accelerator_fallbacks(path: Path) -> dict[str, int]:
    """What keeps a file off the Neural Engine, which computes in float16 only (coremltools guide, "Typed execution"), and
    for inputs of ranged length as Core ML does it (Apple engineer, developer forums, thread 724930). Of Core AI itself Apple
    has said neither in public: on a Mac, its debugger is the last word."""
    check_whole(path)
    try:
        with quiet(capture=True):
            from coreai.authoring import AIModelAsset

            summary = AIModelAsset.load(path).summary(include_statistics=True)
            dynamic = sum("?" in kind for _, kind in summary.function_inputs(summary.function_names[0]))
            float32 = "Float16" not in summary.compute_types
    except Exception as error:
        raise_if_fault(error, path)
        raise EdgebertError(f"Core AI refuses the file: {first_line(error)}", where=str(path)) from None
    return {
        **({"float32 arithmetic": 1} if float32 else {}),
        **({RANGED.finding: dynamic} if dynamic else {}),
    }


def read_contents(path: Path) -> Contents:
    """Weights as the floats that they stand for, and operators. Raises EdgebertError where the file cannot be read."""
    from edgebert.converters._coreai_contents import contents

    check_whole(path)
    try:
        with quiet(capture=True):
            return contents(path)
    except Exception as error:
        raise_if_fault(error, path)
        raise EdgebertError(f"Core AI cannot read the file: {first_line(error)}", where=str(path)) from None


def untimed() -> str:
    """See `edgebert.converters.Untimed`."""
    return "" if sys.platform == "darwin" else "Core AI runs on Apple's systems; its runtime for Linux is for proofs"


MINIMUM_IOS = 27
PRECISIONS = {
    "int8": Precision(
        "8-bit weights, float32 arithmetic", (QuantizationVariant("w8", {"weights": "w8"}),), compute="fp32"
    ),
    "int6": Precision(
        "6-bit palettes, 8-bit lookups, float32 arithmetic",
        (QuantizationVariant("palette", {"weights": "p6"}),),
        kind="int6",
        compute="fp32",
        bits=6,
    ),
    "int4": Precision(
        "4-bit palettes or blocks, 8-bit lookups, float32 arithmetic",
        (QuantizationVariant("palette", {"weights": "p4"}), QuantizationVariant("blocks", {"weights": "w4_per_block"})),
        kind="int4",
        compute="fp32",
        bits=4,
    ),
    "fp16": Precision(
        "float16",
        (QuantizationVariant("fp16", {"half": True}),),
        kind="fp16",
        compute="fp16",
        bits=16,
        embedding_bits=16,
    ),
    "int8-fp16": Precision(
        "8-bit weights, float16 arithmetic",
        (QuantizationVariant("w8", {"weights": "w8", "half": True}),),
        compute="fp16",
    ),
}

CONVERTER = Converter(
    name="coreai",
    title="Core AI",
    suffix=".aimodel",
    extra="coreai",
    needs=("coreai", "coreai_torch", "coreai_opt", "torch"),
    runtime="coreai",
    runtime_on_device=False,
    families_without={
        "deberta": "its attention reads a place that torch.export does not know",
        "funnel": "it cannot read a row of one token",
        "xlnet": "torch.export does not take rows of any length of it",
    },
    export=export,
    precisions=PRECISIONS,
    reduce=reduce,
    open=CoreAISession,
    contents=read_contents,
    accelerator_fallbacks=accelerator_fallbacks,
    shapes=get_args(Shape),
    untimed=untimed,
    oldest_python=(3, 11),
)
