"""`edgebert cut`: what is written computes as a part of the larger network, who is taken, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import edgebert
from edgebert.cli import main
from edgebert.cost.analytic import count_parameters
from edgebert.errors import BudgetError, RequestError
from edgebert.methods._supernet import Subnetwork, cut_model, describe, grid
from edgebert.modeling.checkpoint import copy_student, load_student, save_checkpoint
from edgebert.types import Student

IDS = torch.arange(5, 21).reshape(2, 8)


@pytest.fixture
def supernet(teacher: Student, toy_checkpoint: Path, tmp_path: Path) -> Path:
    """A network of four layers whose smaller ones were scored: the deeper the better, the widest a little worse."""
    student = copy_student(teacher.model, teacher.tokenizer)
    scored = {cut: len(cut.layers) / 10 + (0.01 if cut.widths[0] < 1 else 0.0) for cut in grid(4)}
    describe(student.model, scored, metric="strict entity F1", n=32, tokens=9)
    save_checkpoint(tmp_path / "supernet", student, toy_checkpoint)
    return tmp_path / "supernet"


def answers_of(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model.eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return result


def test_a_shape_is_cut_as_it_was_asked_for(supernet: Path, tmp_path: Path) -> None:
    for given, shape in (
        ({"width": 0.5, "depth": 0.5}, Subnetwork((1, 3), (0.5, 0.5))),
        ({"layers": (0, 2, 3), "widths": (1.0, 0.5, 0.25)}, Subnetwork((0, 2, 3), (1.0, 0.5, 0.25))),
        ({"layers": (2,)}, Subnetwork((2,), (1.0,))),
    ):
        result = edgebert.cut(str(supernet), output=str(tmp_path / "small"), force=True, **given)
        whole = load_student(supernet).model
        cut_model(whole, shape)
        written = load_student(result.folder).model
        assert torch.equal(answers_of(written), answers_of(whole))
        assert result.chosen.n_parameters == count_parameters(written.config, "AutoModelForTokenClassification")
        assert result.chosen.dev == (0.21 if shape.layers == (1, 3) else None)


def test_the_best_within_the_limits_is_taken(supernet: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "small")
    result = edgebert.cut(str(supernet), device="pixel6", output=output)
    assert (
        len(result.candidates) == 16 and result.chosen.latency.seq_len == 9 and result.chosen.latency.device == "pixel6"
    )
    fastest = [item for item in result.candidates if item.layers == (0, 1, 2, 3) and item.widths[0] < 1]
    assert result.chosen.latency.p50_ms == min(item.latency.p50_ms for item in fastest)  # of equal scores
    sizes = sorted(item.size_bytes for item in result.candidates)
    result = edgebert.cut(str(supernet), max_size_mb=sizes[2] / 1e6, output=output, force=True)
    assert result.chosen.size_bytes <= sizes[2]
    within = [item for item in result.candidates if not item.misses]
    assert result.chosen.dev == max(item.dev or 0 for item in within) and len(within) == 3
    assert all("over the budget of" in miss for item in result.candidates for miss in item.misses)


def test_nothing_within_the_limits_ends_with_1(
    supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BudgetError, match="none of 16 student shapes fits"):
        edgebert.cut(str(supernet), max_size_mb=0.0001, output=str(tmp_path / "small"))
    with pytest.raises(SystemExit) as ended:
        main(["cut", str(supernet), "--max-size-mb", "0.0001", "--width", "0.5", "-o", str(tmp_path / "small")])
    assert ended.value.code == 1 and "--max-size-mb" in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "nothing says how small"),
        ({"layers": (2, 1)}, "layers 2, 1 are not increasing numbers from 0 to 3"),
        ({"layers": (4,)}, "layers 4 are not"),
        ({"layers": (0, 1), "widths": (0.5, 0.5, 0.5)}, "3 widths are given for 2 layers"),
        ({"layers": (0,), "width": 0.5}, "one by one, and as shares"),
        ({"widths": (0.5, 1.5, 1.0, 1.0)}, "1.5 is no share"),
        ({"width": 0.5, "precision": "int9"}, "int9"),
        ({"width": 0.5, "device": "pixel99"}, "pixel99"),
    ],
)
def test_shapes_that_cannot_be_are_refused(supernet: Path, tmp_path: Path, given: dict[str, Any], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        edgebert.cut(str(supernet), output=str(tmp_path / "small"), **given)
    assert not (tmp_path / "small").exists()


def test_other_checkpoints_and_outputs_are_refused(supernet: Path, toy_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="not a network out of which others are cut"):
        edgebert.cut(str(toy_checkpoint), width=0.5, output=str(tmp_path / "small"))
    with pytest.raises(RequestError, match="would replace"):
        edgebert.cut(str(supernet), width=0.5, output=str(supernet), force=True)
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RequestError, match=r"notes\.txt"):
        edgebert.cut(str(supernet), width=0.5, output=str(tmp_path / "small"), force=True)


def test_the_command_tells_every_network(supernet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "small"
    with pytest.raises(SystemExit) as ended:
        main(["cut", str(supernet), "--device", "pixel6", "-o", str(output)])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and told.count(" layers of width ") == 16 and told.count("taken") == 1
    assert "strict entity F1, dev" in told and "32 rows" in told and "9 tokens" in told
    with pytest.raises(SystemExit):
        main(["cut", str(supernet), "--layers", "1,3", "--widths", "0.5,1", "-o", str(output), "--force", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["chosen"]["layers"] == [1, 3] and result["chosen"]["widths"] == [0.5, 1.0]
    with pytest.raises(SystemExit) as ended:
        main(["cut", str(supernet), "--layers", "a,b"])
    assert ended.value.code == 2 and "not numbers joined by comma" in capsys.readouterr().err


def test_a_smaller_network_is_no_supernet(supernet: Path, tmp_path: Path) -> None:
    result = edgebert.cut(str(supernet), width=0.5, output=str(tmp_path / "small"))
    config = json.loads((result.folder / "config.json").read_text(encoding="utf-8"))
    assert "edgebert_supernet" not in config and config["edgebert_head_layers"] == [[0, 1]] * 4
    with pytest.raises(RequestError, match="not a network out of which"):
        edgebert.cut(str(result.folder), width=0.5, output=str(tmp_path / "smaller"))
