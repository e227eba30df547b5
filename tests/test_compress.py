"""edgebert compress: a recipe applied to a checkpoint, what it writes, and what it refuses before anything is trained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import edgebert
from edgebert.cli import main
from edgebert.errors import BudgetError, DataError, RequestError
from edgebert.methods._supernet import Subnetwork, cut_model
from edgebert.modeling.checkpoint import load_student
from edgebert.results import CompressResult
from tests.conftest import make_checkpoint

QUICK = {"teacher_epochs": 3, "epochs": 3, "learning_rate": 3e-3}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_student_opens_in_transformers_and_is_not_made_twice(
    toy_checkpoint: Path, toy_data: Path, here: Path
) -> None:
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    events: list[dict[str, object]] = []
    options = {"data": str(toy_data), "params": {"drop-layers.n_layers": "2"}, **QUICK}
    first = edgebert.compress(str(toy_checkpoint), "drop-layers+kd", output="small", **options)
    model = AutoModelForTokenClassification.from_pretrained("small")
    assert model.config.num_hidden_layers == 2
    assert sum(p.numel() for p in model.parameters()) == first.n_parameters < first.teacher_parameters
    assert AutoTokenizer.from_pretrained("small")("fly")["input_ids"]
    assert first.test.metric == "strict entity F1" and first.test.n == 40
    with pytest.raises(RequestError, match="the output folder is not empty"):
        edgebert.compress(str(toy_checkpoint), "drop-layers+kd", output="small", **options)
    again = edgebert.compress(
        str(toy_checkpoint), "drop-layers+kd", output="small", force=True, on_event=events.append, **options
    )
    assert [event["stage"] for event in events if event["event"] == "kept"] == ["teacher", "answers", "compress-L2-v82"]
    assert again == first


def test_students_cut_out_of_one_network_share_its_training(toy_checkpoint: Path, toy_data: Path, here: Path) -> None:
    events: list[dict[str, Any]] = []

    def compressed(recipe: str, output: str, **params: object) -> CompressResult:
        events.clear()
        given = {f"cut.{name}": value for name, value in params.items()}
        return edgebert.compress(
            str(toy_checkpoint),
            recipe,
            output=output,
            data=str(toy_data),
            params=given,
            on_event=events.append,
            **QUICK,
        )

    def made() -> list[str]:
        return [event["stage"] for event in events if event["event"] == "begin"]

    compressed("dynabert+cut", "whole", width=1.0, depth=1.0)
    assert made() == ["teacher", "answers", "shared-dynabert", "compress-L4-v82"]
    small = compressed("dynabert+cut", "small", layers="1,3", widths="0.5,0.25")
    assert made() == ["compress-L2-v82"] and "cut to 2 layers of width 0.5 0.25" in small.notes
    whole = load_student(here / "whole").model
    cut_model(whole, Subnetwork((1, 3), (0.5, 0.25)))
    written = load_student(here / "small").model
    assert all(value.equal(other) for value, other in zip(whole.parameters(), written.parameters(), strict=True))
    assert compressed("dynabert+cut+kd", "trained", width=0.5, depth=0.5).name == "L2-v82"
    assert made() == ["compress-L2-v82"]


def test_a_budget_chooses_what_is_left_open(toy_checkpoint: Path, toy_data: Path, here: Path) -> None:
    with pytest.raises(
        RequestError,
        match=r"the recipe can make 4 students, and nothing tells which of them is wanted\n.*--set drop-layers.n_layers=3",
    ):
        edgebert.compress(str(toy_checkpoint), "drop-layers", data=str(toy_data), **QUICK)
    with pytest.raises(BudgetError, match="fits the budget"):
        edgebert.compress(str(toy_checkpoint), "drop-layers", data=str(toy_data), max_size_mb=0.001, **QUICK)


def test_a_student_of_its_own_reads_the_teachers_pieces(toy_checkpoint: Path, toy_data: Path, here: Path) -> None:
    """Another checkpoint with the same vocabulary in another order."""
    own = _shuffled(here / "own")
    small = edgebert.compress(
        str(toy_checkpoint), "kd", student=str(own), data=str(toy_data), output="s", **QUICK | {"epochs": 6}
    )
    assert small.notes[0] == f"from {own}"
    assert len(set(json.loads((here / "s" / "teacher_ids.json").read_text()))) > 80
    assert small.test.value > 0.5


def _shuffled(folder: Path) -> Path:
    """A checkpoint of 2 layers whose tokens have other ids than the toy teacher's."""
    from tokenizers import Tokenizer

    make_checkpoint(folder, n_layers=2)
    state = json.loads((folder / "tokenizer.json").read_text())
    tokens = list(state["model"]["vocab"])
    state["model"]["vocab"] = {token: i for i, token in enumerate([*tokens[:5], *reversed(tokens[5:])])}
    Tokenizer.from_str(json.dumps(state)).save(str(folder / "tokenizer.json"))
    return folder


