"""PoWER-BERT: scores, ranks and shares by hand, a pass against numpy, padding, and what is refused before any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgebert.errors import RequestError
from edgebert.methods import METHODS
from edgebert.methods.power_bert import FAMILIES, kept_shares, lifted, retained, search_objective, untrained
from edgebert.modeling.checkpoint import copy_student, load_student, save_checkpoint
from edgebert.modeling.families.power_bert import GRID, PowerBertConfig, grid_steps, kept_of, ranked, significance
from edgebert.modeling.headed import HeadedEncoder
from edgebert.modeling.layers import keep_settings
from edgebert.modeling.operators import operators
from edgebert.training.loop import collate
from edgebert.types import Row, Student
from edgebert.workflows.recipe import check_methods, read_recipe
from tests.conftest import make_tokenizer
from tests.families import tiny
from tests.toy_methods import encoded, logits, method_context, served

METHOD = METHODS.get("power-bert")


def teacher_of(family: str = "bert", **sizes: int) -> Student:
    model = tiny(family, "sequence-classification", **sizes)
    model.config.architectures = [type(model).__name__]
    return Student(model, make_tokenizer())


def batch(pad_id: int = 0, n: int = 20) -> dict[str, torch.Tensor]:
    """Two texts, the second of seven tokens."""
    ids, mask = torch.arange(5, 5 + 2 * n).reshape(2, n), torch.ones(2, n, dtype=torch.long)
    ids[1, 7:], mask[1, 7:] = pad_id, 0
    return {"input_ids": ids, "attention_mask": mask}


# ---------------------------------------------------------------- which word vectors are kept


def test_significance_and_ranks_by_hand() -> None:
    """Of two heads over three tokens, the last one padding: what it gives to others does not count."""
    attention = torch.tensor([[[[0.5, 0.5, 0.0], [0.2, 0.8, 0.0], [0.9, 0.1, 0.0]],
                               [[0.1, 0.9, 0.0], [0.4, 0.6, 0.0], [0.9, 0.1, 0.0]]]])  # fmt: skip
    scores = significance(attention, torch.tensor([[1.0, 1.0, 0.0]]))
    assert torch.allclose(scores, torch.tensor([[1.2, 2.8, 0.0]]))
    assert torch.allclose(significance(attention, torch.ones(1, 3)), torch.tensor([[3.0, 3.0, 0.0]]))
    assert ranked(torch.tensor([[0.1, 0.0, 0.4, 2.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])).argsort(
        1, descending=True
    ).tolist() == [[0, 2, 1, 3]]


def test_a_share_of_a_text_by_hand() -> None:
    assert [kept_of(n, 64) for n in (1, 2, 3, 128, 129)] == [1, 1, 2, 64, 65]
    assert [kept_of(100, step) for step in (1, 77, 128)] == [1, 61, 100]  # 0.8, 60.2 and 100 tokens
    assert [kept_of(n, 32, 5) for n in (1, 4, 5, 6, 20, 21, 40)] == [1, 4, 5, 5, 5, 6, 10]  # a quarter, but 5 of them


@pytest.mark.parametrize("shares", [[0.3], [0.5, 0.75], [1.5], [0.0]])
def test_shares_that_are_none_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="kept_layers"):
        PowerBertConfig(num_hidden_layers=len(shares), kept_layers=shares)
    with pytest.raises(ValueError, match="2 shares for 3 layers"):
        PowerBertConfig(num_hidden_layers=3, kept_layers=[1.0, 0.5])


def test_retention_of_ranks_by_hand() -> None:
    """Four steps over a text of three tokens: a token covers 4/3 steps."""
    retention, real = torch.tensor([1.0, 1.0, 0.5, 0.0]), torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    factors = retained(retention, torch.tensor([[0.0, 0.1, 0.9, 0.0]]), real)
    assert torch.allclose(factors, torch.tensor([[1.0, 0.5 / 3 / (4 / 3), (2 / 3 + 1 / 3) / (4 / 3), 0.0]]))
    assert factors.sum().item() == pytest.approx(3 * retention.mean().item())
    whole = retained(retention, torch.tensor([[0.0, 0.1, 0.9, 0.0]]), real, least=2)
    assert torch.allclose(whole, torch.tensor([[1.0, 0.125, 1.0, 0.0]]))


def test_lifted_is_the_nearest_with_that_mean() -> None:
    assert lifted(torch.tensor([0.9, -0.1, 0.4]), 0.4).tolist() == pytest.approx([0.9, 0.0, 0.4])  # over 0.4 on average
    assert lifted(torch.tensor([0.9, 0.1, 0.2]), 0.6).tolist() == pytest.approx([1.0, 0.35, 0.45], abs=1e-6)


def test_shares_by_hand() -> None:
    assert kept_shares([0.8, 0.4], 0.3) == pytest.approx([0.4, 0.2], abs=0.5 / GRID)
    assert kept_shares([0.4, 0.8], 0.3) == pytest.approx([0.3, 0.3], abs=0.5 / GRID)  # none grows
    assert kept_shares([0.9, 0.3], 0.8) == pytest.approx([1.0, 0.6], abs=0.5 / GRID)  # none is over 1
    assert kept_shares([0.5, 0.0], 1.0) == [1.0, 1.0]
    for keep in (0.05, 0.37, 1.0):
        shares = kept_shares([0.9, 0.7, 0.5, 0.3, 0.1], keep)
        assert sum(shares) / 5 == pytest.approx(keep, abs=0.5 / GRID) and grid_steps(shares)


# ---------------------------------------------------------------- the student


@pytest.mark.parametrize("family", FAMILIES)
def test_with_everything_kept_it_is_its_teacher(family: str) -> None:
    teacher = teacher_of(family)
    rows = batch(teacher.model.config.pad_token_id)
    student = untrained(teacher, 1.0).model.eval()
    with torch.inference_mode():
        theirs = getattr(teacher.model, teacher.model.base_model_prefix)(**rows).last_hidden_state[:, :1]
        assert torch.allclose(student.encoder(**rows).last_hidden_state, theirs, atol=1e-5)
        if family not in ("electra", "distilbert"):  # whose heads have another activation
            assert torch.allclose(student(**rows).logits, teacher.model(**rows).logits, atol=1e-5)


def in_numpy(model: Any, ids: np.ndarray) -> np.ndarray:
    """The states of one text without padding that are left, (kept, width), the first token's first: as the paper has it."""
    encoder, weights = model.encoder, {name: value.numpy() for name, value in model.encoder.state_dict().items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + encoder.config.layer_norm_eps)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def product(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def table(name: str) -> np.ndarray:
        return weights[f"embeddings.{name}.weight"]

    x = norm(table("words")[ids] + table("places")[: len(ids)] + table("types")[0], "embeddings.norm")
    for i, share in enumerate(encoder.config.kept_layers):
        at = f"layers.{i}.attention"
        heads = np.stack([np.split(product(x, f"{at}.{name}"), 4, -1) for name in ("query", "key", "value")])
        scores = heads[0] @ heads[1].swapaxes(1, 2) / np.sqrt(heads.shape[-1])
        attention = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        x = norm(x + product(np.concatenate(list(attention @ heads[2]), -1), f"{at}.dense"), f"{at}.norm")
        significant = attention.sum((0, 1))
        others = sorted(range(1, len(x)), key=lambda k: -significant[k])
        x = x[[0, *others][: int(np.ceil(share * len(ids)))]]
        inner = product(x, f"layers.{i}.feed_forward.inner")
        inner = torch.nn.functional.gelu(torch.from_numpy(inner)).numpy()
        x = norm(x + product(inner, f"layers.{i}.feed_forward.outer"), f"layers.{i}.feed_forward.norm")
    return x


def falling(reads: str) -> Any:
    """A student of four layers and a head over the first state or the mean, each of which lets fewer vectors through."""
    teacher = teacher_of(num_hidden_layers=4)
    if reads != "cls":
        config = teacher.model.config
        config.edgebert_heads = [{"name": "", "kind": "sequence-classification", "n_labels": 5, "reads": reads}]
        teacher = replace(teacher, model=HeadedEncoder(teacher.model.bert, config).eval())
    model = untrained(teacher, 0.5).model.eval()
    assert model.config.kept_layers == [0.5, 0.5, 0.5, 0.5 if reads == "mean" else 1 / GRID]
    model.encoder.config.kept_layers = [85 / GRID, 51 / GRID, 51 / GRID, 17 / GRID]
    return model


@pytest.mark.parametrize("reads", ["cls", "mean"])
def test_states_equal_a_plain_reference_and_padding_changes_nothing(reads: str) -> None:
    student, ids, rows = falling(reads), torch.arange(5, 28), batch(n=23)
    expected = in_numpy(student, ids.numpy())
    assert expected.shape == (4, 32)  # of 23 tokens 16, 10, 10 and 4 are left
    with torch.inference_mode():
        result = student.encoder(ids[None])
        states = result.last_hidden_state[0].numpy()
        assert np.abs(states - (expected if reads == "mean" else expected[:1])).max() < 1e-5
        head = student.heads["head"]
        read = torch.from_numpy(expected.mean(0) if reads == "mean" else expected[0]).float()
        logits = head.classifier(torch.tanh(head.dense(read)))
        assert torch.allclose(student(ids[None]).logits[0], logits, atol=1e-5)
        together = student(**rows).logits
        for i, n in enumerate((23, 7)):
            alone = student(rows["input_ids"][i : i + 1, :n], rows["attention_mask"][i : i + 1, :n]).logits
            assert torch.allclose(together[i : i + 1], alone, atol=1e-6)
        student.encoder.config.least_kept = 7  # of the shorter text everything, of the longer one a little more
        alone = student(rows["input_ids"][1:, :7], rows["attention_mask"][1:, :7]).logits
        whole = falling(reads)
        whole.encoder.config.kept_layers = [1.0] * 4
        assert torch.allclose(whole(rows["input_ids"][1:, :7]).logits, alone, atol=1e-6)
        assert torch.allclose(student(**rows).logits[1:], alone, atol=1e-6)
        student.encoder.config.least_kept = 1
        rows["input_ids"][1, 7:] = 50  # what the mask hides is not read
        assert torch.allclose(student(**rows).logits, together, atol=1e-6)
        student.encoder.config.kept_layers = [1.0] * 4
        assert (student(ids[None]).logits[0] - logits).abs().max() > 0.001  # what is eliminated shows


def test_operators_by_hand() -> None:
    """Of 100 tokens 75 and 25 go on, then one: feed-forward networks over 75, 25 and 1 of them."""
    config = untrained(teacher_of(num_hidden_layers=3), 0.5).model.config
    config.kept_layers = [0.75, 0.25, 1 / GRID]
    assert [kept_of(100, step) for step in grid_steps(config.kept_layers)] == [75, 25, 1]
    found = operators(config, 100)
    assert [item.shape for item in found if item.name == "feed-forward in"] == [(n, 32, 64) for n in (75, 25, 1)]
    assert [item.shape for item in found if item.name == "query"] == [(n, 32, 32) for n in (100, 75, 25)]
    assert [item.shape for item in found if item.name == "attention scores"] == [(n, 8, n) for n in (100, 75, 25)]
    assert sum(item.count for item in found if item.name in ("residual", "layer norm")) == 2 * 2 * 3 + 1
    config.edgebert_heads = [{**config.edgebert_heads[0], "reads": "mean"}]
    config.kept_layers = [0.75, 0.25, 0.125]
    shapes = [item.shape for item in operators(config, 100) if item.name == "feed-forward in"]
    assert shapes == [(n, 32, 64) for n in (75, 25, 13)]
    plain = operators(teacher_of(num_hidden_layers=3).model.config, 100)
    assert sum(item.count * item.flops for item in found) < 0.6 * sum(item.count * item.flops for item in plain)


# ---------------------------------------------------------------- training


def test_the_search_minimises_the_prediction_loss_and_weighted_masses(
    teacher: Student, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    """With r at 1 the student is its teacher: what is left is the teacher's entropy and λ (1 + 2 + 3)."""
    teacher = served("power-bert", teacher)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path)
    student = untrained(copy_student(teacher.model, teacher.tokenizer), 0.5)
    rows = collate(encoded(teacher, toy_rows[:8], toy_labels))
    losses = {}
    for regulariser in (0.0, 0.5):
        objective = search_objective(student, context, 0.5, regulariser, 1.0, temperature=1.0, hard_label_weight=0.0)
        losses[regulariser] = objective.eval().loss(rows)
    own = teacher.model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).logits.softmax(-1)
    assert losses[0.0].item() == pytest.approx(-(own * own.log()).sum(-1).mean().item(), abs=1e-5)
    assert (losses[0.5] - losses[0.0]).item() == pytest.approx(0.5 * 6, abs=1e-4)
    losses[0.5].backward()
    assert objective.moved.grad is not None and bool((objective.moved.grad != 0).all())
    with torch.no_grad():
        objective.moved.fill_(-9.0)
    objective.loss(rows)
    assert objective.retention().mean().item() == pytest.approx(0.5, abs=1e-5)  # no less than `keep`


