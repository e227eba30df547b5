"""FastBERT: uncertainty, loss and stops by hand; passes that end early, in torch and in files; and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import edgebert
from edgebert.converters import CONVERTERS
from edgebert.converters._onnx_exits import every_node, with_exits, without_exits
from edgebert.converters._onnx_file import load
from edgebert.errors import RequestError
from edgebert.measure.artifacts import Subject
from edgebert.measure.inputs import stops_early
from edgebert.measure.measure import Request, make_inputs
from edgebert.measure.runner import quiet_mean
from edgebert.measure.targets import File
from edgebert.methods import METHODS
from edgebert.methods._bert_layers import in_parts
from edgebert.methods.fastbert import FAMILIES, every_answer, greatest_speed, reshape, self_distillation, spoilt, stops
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.exits import answer_with, uncertainty
from edgebert.modeling.families.fastbert import FastBertConfig
from edgebert.modeling.graph import TorchSession, make_source
from edgebert.modeling.headed import HeadedEncoder
from edgebert.modeling.operators import operators
from edgebert.runtime.session import Batch
from edgebert.types import Artifact, Row, Student
from edgebert.verify.contents import contents_failures
from edgebert.workflows.recipe import check_methods, formats_of, read_recipe
from tests.conftest import make_tokenizer
from tests.families import tiny
from tests.toy_methods import logits, method_context, served

METHOD = METHODS.get("fastbert")
ONNX = CONVERTERS.get("onnx")
N_ROWS, N_TOKENS = 24, 20


def teacher_of(family: str = "bert", reads: str = "cls", **sizes: int) -> Student:
    torch.manual_seed(0)
    model: Any = tiny(family, "sequence-classification", **sizes)
    model.config.architectures = [type(model).__name__]
    if reads != "cls":
        config = model.config
        config.edgebert_heads = [{"name": "", "kind": "sequence-classification", "n_labels": 5, "reads": reads}]
        model = HeadedEncoder(model.bert, config).eval()
    return Student(model, make_tokenizer())


def batch(pad_id: int = 0) -> dict[str, torch.Tensor]:
    """Texts of 20 to 11 tokens."""
    ids = torch.randint(5, 90, (N_ROWS, N_TOKENS), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(N_TOKENS)[None, :] < 20 - torch.arange(N_ROWS)[:, None] % 10).long()
    return {"input_ids": torch.where(mask == 1, ids, pad_id), "attention_mask": mask}


def stopping(reads: str = "cls") -> tuple[Any, np.ndarray]:
    """A model of four layers whose texts stop after the first, after the second or not at all, and where each one does."""
    model: Any = in_parts(teacher_of(reads=reads, num_hidden_layers=4), reshape_of(reads)).model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embeddings" not in name:
                parameter.mul_({"cls": 5, "mean": 2.1}[reads] if name.endswith("branches.2.classifier.weight") else 3)
    with torch.inference_mode():
        *branches, _ = every_answer(model, batch())
    found = np.stack([uncertainty(answer).numpy() for answer in branches])
    levels = np.sort(found[0])
    model.encoder.config.speed = float(levels[7:9].mean())  # eight texts stop after the first layer
    after = np.array([1, 2, 4])[stops(found, model.encoder.config.speed)]
    assert set(after.tolist()) == {1, 2, 4}
    return model, after


def reshape_of(reads: str) -> Any:
    return reshape(teacher_of(reads=reads, num_hidden_layers=4).model.config, exits=(1, 2))


def rows_of(given: dict[str, torch.Tensor]) -> list[Batch]:
    """Each text alone, without padding, as files read it."""
    results = []
    for ids, mask in zip(given["input_ids"].numpy(), given["attention_mask"].numpy(), strict=True):
        n = int(mask.sum())
        results.append(
            {"input_ids": ids[None, :n], "attention_mask": mask[None, :n], "token_type_ids": 0 * ids[None, :n]}
        )
    return results


# ---------------------------------------------------------------- formulas


def test_uncertainty_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.5], [0.25, 0.75], [1.0, 1e-9]]).log()
    assert uncertainty(logits).tolist() == pytest.approx([1.0, 0.811278, 0.0], abs=1e-6)
    assert uncertainty(torch.tensor([[2.0, 2.0, 2.0, 2.0]])).tolist() == pytest.approx([1.0])  # of four labels too


def test_self_distillation_by_hand() -> None:
    """KL((1/2, 1/2) ‖ (1/4, 3/4)) = ln 2 / 2 + ln(2/3) / 2, and of the distribution itself 0: the sum over branches."""
    own = torch.tensor([[0.25, 0.75]]).log()
    even = torch.tensor([[0.5, 0.5]]).log()
    assert self_distillation([even], own).item() == pytest.approx(0.143841, abs=1e-6)
    assert self_distillation([own], even).item() == pytest.approx(0.130812, abs=1e-6)  # it is not symmetric
    assert self_distillation([even, own, even], own).item() == pytest.approx(2 * 0.143841, abs=1e-6)
    two = torch.cat([even, own]), torch.cat([own, own])
    assert self_distillation([two[0]], two[1]).item() == pytest.approx(0.143841 / 2, abs=1e-6)  # the mean over texts


def test_stops_and_answers_by_hand() -> None:
    found = np.array([[0.1, 0.3, 0.9, 0.9], [0.0, 0.1, 0.3, 0.2]])
    assert stops(found, 0.3).tolist() == [0, 1, 2, 1] and stops(found, 0.0).tolist() == [2, 2, 2, 2]
    answers = torch.arange(12.0).reshape(3, 4, 1)
    exits = [(torch.from_numpy(level < 0.3), answer) for level, answer in zip(found, answers, strict=False)]
    assert answer_with(exits, answers[2])[:, 0].tolist() == [0, 5, 10, 7]


def test_the_greatest_speed_that_spoils_few_by_hand() -> None:
    """Of four texts the last answer is right on three; stopping at 0.25 spoils the first one, and at 0.5 the second too."""
    truth, answers = np.array([1, 1, 1, 1]), np.array([[0, 0, 1, 1], [1, 1, 1, 0]])
    found = np.array([[0.25, 0.5, 0.1, 0.1]])
    assert [spoilt(answers, found, truth, speed) for speed in (0.2, 0.3, 0.6)] == [0, 0.25, 0.5]  # the gained one aside
    assert [greatest_speed(answers, found, truth, drop) for drop in (0, 25, 50)] == [0.25, 0.5, 1.0]
    assert greatest_speed(answers, 0 * found, truth, 10) == 0


# ---------------------------------------------------------------- the student


@pytest.mark.parametrize("family", FAMILIES)
def test_where_no_text_stops_it_is_its_teacher(family: str) -> None:
    teacher = teacher_of(family)
    rows = batch(teacher.model.config.pad_token_id)
    student = in_parts(teacher, reshape(teacher.model.config, exits=())).model.eval()
    assert student.config.speed == 0
    with torch.inference_mode():
        assert torch.allclose(student(**rows).logits, teacher.model(**rows).logits, atol=1e-5)


@pytest.mark.parametrize("reads", ["cls", "mean"])
def test_a_text_goes_through_the_layers_that_it_needs_and_answers_alone_as_in_a_batch(reads: str) -> None:
    model, after = stopping(reads)
    computed: list[int] = []
    for layer in model.encoder.layers:
        layer.feed_forward.register_forward_hook(lambda *_: computed.append(1))
    rows, answers = batch(), []
    with torch.inference_mode():
        together = model(**rows).logits
        assert len(computed) == 4
        *branches, last = every_answer(model, rows)
        for i, n in enumerate(after):
            computed.clear()
            size = int(rows["attention_mask"][i].sum())
            alone = model(rows["input_ids"][i : i + 1, :size], rows["attention_mask"][i : i + 1, :size]).logits
            assert len(computed) == n
            assert torch.allclose(alone[0], {1: branches[0], 2: branches[1], 4: last}[int(n)][i], atol=1e-5)
            answers.append(alone)
        early = np.flatnonzero(after < 4)
        computed.clear()
        model(rows["input_ids"][early], rows["attention_mask"][early])
    assert torch.allclose(together, torch.cat(answers), atol=1e-5)
    assert len(computed) == max(after[early])


def test_it_trains_branches_alone_and_chooses_its_speed(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = served("fastbert", teacher)
    trained = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(trained, toy_rows, toy_labels, tmp_path / "teacher")
    trained = METHODS.get("finetune").apply(trained, context, epochs=8)
    context = replace(context, teacher=trained.model, work=tmp_path / "work")
    given = METHOD.read_params({"backbone": False, "epochs": 4, "max_drop": 5})
    student = METHOD.apply(copy_student(trained.model, trained.tokenizer), context, **given)
    model: Any = student.model
    assert model.encoder.config.exit_layers == [1, 2, 3] and 0 < model.encoder.config.speed <= 1
    layers, early, whole = (
        float(student.notes[-1].partition(f" {mark} ")[2].split()[0]) for mark in ("after", "average;", "right,")
    )
    assert layers < 4 and early >= whole - 5
    fast = logits(student, toy_rows, toy_labels)
    model.encoder.config.speed = 0.0
    whole, before = (logits(item, toy_rows, toy_labels) for item in (student, trained))
    assert max(np.abs(a - b).max() for a, b in zip(whole, before, strict=True)) < 1e-5  # the backbone is as it was
    assert max(np.abs(a - b).max() for a, b in zip(fast, whole, strict=True)) > 1e-3


def test_operators_by_hand() -> None:
    """Of three layers the last feed-forward network is over one token; two exits have a dense layer and a classifier."""
    config = reshape(teacher_of(num_hidden_layers=3).model.config, exits=())
    found = operators(config, 100)
    assert [item.shape for item in found if item.name == "feed-forward in"] == [(n, 32, 64) for n in (100, 100, 1)]
    exits = [(item.count, item.shape, item.flops) for item in found if item.name.startswith("exit")]
    assert exits == [(2, (1, 32, 32), 2048), (2, (1, 32, config.num_labels), 64 * config.num_labels)]


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, np.ndarray, Any, Artifact]:
    model, after = stopping()
    source = make_source(model, labels=tuple("abcde"), calibration=rows_of(batch()))
    return model, after, source, ONNX.export(source, tmp_path_factory.mktemp("fastbert"))


def products_run(path: Path, row: Batch, folder: Path) -> int:
    """How many matrix products ONNX Runtime computes for a row, by its own profile."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    session.run(None, {item.name: row[item.name] for item in session.get_inputs()})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    names = [event.get("args", {}).get("op_name", "") for event in events if event["name"].endswith("kernel_time")]
    return sum("MatMul" in name or "Gemm" in name for name in names)


