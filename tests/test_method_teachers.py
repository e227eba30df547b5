"""Several teachers: their mean by hand, heads beside each other, and which checkpoints can serve."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from edgebert.errors import RequestError
from edgebert.methods import METHODS, paths_of
from edgebert.methods._fan import fan_of, mean_linear, swap
from edgebert.methods._teachers import Teacher, create_teacher, ensemble, find_teachers
from edgebert.methods.mtdnn_kd import ensemble_objective
from edgebert.methods.multi_teacher import answers_of, fans_objective
from edgebert.modeling.checkpoint import copy_student, n_parameters, save_checkpoint
from edgebert.modeling.headed import HeadedEncoder, outlets
from edgebert.modeling.heads import Part, parts_of
from edgebert.tasks import find_task
from edgebert.training.context import MethodContext
from edgebert.training.heads import hard_loss, soft_loss
from edgebert.training.loop import Objective, collate
from edgebert.types import Row, Student
from tests.families import FAMILIES, WITHOUT_SPANS, tiny
from tests.toy_methods import method_context


@pytest.fixture
def context(teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path) -> MethodContext:
    return method_context(teacher, toy_rows, toy_labels, tmp_path / "work")


@pytest.fixture
def batch(teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return collate(find_task("ner").encode(toy_rows[:8], teacher.tokenizer, toy_labels, 32))


def other(teacher: Student, seed: int) -> Student:
    """Another model of the same shape."""
    torch.manual_seed(seed)
    model = copy.deepcopy(teacher.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return Student(model, teacher.tokenizer)


# ---------------------------------------------------------------- the mean of several


def test_the_mean_is_of_probabilities() -> None:
    part = Part("", "sequence-classification", ("logits",), 2)
    logits = [torch.tensor([[p, 1 - p]]).log() + shift for p, shift in ((0.9, 0.0), (0.3, 5.0))]
    result = ensemble([part], [{"logits": logit} for logit in logits], torch.ones(1, 1).bool())
    assert torch.allclose(result["logits"].exp(), torch.tensor([[0.6, 0.4]]))


def test_the_mean_of_labels_that_do_not_exclude_each_other() -> None:
    part = Part("", "sequence-classification", ("logits",), 2, "multi_label_classification")
    given = [{"logits": torch.logit(torch.tensor([[0.9, 0.5]]))}, {"logits": torch.logit(torch.tensor([[0.1, 0.7]]))}]
    result = ensemble([part], given, torch.ones(1, 1).bool())
    assert torch.allclose(result["logits"].sigmoid(), torch.tensor([[0.5, 0.6]]))


def test_the_mean_of_places_leaves_padding_out() -> None:
    part = Part("qa", "question-answering", ("qa_start_logits", "qa_end_logits"))
    given = [{name: torch.tensor([[0.0, 0.0, 9.0]]) for name in part.outputs}] * 2
    result = ensemble([part], given, torch.tensor([[True, True, False]]))
    assert torch.allclose(result["qa_end_logits"].exp(), torch.tensor([[0.5, 0.5, 0.0]]), atol=1e-6)


def test_the_mean_of_vectors_has_length_one() -> None:
    part = Part("", "sentence-embedding", ("sentence_embedding",))
    given = [{"sentence_embedding": torch.tensor([vector])} for vector in ([1.0, 0.0], [0.0, 1.0])]
    result = ensemble([part], given, torch.ones(1, 1).bool())
    assert torch.allclose(result["sentence_embedding"], torch.full((1, 2), 0.5**0.5))


def test_mtdnn_is_the_mean_of_hard_and_soft(
    teacher: Student, context: MethodContext, batch: dict[str, torch.Tensor]
) -> None:
    student, second = copy_student(teacher.model, teacher.tokenizer), other(teacher, 1)
    student.model.eval()
    teachers = [Teacher(teacher.model, None), Teacher(second.model, None)]
    result = ensemble_objective(student, context, teachers, 0.5).eval()(**batch)["loss"]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    ours = student.model(**inputs).logits
    mean = (teacher.model(**inputs).logits.softmax(-1) + second.model(**inputs).logits.softmax(-1)) / 2
    mask = batch["attention_mask"].bool()
    soft = -(mean * ours.log_softmax(-1)).sum(-1)[mask].mean()
    hard_label_weight = F.cross_entropy(ours.flatten(0, 1), batch["labels"].flatten())
    assert torch.isclose(result, (hard_label_weight + soft) / 2, rtol=1e-5)


def headed(teacher: Student) -> Student:
    """Two tasks over one encoder."""
    model = copy.deepcopy(teacher.model)
    config = copy.deepcopy(model.config)
    config.edgebert_heads = [
        {"name": "slots", "kind": "token-classification", "n_labels": 3},
        {"name": "intent", "kind": "sequence-classification", "n_labels": 2},
    ]
    torch.manual_seed(0)
    return Student(HeadedEncoder(model.bert, config).eval(), teacher.tokenizer)


def test_mtdnn_sums_its_tasks(teacher: Student, context: MethodContext, batch: dict[str, torch.Tensor]) -> None:
    student = headed(teacher)
    boss = copy.deepcopy(student.model)
    with torch.no_grad():
        boss.heads["intent"].classifier.bias.add_(torch.tensor([1.0, -1.0]))
    batch = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    batch["intent_labels"] = torch.tensor([0, 1, 0, 1, -100, -100, -100, -100])
    result = ensemble_objective(student, context, [Teacher(boss, None)] * 2, 0.5).eval()(**batch)["loss"]
    plain = Objective(student.model).eval()
    ours, theirs = plain.answer(batch), Objective(boss).eval().answer(batch)
    expected = (hard_loss(student.model, ours, batch) + soft_loss(student.model, ours, theirs, batch, 1.0)) / 2
    assert torch.isclose(result, expected, rtol=1e-5)
    assert len(outlets(student.model)) == 2


# ---------------------------------------------------------------- heads side by side


def test_the_mean_of_heads_is_a_head() -> None:
    torch.manual_seed(0)
    fan = fan_of(nn.Linear(3, 2), 3)
    for item in fan.copies:
        nn.init.normal_(item.weight)
        nn.init.normal_(item.bias)
    states = torch.randn(4, 3)
    answer = fan(states)
    assert torch.allclose(answer, sum(fan.last) / 3) and len(fan.last) == 3
    assert torch.allclose(mean_linear(fan)(states), answer, atol=1e-6)


@pytest.mark.parametrize(
    ("family", "head"),
    [
        (family, head)
        for family in sorted(FAMILIES)
        for head in ("token-classification", "sequence-classification", "question-answering")
        if head != "question-answering" or family not in WITHOUT_SPANS
    ],
)
def test_the_last_layer_of_every_family_is_found(family: str, head: str) -> None:
    model = tiny(family, head)
    (outlet,) = outlets(model)
    assert outlet.out_features == model.config.num_labels
    fan = fan_of(outlet, 2)
    swap(model, outlet, fan)
    ids = torch.randint(5, 90, (2, 9))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    result = model(input_ids=ids, attention_mask=mask)
    results = [answers_of(parts_of(model.config, type(model).__name__), [fan], k, mask) for k in range(2)]
    for name in results[0]:  # of eurobert's whole texts the mean over tokens
        logits = getattr(result, name)
        real = mask.bool() if logits.shape[:2] == ids.shape else slice(None)
        assert torch.allclose(((results[0][name] + results[1][name]) / 2)[real], logits[real], atol=1e-6)


def test_each_head_learns_from_its_teacher(
    teacher: Student, context: MethodContext, batch: dict[str, torch.Tensor]
) -> None:
    student, second = copy_student(teacher.model, teacher.tokenizer), other(teacher, 1)
    (outlet,) = outlets(student.model)
    fan = fan_of(outlet, 2)
    nn.init.normal_(fan.copies[1].weight)
    swap(student.model, outlet, fan)
    objective = fans_objective(
        student, context, [Teacher(teacher.model, None), Teacher(second.model, None)], [fan], 0.3, 2.0
    )
    result = objective.eval()(**batch)["loss"]
    expected = 0.0
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    mask = batch["attention_mask"].bool()
    for ours, boss in zip(fan.last, (teacher.model, second.model), strict=True):
        theirs = boss(**inputs).logits
        soft = -4 * ((theirs / 2).softmax(-1) * (ours / 2).log_softmax(-1)).sum(-1)[mask].mean()
        hard_label_weight = F.cross_entropy(ours.flatten(0, 1), batch["labels"].flatten())
        expected = expected + (0.7 * soft + 0.3 * hard_label_weight) / 2
    assert torch.isclose(result, torch.as_tensor(expected), rtol=1e-5)


def test_the_student_is_as_large_as_before(teacher: Student, context: MethodContext) -> None:
    method = METHODS.get("multi-teacher")
    student = copy_student(teacher.model, teacher.tokenizer)
    after = method.apply(student, context, **method.read_params(method.toy))
    assert n_parameters(after.model) == n_parameters(teacher.model)
    assert isinstance(after.model.classifier, nn.Linear)
    assert after.notes == ("the mean of heads for 2 teachers",)


# ---------------------------------------------------------------- where teachers come from


def test_made_teachers_differ_and_leave_the_first_alone(teacher: Student, context: MethodContext) -> None:
    student = copy_student(teacher.model, teacher.tokenizer)
    before = copy.deepcopy(teacher.model.state_dict())
    result = find_teachers(student, context, "x", "", 3, 1.0)
    assert result[0].model is teacher.model and len(result) == 3
    assert all(torch.equal(before[key], value) for key, value in teacher.model.state_dict().items())
    heads = [item.model.classifier.weight for item in result]
    assert not torch.equal(heads[0], heads[1]) and not torch.equal(heads[1], heads[2])
    assert not any(parameter.requires_grad for item in result[1:] for parameter in item.model.parameters())


def test_a_made_teacher_reads_the_students_pieces(teacher: Student, context: MethodContext) -> None:
    """A student whose ids are shuffled: its teacher learns on its own ids and gives what it would give on them."""
    order = torch.randperm(82, generator=torch.Generator().manual_seed(0))
    ids = tuple(order.tolist())
    item = create_teacher(Student(teacher.model, teacher.tokenizer, ids), context, "x", 1, 1.0)
    table, old = item.model.get_input_embeddings().weight, teacher.model.get_input_embeddings().weight
    used = {i for row in context.train for i in teacher.tokenizer.encode(" ".join(row.words)).ids}
    moved = (table - old).abs().sum(1) > 1e-4
    assert item.ids == ids and set(moved.nonzero()[:, 0].tolist()) <= {ids[i] for i in used}


def test_folders_are_read(teacher: Student, context: MethodContext, toy_checkpoint: Path, tmp_path: Path) -> None:
    second = other(teacher, 1)
    save_checkpoint(tmp_path / "one", second, toy_checkpoint)
    assert paths_of("a, b:c,") == [Path("a"), Path("b"), Path("c")]
    student = copy_student(teacher.model, teacher.tokenizer)
    METHODS.get("mtdnn-kd").check(student.model.config, teacher.model.config, teachers=str(tmp_path / "one"))
    result = find_teachers(student, context, "mtdnn-kd", str(tmp_path / "one"), 3, 1.0)
    assert len(result) == 2 and result[1].ids is None
    assert torch.equal(result[1].model.classifier.weight, second.model.classifier.weight)
    trimmed = METHODS.get("trim-vocab").apply(student, context, size=60, floor=0, languages="")
    (_, item) = find_teachers(trimmed, context, "mtdnn-kd", str(tmp_path / "one"), 3, 1.0)
    assert item.ids == trimmed.teacher_ids


@pytest.mark.parametrize("name", ["mtdnn-kd", "multi-teacher"])
def test_checkpoints_that_cannot_serve_are_refused(
    name: str, teacher: Student, context: MethodContext, toy_checkpoint: Path, tmp_path: Path
) -> None:
    check, config = METHODS.get(name).check, teacher.model.config
    with pytest.raises(RequestError, match=r"no model\.safetensors") as caught:
        check(config, config, teachers=str(tmp_path / "nowhere"))
    assert caught.value.where == f"{name}.teachers"
    second = other(teacher, 1)
    second.model.config.id2label = {i: f"L{i}" for i in range(second.model.config.num_labels)}
    save_checkpoint(tmp_path / "labels", second, toy_checkpoint)
    with pytest.raises(RequestError, match="other heads or labels"):
        check(config, config, teachers=str(tmp_path / "labels"))
    save_checkpoint(tmp_path / "tokens", other(teacher, 1), toy_checkpoint)
    file = tmp_path / "tokens" / "tokenizer.json"
    file.write_text(file.read_text().replace('"zebra"', '"hippo"'))
    student = copy_student(teacher.model, teacher.tokenizer)
    with pytest.raises(RequestError, match=r"cannot read the student's tokens.*zebra"):
        find_teachers(student, replace(context), name, str(tmp_path / "tokens"), 3, 1.0)
