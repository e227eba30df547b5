"""Every method on every family that people bring: the student works and is saved whole, or is refused before training."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from edgebert.converters import usable_converter
from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._stack import with_hidden
from edgebert.modeling.checkpoint import accepted, copy_student, load_student, n_parameters, save_checkpoint, set_labels
from edgebert.modeling.headed import HeadedEncoder
from edgebert.modeling.layers import encoder_layers, keep_layers, keep_settings, layer_settings
from edgebert.modeling.ragged import is_ragged
from edgebert.modeling.rebuild import auto_model_of
from edgebert.search.plan import possible_shapes
from edgebert.training.context import MethodContext
from edgebert.types import MethodCall, Recipe, Row, Student, TrainSettings
from tests.conftest import make_tokenizer
from tests.toy_methods import served, toy_params, toy_task

NAMES = sorted(METHODS.all())
KINDS = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]
BASES = {
    "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
}
SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES,
    "distilbert": {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64},
    "modernbert": SIZES | {
        "layer_types": KINDS, "local_attention": 4, "rope_parameters": BASES,
        "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3,
    },
    "eurobert": SIZES | {"num_key_value_heads": 2, "bos_token_id": 2, "eos_token_id": 3, "mask_token_id": 4},
    "nomic_bert": SIZES,
    "deberta-v2": SIZES | {
        "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 8, "share_att_key": True,
        "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0,
    },
}  # fmt: skip
REFUSED = {  # (method, family) -> what is said
    **{
        (name, family): f"{family} has layers of another kind than BERT's"
        for family in ("modernbert", "eurobert", "nomic_bert", "deberta-v2")
        for name in ("narrow", "power-bert", "fastbert")
    },
    ("fastbert", "distilbert"): "distilbert has layers of another kind than BERT's, after which",
    **{
        (name, family): f"{family} has layers of another kind than BERT's, of which no head"
        for family in ("modernbert", "eurobert", "nomic_bert")
        for name in ("prune", "dynabert", "cut")
    },
    (
        "stacking",
        "modernbert",
    ): "layer 2 cannot be a copy of layer 1: the layer_types of modernbert are sliding_attention",
}


def teacher_of(family: str, labels: tuple[str, ...], head: str = "TokenClassification", **changes: Any) -> Student:
    """A teacher of random weights that are large enough to show, and of norms that are not 1."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 40, "pad_token_id": 0}
    config = transformers.AutoConfig.for_model(family, **sizes | FAMILIES[family] | changes)
    set_labels(config, labels)
    model = getattr(transformers, f"AutoModelFor{head}").from_config(config, attn_implementation="eager").eval()
    model.config.architectures = [type(model).__name__]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4.0)
            else:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return Student(model, tokenizer)


def method_context(teacher: Student, rows: list[Row], labels: tuple[str, ...], work: Path) -> MethodContext:
    """Eight rows in one batch: a step of each phase."""
    settings = TrainSettings(epochs=1, batch_size=8, learning_rate=1e-3, max_length=32)
    task, rows, labels = toy_task(teacher, rows, labels)
    return MethodContext(teacher.model, task, labels, rows[:8], rows[8:12], settings, work)