def test_a_file_computes_no_more_than_its_rows_need(exported: Any, tmp_path: Path) -> None:
    model, after, _, artifact = exported
    session, torchs, rows = ONNX.open(artifact.path, 1), TorchSession(model), rows_of(batch())
    given = {name: value.numpy() for name, value in batch().items()}
    given["token_type_ids"] = 0 * given["input_ids"]
    together = session.run(given)["logits"]
    assert np.abs(together - torchs.run(given)["logits"]).max() < 1e-5
    for row, expected in zip(rows, together, strict=True):
        assert np.abs(session.run(row)["logits"][0] - expected).max() < 1e-5
    computed = {
        n: products_run(artifact.path, rows[int(np.flatnonzero(after == n)[0])], tmp_path) for n in set(after.tolist())
    }
    assert computed[1] < computed[4] / 2 and sorted(computed.values()) == [computed[n] for n in sorted(computed)]


def test_the_plain_graph_of_a_file_is_what_was_exported(exported: Any) -> None:
    """Each weight lies in one graph, and Ifs that are taken out and put in again are the same."""
    artifact = exported[3]
    file, plain = onnx.load(artifact.path), load(artifact.path)
    onnx.checker.check_model(file)
    onnx.checker.check_model(plain)
    assert [node.op_type for node in every_node(file.graph)].count("If") == 2
    assert {item.key: item.value for item in file.metadata_props}["exits"] == "2"
    assert "If" not in {node.op_type for node in plain.graph.node} and "exits" not in {
        m.key for m in plain.metadata_props
    }
    assert len({item.name for item in plain.graph.initializer}) == len(plain.graph.initializer)
    with_exits(plain)
    assert plain.SerializeToString(deterministic=True) == file.SerializeToString(deterministic=True)
    without_exits(plain)
    before = plain.SerializeToString(deterministic=True)
    without_exits(plain)
    assert plain.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("precision", ["int8", "int8-static", "fp16", "int4"])
