"""Core ML files by the scales that a model was trained with, in place of those that calibration and weights give.

coremltools reads the scale of a weight from the buffers that its guide lists for compressed PyTorch models ("Converting
Compressed Source Models"), and quantizes by exactly these. Programs compute in float16, in which every scale of
`edgebert.quantization.fake` is a whole number; what is not quantized has 11 bits of mantissa.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgebert.converters import check_stored
from edgebert.converters._coreml_static import quantized_inputs
from edgebert.errors import EdgebertError
from edgebert.quantization import TensorSpec
from edgebert.runtime.session import Source

BITS = 8  # of the integers that coremltools writes
QUANTIZATION = 3  # among its kinds of compression


@contextmanager
def trained(source: Source) -> Iterator[None]:
    """Within it, the graph rounds what its layers read, and a conversion stores its layers and word table, by the spec.

    Tables of positions and types stay float16: where rows have one length, they are folded into one tensor.

    Raises:
        EdgebertError: the spec has other bits or ranges than the program's operators.
    """
    assert source.quantization is not None
    spec = source.quantization
    check_stored(spec)
    for name, how in spec.activations.items():
        if how.bits != BITS or not how.symmetric:
            raise EdgebertError(
                f"what {name} reads has not {BITS} symmetric bits, and Core ML rounds to these",
                hint="Choose --precision fp32 or fp16, or --format onnx.",
            )
    graph: Any = source.graph
    words = graph.model.get_input_embeddings()
    with quantized_inputs(source, {f"model.{name}": how.scale[0] for name, how in spec.activations.items()}):
        written = []
        for name, module in graph.model.named_modules():
            if name in spec.activations or (module is words and f"{name}.weight" in spec.weights):
                written += _write_scales(module, spec.weights[f"{name}.weight"])
        try:
            yield
        finally:
            for module, name in written:
                del module._buffers[name]


def _write_scales(module: Any, how: TensorSpec) -> list[tuple[Any, str]]:
    """Registers the buffers of a module's weight, and returns where they are."""
    import torch

    values = {
        "compression_type": torch.tensor([QUANTIZATION]),
        "quantization_n_bits": torch.tensor(BITS),
        "quantization_scale": torch.tensor(how.scale)[:, None],
    }
    names = {f"_COREML_/weight/{key}": value for key, value in values.items()}
    for name, value in names.items():
        module.register_buffer(name, value)
    return [(module, name) for name in names]
