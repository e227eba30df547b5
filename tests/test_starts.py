"""What students may start from: which checkpoints are found, which are left out and why, what the plan makes of several."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import edgebert
from edgebert.devices.profiles import load_device
from edgebert.errors import RequestError
from edgebert.modeling.losses import UNANSWERED, answered_tokens, soft_cross_entropy
from edgebert.modeling.source import DEFAULT_TEACHER, find_teacher
from edgebert.search.plan import make_plan
from edgebert.search.starts import MOST, Start, find_checkpoints, is_small, prefixes
from edgebert.training.run import answers_by_word
from edgebert.types import Budget, Feature, FitRequest, Plan
from edgebert.workflows.recipe import read_recipe
from edgebert.workflows.request import Fit, resolve
from tests.conftest import make_checkpoint, make_tokenizer

PIXEL6 = load_device("pixel6")


def save(
    folder: Path, *, width: int = 16, layers: int = 2, kind: str = "BertModel", seed: int = 0, **changes: Any
) -> Path:
    """A small BERT of random weights with the toy tokenizer."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    sizes = {"num_attention_heads": 2, "intermediate_size": 2 * width, "max_position_embeddings": 64, **changes}
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=width, num_hidden_layers=layers, **sizes
    )
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def renamed(folder: Path, **names: str) -> Path:
    """The checkpoint with words of its vocabulary renamed."""
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text())
    state["model"]["vocab"] = {names.get(token, token): i for token, i in state["model"]["vocab"].items()}
    path.write_text(json.dumps(state))
    return folder


@pytest.fixture(autouse=True)
def _nothing_else_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this machine has in its packages and in its hub cache is no part of a test that does not ask for it."""
    monkeypatch.setattr("edgebert.search.starts.PACKAGED", {})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-cache"))
    monkeypatch.setattr("edgebert.search.starts.SMALL_WIDTH", 16)  # so that the toy teacher of width 32 is large


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a teacher of 4 layers of width 32."""
    make_checkpoint(tmp_path / "models" / "teacher")
    return tmp_path / "models"


def found(models: Path, folders: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    from edgebert.modeling.checkpoint import load_config

    teacher = find_teacher(str(models / "teacher"))
    sources, notes = find_checkpoints(teacher, load_config(teacher.folder), folders)
    return [Path(source.name).name for source in sources], notes


# ---------------------------------------------------------------- found and left out


def test_smaller_encoders_beside_the_teacher_are_found(models: Path) -> None:
    save(models / "small")
    save(models / "masked", kind="BertForMaskedLM", seed=1)
    make_checkpoint(models / "larger", n_layers=6)
    transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=50).save_pretrained(models / "gpt")
    transformers.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2).save_pretrained(models / "bare")
    shutil.copytree(models / "teacher", models / "teacher-again")
    shutil.copytree(models / "small", models / "small-again")
    (models / "broken").mkdir()
    (models / "broken" / "config.json").write_text("{")
    assert found(models) == (["masked", "small"], [])


