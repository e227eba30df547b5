"""Similarity and embedding: correlations against scipy, int8 vectors and neighbours by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.errors import DataError, RequestError
from edgebert.tasks import find_task
from edgebert.tasks._vectors import int8_vector, pearson, spearman
from edgebert.tasks.embed import nearest
from edgebert.types import Row
from tests.conftest import make_tokenizer

numbers = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=30)


@given(numbers)
def test_correlations_equal_scipy(pairs: list[tuple[int, int]]) -> None:
    from scipy import stats

    a, b = [p for p, _ in pairs], [q for _, q in pairs]
    if len(set(a)) < 2 or len(set(b)) < 2:
        assert pearson(a, b) == spearman(a, b) == 0.0
        return
    assert pearson(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-9)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)


def test_int8_vectors_by_hand() -> None:
    values, scale = int8_vector(np.array([0.5, -1.0, 0.25, 0.0]))
    assert (values.tolist(), scale) == ([64, -127, 32, 0], pytest.approx(1 / 127))
    assert int8_vector(np.zeros(3))[0].tolist() == [0, 0, 0]


def test_similarity_reads_two_windows_a_row() -> None:
    task = find_task("similarity")
    rows = [Row(text="fly", second="is far", score=0.5), Row(text="fly", second="show")]
    features = task.encode(rows, make_tokenizer(), (), 16)
    assert [(feature.row, len(feature.input_ids), dict(feature.targets)) for feature in features] == [
        (0, 3, {"score": 0.5}), (0, 4, {"score": 0.5}), (1, 3, {}), (1, 3, {})
    ]  # fmt: skip


def test_similarity_is_the_cosine_and_scored_by_rank() -> None:
    task = find_task("similarity")
    vectors = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [1.0, 0.0], [0.0, 1.0]]
    rows = [Row(text="a", second="b", score=score) for score in (1.0, 0.4, 0.6)]
    predictions = task.decode(rows, [], [{"sentence_embedding": np.array(vector)} for vector in vectors], ())
    assert [item for item, _ in predictions] == pytest.approx([1.0, 0.6, 0.0])
    assert predictions[1][1] == pytest.approx(95 / np.hypot(95, 127))  # 0.6 and 0.8 become 95 and 127 steps
    score = task.score(rows, predictions, "test")
    assert score.value == pytest.approx(0.5)  # ranks 3 2 1 against 3 1 2
    assert task.answer(rows[1], predictions[1]) == {"similarity": 0.6} and task.same(*predictions[:2]) == []


def test_neighbours_by_hand_and_by_brute_force() -> None:
    assert nearest([np.array(v) for v in ([1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [1.0, 0.0])]) == [
        (3, 1, 2), (0, 3, 2), (1, 0, 3), (0, 1, 2)
    ]  # fmt: skip
    drawn = np.random.default_rng(0).normal(size=(700, 5))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    for i, result in enumerate(nearest(list(drawn))):
        alike = unit @ unit[i]
        alike[i] = -2
        assert set(result) == set(np.argsort(-alike)[:10].tolist())


def test_embed_is_scored_by_what_the_teacher_finds_near() -> None:
    task = find_task("embed")
    rng = np.random.default_rng(1)
    vectors = [{"sentence_embedding": rng.normal(size=4)} for _ in range(30)]
    rows = [Row(text=str(i)) for i in range(30)]
    with pytest.raises(ValueError, match="no neighbours"):
        task.score(rows, task.decode(rows, [], vectors, ()), "test")
    with_teacher_labels = task.with_teacher_labels(rows, [], vectors)
    assert all(len(row.gold) == 10 and i not in row.gold for i, row in enumerate(with_teacher_labels))
    assert task.score(with_teacher_labels, task.decode(rows, [], vectors, ()), "test").value == 1.0
    other = [{"sentence_embedding": rng.normal(size=4)} for _ in range(30)]
    share = task.score(with_teacher_labels, task.decode(rows, [], other, ()), "test").value
    near = nearest([item["sentence_embedding"] for item in other])
    assert share == pytest.approx(
        np.mean([len({*a.gold} & {*b}) / 10 for a, b in zip(with_teacher_labels, near, strict=True)])
    )
    assert 0.1 < share < 0.7  # chance is 10 of 29


@pytest.mark.parametrize(
    ("options", "what"),
    [({"pooling": "median"}, "unknown pooling 'median'"), ({"dimension": "-1"}, "-1 numbers cannot be")],
)
def test_options_that_cannot_be(options: dict[str, str], what: str) -> None:
    with pytest.raises(RequestError, match=what):
        find_task("embed").configured(options)


def test_few_texts_have_no_neighbours() -> None:
    with pytest.raises(DataError, match="2 texts are too few"):
        find_task("embed").check([Row(text="a")] * 2, "dev")