def batch() -> dict[str, torch.Tensor]:
    """Rows of 20 tokens, ten times the window of ModernBERT's local layers; the second padded after seven."""
    ids = torch.arange(40).reshape(2, 20) % 70 + 5
    mask = torch.ones_like(ids)
    ids[1, 7:], mask[1, 7:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def read(model: Any, given: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Logits at the real tokens."""
    given = given or batch()
    with torch.inference_mode():
        logits = model(**accepted(model, given)).logits
    return logits[given["attention_mask"].bool()] if logits.dim() == 3 else logits


def read_again(student: Student, folder: Path) -> Any:
    """The saved student as transformers loads it by itself, or edgebert, where transformers has no such family or shape."""
    origin = folder / "teacher"
    student.model.config.save_pretrained(origin)
    make_tokenizer().save(str(origin / "tokenizer.json"))
    (origin / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
    save_checkpoint(folder, student, origin)
    if isinstance(student.model, HeadedEncoder) or is_ragged(student.model.config):
        return load_student(folder).model
    auto = getattr(transformers, auto_model_of(student.model.config))
    return auto.from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "bert"])  # tests/test_methods.py has it
@pytest.mark.parametrize("name", NAMES)
def test_each_method_serves_each_family_or_says_before_training_why_not(
    name: str, family: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    method = METHODS.get(name)
    teacher = served(name, teacher_of(family, toy_labels))
    config, before = teacher.model.config, {key: value.clone() for key, value in teacher.model.state_dict().items()}
    params = toy_params(name, **({"n_layers": 1} if name == "mobilebert" else {}))  # each layer is a training
    recipe = Recipe((MethodCall(name, params),))
    if (name, family) in REFUSED:
        with pytest.raises(RequestError, match=REFUSED[name, family]):
            possible_shapes(config, recipe, METHODS.all(), config)
        return
    ((_, _, predicted),) = possible_shapes(config, recipe, METHODS.all(), config)
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path / "work")
    student = method.apply(student, context, **params)
    assert n_parameters(student.model) == count_parameters(predicted, auto_model_of(predicted))
    assert layer_settings(student.model.config).keys() == layer_settings(predicted).keys()
    assert torch.allclose(read(read_again(student, tmp_path / "saved")), read(student.model.eval()), atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in teacher.model.state_dict().items())
    assert layer_settings(config) == ({"layer_types": KINDS} if family == "modernbert" else {})


# ---------------------------------------------------------------- kept layers do what they did


def without(model: Any, kept: tuple[int, ...]) -> torch.Tensor:
    """The model's logits where layers that are not kept give back what they were given: its own forward pass gives each
    other layer its mask and its rotary base."""
    hooks = [
        layer.register_forward_hook(lambda _, inputs, output: with_hidden(output, inputs[0]))
        for i, layer in enumerate(encoder_layers(model))
        if i not in kept
    ]
    result = read(model)
    for hook in hooks:
        hook.remove()
    return result


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head", ["TokenClassification", "SequenceClassification"])
def test_a_student_of_some_layers_is_its_teacher_with_the_others_left_out(
    family: str, head: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = teacher_of(family, toy_labels, head)
    context = method_context(teacher_of(family, toy_labels), toy_rows, toy_labels, tmp_path)
    drop, first = METHODS.get("drop-layers"), family == "modernbert"
    choices: dict[str, tuple[int, ...]] = {
        "top": (0, 1), "symmetric": (0, 3), "uniform": (0, 3) if first else (1, 3), "contribution": (),
    }  # fmt: skip
    for strategy, kept in choices.items():
        student = copy_student(teacher.model, teacher.tokenizer)
        student = drop.apply(student, context, n_layers=2, strategy=strategy, layers=())
        notes = tuple(int(word) - 1 for word in student.notes[-1].split(" of ")[0].split("layers ")[1].split(", "))
        assert notes == (kept or notes)
        assert torch.allclose(read(read_again(student, tmp_path / strategy)), without(teacher.model, notes), atol=1e-5)
        if first:
            assert student.model.config.layer_types == [KINDS[i] for i in notes]


@pytest.mark.parametrize("layers", [(0, 1), (0, 1, 3), (0, 2), (0, 3), (0,)])
def test_modernbert_keeps_the_window_and_the_rotary_base_of_each_layer(
    layers: tuple[int, ...], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = teacher_of("modernbert", toy_labels)
    student = copy_student(teacher.model, teacher.tokenizer)
    keep_layers(student.model, layers)
    expected, again = without(teacher.model, layers), read_again(student, tmp_path)
    assert torch.allclose(read(again), expected, atol=1e-5)
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert saved["layer_types"] == [KINDS[i] for i in layers]
    assert saved["rope_parameters"]["sliding_attention"]["rope_theta"] == 100.0
    if "sliding_attention" in saved["layer_types"]:  # both show in the answers: else this would say nothing
        for field, value in (
            ("local_attention", 38),
            ("rope_parameters", BASES | {"sliding_attention": BASES["full_attention"]}),
        ):
            other = copy.deepcopy(saved) | {field: value}
            (tmp_path / "config.json").write_text(json.dumps(other), encoding="utf-8")
            changed = load_student(tmp_path).model
            assert (read(changed) - expected).abs().max() > 1e-2, field


def test_the_window_is_kept_below_heads_of_ours(toy_labels: tuple[str, ...], tmp_path: Path) -> None:
    teacher = teacher_of("modernbert", toy_labels)
    config = teacher.model.config
    config.edgebert_heads = [{"name": "", "kind": "token-classification", "n_labels": len(toy_labels)}]
    student = Student(HeadedEncoder(teacher.model.model, config).eval(), teacher.tokenizer)
    expected = without(student.model, (0, 2))
    keep_layers(student.model, (0, 2))
    assert torch.allclose(read(read_again(student, tmp_path)), expected, atol=1e-5)


def test_the_older_name_of_the_kinds_stays_true_or_goes() -> None:
    """transformers 4 reads global_attn_every_n_layers alone."""
    config = transformers.ModernBertConfig(num_hidden_layers=6, global_attn_every_n_layers=3)
    for kept, period in (((0, 3), 1), ((0, 1, 3, 4), 2), ((0, 1, 2), 3), ((0, 1, 2, 4), 4), ((0, 1, 3), 2)):
        item = copy.deepcopy(config)
        keep_settings(item, kept)
        assert (item.num_hidden_layers, len(item.layer_types)) == (len(kept), len(kept))
        assert item.global_attn_every_n_layers == period
    keep_settings(config, (0, 3, 4, 5))
    assert not hasattr(config, "global_attn_every_n_layers")


def test_lists_of_another_meaning_are_left_alone() -> None:
    config = transformers.DebertaV2Config(num_hidden_layers=2, pos_att_type=["c2p", "p2c"])
    config.edgebert_heads = [{"name": "a"}, {"name": "b"}]
    keep_settings(config, (1,))
    assert (config.pos_att_type, len(config.edgebert_heads)) == (["c2p", "p2c"], 2)
    assert layer_settings(transformers.LongformerConfig(num_hidden_layers=2, attention_window=[4, 8])) == {
        "attention_window": [4, 8]
    }


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({"strategy": "bottom", "n_layers": 2}, "strategy"),
        ({"strategy": "bottom"}, "strategy"),
        ({"strategy": "alternate-odd", "n_layers": 2}, "strategy"),
        ({"layers": (1, 2)}, "layers"),
    ],
)
def test_modernberts_first_layer_is_not_dropped(
    params: dict[str, Any], where: str, toy_labels: tuple[str, ...]
) -> None:
    """Another in its place would lose its norm when the checkpoint is loaded."""
    drop, message = (
        METHODS.get("drop-layers"),
        "no other can be first: transformers builds that one without attn_norm",
    )
    config = teacher_of("modernbert", toy_labels).model.config
    with pytest.raises(RequestError, match=message) as caught:
        possible_shapes(config, Recipe((MethodCall("drop-layers", params),)), METHODS.all(), config)
    assert caught.value.where == f"drop-layers.{where}"
    other = teacher_of("nomic_bert", toy_labels).model.config
    drop.check(other, other, **drop.read_params(params))


@pytest.mark.parametrize("drop", [(), (0, 1, 2)])
def test_groups_give_each_layer_of_modernbert_its_own_mask(
    drop: tuple[int, ...], toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Theseus with nothing replaced is the predecessor, with all replaced the successor."""
    from edgebert.methods._replacing import put_groups
    from edgebert.modeling.layers import kinds_of

    teacher = teacher_of("modernbert", toy_labels)
    model = copy.deepcopy(teacher.model)
    if drop:
        keep_layers(model, drop)
    new = copy.deepcopy(list(encoder_layers(model))[:2])
    short = copy.deepcopy(model)
    keep_layers(short, (0, 1))
    groups = put_groups(model, list(encoder_layers(teacher.model)), new, kinds_of(teacher.model.config))
    assert torch.allclose(read(model), read(short), atol=1e-6)
    for group in groups:
        group.training, group.rate = True, 0.0
    assert torch.allclose(read(model), read(teacher.model), atol=1e-6)


def test_theseus_refuses_a_student_without_its_teachers_kinds_of_layers(toy_labels: tuple[str, ...]) -> None:
    method, teacher = METHODS.get("theseus"), teacher_of("modernbert", toy_labels).model.config
    config = copy.deepcopy(teacher)
    keep_settings(config, (0, 3))
    with pytest.raises(
        RequestError, match="the teacher's sliding_attention layers cannot run in a student that has none"
    ):
        method.check(config, teacher, n_layers=0)
    keep_settings(config := copy.deepcopy(teacher), (0, 1))
    method.check(config, teacher, n_layers=0)
    config.local_attention = 8
    with pytest.raises(RequestError, match="a student of another sliding_window"):
        method.check(config, teacher, n_layers=0)


# ---------------------------------------------------------------- what else differs from BERT


def test_the_last_head_reads_the_mean_where_the_family_does(toy_labels: tuple[str, ...]) -> None:
    from edgebert.methods.pkd import compared, read_by_heads

    heads = {"classifier_pooling": "mean"}
    for family, changes, expected in (
        ("bert", {}, "cls"), ("modernbert", {}, "cls"), ("modernbert", heads, "mean"), ("eurobert", {}, "mean"),
        ("eurobert", {"classifier_pooling": "bos"}, "cls"),
    ):  # fmt: skip
        model = teacher_of(family, toy_labels, "SequenceClassification", **changes).model
        assert read_by_heads(model) == expected
    states, mask = torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([[True, True, False]])
    part = registry_part(model)
    assert compared(states, mask, part, "mean").tolist() == [[2.0]]
    assert compared(states, mask, part).tolist() == [[1.0]]


def registry_part(model: Any) -> Any:
    from edgebert.modeling.heads import parts_of

    return parts_of(model.config, type(model).__name__)


def test_heads_that_share_their_values_each_have_them(toy_labels: tuple[str, ...]) -> None:
    """EuroBERT here: four heads of width 8, two of values; heads 1 and 2 read the first, 3 and 4 the second."""
    from edgebert.training.features import trace_hidden_states

    model = teacher_of("eurobert", toy_labels).model
    layer = encoder_layers(model)[0]
    with torch.no_grad():
        result = trace_hidden_states(model, batch(), ("hidden states", "attentions", "values"))
        projected = layer.self_attn.v_proj(layer.input_layernorm(result.hidden[0]))
    values = result.values[0]
    assert values.shape == (2, 4, 20, 8)
    for head, shared in enumerate((0, 0, 1, 1)):
        assert torch.allclose(values[:, head], projected[:, :, 8 * shared : 8 * shared + 8], atol=1e-6)


def test_robertas_positions_follow_its_padding_id(
    toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Padding is a late token here; some before it go, so its id is another's afterwards, and positions count from it."""
    old_pad = make_tokenizer().token_to_id("zebra")
    teacher = teacher_of("roberta", toy_labels, pad_token_id=old_pad, max_position_embeddings=old_pad + 33)
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path / "work")
    student = METHODS.get("trim-vocab").apply(student, context, size=70, floor=10, languages="")
    new_pad = student.model.config.pad_token_id
    assert student.tokenizer.id_to_token(new_pad) == "zebra" and new_pad < old_pad and student.teacher_ids
    again = read_again(student, tmp_path / "saved")
    encodings = student.tokenizer.encode_batch([list(row.words) for row in toy_rows[:4]], is_pretokenized=True)
    longest = max(len(encoding.ids) for encoding in encodings)
    ids = torch.tensor([encoding.ids + [new_pad] * (longest - len(encoding.ids)) for encoding in encodings])
    given = {"input_ids": ids, "attention_mask": (ids != new_pad).long(), "token_type_ids": torch.zeros_like(ids)}
    expected = read(teacher.model, given | {"input_ids": torch.tensor(student.teacher_ids)[ids]})
    assert torch.allclose(read(student.model, given), expected, atol=1e-5)
    assert torch.allclose(read(again, given), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["modernbert", "eurobert"])
def test_a_padding_id_beyond_the_smaller_vocabulary_moves_into_it(
    family: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """ModernBERT pads with token 50,283 of 50,368, EuroBERT with 128,001 of 128,256."""
    teacher = teacher_of(family, toy_labels, pad_token_id=make_tokenizer().token_to_id("##ed"))
    config, recipe = teacher.model.config, Recipe((MethodCall("trim-vocab", {"size": 70, "floor": 10}),))
    ((_, _, predicted),) = possible_shapes(config, recipe, METHODS.all(), config)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path / "work")
    student = copy_student(teacher.model, teacher.tokenizer)
    student = METHODS.get("trim-vocab").apply(student, context, size=70, floor=10, languages="")
    assert n_parameters(student.model) == count_parameters(predicted, auto_model_of(predicted))
    assert student.tokenizer.id_to_token(student.model.config.pad_token_id) == "##ed"
    given = batch() | {"input_ids": batch()["input_ids"] % 70}
    assert torch.allclose(read(read_again(student, tmp_path / "saved"), given), read(student.model, given), atol=1e-5)


def test_special_tokens_may_be_several(toy_labels: tuple[str, ...], tmp_path: Path, toy_rows: list[Row]) -> None:
    teacher = teacher_of("eurobert", toy_labels, eos_token_id=[3, 60], pad_token_id=3)
    trim, context = METHODS.get("trim-vocab"), method_context(teacher, toy_rows, toy_labels, tmp_path)
    student = trim.apply(copy_student(teacher.model, teacher.tokenizer), context, size=70, floor=10, languages="")
    config, token = student.model.config, teacher.tokenizer.id_to_token
    assert [student.tokenizer.id_to_token(i) for i in config.eos_token_id] == [token(3), token(60)]
    assert student.tokenizer.id_to_token(config.mask_token_id) == "[MASK]"
    assert config.pad_token_id == 3


@pytest.mark.parametrize("name", ["electra", "stacking", "whole-word", "dynamic-masking", "well-read", "distilbert"])
def test_a_tokenizer_without_a_mask_token_is_refused_before_training(name: str) -> None:
    from tokenizers import Tokenizer, models

    from edgebert.workflows.recipe import check_mask, read_recipe

    recipe, _ = read_recipe(name)
    with pytest.raises(RequestError, match="the tokenizer has no mask token") as caught:
        check_mask(recipe, Tokenizer(models.BPE()))
    assert caught.value.where == name
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_special_tokens(["<|mask|>"])  # EuroBERT's
    check_mask(recipe, tokenizer)
    without_text, _ = read_recipe("well-read", {"well-read.pretrain": "0"})
    check_mask(without_text, Tokenizer(models.BPE()))


def test_a_new_table_of_positions_is_not_as_long_as_a_rotary_model_reads(toy_labels: tuple[str, ...]) -> None:
    from edgebert.search.plan import check_shapes

    config = teacher_of("modernbert", toy_labels, max_position_embeddings=8192).model.config
    config.vocab_size = 50_000  # so that the student is the smaller one
    recipe = Recipe((MethodCall("albert", {"embedding_width": 16}), MethodCall("kd")))
    shapes = possible_shapes(config, recipe, METHODS.all(), config)
    assert {shape.max_position_embeddings for _, _, shape in shapes} == {512}
    check_shapes(config, recipe, config, 512)
    with pytest.raises(
        RequestError, match="of the family albert reads 512 tokens at most, and windows of 600 are asked for"
    ):
        check_shapes(config, recipe, config, 600)


def test_a_family_without_the_tasks_head_is_refused(toy_labels: tuple[str, ...]) -> None:
    from edgebert.search.plan import check_shapes

    config = teacher_of("eurobert", toy_labels).model.config
    config.architectures = ["SomeForQuestionAnswering"]
    with pytest.raises(RequestError, match="transformers has no eurobert model with a question-answering head"):
        check_shapes(config, Recipe((MethodCall("kd"),)), config)


def test_the_cost_of_a_gated_layer_by_hand() -> None:
    """Ten tokens, width 32, four heads of 8 that share two heads of keys and values, 64 in the middle of a layer."""
    from edgebert.modeling.operators import operators

    config = transformers.EuroBertConfig(**FAMILIES["eurobert"], vocab_size=100, pad_token_id=0)
    results = {operator.name: operator for operator in operators(config, 10)}
    assert results["query"].shape == (10, 32, 32) and results["key"].shape == results["value"].shape == (10, 32, 16)
    assert results["feed-forward in"].shape == (10, 32, 128) and results["feed-forward out"].shape == (10, 64, 32)
    assert results["embedding gather"].count == 1  # no table of positions, none of types
    in_layers = sum(op.count * op.weights for op in operators(config, 10) if op.name != "head")
    with torch.device("meta"):
        layers = transformers.EuroBertModel(config).layers
    assert in_layers == sum(p.numel() for p in layers.parameters() if p.dim() > 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_that_are_read_are_those_of_the_layers(family: str, toy_labels: tuple[str, ...]) -> None:
    from edgebert.modeling.operators import operators

    model = teacher_of(family, toy_labels).model
    in_layers = sum(p.numel() for p in encoder_layers(model).parameters() if p.dim() > 1)
    assert sum(op.count * op.weights for op in operators(model.config, 10) if op.name != "head") == in_layers


# ---------------------------------------------------------------- files


WINDOW = 24  # twelve tokens to each side: more than the eight of a short probe, fewer than the 40 that are read


def shortened(family: str, labels: tuple[str, ...]) -> Any:
    """Two of four layers; of ModernBERT a global and a local one."""
    changes = {"local_attention": WINDOW} if family == "modernbert" else {}
    model = teacher_of(family, labels, **changes).model
    keep_layers(model, (0, 1))
    return model


def test_the_graph_has_the_window_whatever_its_width(toy_labels: tuple[str, ...]) -> None:
    """A mask handed in as a bias replaces the one with the window, which eight tokens cannot tell."""
    from edgebert.modeling.graph import make_graph

    model = shortened("modernbert", toy_labels)
    graph, ids = make_graph(model), torch.arange(80).reshape(2, 40) % 70 + 5
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    with torch.inference_mode():
        (result,) = graph(ids, mask)
        real = mask.bool()
        assert torch.allclose(result[real], model(input_ids=ids, attention_mask=mask).logits[real], atol=1e-5)
    assert graph.masks == "clamped" and make_graph(shortened("nomic_bert", toy_labels)).masks == "additive"


@pytest.mark.parametrize(
    ("family", "format"),
    [
        pytest.param(family, format, marks=() if format == "onnx" else pytest.mark.slow)
        for format in ("onnx", "tflite", "coreml")
        for family in ("modernbert", "eurobert", "nomic_bert")
    ],
)
def test_students_of_rotary_families_convert(
    family: str, format: str, toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Rows shorter and longer than the window, padding, one token."""
    import numpy as np

    from edgebert.modeling.graph import TorchSession, make_source
    from edgebert.verify.edges import batch_of, edge_batches
    from edgebert.verify.parity import compare
    from edgebert.verify.reference import make_reference

    model, drawn = shortened(family, toy_labels), np.random.default_rng(0)
    vocab = model.config.vocab_size
    rows = [batch_of(drawn.integers(5, vocab, n).tolist()) for n in (3, 12, 13, 14, 25, 40)]
    source = make_source(model, lengths=(16, 40), labels=toy_labels, calibration=rows)
    reference = make_reference(TorchSession(model), rows, edge_batches(vocab, 40, 0, None), toy_labels)
    converter = usable_converter(format)
    exported = converter.export(source, tmp_path)
    result, _ = compare(converter.open(exported.path, 1), reference, "fp32")
    assert result.failures == ()
    assert result.max_logit_difference < 1e-4 and max(result.edges.values()) < 1e-4


def test_a_family_that_a_format_cannot_hold_is_refused_before_training() -> None:
    from edgebert.workflows.recipe import formats_of_families

    both = ("onnx", "tflite")
    assert formats_of_families({"modernbert"}, "modernbert", both, both) == (both, [])
    kept, notes = formats_of_families({"fnet"}, "fnet", both, ())
    assert kept == ("onnx",) and notes[0].startswith(
        "no tflite file: a fnet model cannot be written as tflite: padding"
    )
    with pytest.raises(RequestError, match="a xlnet model cannot be written as tflite: LiteRT has no form"):
        formats_of_families({"xlnet"}, "xlnet", both, ("tflite",))
    assert formats_of_families({"albert"}, "xlnet", both, both) == (both, [])
    with pytest.raises(RequestError, match="a funnel model cannot be written as ONNX"):
        formats_of_families({"albert"}, "funnel", both, both)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ner", "classify"])
def test_fit_on_modernbert_with_the_default_recipe(task: str, toy_data: Path, tmp_path: Path) -> None:
    """From the checkpoint to a bundle that proves itself."""
    import edgebert

    teacher = teacher_of("modernbert", ("a", "b"))
    transformers.AutoModel.from_config(teacher.model.config).save_pretrained(tmp_path / "teacher")
    teacher.tokenizer.save(str(tmp_path / "teacher" / "tokenizer.json"))
    data = toy_data
    if task == "classify":
        data = tmp_path / "data"
        data.mkdir()
        for split in ("train", "dev", "test"):
            texts = _sentences(toy_data / f"{split}.conll")
            lines = ["text,label", *(f"{text},{'day' if 'day' in text else 'none'}" for text in texts)]
            (data / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = edgebert.fit(
        "pixel6", task, teacher=str(tmp_path / "teacher"), data=str(data), run=str(tmp_path / "runs" / task),
        teacher_epochs=4, epochs=4, learning_rate=3e-3, max_drop=60, formats=("onnx",), max_length=32,
        params={"trim-vocab.floor": "20", "drop-layers.n_layers": "2"},
    )  # fmt: skip
    assert result.exit_code == 0 and result.bundle is not None
    edgebert.check(result.run)
    manifest = json.loads((result.bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["student"].startswith("L2-")


def _sentences(path: Path) -> list[str]:
    """The sentences of a CoNLL file, each in one line."""
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return [" ".join(line.split("\t")[0] for line in block.split("\n")) for block in blocks]