def test_what_was_fine_tuned_or_pickled_is_told_and_left_out(models: Path) -> None:
    save(models / "tagger", kind="BertForTokenClassification")
    pickled = save(models / "pickled")
    torch.save({}, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    names, notes = found(models)
    assert names == []
    assert [note.replace(str(models), "") for note in notes] == [
        "students do not start from /pickled (beside the teacher): the checkpoint is a pickle, which can run code when it "
        "is read",
        "students do not start from /tagger (beside the teacher): it was fine-tuned for a task (BertForTokenClassification"
        "), perhaps on rows of this test; --student /tagger takes it",
    ]


def test_a_small_teacher_looks_for_nothing(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(models / "small")
    monkeypatch.setattr("edgebert.search.starts.SMALL_WIDTH", 384)
    assert found(models) == ([], [])
    assert found(models, [str(models / "small")]) == (["small"], [])


def test_a_teacher_that_is_here(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beside "." lies outside of the folder that one is in."""
    save(models / "small")
    save(models / "teacher" / "inside", seed=1)
    monkeypatch.chdir(models / "teacher")
    teacher = find_teacher(".")
    sources, _ = find_checkpoints(teacher, transformers.BertConfig.from_pretrained("."))
    assert [source.name for source in sources] == [str(models / "small")]


def test_the_default_teacher_is_small_and_base_models_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgebert.search.starts.SMALL_WIDTH", 384)
    sizes = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12}
    assert is_small(transformers.BertConfig(**sizes))
    assert not is_small(transformers.BertConfig(**sizes | {"num_hidden_layers": 12}))
    assert not is_small(transformers.MPNetConfig())
    assert not is_small(transformers.DistilBertConfig())


def test_a_folder_of_the_users_is_told_of_whatever_it_holds(models: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    save(mine / "author" / "tiny")
    make_checkpoint(mine / "author" / "larger", n_layers=6)
    transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=50).save_pretrained(mine / "author" / "gpt")
    names, notes = found(models, [str(mine)])
    assert names == ["tiny"]
    assert len(notes) == 2 and "the family gpt2 is no encoder" in notes[0]
    assert "is no smaller than the teacher's of" in notes[1]
    with pytest.raises(RequestError, match="no such folder"):
        found(models, [str(tmp_path / "none")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"--starts .*empty: no folder in it holds a config.json"):
        found(models, [str(tmp_path / "empty")])


def test_the_hub_cache_and_packages_are_looked_at(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache as huggingface_hub lays it out; a package's weights must be its publisher's."""
    cache = tmp_path / "cache"
    save(cache / "models--author--mini" / "snapshots" / "abc")
    (cache / "models--author--mini" / "refs").mkdir()
    (cache / "models--author--mini" / "refs" / "main").write_text("abc")
    (cache / "models--author--unfinished").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert found(models) == (["mini"], [])
    monkeypatch.setattr("edgebert.search.starts.PACKAGED", {"x/y": ("tests", "tests==1", "none", "")})
    monkeypatch.setattr("edgebert.modeling.source.PACKAGED", {"x/y": ("tests", "tests==1", "none", "")})
    names, notes = found(models)
    assert names == ["mini"] and "students do not start from x/y (package tests==1)" in notes[0]


def test_no_more_than_a_few_are_taken(models: Path) -> None:
    for i in range(MOST + 1):
        save(models / f"small{i}", seed=i)
    names, notes = found(models)
    assert names == [f"small{i}" for i in range(MOST)]
    assert len(notes) == 1 and f"small{MOST} (beside the teacher) was found too, and is not tried" in notes[0]


def test_short_names_are_unlike_each_other() -> None:
    assert prefixes([DEFAULT_TEACHER]) == ["minilm-l6"]
    names = [
        "BAAI/bge-small-en-v1.5",
        "./a/bert_uncased_L-2_H-128_A-2",
        "b/bert_uncased_L-2_H-128_A-2",
        "all",
        "x" * 90,
    ]
    assert prefixes(names) == ["bge-small", "bert-l-2-h-128-a-2", "bert-l-2-h-128-a-2-2", "all", "x" * 24]


# ---------------------------------------------------------------- what serves a request


def job_of(models: Path, data: Path, task: str = "ner", **options: Any) -> Fit:
    request = FitRequest(
        device="pixel6", task=task, data=(str(data),), teacher=str(models / "teacher"), formats=("onnx",),
        run=str(models.parent / "run"), **options,
    )  # fmt: skip
    job = resolve(request, "", None)
    job.run.close()
    return job


def test_the_default_teacher_starts_from_itself_alone(
    toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebert.search.starts.SMALL_WIDTH", 384)
    save(tmp_path / "small")
    job = resolve(FitRequest("pixel6", "ner", data=(str(toy_data),), run=str(tmp_path / "run")), "", None)
    job.run.close()
    assert [(start.name, start.source) for start in job.starts] == [("teacher", None)]
    assert not any("start" in note for note in job.notes)


def test_starts_of_a_request(models: Path, toy_data: Path) -> None:
    save(models / "small")
    both = job_of(models, toy_data)
    assert [(start.name, start.prefix) for start in both.starts] == [("teacher", ""), (str(models / "small"), "small")]
    assert f"students may start from {models / 'small'} (beside the teacher) too" in both.notes[-1]
    own = job_of(models, toy_data, student="teacher")
    assert [start.name for start in own.starts] == ["teacher"] and not any("small" in note for note in own.notes)
    item = job_of(models, toy_data, student=str(models / "small"))
    assert [(start.name, start.prefix) for start in item.starts] == [(str(models / "small"), "")]
    with pytest.raises(RequestError, match="--starts: --student names the only start"):
        job_of(models, toy_data, student="teacher", starts=(str(models),))


def left_out(models: Path, data: Path, task: str = "ner", **options: Any) -> str:
    """Why the only other checkpoint is no start."""
    job = job_of(models, data, task, **options)
    assert [start.name for start in job.starts] == ["teacher"]
    (note,) = (note for note in job.notes if "students do not start from" in note)
    return note.partition("): ")[2]


def test_a_vocabulary_for_other_text_is_left_out(models: Path, toy_data: Path) -> None:
    """Without the toy world's words each is spelt by letters; without letters, it is unknown."""
    words = ["aville", "bton", "cburg", "dham", "efield", "fport", "monday", "friday", "sunday", "trains", "leave"]
    renamed(save(models / "small"), **{word: f"{word}x" for word in words})
    assert left_out(models, toy_data).startswith("it splits the training rows into 2.")


def test_a_vocabulary_without_the_rows_letters_is_left_out(models: Path, toy_data: Path) -> None:
    renamed(save(models / "small"), i="ix")
    note = "% of the training rows' tokens are unknown to its vocabulary, 0.0 % to the teacher's"
    assert note in left_out(models, toy_data)


def test_a_start_that_reads_too_little_is_left_out(models: Path, toy_data: Path) -> None:
    save(models / "small", max_position_embeddings=32)
    assert left_out(models, toy_data) == "it reads 32 tokens at once, and windows have 64"
    assert len(job_of(models, toy_data, max_length=32).starts) == 2


def test_damaged_weights_are_left_out(models: Path, toy_data: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = save(models / "small") / "model.safetensors"
    weights = load_file(path)
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, path, {"format": "pt"})
    assert left_out(models, toy_data).startswith("1 weights of the encoder are missing or have another shape")


def test_a_student_of_another_family_has_none_of_its_layers(models: Path, toy_data: Path) -> None:
    save(models / "small")
    note = "the recipe makes students of another family (bilstm), not of its layers"
    bilstm: dict[str, Any] = {"recipe": "bilstm", "params": {"bilstm.embedding_width": 16, "bilstm.hidden": 16}}
    assert left_out(models, toy_data, **bilstm) == note
    assert job_of(models, toy_data, **bilstm, student=str(models / "small")).starts[0].source is not None


def test_methods_that_need_the_teachers_tokens(models: Path, toy_data: Path) -> None:
    renamed(save(models / "small"), zebra="gnu")
    assert left_out(models, toy_data, recipe="drop-layers+tinybert").startswith(
        "tinybert needs a student with the teacher's tokens"
    )
    with pytest.raises(RequestError, match="tinybert needs a student with the teacher's tokens"):
        job_of(models, toy_data, recipe="drop-layers+tinybert", student=str(models / "small"))


def test_token_tasks_with_other_tokens_learn_by_word_and_say_so(models: Path, toy_data: Path) -> None:
    small = renamed(save(models / "small"), zebra="gnu")
    job = job_of(models, toy_data)
    message = "its tokens are not the teacher's (1 of its 82 tokens are not the teacher's, the first is 'gnu')"
    assert any(note.startswith(f"{small}: {message}") for note in job.notes)
    assert any(note.startswith(message) for note in job_of(models, toy_data, student=str(small)).notes)


def test_spans_need_the_teachers_tokens(models: Path, tmp_path: Path) -> None:
    renamed(save(models / "small"), zebra="gnu")
    row = '{"id": "%d", "question": "where to %d", "context": "fly to aville", "answers": {"text": ["aville"], "answer_start": [7]}}'
    (tmp_path / "rows.jsonl").write_text("".join(row % (i, i) + "\n" for i in range(60)))
    rows, notes = tmp_path / "rows.jsonl", "the teacher's answers are of its own tokens, and 1 of its 82 tokens"
    assert notes in left_out(models, rows, "qa")
    with pytest.raises(RequestError, match=f"--student: {notes}"):
        job_of(models, rows, "qa", student=str(models / "small"))
    learns = {"recipe": "drop-layers+finetune", "student": str(models / "small")}
    assert job_of(models, rows, "qa", **learns).starts[0].name == str(models / "small")


def test_answers_go_from_word_to_word() -> None:
    """Two windows of the teacher are one of the student, which has more tokens a word."""
    theirs = [Feature(0, (1, 5, 6, 2), (0,) * 4, (-1, 0, 1, -1)), Feature(0, (1, 7, 2), (0,) * 3, (-1, 2, -1))]
    mine = [Feature(0, (1, 5, 50, 6, 7, 2), (0,) * 6, (-1, 0, -1, 1, 2, -1))]
    outputs = [
        {"logits": np.array([[0, 9], [1, 8], [2, 7], [3, 6]], np.float32)},
        {"logits": np.array([[4, 5], [5, 4], [6, 3]], np.float32)},
    ]
    (result,) = answers_by_word(mine, theirs, outputs)
    inf = float("inf")
    assert result["logits"].tolist() == [[inf, inf], [1, 8], [inf, inf], [2, 7], [5, 4], [inf, inf]]


def test_only_answered_tokens_count() -> None:
    answers = torch.tensor([[[UNANSWERED, UNANSWERED], [2.0, 0.0], [0.0, 1.0]]])
    mask = torch.tensor([[True, True, False]])
    assert answered_tokens(answers, mask).tolist() == [[False, True, False]]
    mine = torch.zeros(1, 3, 2, requires_grad=True)
    loss = soft_cross_entropy(mine, answers, answered_tokens(answers, mask))
    assert loss.item() == pytest.approx(math.log(2))
    nothing = soft_cross_entropy(mine, answers, mask & False)
    nothing.backward()
    assert nothing.item() == 0 and mine.grad is not None and mine.grad.abs().sum() == 0


def test_a_student_of_another_vocabulary_learns_tags_from_its_teacher(
    models: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels weigh nothing, so that all it knows comes from the teacher's answer to each word."""
    monkeypatch.chdir(tmp_path)
    small = renamed(save(models / "small", width=32), aville="avilla", leave="leaf")
    done = edgebert.compress(
        str(models / "teacher"), "kd", student=str(small), data=str(toy_data), params={"kd.hard_label_weight": "0"}, output="s",
        teacher_epochs=6, epochs=12, learning_rate=3e-3,
    )  # fmt: skip
    assert done.test.value > 0.8
    assert any("students learn the teacher's answer to each word" in note for note in done.notes)


# ---------------------------------------------------------------- the plan


def bert(layers: int, width: int) -> Any:
    return transformers.BertConfig(
        num_hidden_layers=layers, hidden_size=width, num_attention_heads=12, intermediate_size=4 * width,
        num_labels=130, architectures=["BertForTokenClassification"],
    )  # fmt: skip


def plan_of(starts: Sequence[Start], budget: Budget, n: int) -> Plan:
    recipe, _ = read_recipe("trim-vocab+drop-layers+kd", {"trim-vocab.size": 10000})
    return make_plan(starts, recipe, PIXEL6, budget, [12] * 100, n_candidates=n, teacher=bert(12, 768))


BASE = Start("teacher", bert(12, 768))
MINI = Start("all-MiniLM-L6-v2", bert(6, 384), prefix="minilm-l6")
THREE = Start("paraphrase-MiniLM-L3-v2", bert(3, 384), prefix="paraphrase-minilm-l3")


@pytest.mark.parametrize(
    ("megabytes", "n", "names"),
    [
        (10.9, 2, ["minilm-l6-L3-v10k", "minilm-l6-L2-v10k"]),  # a fortieth of a BERT-base: no layer of width 768 fits
        (20, 1, ["minilm-l6-L6-v10k"]),
        (20, 2, ["minilm-l6-L6-v10k", "L1-v10k"]),
        (30, 3, ["L3-v10k", "minilm-l6-L6-v10k", "minilm-l6-L5-v10k"]),
        (30, 4, ["L3-v10k", "L2-v10k", "minilm-l6-L6-v10k", "minilm-l6-L5-v10k"]),
    ],
)
def test_the_best_of_each_kind_is_taken(megabytes: float, n: int, names: list[str]) -> None:
    plan = plan_of([BASE, MINI], Budget(size_mb=megabytes), n)
    assert [candidate.name for candidate in plan.candidates if candidate.taken] == names


def test_shapes_of_every_start_are_listed_with_their_start() -> None:
    plan = plan_of([BASE, MINI], Budget(), 2)
    assert sorted((candidate.start, candidate.n_layers) for candidate in plan.candidates) == sorted(
        [("teacher", n) for n in range(1, 13)] + [("all-MiniLM-L6-v2", n) for n in range(1, 7)]
    )
    assert len({candidate.name for candidate in plan.candidates}) == 18
    assert [(candidate.name, candidate.start) for candidate in plan.candidates if candidate.taken] == [
        ("L12-v10k", "teacher"), ("minilm-l6-L6-v10k", "all-MiniLM-L6-v2"),
    ]  # fmt: skip


def test_of_equal_encoders_the_one_that_lost_fewer_layers_is_taken() -> None:
    plan = plan_of([BASE, MINI, THREE], Budget(size_mb=10.9), 1)
    assert [candidate.name for candidate in plan.candidates if candidate.taken] == ["paraphrase-minilm-l3-L3-v10k"]


def test_each_start_has_one_before_any_has_two() -> None:
    plan = plan_of([BASE, MINI, THREE], Budget(size_mb=20), 4)
    assert [candidate.name for candidate in plan.candidates if candidate.taken] == [
        "minilm-l6-L6-v10k", "minilm-l6-L5-v10k", "L1-v10k", "paraphrase-minilm-l3-L3-v10k",
    ]  # fmt: skip


def test_one_start_alone_is_planned_as_ever() -> None:
    plan = plan_of([BASE], Budget(), 3)
    assert [candidate.name for candidate in plan.candidates if candidate.taken] == ["L12-v10k", "L11-v10k", "L10-v10k"]
    assert {candidate.start for candidate in plan.candidates} == {"teacher"}
