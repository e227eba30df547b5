"""From a graph in torch to a Core AI program: lengths, precisions, equal bytes for equal models."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from torch import nn

from edgebert.converters._coreml_convert import Plan
from edgebert.converters._torch_export import example, exported
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from coreai.authoring import AIProgram

MAIN = "main"


def converted(source: Source, graph: nn.Module, wanted: Plan, *, half: bool) -> AIProgram:
    """A program of one function a length, or of one for all; float32, or float16 throughout but for its inputs.

    The functions of several lengths are made from one program of any length, so that they share its weights.
    """
    from coreai_torch import TorchConverter, get_decomp_table

    program = exported(source, graph).run_decompositions(get_decomp_table())
    if half:
        from coreai_opt.casting.casting import cast_fp32_to_fp16

        program = cast_fp32_to_fp16(program)
    # The other mode writes the folders of this machine into the file.
    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    converter.add_exported_program(program, input_names=list(source.inputs), output_names=list(source.outputs))
    result = converter.to_coreai()
    if wanted.shape != "ranged":
        result.set_static_shape_config(
            MAIN, {f"len_{length}": dict.fromkeys(source.inputs, (1, length)) for length in wanted.lengths}
        )
    return _without_random_names(result)


def _without_random_names(program: AIProgram) -> AIProgram:
    """Equal models as equal bytes: weights and composite functions are named at random, and are numbered here."""
    from coreai._compiler import ir
    from coreai.authoring import AIProgram

    module = program._module._mlir_module
    text = str(module)
    for pattern, kind in ((r"\bresource_\d+\b", "resource"), (r"(?<=@)\w+_[a-z]{8}(_spec\w*)?\b", "part")):
        names: dict[str, str] = {}
        text = re.sub(pattern, lambda found: names.setdefault(found[0], f"{kind}_{len(names)}"), text)  # noqa: B023
    with module.context:
        return AIProgram._from_mlir_module(ir.Module.parse(text, module.context))


def quantized(source: Source, options: dict[str, Any]) -> nn.Module:
    """A copy of the graph with lookups in 8 bits, a scale a row, and products as `options["weights"]` says: w8 in 8 bits, a
    scale a channel; w4_per_block in 4 bits, a scale for a block; p6 and p4 in palettes of 6 and 4 bits."""
    from coreai_opt.palettization import KMeansPalettizer, KMeansPalettizerConfig
    from coreai_opt.quantization import ExecutionMode, ModuleQuantizerConfig, Quantizer, QuantizerConfig

    weights, row = str(options["weights"]), example(source)
    presets = ModuleQuantizerConfig.presets
    kinds: dict[type[nn.Module], Any] = {nn.Embedding: presets.w8()}
    if not weights.startswith("p"):
        kinds[nn.Linear] = getattr(presets, weights)()
    config = QuantizerConfig(global_config=None, module_type_configs=kinds, execution_mode=ExecutionMode.EAGER)
    quantizer = Quantizer(copy.deepcopy(source.graph), config)
    result = quantizer.finalize(quantizer.prepare(row))
    if weights.startswith("p"):
        palettizer = KMeansPalettizer(result, getattr(KMeansPalettizerConfig.presets, f"w{weights[1:]}")())
        result = palettizer.finalize(palettizer.prepare(row))
    return result