def test_it_composes_and_is_saved_whole(
    teacher: Student, toy_checkpoint: Path, toy_rows: list[Row], toy_labels: tuple[str, ...], tmp_path: Path
) -> None:
    teacher = served("power-bert", teacher)
    student = copy_student(teacher.model, teacher.tokenizer)
    context = method_context(teacher, toy_rows, toy_labels, tmp_path / "work")
    for name, given in (("trim-vocab", METHODS.get("trim-vocab").toy), ("drop-layers", {"n_layers": 3}),
                        ("power-bert", {"keep": 0.25, "least": 2, "epochs": 1}), ("finetune", {"epochs": 1})):  # fmt: skip
        method = METHODS.get(name)
        student = method.apply(student, replace(context, work=tmp_path / name), **method.read_params(given))
    shares = student.model.config.kept_layers
    assert sum(shares[:-1]) / 2 == pytest.approx(0.25, abs=0.5 / GRID) and student.model.encoder.retention is None
    save_checkpoint(tmp_path / "saved", student, toy_checkpoint)
    loaded = load_student(tmp_path / "saved")
    assert loaded.model.encoder.config.kept_layers == shares
    for before, after in zip(logits(student, toy_rows, toy_labels), logits(loaded, toy_rows, toy_labels), strict=True):
        assert np.abs(before - after).max() < 1e-6


