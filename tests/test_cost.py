"""The cost model against numbers worked by hand, against real models, and against the published points."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

import pytest
import torch
import transformers

from edgebert.converters import Precision
from edgebert.cost import analytic as cost
from edgebert.cost.analytic import count_parameters, peak_gflops, predict_bytes, predict_latency
from edgebert.cost.published import coverage, fit_efficiency, published_points, ratio
from edgebert.devices.profiles import load_device
from edgebert.errors import RequestError
from edgebert.modeling.operators import operators
from edgebert.types import Budget, Cores, DeviceProfile

TOKENS = "AutoModelForTokenClassification"
FAMILIES = ["bert", "roberta", "distilbert", "electra", "albert", "mpnet", "mobilebert", "squeezebert"]


def bert(**changes: Any) -> Any:
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    return transformers.BertConfig(**{**sizes, "vocab_size": 30522, "num_labels": 3, **changes})


DEVICE = DeviceProfile(
    name="toy",
    title="Toy",
    soc="",
    cores=(Cores("big", 2, 2.0, 16, 64), Cores("little", 2, 1.0, 8, 32)),
    instructions=("fp16",),
    ram_mb=1000,
    memory_gb_per_s=10,
    runtimes=("ONNX Runtime",),
    formats=("onnx",),
    threads=2,
    dispatch_us=5,
    budget=Budget(),
    sources={},
)


# ---------------------------------------------------------------- operators


def test_operators_of_one_layer_by_hand() -> None:
    """hidden 4, 2 heads, feed-forward 8, 3 tokens, 5 labels."""
    config = bert(
        hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=10, num_labels=5
    )
    results = {operator.name: operator for operator in operators(config, 3)}
    shapes = {name: (op.count, op.shape, op.flops, op.weights) for name, op in results.items() if op.shape}
    assert shapes == {
        "head": (1, (3, 4, 5), 120, 20),
        "query": (1, (3, 4, 4), 96, 16),
        "key": (1, (3, 4, 4), 96, 16),
        "value": (1, (3, 4, 4), 96, 16),
        "attention scores": (1, (3, 2, 3), 72, 0),  # two heads of 2·3·2·3
        "attention values": (1, (3, 3, 2), 72, 0),
        "attention output": (1, (3, 4, 4), 96, 16),
        "feed-forward in": (1, (3, 4, 8), 192, 32),
        "feed-forward out": (1, (3, 8, 4), 192, 32),
    }
    assert results["attention scores"].activations == 2 * (3 * 2 + 2 * 3 + 3 * 3)
    assert results["softmax"].activations == 2 * (2 * 3 * 3)
    assert (results["gelu"].count, results["gelu"].activations) == (1, 2 * 3 * 8)
    assert sum(operator.count for operator in results.values() if operator.name == "layer norm") == 2


def test_grouped_products_by_hand() -> None:
    """squeezebert of hidden 4, feed-forward 8, 2 groups, 3 tokens: a group has half the inputs and half the outputs."""
    names = ("q_groups", "k_groups", "v_groups", "intermediate_groups", "output_groups")
    config = transformers.SqueezeBertConfig(
        hidden_size=4, embedding_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        **dict.fromkeys(names, 2),
    )  # fmt: skip
    results = {operator.name: operator for operator in operators(config, 3)}
    shapes = {name: (op.count, op.shape, op.flops, op.weights) for name, op in results.items() if op.weights}
    del shapes["head"]
    assert shapes == {
        "query": (2, (3, 2, 2), 24, 4),
        "key": (2, (3, 2, 2), 24, 4),
        "value": (2, (3, 2, 2), 24, 4),
        "attention output": (1, (3, 4, 4), 96, 16),
        "feed-forward in": (2, (3, 2, 4), 48, 8),
        "feed-forward out": (2, (3, 4, 2), 48, 8),
    }
    moved = [(op.name[:5], op.activations // 2) for op in operators(config, 3) if op.name.endswith("groups")]
    assert moved == [("split", 12), ("join ", 12)] * 3 + [("split", 12), ("join ", 24), ("split", 24), ("join ", 12)]
    assert results["attention scores"].flops == 72


def test_albert_of_one_layer_by_hand() -> None:
    """Width 2, hidden 4: the norm is over the narrow row, and a layer is BERT's."""
    sizes = {"hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1}
    albert = operators(transformers.AlbertConfig(embedding_size=2, **sizes), 3)
    assert [op.activations for op in albert if op.name == "layer norm"] == [2 * 3 * 2, 2 * 3 * 4]
    assert [(op.flops, op.weights) for op in albert if op.name == "embedding projection"] == [(48, 8)]
    assert albert[-12:] == operators(bert(**sizes), 3)[-12:]


def test_mobilebert_by_hand() -> None:
    """Hidden 8 between bottlenecks of 4, two feed-forward networks of 16, a table of width 2, 3 tokens."""
    config = transformers.MobileBertConfig(
        hidden_size=8, intra_bottleneck_size=4, embedding_size=2, intermediate_size=16, num_attention_heads=2,
        num_hidden_layers=1, num_feedforward_networks=2,
    )  # fmt: skip
    result = operators(config, 3)
    shapes = {(op.name, op.count, op.shape) for op in result if op.weights and op.name != "head"}
    assert shapes == {
        ("embedding projection", 1, (3, 6, 8)),
        ("bottleneck in", 2, (3, 8, 4)),  # one for query and key, one for what is added to
        ("query", 1, (3, 4, 4)),
        ("key", 1, (3, 4, 4)),
        ("value", 1, (3, 8, 4)),
        ("attention output", 1, (3, 4, 4)),
        ("feed-forward in", 2, (3, 4, 16)),
        ("feed-forward out", 2, (3, 16, 4)),
        ("bottleneck out", 1, (3, 4, 8)),
    }
    plain = [(op.name, op.count, op.activations // 2) for op in result if op.name in ("norm", "residual")]
    assert plain == [
        ("norm", 1, 24), ("residual", 3, 12), ("residual", 1, 24), ("norm", 5, 12), ("norm", 1, 24),
    ]  # fmt: skip


def test_layers_multiply_the_counts() -> None:
    item, three = operators(bert(num_hidden_layers=1), 12), operators(bert(num_hidden_layers=3), 12)
    for a, b in zip(item, three, strict=True):
        once = a.name in ("embedding gather", "embedding sum", "head") or a == b
        assert b.count == a.count * (1 if once else 3), a.name
    assert sum(operator.flops * operator.count for operator in three if operator.name == "query") == 3 * 2 * 12 * 384**2


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_real_model(family: str) -> None:
    """Every matrix that the operators read is a matrix of the model, but for its look-up tables."""
    config = transformers.AutoConfig.for_model(family)
    if family == "albert":
        config.num_hidden_layers = 1  # its layers share their weights: each pass reads them again
    with torch.device("meta"):
        model = getattr(transformers, TOKENS).from_config(config)
        if family == "squeezebert":
            model.transformer.pooler = torch.nn.Identity()  # no head per token reads it
    tables = {m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    matrices = sum(p.numel() for p in model.parameters() if p.dim() > 1 and p not in tables)
    assert sum(operator.count * operator.weights for operator in operators(config, 7)) == matrices


def test_a_config_without_sizes_is_refused() -> None:
    with pytest.raises(RequestError, match="cannot read a 'gpt2' config: no intermediate_size or hidden_dim"):
        operators(transformers.GPT2Config(), 12)


# ---------------------------------------------------------------- parameters and bytes


def test_bert_base_parameters_by_hand() -> None:
    embedding = 30522 * 768 + 512 * 768 + 2 * 768 + 2 * 768
    layer = 4 * (768 * 768 + 768) + (768 * 3072 + 3072) + (3072 * 768 + 768) + 4 * 768
    config = transformers.BertConfig(num_labels=9)
    assert count_parameters(config, TOKENS) == embedding + 12 * layer + 768 * 9 + 9
    assert count_parameters(config, "AutoModel") == embedding + 12 * layer + 768 * 768 + 768


def test_shared_parameters_count_once() -> None:
    albert = transformers.AlbertConfig(hidden_size=64, num_attention_heads=4, intermediate_size=128)
    few = count_parameters(albert, TOKENS)
    albert.num_hidden_layers = 2
    assert count_parameters(albert, TOKENS) == few


def test_int8_bytes_by_hand() -> None:
    config = bert(num_hidden_layers=3, vocab_size=8000, num_labels=130)
    layer = 4 * 384 * 384 + 2 * 384 * 1536
    matrices = (8000 + 512 + 2) * 384 + 3 * layer + 384 * 130
    vectors = 2 * 384 + 3 * (4 * 384 + 1536 + 384 + 4 * 384) + 130
    assert predict_bytes(config, TOKENS, Precision("int8")) == matrices + 4 * vectors + 4 * 8000 + 21_000 + 3 * (
        29_500 + 19_000
    )


@pytest.mark.parametrize(("layers", "vocab", "fits"), [(3, 8000, True), (3, 10000, True), (3, 11000, False)])
def test_pixel6_admits_three_layers_of_the_default_teacher(layers: int, vocab: int, fits: bool) -> None:
    config = bert(num_hidden_layers=layers, vocab_size=vocab, num_labels=130)
    limit = load_device("pixel6").budget.size_mb
    assert limit is not None
    assert (predict_bytes(config, TOKENS, Precision("int8")) <= limit * 1e6) == fits


def test_memory_by_hand() -> None:
    assert cost.predict_memory_bytes(10_000_000) == 20_000_000 + 13_000_000 + 16_000_000


# ---------------------------------------------------------------- time


def test_peak_fills_the_fastest_cores_first() -> None:
    assert peak_gflops(DEVICE, "fp32", 1) == 32
    assert peak_gflops(DEVICE, "fp32", 3) == 32 + 32 + 8
    assert peak_gflops(DEVICE, "int8", 4) == 128 + 128 + 32 + 32
    assert peak_gflops(DEVICE, "fp16", 1) == 64
    assert peak_gflops(replace(DEVICE, instructions=()), "fp16", 1) == 32


def test_time_of_a_compute_bound_model_by_hand() -> None:
    """Without memory or dispatch to wait for, time is arithmetic over the peak's share."""
    device = replace(DEVICE, memory_gb_per_s=1e9, dispatch_us=0)
    config = bert()
    flops = {True: 0, False: 0}  # with a weight, or not
    for operator in operators(config, 12):
        flops[operator.weights > 0] += operator.count * operator.flops
    fp32 = predict_latency(config, device, precision="fp32", seq_len=12)
    assert fp32.p50_ms == pytest.approx((flops[True] + flops[False]) / (64e6 * cost.EFFICIENCY["fp32"]))
    int8 = predict_latency(config, device, precision="int8", seq_len=12)
    by_hand = flops[True] / (256e6 * cost.EFFICIENCY["int8"]) + flops[False] / (64e6 * cost.EFFICIENCY["fp32"])
    assert int8.p50_ms == pytest.approx(by_hand)


def test_time_of_a_memory_bound_model_by_hand() -> None:
    """With endless cores, time is bytes over the bandwidth's share: weights of 4, 2 or 1 bytes."""
    endless = (Cores("", 2, 1e9, 16, 64),)
    device = replace(DEVICE, cores=endless, dispatch_us=0)
    config = bert()
    weights = sum(operator.count * operator.weights for operator in operators(config, 1))
    moved = sum(operator.count * operator.activations for operator in operators(config, 1))
    for precision, weight_bytes, element_bytes in [("fp32", 4, 4), ("fp16", 2, 2), ("int8", 1, 4)]:
        result = predict_latency(config, device, precision=precision, seq_len=1).p50_ms
        assert result == pytest.approx((weights * weight_bytes + moved * element_bytes) / (10e6 * 0.5))


def test_dispatch_is_paid_by_every_operator() -> None:
    config = bert(num_hidden_layers=2)
    n = sum(operator.count for operator in operators(config, 12))
    products = sum(operator.count for operator in operators(config, 12) if operator.weights)
    for precision, dispatches in [("fp32", n), ("int8", n + products)]:
        slow, fast = (
            predict_latency(config, replace(DEVICE, dispatch_us=us), precision=precision, seq_len=12).p50_ms
            for us in (1005, 5)
        )
        assert slow - fast == pytest.approx(dispatches)


def test_a_prediction_says_what_it_is() -> None:
    result = predict_latency(bert(), DEVICE, precision="int8", seq_len=12, threads=1)
    assert (result.how, result.device, result.runtime, result.threads) == ("predicted", "toy", "ONNX Runtime", 1)
    assert (result.seq_len, result.batch, result.n_runs, result.lengths) == (12, 1, 0, "fixed")
    assert result.low_ms == pytest.approx(result.p50_ms / cost.SPREAD)
    assert result.high_ms == pytest.approx(result.p50_ms * cost.SPREAD)
    assert predict_latency(bert(), DEVICE, precision="int8", seq_len=12, threads=0).threads == 4
    assert predict_latency(bert(), DEVICE, precision="int8", seq_len=12, runtime="LiteRT").runtime == "LiteRT"


def test_more_work_takes_longer() -> None:
    def ms(config: Any, *, seq_len: int = 32, threads: int = 1, precision: str = "int8") -> float:
        return predict_latency(config, DEVICE, precision=precision, seq_len=seq_len, threads=threads).p50_ms

    by_layers = [ms(bert(num_hidden_layers=n)) for n in range(1, 7)]
    assert by_layers == sorted(by_layers)
    assert len(set(by_layers)) == 6
    by_length = [ms(bert(), seq_len=n) for n in (1, 8, 64, 512)]
    assert by_length == sorted(by_length)
    by_threads = [ms(bert(), threads=n) for n in (4, 3, 2, 1)]
    assert by_threads == sorted(by_threads)
    assert ms(bert(), precision="int8") < ms(bert(), precision="fp16") < ms(bert(), precision="fp32")
    assert ms(bert(vocab_size=6000)) == ms(bert()), "a word table is looked up, not multiplied"


def test_bad_requests() -> None:
    with pytest.raises(RequestError, match="unknown precision 'int7'"):
        predict_latency(bert(), DEVICE, precision="int7", seq_len=12)
    with pytest.raises(RequestError, match="5 threads were asked for, and toy has 4 cores"):
        predict_latency(bert(), DEVICE, precision="int8", seq_len=12, threads=5)


# ---------------------------------------------------------------- the fit


def test_interval_covers_what_the_docstring_claims() -> None:
    points = published_points()
    assert (len(points), sum(point.how == "published" for point in points)) == (21, 19)
    assert coverage() == pytest.approx(18 / 21)
    assert coverage(how=("published",)) == pytest.approx(16 / 19)
    assert coverage(1.0) < 0.2 < 0.8 < coverage(), "the interval is what covers them"


def test_constants_are_the_fitted_ones() -> None:
    assert fit_efficiency("fp32") == pytest.approx(cost.EFFICIENCY["fp32"], rel=0.02)
    assert fit_efficiency("int8") == pytest.approx(cost.EFFICIENCY["int8"], rel=0.02)
    assert cost.EFFICIENCY["fp16"] == cost.EFFICIENCY["fp32"]


def test_residuals_are_those_of_the_docstring() -> None:
    ratios = [ratio(point) for point in published_points() if point.precision == "fp32"]
    assert len(ratios) == 16
    assert (min(ratios), max(ratios)) == (pytest.approx(0.23, abs=0.01), pytest.approx(3.04, abs=0.05))
    assert median(ratios) == pytest.approx(1, abs=0.03)


def test_our_own_int8_measurements_are_close() -> None:
    ours = [ratio(point) for point in published_points() if point.how == "measured"]
    assert len(ours) == 2
    assert all(0.8 < r < 1.25 for r in ours)


def test_every_point_has_a_source_and_a_length() -> None:
    for point in published_points():
        assert point.source
        assert point.seq_len > 0
        assert point.threads >= 1
        assert "NPU" not in point.device.runtimes[0]