def test_another_tokenizer_is_refused_but_by_methods_that_can(toy_checkpoint: Path, toy_data: Path, here: Path) -> None:
    own = _split_otherwise(here / "own")
    with pytest.raises(RequestError, match=r"tinybert needs a student with the teacher's tokens, and \d+ of its"):
        edgebert.compress(str(toy_checkpoint), "tinybert", student=str(own), data=str(toy_data), **QUICK)
    (here / "rows.csv").write_text(
        "text,label\n" + "".join(f"fly to aville {i},a\nshow trains on friday {i},b\n" for i in range(60))
    )
    done = edgebert.compress(
        str(toy_checkpoint), "kd", student=str(own), task="classify", data="rows.csv", output="s",
        **QUICK | {"teacher_epochs": 12, "epochs": 12},
    )  # fmt: skip
    assert not (here / "s" / "teacher_ids.json").exists()
    assert done.test.value > 0.9


def _split_otherwise(folder: Path) -> Path:
    from tokenizers import Tokenizer

    make_checkpoint(folder, n_layers=2)
    state = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = state["model"]["vocab"]
    vocabulary["avil"] = vocabulary.pop("aville")
    Tokenizer.from_str(json.dumps(state)).save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize(
    ("recipe", "params", "told"),
    [
        ("drop-layer+kd", {}, "Did you mean drop-layers"),
        ("kd+drop-layers", {}, "drop-layers .shape. cannot come after kd .train."),
        ("drop-layers+kd", {"drop-layers.n_layers": "9"}, "9 layers cannot be kept of 4"),
        ("drop-layers+kd", {"drop-layers.layers": "0,7"}, "not increasing numbers from 0 to 3"),
        ("drop-layers+kd", {"kd.temprature": "1"}, "Did you mean temperature"),
        ("kd", {"kd.hard_label_weight": "2"}, "2.0 is above 1"),
    ],
)
def test_refused_before_training(
    recipe: str, params: dict[str, str], told: str, toy_checkpoint: Path, toy_data: Path, here: Path
) -> None:
    events: list[dict[str, object]] = []
    with pytest.raises(RequestError) as refused:
        edgebert.compress(
            str(toy_checkpoint), recipe, data=str(toy_data), params=params, on_event=events.append, **QUICK
        )
    assert re.search(told, str(refused.value))
    assert not [event for event in events if event["event"] in ("step", "epoch", "begin")]


def test_parallel_text_that_changed_trains_anew_and_what_is_unequal_trains_nothing(
    toy_checkpoint: Path, toy_data: Path, here: Path
) -> None:
    """The teacher and the other stages of the run stay."""
    (here / "de").write_text("ist aville weit\nist bton weit\n", encoding="utf-8")
    (here / "en").write_text("is aville far\nis bton far\n", encoding="utf-8")
    options = {"data": str(toy_data), "params": {"multilingual-align.parallel": "de:en"}, "force": True, **QUICK}

    def kept() -> list[object]:
        events: list[dict[str, object]] = []
        edgebert.compress(str(toy_checkpoint), "multilingual-align", output="small", on_event=events.append, **options)
        return [event["stage"] for event in events if event["event"] == "kept"]

    assert kept() == []
    assert kept() == ["teacher", "compress-L4-v82"]
    written = {path.name: path.read_bytes() for path in (here / "small").iterdir()}
    (here / "de").write_text("ist aville weit\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"en:2: 2 lines, and de has 1: from this line on there is no translation"):
        kept()
    assert {path.name: path.read_bytes() for path in (here / "small").iterdir()} == written
    (here / "de").write_text("ist aville weit\nist cburg weit\n", encoding="utf-8")
    assert kept() == ["teacher"]


def test_text_that_gives_nothing_to_read_is_refused(toy_checkpoint: Path, toy_data: Path, here: Path) -> None:
    (here / "t.txt").write_text("日本\n\n  \n")
    with pytest.raises(DataError, match="none of 1 lines gives the tokenizer anything to read"):
        edgebert.compress(str(toy_checkpoint), "kd", data=str(toy_data), unlabelled=("t.txt",), **QUICK)
    with pytest.raises(DataError, match=r"nowhere.txt: no such file"):
        edgebert.compress(str(toy_checkpoint), "kd", data=str(toy_data), unlabelled=("nowhere.txt",), **QUICK)


def test_the_command_line(toy_checkpoint: Path, toy_data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "t.txt").write_text("aville to fly\naville to fly\nbton friday leave on\n")
    with pytest.raises(SystemExit) as ended:
        main(["compress", str(toy_checkpoint), "--recipe", "drop-layers+mini-seq", "--set", "drop-layers.n_layers=1",
              "--data", str(toy_data), "--unlabelled", "t.txt", "--epochs", "2", "--teacher-epochs", "2",
              "--learning-rate", "3e-3", "-o", "small", "--json"])  # fmt: skip
    assert ended.value.code == 0
    message = capsys.readouterr()
    assert "2 unlabelled texts, 1 lines left out that stood there before" in message.err
    result = json.loads(message.out)
    assert result["recipe"] == "drop-layers(n_layers=1)+mini-seq" and result["test"]["n"] == 40
