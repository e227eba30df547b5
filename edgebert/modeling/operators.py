"""The operators of an encoder and a head per token, by shape, read from a transformers config alone.

What is counted is what the arithmetic needs: how a runtime fuses nodes is left to the cost of a dispatch. Written for
the families whose layer is BERT's (bert, roberta, distilbert, electra, albert, mpnet, camembert …), squeezebert, whose
products are those in groups, mobilebert, DeBERTa with its relative products, and those with rotary positions and a gated
feed-forward (`GATED`). A window of attention saves nothing: files hold the whole product and a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgebert.errors import RequestError
from edgebert.modeling.ragged import is_ragged, layer_configs

if TYPE_CHECKING:
    from edgebert.modeling.config import ModelConfig

# Arithmetic of one element. Ours: an exponential or an error function is a polynomial of about ten multiply-adds.
SOFTMAX, GELU, LAYER_NORM, ADD, MOVE = 20, 20, 10, 1, 0
GATED = ("modernbert", "eurobert", "nomic_bert", "ultrabert", "gte")


@dataclass(frozen=True)
class Operator:
    """One kind of graph node, and how often it runs in one inference of batch 1.

    Attributes:
        flops: of one run; a multiply and an add count as two.
        activations: elements read and written by one run.
        weights: elements of constants read by one run; 0 where both sides are computed.
        shape: (m, k, n) of a matrix product (m, k) x (k, n), of one head for attention; else None.
    """

    name: str
    count: int
    flops: int
    activations: int
    weights: int = 0
    shape: tuple[int, int, int] | None = None


def operators(config: ModelConfig, seq_len: int) -> list[Operator]:
    """Every operator of a forward pass over `seq_len` tokens with a head per token.

    A head per sentence costs less than the head counted here. Raises RequestError when the config lacks a size.
    """
    from edgebert.modeling.families import families

    family = families().get(config.model_type)
    if whole := getattr(family, "operators", None):
        return list(whole(config, seq_len))
    own = getattr(family, "layer_operators", None)
    if own is not None:
        gather = _each("embedding gather", 1, seq_len * embedding_width(config), MOVE)
        return [gather, _product("head", 1, seq_len, config.hidden_size, config.num_labels), *own(config, seq_len)]
    layer = LAYERS.get(config.model_type, _bert_layer)
    n_layers = _size(config, "num_hidden_layers")
    once = [*_embedding(config, seq_len), _product("head", 1, seq_len, _size(config, "hidden_size"), config.num_labels)]
    if is_ragged(config):
        return [*once, *(operator for own in layer_configs(config) for operator in layer(own, seq_len))]
    return [*once, *(_times(operator, n_layers) for operator in layer(config, seq_len))]


def embedding_width(config: ModelConfig) -> int:
    """Width of one row of the word table: `embedding_size` where a family factorises it, else the hidden size."""
    return getattr(config, "embedding_size", None) or _size(config, "hidden_size")


def _size(config: ModelConfig, *names: str) -> int:
    for name in names:
        if value := getattr(config, name, None):
            return int(value)
    raise RequestError(
        f"the cost model cannot read a '{config.model_type}' config: no {' or '.join(names)}",
        where="--teacher",
        hint="Read are BERT's layer (bert, roberta, distilbert, electra, albert, mpnet …), squeezebert and mobilebert.",
    )


def _head_width(config: ModelConfig) -> int:
    """Of one head: `attention_head_size` where a config says it, as those of layers with fewer heads do."""
    return getattr(config, "attention_head_size", 0) or config.hidden_size // _size(config, "num_attention_heads")


def _times(operator: Operator, n: int) -> Operator:
    return Operator(**{**vars(operator), "count": operator.count * n})


def _product(name: str, count: int, m: int, k: int, n: int, *, heads: int = 1, constant: bool = True) -> Operator:
    """`heads` products of the same shape in one node; `constant` when the right side is a weight."""
    moved = heads * (m * k + m * n + (0 if constant else k * n))
    return Operator(name, count, 2 * heads * m * k * n, moved, heads * k * n if constant else 0, (m, k, n))


def _each(name: str, count: int, elements: int, flops: int) -> Operator:
    """An operator that reads and writes `elements` once and spends `flops` on each."""
    return Operator(name, count, flops * elements, 2 * elements)


def _embedding(config: ModelConfig, s: int) -> list[Operator]:
    width, hidden = embedding_width(config), _size(config, "hidden_size")
    results = [_each("embedding gather", 3, s * width, MOVE), _each("embedding sum", 2, s * width, ADD)]
    if config.model_type == "mobilebert":
        # Each token sees its two neighbours' embeddings; positions, types and the norm come after, at full width.
        results = [_each("embedding gather", 1, s * width, MOVE), _each("embedding gather", 2, s * hidden, MOVE)]
        results.append(_product("embedding projection", 1, s, (3 if config.trigram_input else 1) * width, hidden))
        return [*results, _each("embedding sum", 2, s * hidden, ADD), _each("norm", 1, s * hidden, 2 * ADD)]
    if config.model_type in GATED:  # no table of positions, and of types in some alone
        tables = 1 + bool(getattr(config, "type_vocab_size", 0))
        results = [
            _each("embedding gather", tables, s * width, MOVE),
            _each("embedding sum", tables - 1, s * width, ADD),
        ]
    if width != hidden:
        results.append(_product("embedding projection", 1, s, width, hidden))
    return [*results, _each("layer norm", 1, s * width, LAYER_NORM)]


def _gated_layer(config: ModelConfig, s: int) -> list[Operator]:
    """ModernBERT's (Warner et al. 2024, arXiv 2412.13663) and its kin: query and key are rotated by their position, half of
    the first feed-forward product is a gate for the other half, and several heads may share their keys and values."""
    hidden, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or hidden // heads
    shared = heads * head, (getattr(config, "num_key_value_heads", None) or heads) * head
    attention = [
        _product(name, 1, s, hidden, width)
        for name, width in (("query", shared[0]), ("key", shared[1]), ("value", shared[1]))
    ]
    return [
        *attention,
        _each("rotate positions", 2, s * heads * head, 3 * ADD),
        *_attention(s, heads * head, heads, {}, hidden),
        _product("feed-forward in", 1, s, hidden, 2 * inner),
        _each("gelu", 1, s * inner, GELU),
        _each("gate", 1, s * inner, ADD),
        _product("feed-forward out", 1, s, inner, hidden),
        _each("residual", 2, s * hidden, ADD),
        _each("layer norm", 2, s * hidden, LAYER_NORM),
    ]


def _deberta_layer(config: ModelConfig, s: int) -> list[Operator]:
    """DeBERTa (He et al. 2020, arXiv 2006.03654): beside BERT's, products of query and key with the table of distances,
    of which the scores pick theirs."""
    kinds = [kind for kind in ("c2p", "p2c") if kind in (getattr(config, "pos_att_type", None) or ())]
    heads = _size(config, "num_attention_heads")
    if not getattr(config, "relative_attention", False) or not kinds:
        return _bert_layer(config, s)
    farthest = getattr(config, "max_relative_positions", -1)
    farthest = farthest if farthest > 0 else config.max_position_embeddings
    buckets = getattr(config, "position_buckets", -1)
    span = 2 * (buckets if buckets > 0 else farthest)
    return [
        *_bert_layer(config, s),
        _product("relative scores", len(kinds), s, _head_width(config), span, heads=heads, constant=False),
        _each("pick distances", len(kinds), heads * s * s, MOVE),
        _each("scale and mask", len(kinds), heads * s * s, ADD),
    ]


def _attention(s: int, inner: int, heads: int, sources: dict[str, int], hidden: int) -> list[Operator]:
    """Self-attention of width `inner`, written back to `hidden`; query, key and value are each computed from `sources`."""
    return [
        *(_product(name, 1, s, width, inner) for name, width in sources.items()),
        _each("split and join heads", 4, s * inner, MOVE),
        _product("attention scores", 1, s, inner // heads, s, heads=heads, constant=False),
        _each("scale and mask", 1, heads * s * s, ADD),
        _each("softmax", 1, heads * s * s, SOFTMAX),
        _product("attention values", 1, s, s, inner // heads, heads=heads, constant=False),
        _product("attention output", 1, s, inner, hidden),
    ]


def _bert_layer(config: ModelConfig, s: int) -> list[Operator]:
    hidden, inner = _size(config, "hidden_size"), _size(config, "intermediate_size", "hidden_dim")
    heads = _size(config, "num_attention_heads")
    width = heads * _head_width(config)
    return [
        *_attention(s, width, heads, dict.fromkeys(("query", "key", "value"), hidden), hidden),
        _product("feed-forward in", 1, s, hidden, inner),
        _each("gelu", 1, s * inner, GELU),
        _product("feed-forward out", 1, s, inner, hidden),
        _each("residual", 2, s * hidden, ADD),
        _each("layer norm", 2, s * hidden, LAYER_NORM),
    ]


def shrinking_layer(config: ModelConfig, before: int, after: int) -> list[Operator]:
    """PoWER-BERT (Goyal et al. 2020, arXiv 2001.08950): BERT's layer, whose attention reads `before` tokens and lets `after`
    of them go on to the feed-forward network."""
    rest, each = ("feed-forward in", "gelu", "feed-forward out"), ("residual", "layer norm")  # one after each half
    results = [item for item in _bert_layer(config, before) if item.name not in (*rest, *each)]
    results += [item for item in _bert_layer(config, after) if item.name in rest]
    results += [replace(item, count=1) for s in (before, after) for item in _bert_layer(config, s) if item.name in each]
    if after < before:
        heads = _size(config, "num_attention_heads")
        results.append(_each("significance", 1, heads * before * before, ADD))
        results.append(_each("choose and gather", 1, after * _size(config, "hidden_size"), MOVE))
    return results


GROUPS = {"query": "q_groups", "key": "k_groups", "value": "v_groups", "attention output": "post_attention_groups",
          "feed-forward in": "intermediate_groups", "feed-forward out": "output_groups"}  # fmt: skip


def _squeezebert_layer(config: ModelConfig, s: int) -> list[Operator]:
    """SqueezeBERT (Iandola et al. 2020, arXiv 2006.11316): BERT's layer, its products cut into groups of channels.

    A group's product is counted as one of its own, between a split and a join.
    """
    results = []
    for operator in _bert_layer(config, s):
        groups = getattr(config, GROUPS[operator.name]) if operator.name in GROUPS and operator.shape else 1
        if groups > 1 and operator.shape:
            m, k, n = operator.shape
            results.append(_each("split groups", 1, m * k, MOVE))
            results.append(_product(operator.name, groups, m, k // groups, n // groups))
            results.append(_each("join groups", 1, m * n, MOVE))
        else:
            results.append(operator)
    return results


def _mobilebert_layer(config: ModelConfig, s: int) -> list[Operator]:
    """MobileBERT (Sun et al. 2020, arXiv 2004.02984), table 1: a layer between two linear bottlenecks."""
    hidden, inner, n_ffn = config.hidden_size, config.intermediate_size, config.num_feedforward_networks
    width = config.true_hidden_size
    shared = config.use_bottleneck and config.key_query_shared_bottleneck and not config.use_bottleneck_attention
    narrow = width if config.use_bottleneck_attention or not config.use_bottleneck else hidden
    sources = {"query": width if shared else narrow, "key": width if shared else narrow, "value": narrow}
    n_in = (2 if shared else 1) if config.use_bottleneck else 0
    bottleneck = [
        _product("bottleneck in", n_in, s, hidden, width),
        _product("bottleneck out", n_in and 1, s, width, hidden),
    ]
    return [
        *(operator for operator in bottleneck if operator.count),
        *_attention(s, width, config.num_attention_heads, sources, width),
        _product("feed-forward in", n_ffn, s, width, inner),
        _each("relu", n_ffn, s * inner, ADD),
        _product("feed-forward out", n_ffn, s, inner, width),
        _each("residual", n_ffn + 1, s * width, ADD),
        _each("residual", 1, s * hidden, ADD),
        _each("norm", n_ffn + 3, s * width, 2 * ADD),  # an affine map in place of a layer norm
        _each("norm", 1, s * hidden, 2 * ADD),
    ]


LAYERS: dict[str, Callable[[ModelConfig, int], list[Operator]]] = {
    **dict.fromkeys(GATED, _gated_layer),
    "mobilebert": _mobilebert_layer,
    "squeezebert": _squeezebert_layer,
    "deberta": _deberta_layer,
    "deberta-v2": _deberta_layer,
}
