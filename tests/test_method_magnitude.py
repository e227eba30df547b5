"""Magnitude pruning: the schedule and the masks by hand, zeros that last, and what becomes of them in a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgebert.converters import usable_converter
from edgebert.errors import RequestError
from edgebert.files import deflated_bytes
from edgebert.methods import METHODS
from edgebert.methods.magnitude import matrices, pruned, pruner, read_pattern, sparsity_at, surplus
from edgebert.modeling.checkpoint import copy_student
from edgebert.modeling.graph import make_source
from edgebert.types import Row, Student
from edgebert.workflows.recipe import check_methods, read_recipe
from tests.toy_methods import method_context

METHOD = METHODS.get("magnitude")


def pruned_student(
    teacher: Student, rows: list[Row], labels: tuple[str, ...], work: Path, **params: object
) -> tuple[Student, dict[str, float]]:
    """The student and the share of zeros of each matrix."""
    student = copy_student(teacher.model, teacher.tokenizer)
    given = METHOD.read_params({"epochs": 2, **params})
    student = METHOD.apply(student, method_context(teacher, rows, labels, work), **given)
    return student, zeros(student)


def zeros(student: Student, *, words: bool = False) -> dict[str, float]:
    return {name: float((w == 0).float().mean()) for name, w in matrices(student.model, words).items()}


def test_the_schedule_by_hand() -> None:
    """Half of the way: 0.8 · (1 - 0.5³) = 0.7; a quarter: 0.8 · (1 - 0.421875) = 0.4625."""
    assert [sparsity_at(step, 8, 0.8) for step in (0, 2, 4, 8, 20)] == pytest.approx([0.0, 0.4625, 0.7, 0.8, 0.8])


def test_masks_by_hand() -> None:
    weights = {
        "a": torch.tensor([[0.1, -0.5, 0.9, 0.2], [3.0, -0.3, 0.05, 4.0]]),
        "b": torch.tensor([[0.01, 0.02, -0.03, 0.04]]),
    }
    kept = pruned(weights, 0.5, "global")  # of twelve the six smallest: all of b, 0.05 and 0.1
    assert kept["a"].tolist() == [[False, True, True, True], [True, True, False, True]]
    assert not kept["b"].any()
    kept = pruned(weights, 0.5, "layer")  # four of a, two of b
    assert kept["a"].tolist() == [[False, True, True, False], [True, False, False, True]]
    assert kept["b"].tolist() == [[False, False, True, True]]
    kept = pruned(weights, 0.25, "2:4")  # of the surplus 0.1 0.2 | -0.3 0.05 | 0.01 0.02 the three smallest
    assert kept["a"].tolist() == [[True, True, True, True], [True, True, False, True]]
    assert kept["b"].tolist() == [[False, False, True, True]]
    kept = pruned(weights, 0.75, "2:4")  # all of the surplus, and of the rest the three smallest
    assert kept["a"].tolist() == [[False, False, True, False], [True, False, False, True]]
    assert not kept["b"].any()
    assert all(mask.all() for mask in pruned(weights, 0.0, "global").values())


@pytest.mark.parametrize(("kept", "group"), [(2, 4), (1, 2), (4, 8)])
def test_no_group_keeps_more_than_n_of_m(kept: int, group: int) -> None:
    weight = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    left = (~surplus(weight, kept, group)).reshape(-1, group)
    assert (left.sum(1) == kept).all()
    largest = weight.reshape(-1, group).abs().topk(kept, dim=1).values.min(1).values
    assert ((weight.reshape(-1, group).abs() >= largest[:, None]) == left).all()


def test_zeros_grow_over_the_steps_and_never_come_back() -> None:
    """Ten steps, five updates: Δt = 2. Between updates the weights move, those that are zero do not."""
    torch.manual_seed(0)
    linear = nn.Linear(20, 10, bias=False)
    part = pruner({"w": linear.weight}, steps=10, updates=5, sparsity=0.5, pattern="global")
    optimiser = torch.optim.AdamW(linear.parameters(), lr=0.05)
    counts, gone = [], torch.zeros_like(linear.weight, dtype=torch.bool)
    for _ in range(14):
        part.advance()
        counts.append(int((linear.weight == 0).sum()))
        assert (linear.weight[gone] == 0).all()
        gone = linear.weight.detach() == 0
        optimiser.zero_grad()
        linear(torch.randn(4, 20)).square().sum().backward()
        assert (linear.weight.grad[gone] == 0).all()
        optimiser.step()
    # 200 · 0.5 · (1 - (1 - t / 10)³) at t = 0, 2, 4 … 10
    assert counts == [0, 0, 49, 49, 78, 78, 94, 94, 99, 99, 100, 100, 100, 100]


@pytest.mark.parametrize(
    ("params", "share"),
    [
        ({"sparsity": 0.8}, 0.8),
        ({"sparsity": 0.8, "ramp": 1.0}, 0.8),
        ({"sparsity": 0.0}, 0.0),
        ({"pattern": "layer", "sparsity": 0.6}, 0.6),
        ({"pattern": "1:4"}, 0.75),
        ({"pattern": "2:4", "sparsity": 0.7, "words": True}, 0.7),
    ],
)
def test_the_student_has_as_many_zeros_as_asked(
    params: dict[str, object], share: float, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...],
    tmp_path: Path,
) -> None:  # fmt: skip
    student, _ = pruned_student(teacher, toy_rows, toy_labels, tmp_path, **params)
    weights = matrices(student.model, bool(params.get("words")))
    assert len(weights) == 4 * 6 + bool(params.get("words"))
    n = sum(w.numel() for w in weights.values())
    assert sum(int((w == 0).sum()) for w in weights.values()) == pytest.approx(share * n, abs=12)
    assert f"{100 * share:.1f} % of {n:,} weights are zero" in student.notes[-1]
    if params.get("pattern") == "layer":
        assert list(zeros(student).values()) == pytest.approx([0.6] * 24, abs=0.001)
    if ":" in str(params.get("pattern")):
        most = int(str(params["pattern"])[0])
        assert all(((w.reshape(-1, 4) != 0).sum(1) <= most).all() for w in weights.values())
    if not params.get("words"):
        assert (student.model.get_input_embeddings().weight[1:] != 0).all()


@pytest.mark.parametrize("later", ["kd", "finetune", "freelb", "q-bert"])
def test_a_later_training_keeps_the_zeros(
    later: str, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    student, before = pruned_student(teacher, toy_rows, toy_labels, tmp_path / "1", sparsity=0.7)
    weights = {name: weight.detach().clone() for name, weight in matrices(student.model, False).items()}
    method = METHODS.get(later)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path / "2")
    student = method.apply(student, context, **method.read_params(method.toy))
    assert zeros(student) == before
    assert not any(torch.equal(w, weights[name]) for name, w in matrices(student.model, False).items())


def test_a_killed_training_goes_on_to_the_same_zeros_and_weights(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebert.training.callbacks.SAVE_EPOCH_SECONDS", 0.0)
    given = METHOD.read_params({"epochs": 4, "sparsity": 0.8, "updates": 8})
    events: list[dict[str, object]] = []

    def kill(**event: object) -> None:
        if event["event"] == "epoch" and event["epoch"] == 3:
            raise InterruptedError

    def run(name: str, log: Callable[..., None]) -> dict[str, torch.Tensor]:
        context = replace(method_context(teacher, toy_rows, toy_labels, tmp_path / name), log=log)
        return METHOD.apply(copy_student(teacher.model, teacher.tokenizer), context, **given).model.state_dict()

    whole = run("whole", lambda **event: None)
    with pytest.raises(InterruptedError):
        run("killed", kill)
    again = run("killed", lambda **event: events.append(event))
    assert next(event for event in events if event["event"] == "resume")["step"] == 8
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_an_average_of_weights_and_early_stopping_cost_no_zeros(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    context = replace(context, settings=replace(context.settings, average=0.9, patience=1, learning_rate=0.0))
    given = METHOD.read_params({"epochs": 4, "sparsity": 0.8})
    student = METHOD.apply(copy_student(teacher.model, teacher.tokenizer), context, **given)
    n = sum(w.numel() for w in matrices(student.model, False).values())
    assert sum(int((w == 0).sum()) for w in matrices(student.model, False).values()) == pytest.approx(0.8 * n, abs=2)


@pytest.mark.parametrize("sparsity", [1.5, -0.1, "most"])
def test_what_is_no_share_is_refused_before_training(sparsity: object) -> None:
    with pytest.raises(RequestError, match=r"magnitude\.sparsity: .*(above 0\.99|below 0|cannot be read as a number)"):
        read_recipe("magnitude", {"magnitude.sparsity": sparsity})


def test_what_changes_the_architecture_may_not_follow() -> None:
    for allowed in ("theseus+magnitude", "magnitude+q-bert", "magnitude+kd"):
        check_methods(read_recipe(allowed)[0], "token-classification")
    for other in ("theseus", "prune", "conv", "layerdrop"):
        with pytest.raises(RequestError, match=f"{other} changes the architecture, by which what magnitude did"):
            check_methods(read_recipe(f"magnitude+{other}")[0], "token-classification")


@pytest.mark.parametrize("pattern", ["4:2", "2:2", "2", "a:b", "0:4", "2:4:8", "row"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(RequestError, match="is no pattern of zeros"):
        read_pattern(pattern)


def test_groups_that_do_not_divide_a_row_are_refused_before_training(teacher: Student) -> None:
    config = teacher.model.config  # widths 32 and 64
    METHOD.check(config, config, **METHOD.read_params({"pattern": "2:4"}))
    with pytest.raises(RequestError, match="rows of 32 weights are not groups of 5"):
        METHOD.check(config, config, **METHOD.read_params({"pattern": "2:5"}))


def test_a_model_without_matrices_is_refused_before_training(teacher: Student) -> None:
    static = METHODS.get("static")
    config = static.reshape(teacher.model.config, **static.read_params(static.toy))
    with pytest.raises(RequestError, match="static has no matrices"):
        METHOD.check(config, config, **METHOD.read_params({}))


def test_a_zip_of_zeros_is_smaller_and_counted_as_zipfile_makes_it(tmp_path: Path) -> None:
    import zipfile

    rng = np.random.default_rng(0)
    dense = rng.normal(size=100_000).astype(np.float32)
    sizes = []
    for i, share in enumerate((0.0, 0.8)):
        folder = tmp_path / str(i) / "inside"
        folder.mkdir(parents=True)
        (folder / "a.bin").write_bytes(np.where(rng.random(len(dense)) < share, 0, dense).tobytes())
        (folder / "b.txt").write_text("edge " * 1000)
        with zipfile.ZipFile(tmp_path / f"{i}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in folder.iterdir():
                archive.write(path)
            assert deflated_bytes(folder.parent) == sum(item.compress_size for item in archive.infolist())
        sizes.append(deflated_bytes(folder / "a.bin"))
    assert sizes[1] < 0.4 * sizes[0]


def onnx_zeros(path: Path) -> list[float]:
    import onnx
    from onnx import numpy_helper

    arrays = [numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer]
    return [float((x == 0).mean()) for x in arrays if x.dtype in (np.int8, np.uint8) and x.ndim == 2]


def tflite_zeros(path: Path) -> list[float]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    tensors = [item for item in interpreter.get_tensor_details() if item["dtype"] is np.int8]
    arrays = [interpreter.get_tensor(item["index"]) for item in tensors if len(item["shape"]) == 2]
    return [float((x == 0).mean()) for x in arrays]


@pytest.mark.parametrize(
    ("format", "read"),
    [("onnx", onnx_zeros), pytest.param("tflite", tflite_zeros, marks=pytest.mark.slow)],
)
def test_eight_bits_keep_zeros_zero(
    format: str, read: object, teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """Of each matrix 60 % are zero in the file, and what rounds to zero besides."""
    try:
        converter = usable_converter(format)
    except RequestError as error:
        pytest.skip(str(error))
    student, _ = pruned_student(teacher, toy_rows, toy_labels, tmp_path / "work", pattern="layer", sparsity=0.6)
    source = make_source(student.model, lengths=(32,), labels=toy_labels)
    for folder in ("fp32", "int8"):
        (tmp_path / folder).mkdir()
    exported = converter.export(source, tmp_path / "fp32")
    variant = converter.precisions["int8"].variants[0]
    path = converter.reduce(source, exported, "int8", variant, tmp_path / "int8").path
    shares = read(path)  # type: ignore[operator]
    assert sum(0.59 < share < 0.68 for share in shares) == 4 * 6, shares