def test_reduced_files_stop_too(precision: str, exported: Any, tmp_path: Path) -> None:
    model, after, source, artifact = exported
    reduced = ONNX.reduce(source, artifact, precision, ONNX.precisions[precision].variants[0], tmp_path)
    row = rows_of(batch())[int(np.flatnonzero(after == 1)[0])]
    late = rows_of(batch())[int(np.flatnonzero(after == 4)[0])]
    assert products_run(reduced.path, row, tmp_path) < products_run(reduced.path, late, tmp_path) / 2
    contents = [ONNX.contents(item.path) for item in (reduced, artifact)]  # type: ignore[misc]
    tables = TorchSession(model).tables()
    assert contents_failures(contents[0], ONNX.precisions[precision], origin=contents[1], tables=tables) == []
    near = [ONNX.open(item.path, 1).run(row)["logits"] for item in (reduced, artifact)]
    assert np.abs(near[0] - near[1]).max() < 0.2 * np.abs(near[1]).max()


def test_another_graph_stays_as_it_is(tmp_path: Path) -> None:
    artifact = ONNX.export(make_source(teacher_of().model), tmp_path)
    model = onnx.load(artifact.path)
    before = model.SerializeToString(deterministic=True)
    with_exits(model)
    without_exits(model)
    assert model.SerializeToString(deterministic=True) == before


def test_findings_count_what_lies_in_exits(exported: Any) -> None:
    found, plain = ONNX.accelerator_fallbacks(exported[3].path), load(exported[3].path)
    assert found["operator If"] == 2
    norms = [node.op_type for node in plain.graph.node].count("LayerNormalization")
    assert found["operator LayerNormalization"] == norms == 9


