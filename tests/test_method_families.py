"""Students of another family, made of teachers of several families, with every kind of head."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from edgebert.cost.analytic import count_parameters
from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods._narrow_embedding import factorised, summing_to_zero
from edgebert.methods.albert import first_layers
from edgebert.methods.mobilebert import bottleneck_of, transfer_loss, transfer_objective, untrained
from edgebert.methods.squeezebert import diagonal_blocks
from edgebert.modeling.checkpoint import accepted, copy_student, n_parameters
from edgebert.modeling.headed import HeadedEncoder, answers
from edgebert.modeling.heads import is_per_token
from edgebert.modeling.layers import encoder_layers
from edgebert.modeling.rebuild import auto_model_of
from edgebert.training.features import Trace, missing_features, trace_hidden_states
from edgebert.types import Row, Student
from tests.families import HEADS, tiny
from tests.toy_methods import method_context

FAMILIES = ("albert", "squeezebert", "mobilebert")
SHAPES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_width": 16, "groups": 1, "n_layers": 0, "layers": ()},
    "squeezebert": {"groups": 4, "n_layers": 0},
    "mobilebert": {"embedding_width": 16, "bottleneck": 0, "n_layers": 0},
}


def teacher_of(family: str, head: str = "token-classification", **changes: Any) -> Student:
    """A tiny teacher; the head "several" is ours, of two tasks."""
    model = tiny(family, "sentence-embedding" if head == "several" else head, **changes)
    model.config.architectures = [type(model).__name__]
    if head == "several":
        model.config.edgebert_heads = [
            {"name": "tags", "kind": "token-classification", "n_labels": 5},
            {"name": "topic", "kind": "sequence-classification", "n_labels": 3},
        ]
        model = HeadedEncoder(model, model.config).eval()
    return Student(model, tokenizer=None)  # type: ignore[arg-type]


def made(name: str, teacher: Student, **changes: Any) -> Student:
    """The student before any training."""
    torch.manual_seed(0)
    shape = SHAPES[name] | changes
    if name == "mobilebert":
        return untrained(teacher, **shape)
    return METHODS.get(name).apply(teacher, None, **shape)


def batch() -> dict[str, torch.Tensor]:
    """Two rows, the second padded after five of nine tokens."""
    ids = torch.arange(18).reshape(2, 9) + 5
    mask = torch.ones_like(ids)
    ids[1, 5:], mask[1, 5:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


def read(model: Any) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        return answers(model, model(**accepted(model, batch())), batch()["attention_mask"])


def real(name: str, output: torch.Tensor) -> torch.Tensor:
    """The output at real tokens."""
    return output[batch()["attention_mask"].bool()] if is_per_token(name, output.dim()) else output


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "distilbert", "electra", "deberta-v2"])
@pytest.mark.parametrize("head", [*HEADS, "several"])
def test_every_teacher_and_head_gives_the_predicted_student(name: str, family: str, head: str) -> None:
    teacher = teacher_of(family, head)
    before = copy.deepcopy(teacher.model.config.to_dict())
    method = METHODS.get(name)
    params = method.read_params(SHAPES[name] if name == "mobilebert" else {"n_layers": 0, **SHAPES[name]})
    method.check(teacher.model.config, teacher.model.config, **params)
    predicted = method.reshape(copy.deepcopy(teacher.model.config), **params)
    student = made(name, teacher)
    assert student.model.config.model_type == name
    assert n_parameters(student.model) == count_parameters(predicted, auto_model_of(predicted))
    assert missing_features(student.model.config, ("hidden states", "attentions", "values")) == ""
    ours, theirs = read(student.model), read(teacher.model)
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in theirs.items()}
    assert all(torch.isfinite(value).all() for value in ours.values())
    assert teacher.model.config.to_dict() == before


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("head", [*HEADS, "several"])
def test_heads_are_the_teachers(name: str, head: str) -> None:
    teacher = teacher_of("bert", head)
    ours, theirs = made(name, teacher).model.state_dict(), teacher.model.state_dict()
    for key, value in theirs.items():
        if key.startswith(("classifier", "qa_outputs", "heads.")):
            assert torch.equal(ours[key], value)


@pytest.mark.parametrize("name", FAMILIES)
def test_types_of_the_teacher_are_kept(name: str) -> None:
    """RoBERTa has one type, whatever its tokenizer says: a second is as the first."""
    for n_types, expected in ((1, [0, 0]), (2, [0, 1]), (3, [0, 1, 2])):
        teacher = teacher_of("bert", type_vocab_size=n_types)
        student = made(name, teacher)
        ours = student.model.base_model.embeddings.token_type_embeddings.weight
        assert len(ours) == len(expected)
        assert [bool(torch.equal(ours[0], row)) for row in ours] == [i == 0 for i in expected]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_head_over_the_first_token_keeps_its_dense_layer(name: str) -> None:
    """RoBERTa calls it classifier.dense and the last layer classifier.out_proj."""
    teacher = teacher_of("roberta", "sequence-classification")
    student = made(name, teacher).model
    pooler = student.albert.pooler if name == "albert" else student.base_model.pooler.dense
    assert torch.equal(pooler.weight, teacher.model.classifier.dense.weight)
    assert torch.equal(student.classifier.weight, teacher.model.classifier.out_proj.weight)


# ---------------------------------------------------------------- exactly the teacher, where the shape loses nothing


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("head", ["token-classification", "question-answering", "several"])
def test_squeezebert_of_one_group_is_its_teacher(family: str, head: str) -> None:
    teacher = teacher_of(family, head)
    ours, theirs = read(made("squeezebert", teacher, groups=1).model), read(teacher.model)
    for key, value in theirs.items():
        assert torch.allclose(real(key, ours[key]), real(key, value), atol=1e-5), key


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_albert_of_a_full_width_is_its_teacher_where_the_layers_are_alike(family: str) -> None:
    """A table of 32 columns without their mean has rank 31, which factors of width 32 hold."""
    teacher = teacher_of(family)
    first, second = encoder_layers(teacher.model)
    second.load_state_dict(first.state_dict())
    ours, theirs = read(made("albert", teacher, embedding_width=32).model), read(teacher.model)
    assert torch.allclose(real("logits", ours["logits"]), real("logits", theirs["logits"]), atol=1e-5)


def test_albert_groups_start_as_the_layers_that_are_asked_for() -> None:
    teacher = teacher_of("bert", num_hidden_layers=3)
    groups = made("albert", teacher, groups=2, layers=(2, 0)).model.albert.encoder.albert_layer_groups
    for group, index in zip(groups, (2, 0), strict=True):
        theirs = encoder_layers(teacher.model)[index]
        assert torch.equal(group.albert_layers[0].attention.key.weight, theirs.attention.self.key.weight)
        assert torch.equal(group.albert_layers[0].ffn_output.bias, theirs.output.dense.bias)


def test_electra_keeps_its_narrow_table_and_its_map() -> None:
    teacher = teacher_of("electra")
    student = made("albert", teacher, embedding_width=16).model
    theirs = teacher.model.electra
    assert torch.equal(student.albert.embeddings.word_embeddings.weight, theirs.embeddings.word_embeddings.weight)
    assert torch.equal(student.albert.encoder.embedding_hidden_mapping_in.weight, theirs.embeddings_project.weight)


def test_mobilebert_starts_near_its_teachers_embedding() -> None:
    """Its norm cannot divide by the deviation of each row: rows whose deviations are alike come out the same."""
    teacher = teacher_of("bert", num_hidden_layers=1)
    tables = teacher.model.bert.embeddings
    with torch.no_grad():
        tables.position_embeddings.weight.zero_()
        tables.token_type_embeddings.weight.zero_()
        words = tables.word_embeddings.weight
        words.copy_(words - words.mean(1, keepdim=True))
        words.div_(words.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)).mul_(0.3)
        words[0] = words[1]
    ours = trace_hidden_states(made("mobilebert", teacher, embedding_width=32).model, batch()).hidden[0]
    theirs = trace_hidden_states(teacher.model, batch()).hidden[0]
    assert torch.allclose(real("logits", ours), real("logits", theirs), atol=1e-5)


# ---------------------------------------------------------------- formulas by hand


@pytest.mark.parametrize(
    ("n_layers", "groups", "expected"),
    [(12, 1, (6,)), (12, 2, (3, 9)), (12, 3, (2, 6, 10)), (3, 1, (1,)), (4, 4, (0, 1, 2, 3))],
)
def test_an_albert_group_starts_as_the_middle_of_what_it_replaces(
    n_layers: int, groups: int, expected: tuple[int, ...]
) -> None:
    assert first_layers(n_layers, groups) == expected


def test_rows_that_sum_to_zero() -> None:
    rows = summing_to_zero(5)
    assert torch.allclose(rows.sum(1), torch.zeros(4), atol=1e-6)
    assert torch.allclose(rows @ rows.T, torch.eye(4), atol=1e-6)


def test_factors_survive_the_narrow_layer_norm() -> None:
    """Rows (a, b, -a, -b) sum to 0 and have rank 2, so width 3 holds them: the map of a row's narrow layer norm is the
    layer norm of the row, and of the sum of two rows too. The row (3, 4, -3, -4) has deviation √(50 / 4)."""
    table = torch.tensor([[3.0, 4, -3, -4], [1, -2, -1, 2], [0, 5, 0, -5]])
    (narrow, _), mapping = factorised([table, table[:1]], 3)
    assert narrow.shape == (3, 3) and mapping.shape == (4, 3)
    normed = torch.nn.functional.layer_norm(narrow, (3,), eps=0.0) @ mapping.T
    assert torch.allclose(normed[0], torch.tensor([3.0, 4, -3, -4]) / 12.5**0.5, atol=1e-5)
    both = torch.nn.functional.layer_norm(narrow[0] + narrow[1], (3,), eps=0.0) @ mapping.T
    assert torch.allclose(both, torch.tensor([4.0, 2, -4, -2]) / 10**0.5, atol=1e-5)


def test_diagonal_blocks_by_hand() -> None:
    dense = torch.arange(16.0).reshape(4, 4)
    assert diagonal_blocks(dense, 2).tolist() == [[0, 1], [4, 5], [10, 11], [14, 15]]
    wide = torch.arange(8.0).reshape(2, 4)  # two outputs of four inputs
    assert diagonal_blocks(wide, 2).tolist() == [[0, 1], [6, 7]]
    assert torch.equal(diagonal_blocks(dense, 1), dense)


def test_a_grouped_convolution_computes_the_block_diagonal_product() -> None:
    torch.manual_seed(0)
    convolution, dense, states = torch.nn.Conv1d(8, 4, 1, groups=2, bias=False), torch.randn(4, 8), torch.randn(1, 8, 3)
    with torch.no_grad():
        convolution.weight.copy_(diagonal_blocks(dense, 2)[:, :, None])
        only_blocks = torch.block_diag(dense[:2, :4], dense[2:, 4:])
        assert torch.allclose(convolution(states), only_blocks @ states, atol=1e-6)


def test_squeezeberts_attention_is_read_as_probabilities() -> None:
    """transformers gives its scores."""
    inside = trace_hidden_states(made("squeezebert", teacher_of("bert"), groups=1).model, batch(), ("attentions",))
    theirs = trace_hidden_states(teacher_of("bert").model, batch(), ("attentions",))
    for ours, other in zip(inside.attentions, theirs.attentions, strict=True):
        assert torch.allclose(ours, other, atol=1e-5)


@pytest.mark.parametrize(
    ("width", "heads", "asked", "expected"), [(768, 12, 0, 192), (512, 4, 0, 128), (312, 12, 0, 72), (32, 4, 12, 12)]
)
def test_the_bottleneck_is_a_quarter_that_the_heads_divide(width: int, heads: int, asked: int, expected: int) -> None:
    """312 / 4 = 78 = 6.5 · 12, which rounds to the even 6."""
    config = teacher_of("bert", hidden_size=width, num_attention_heads=heads, num_hidden_layers=1).model.config
    assert bottleneck_of(config, asked) == expected


def test_transfer_loss_by_hand() -> None:
    """One row of two tokens, the second of which is padding in the second check; width 2, one head.

    Feature maps: ((1-0)² + (2-0)² + (3-3)² + (4-2)²) / (2 · 2) = 9/4. Attention: the first token's rows are equal, the
    second's are (1/2, 1/2) of the teacher and (1/4, 3/4) of the student: KL = 1/2 ln 2 + 1/2 ln(2/3), over two tokens.
    """
    mask = torch.tensor([[True, True]])
    theirs = Trace(
        {}, (torch.zeros(1, 2, 2), torch.tensor([[[1.0, 2], [3, 4]]])), (torch.tensor([[[[0.5, 0.5], [0.5, 0.5]]]]),)
    )
    ours = Trace(
        {}, (torch.zeros(1, 2, 2), torch.tensor([[[0.0, 0], [3, 2]]])), (torch.tensor([[[[0.5, 0.5], [0.25, 0.75]]]]),)
    )
    kl = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert transfer_loss(ours, theirs, mask, [(1, 1)]).item() == pytest.approx(9 / 4 + kl / 2)
    alone = torch.tensor([[True, False]])
    assert transfer_loss(ours, theirs, alone, [(1, 1)]).item() == pytest.approx(5 / 2)


def test_the_layers_learn_one_after_the_other(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In stage m, layer m alone changes; the embedding does with layer 1, the head not at all."""
    from edgebert.training import run

    trained, real_training = [], run.train_student

    def watched(objective: Any, student: Student, *rest: Any, **options: Any) -> None:
        before = copy.deepcopy(student.model.state_dict())
        real_training(objective, student, *rest, **options)
        after = student.model.state_dict()
        parts = {".".join(key.split(".")[1:4]) for key in before if not torch.equal(before[key], after[key])}
        trained.append({part if part.startswith("encoder") else part.split(".")[0] for part in parts})

    monkeypatch.setattr(run, "train_student", watched)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    method = METHODS.get("mobilebert")
    method.apply(copy_student(teacher.model, teacher.tokenizer), context, **method.read_params(method.toy))
    layers = [f"encoder.layer.{i}" for i in range(4)]
    assert trained[:4] == [{"embeddings", layers[0]}, {layers[1]}, {layers[2]}, {layers[3]}]
    assert trained[4] >= {"embeddings", *layers, "weight", "bias"}  # predictions train all, the head too


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet", "distilbert"])
def test_mobilebert_learns_from_layers_of_any_family(
    family: str, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = teacher_of(family)
    student = made("mobilebert", teacher)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    objective = transfer_objective(student, context, [(1, 1), (2, 2)])
    objective(**batch())["loss"].backward()
    layer = encoder_layers(student.model)[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.attention.self.query.parameters())


# ---------------------------------------------------------------- the paper's sizes


def size_of(name: str, config: Any, auto_model: str = "AutoModel", **shape: Any) -> int:
    config.architectures = ["BertModel"]
    return count_parameters(METHODS.get(name).reshape(config, **(SHAPES[name] | shape)), auto_model)


def bert(**changes: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(**changes)


def test_albert_base_has_12_million_parameters_whatever_its_depth() -> None:
    results = [size_of("albert", bert(vocab_size=30000, num_hidden_layers=n), embedding_width=128) for n in (12, 6)]
    embedding = (30000 + 512 + 2) * 128 + 2 * 128 + 128 * 768 + 768
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert results == [embedding + layer + 768 * 768 + 768] * 2
    assert round(results[0] / 1e6) == 12


def test_albert_groups_have_a_layer_each() -> None:
    item, two = (size_of("albert", bert(), embedding_width=128, groups=n) for n in (1, 2))
    assert two - item == 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768


def test_squeezebert_has_the_papers_51_1_million_parameters() -> None:
    result = size_of("squeezebert", bert(vocab_size=30528))
    grouped = 3 * (768 * 768 // 4 + 768) + 2 * (768 * 3072 // 4) + 3072 + 768
    layer = grouped + 768 * 768 + 768 + 4 * 768
    assert result == (30528 + 512 + 2) * 768 + 2 * 768 + 12 * layer + 768 * 768 + 768
    assert round(result / 1e6, 1) == 51.1


def test_mobilebert_has_nearly_the_papers_25_3_million_parameters() -> None:
    """transformers' model of the paper's sizes has 24.8, or 25.1 with the heads of pretraining and without their extra
    rows of the word table; what else the paper counted is not known."""
    from transformers import MobileBertConfig

    teacher = bert(hidden_size=512, num_hidden_layers=24, num_attention_heads=4)
    result = size_of("mobilebert", teacher, embedding_width=128)
    assert result == count_parameters(MobileBertConfig(), "AutoModel")
    assert result == pytest.approx(25.3e6, rel=0.02)
    with_heads = count_parameters(MobileBertConfig(), "AutoModelForPreTraining") - 30522 * (512 - 128)
    assert with_heads == pytest.approx(25.3e6, rel=0.01)


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("albert", {"embedding_width": 33}, "width 33 is wider than the teacher's 32"),
        ("albert", {"groups": 3}, "3 groups for 2 layers"),
        ("albert", {"layers": (2,)}, "not 1 numbers from 0 to 1"),
        ("albert", {"layers": (0, 1)}, "not 1 numbers from 0 to 1"),
        ("albert", {"n_layers": 3}, "3 layers is deeper than its teacher of 2"),
        ("squeezebert", {"groups": 5}, "32 channels .hidden_size. cannot be cut into 5 groups"),
        ("squeezebert", {"n_layers": 3}, "3 layers cannot learn from 2"),
        ("mobilebert", {"n_layers": 3}, "3 layers cannot learn from 2"),
        ("mobilebert", {"bottleneck": 10}, "4 heads do not divide a bottleneck of 10"),
        ("mobilebert", {"embedding_width": 64}, "width 64 is wider than the teacher's 32"),
    ],
)
def test_what_cannot_be_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    config = teacher_of("bert").model.config
    with pytest.raises(RequestError, match=message) as caught:
        METHODS.get(name).check(config, config, **(SHAPES[name] | changes))
    assert caught.value.where == f"{name}.{next(iter(changes))}"


def test_mobilebert_needs_its_teachers_width_and_heads() -> None:
    config = teacher_of("bert").model.config
    narrower = teacher_of("bert", hidden_size=16).model.config
    with pytest.raises(RequestError, match="hidden_size 16 cannot learn from 32"):
        METHODS.get("mobilebert").check(narrower, config, **SHAPES["mobilebert"])


def test_a_word_table_that_is_held_stays_held() -> None:
    teacher = teacher_of("bert")
    teacher.model.get_input_embeddings().weight.requires_grad_(False)
    assert not made("squeezebert", teacher).model.get_input_embeddings().weight.requires_grad