@pytest.mark.parametrize("keep", [0, 1.5, "nan"])
def test_a_share_that_cannot_be_is_refused(keep: object) -> None:
    with pytest.raises(RequestError, match=r"below 0\.05|above 1|cannot be read") as caught:
        METHOD.read_params({"keep": keep})
    assert caught.value.where == "power-bert.keep"


@pytest.mark.parametrize("head", ["token-classification", "question-answering", "sentence-embedding"])
def test_heads_that_read_other_tokens_are_refused(head: str) -> None:
    recipe, _ = read_recipe("power-bert", {})
    with pytest.raises(RequestError, match=f"serves sequence-classification heads, and this task has a {head} one"):
        check_methods(recipe, head)


def test_models_that_cannot_are_refused() -> None:
    params = METHOD.read_params({})
    for family in ("mpnet", "albert", "deberta-v2"):
        config = tiny(family).config
        with pytest.raises(RequestError, match=f"{family} has layers of another kind than BERT's"):
            METHOD.check(config, config, **params)
    config = tiny("bert").config
    config.sizes_of_layers = [64, 32]
    with pytest.raises(RequestError, match="sizes of their own"):
        METHOD.check(config, config, **params)
    del config.sizes_of_layers
    METHOD.check(config, config, **params)
    config.edgebert_heads = [{"name": "", "kind": "sequence-classification", "n_labels": 5, "reads": "lasttoken"}]
    with pytest.raises(RequestError, match="its head reads the lasttoken of a text's states"):
        METHOD.check(config, config, **params)
    del config.edgebert_heads
    keep_settings(config, (0,))
    with pytest.raises(RequestError, match="no word vector is left to eliminate"):
        METHOD.check(config, config, **params)
