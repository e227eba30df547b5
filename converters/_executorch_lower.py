"""A graph of torch as an ExecuTorch program, lowered to XNNPACK.

Three things are said otherwise than torch says them. Attention is written as its formula: what torch decomposes its own operator
into guards rows without a token, and does so outside XNNPACK. A reshape gives its one unknown size as -1. And GELU by tanh is
written as its formula, too: ExecuTorch (1.5.1) lets XNNPACK compute it by the error function, up to 5e-4 away. Of a BERT of 3
layers and width 384 in int8, one thread of an AMD EPYC, 12 and 128 tokens took 0.70 and 12.8 ms with torch's attention, 0.60 and
5.9 with the formula, which models that edgebert loads have already, and 0.54 and 5.4 with the reshapes, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgebert.converters._torch_export import exported
from edgebert.errors import EdgebertError
from edgebert.runtime.session import Source

if TYPE_CHECKING:
    from executorch.exir import EdgeProgramManager
    from torch.export import ExportedProgram
    from torch.fx import GraphModule, Node

HIDDEN = -1e4  # what the masks of `Source.graph` add
# What portable kernels compute tens of times as slowly as XNNPACK, which nobody would see in the answers.
PRODUCTS = frozenset({"mm", "bmm", "addmm", "baddbmm", "linear", "matmul", "convolution"})


def traced(source: Source, graph: nn.Module, *, variadic: bool = True) -> ExportedProgram:
    """`exported` with attention and GELU by tanh as their formulas."""
    with Formulas():
        return exported(source, graph, variadic=variadic)


def lowered(program: ExportedProgram, texts: Mapping[str, str]) -> bytes:
    """The bytes of a file, which gives each of the texts by a method of its name.

    Raises:
        EdgebertError: XNNPACK leaves a product to the portable kernels.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    def lower(**settings: bool) -> EdgeProgramManager:
        return to_edge_transform_and_lower(
            program,
            transform_passes=[_as_xnnpack_takes_it],
            partitioner=[XnnpackPartitioner(**settings)],
            constant_methods=dict(texts),
            compile_config=EdgeCompileConfig(_check_ir_validity=False),  # it refuses lookups in few bits
        )

    try:
        edge = lower()
    except AssertionError as error:  # rotary positions of quantized keys: its parts would wait for one another
        if "dependency cycles" not in str(error):
            raise
        edge = lower(per_op_mode=True)
    left = Counter(_operator(node) for node in edge.exported_program().graph.nodes if node.op == "call_function")
    if slow := {name: n for name, n in left.items() if name in PRODUCTS}:
        what = ", ".join(f"{name} ({n} times)" for name, n in sorted(slow.items()))
        raise EdgebertError(
            f"XNNPACK does not take {what}, which the portable kernels would compute tens of times as slowly",
            hint="Choose another format with --format.",
        )
    return bytes(edge.to_executorch().buffer)


def _operator(node: Node) -> str:
    """aten's bare name of what a node calls; "" for what is none of aten's."""
    schema = getattr(node.target, "_schema", None)
    return str(schema.name).partition("::")[2] if schema is not None else ""


def _as_xnnpack_takes_it(module: GraphModule) -> Any:
    """Sizes that are computed become -1 where there is one in a reshape; copies to the same size go."""
    from executorch.exir.dialects._ops import ops
    from executorch.exir.pass_base import PassResult

    reshape, expand = ops.edge.aten.view_copy.default, ops.edge.aten.expand_copy.default
    for node in list(module.graph.nodes):
        if node.target is expand and node.meta["val"].shape == node.args[0].meta["val"].shape:
            node.replace_all_uses_with(node.args[0])
        elif node.target is reshape:
            source, sizes = node.args
            while source.target is reshape:  # a reshape of a reshape
                source = source.args[0]
            unknown = [i for i, size in enumerate(sizes) if not isinstance(size, int)]
            if len(unknown) == 1 and -1 not in sizes:
                sizes = [-1 if i in unknown else size for i, size in enumerate(sizes)]
            node.args = (source, sizes)
    module.graph.eliminate_dead_code()
    module.recompile()
    return PassResult(module, True)


class Formulas(TorchFunctionMode):
    """Within it torch's attention is softmax(q k' / sqrt(width) + mask) v (1706.03762, equation 1), and its GELU by tanh is
    x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (1606.08415, section 2)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.scaled_dot_product_attention:
            func = _attention
        elif func is nn.functional.gelu and kwargs.get("approximate") == "tanh":
            func = _gelu_by_tanh
        return func(*args, **kwargs)


def _gelu_by_tanh(x: Tensor, approximate: str = "tanh") -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x * x * x)))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Of `nn.functional.scaled_dot_product_attention`'s own arguments, in evaluation."""
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
    if enable_gqa:
        key, value = (item.repeat_interleave(query.shape[-3] // item.shape[-3], dim=-3) for item in (key, value))
    scores = torch.matmul(query * (scale or query.shape[-1] ** -0.5), key.transpose(-2, -1))
    if attn_mask is not None:
        scores = scores + (_additive(attn_mask) if attn_mask.dtype == torch.bool else attn_mask)
    return torch.matmul(scores.softmax(dim=-1), value)


def _additive(mask: Tensor) -> Tensor:
    return (1.0 - mask.float()) * HIDDEN