def test_such_a_file_is_timed_on_more_texts(exported: Any, tmp_path: Path) -> None:
    assert stops_early(Subject(File("a", "onnx", exported[3].path), None))
    other = ONNX.export(make_source(teacher_of().model), tmp_path)
    assert not stops_early(Subject(File("b", "onnx", other.path), None))
    assert quiet_mean([1.0, 2.0, 6.0] * 4, 3) == 3.0
    make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "texts").write_text("show me flights to boston\n" * 60, encoding="utf-8")
    request = Request((), (), texts=str(tmp_path / "texts"))
    subjects = [
        Subject(File("a", "onnx", path), tmp_path / "tokenizer.json") for path in (exported[3].path, other.path)
    ]
    assert [(item.lengths, len(item.rows)) for item in make_inputs(request, subjects[:1])] == [("data", 50)]
    assert [(item.lengths, len(item.rows)) for item in make_inputs(request, subjects[1:])] == [
        ("data", 10),
        ("fixed", 1),
    ]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("speed", [-0.1, 1.5, "nan"])
def test_a_threshold_outside_its_range_is_refused(speed: object) -> None:
    with pytest.raises(RequestError, match=r"below 0|above 1|cannot be read") as caught:
        METHOD.read_params({"speed": speed})
    assert caught.value.where == "fastbert.speed"


@pytest.mark.parametrize(
    ("exits", "what"),
    [((0, 1), "after layer 0 of 3"), ((-1,), "after layer -1"), ((1, 3), "after layer 3 of 3"), ((2, 1), "in order"),
     ((1, 1), "named once")],
)  # fmt: skip
def test_exits_that_cannot_be_are_refused(exits: tuple[int, ...], what: str) -> None:
    config = tiny("bert", "sequence-classification", num_hidden_layers=3).config
    with pytest.raises(RequestError, match=what) as caught:
        METHOD.check(config, config, **METHOD.read_params({"exits": exits}))
    assert caught.value.where == "fastbert.exits"
    if what != "named once":
        with pytest.raises(ValueError, match="are not layers from 1 to 2, in order"):
            FastBertConfig(num_hidden_layers=3, exit_layers=exits)


def test_models_and_tasks_that_cannot_are_refused() -> None:
    params = METHOD.read_params({})
    for family in ("mpnet", "albert", "distilbert"):  # DistilBERT's head is another
        config = tiny(family, "sequence-classification").config
        with pytest.raises(RequestError, match=f"{family} has layers of another kind than BERT's"):
            METHOD.check(config, config, **params)
    config = tiny("bert", "sequence-classification").config
    METHOD.check(config, config, **params)
    config.problem_type = "multi_label_classification"
    with pytest.raises(RequestError, match="of one label out of several"):
        METHOD.check(config, config, **params)
    config = tiny("bert", "sequence-classification", num_hidden_layers=1).config
    with pytest.raises(RequestError, match="there is none to save"):
        METHOD.check(config, config, **params)
    recipe, _ = read_recipe("fastbert", {})
    with pytest.raises(RequestError, match="serves sequence-classification heads"):
        check_methods(recipe, "token-classification")
    with pytest.raises(RequestError, match="cannot be converted to tflite"):
        formats_of(recipe, ("onnx", "tflite"), ("tflite",))


@pytest.mark.slow
def test_a_fit_packages_a_file_that_stops(toy_checkpoint: Path, toy_data: Path, tmp_path: Path) -> None:
    """Its bundle proves itself, and the report tells how the times of real rows are spread."""
    (tmp_path / "data").mkdir()
    for split in ("train", "dev", "test"):
        blocks = (toy_data / f"{split}.conll").read_text(encoding="utf-8").strip().split("\n\n")
        texts = [" ".join(line.split("\t")[0] for line in block.split("\n")) for block in blocks]
        lines = ["text,label", *(f"{text},{text.split()[0]}" for text in texts)]
        (tmp_path / "data" / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = edgebert.fit(
        "pixel6", "classify", teacher=str(toy_checkpoint), data=str(tmp_path / "data"), run=str(tmp_path / "run"),
        recipe="fastbert", teacher_epochs=8, epochs=8, learning_rate=3e-3, max_drop=60, max_length=32,
        params={"fastbert.max_drop": "5"},
    )  # fmt: skip
    assert result.exit_code == 0 and result.bundle is not None
    edgebert.check(result.run)
    assert any("stops early on some texts: 40 test rows take" in note for note in result.report.notes)
    files = [item for student in result.report.students for item in student.artifacts]
    assert {item.artifact.format for item in files} == {"onnx"}
    measured = [latency for item in files for latency in item.latencies if latency.how == "measured"]
    assert measured and {latency.lengths for latency in measured} == {"data"}
