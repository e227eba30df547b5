"""`edgebert compare`: what two runs differ in, as values, in the terminal, as JSON and as a page."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgebert.api import compare
from edgebert.cli.compare import command
from edgebert.errors import EdgebertError, RequestError, RunError
from edgebert.files import plain
from edgebert.report.compare_view import items, ratio_text, verdict
from edgebert.report.comparison import Comparison, DifferingRow
from edgebert.report.serial import dump_report, read_report
from edgebert.results import Report, RowOutcomes
from edgebert.runs.store import Run
from edgebert.tasks import find_task
from edgebert.tasks.classify import Prediction
from edgebert.tasks.qa import Span
from edgebert.types import MEDIAN, QUIETEST, Footprint, Latency, Row, Score
from edgebert.verify.rows import write_answers, write_rows
from tests.report_factory import HOST, make_report

FILE = "3-layers/onnx-int8"
CITIES = ("boston", "denver", "oakland", "dallas")
TAGS = ("B-from", "B-to", "O")


def ner_rows(n: int = 60, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)
    results = []
    for i in range(n):
        words = ("from", rng.choice(CITIES), "to", rng.choice(CITIES), f"<b>{i}</b>")
        results.append(Row(words=words, tags=("O", "B-from", "O", "B-to", "O"), where=f"test.txt:{i + 1}"))
    return results


def spoiled(rows: Sequence[Row], at: Sequence[int]) -> list[tuple[str, ...]]:
    """The right tags, but in the rows `at` the arrival is taken for a departure."""
    return [("O", "B-from", "O", "B-from", "O") if i in at else row.tags for i, row in enumerate(rows)]


def make_run(
    folder: Path,
    rows: Sequence[Row],
    predictions: Sequence[Any],
    *,
    task: str = "ner",
    options: Mapping[str, object] | None = None,
    size: int = 7_130_000,
    kept: bool = True,
    request: Mapping[str, object] | None = None,
    **changes: Any,
) -> Path:
    """A run whose packaged file answered `predictions` on the test rows.

    Args:
        kept: as this edgebert verifies it; an older one kept neither rows nor answers.
        changes: of the report.
    """
    kind = find_task(task).configured(options or {})
    score = kind.score(rows, predictions, "test")
    report = make_report(task=task, run=folder.name, command=f"edgebert fit --device pixel6 --run {folder}", **changes)
    student = report.students[0]
    first, chosen = student.artifacts
    artifact = replace(
        chosen.artifact, size_bytes=size, sha256=f"{folder.name:f<64}"[:64], path=Path("onnx/model.onnx")
    )
    outcomes: list[RowOutcomes] = []
    run = Run(folder, {"device": "pixel6", "task": task})
    converted = run.stage("convert-3-layers", {"model": str(folder)}, lambda place: [plain(artifact)])

    def verify(place: Path) -> dict[str, object]:
        if kept:
            write_rows(place, kind, rows)
            assert write_answers(place, artifact.name, kind, rows, predictions, score)
            outcomes.append(RowOutcomes(score.metric, "test", "", len(rows), kind.outcomes(rows, predictions)))
        return {artifact.name: {}}

    run.stage("verify-3-layers", {"converted": converted.key}, verify)
    run.close()
    parity = replace(chosen.parity, score=score)
    students = (replace(student, artifacts=(first, replace(chosen, artifact=artifact, parity=parity))), *report.students[1:])  # fmt: skip
    save(folder, replace(report, students=students))
    (folder / "manifest.json").write_text(json.dumps({"request": dict(request or {})}))
    return folder


def save(folder: Path, report: Report) -> None:
    (folder / "report").mkdir(exist_ok=True)
    (folder / "report" / "report.json").write_text(dump_report(report))


def changed_file(folder: Path, **changes: Any) -> None:
    """Replaces fields of the packaged file in the report."""
    report = read_report(folder / "report" / "report.json")
    student = report.students[0]
    files = (student.artifacts[0], replace(student.artifacts[1], **changes))
    save(folder, replace(report, students=(replace(student, artifacts=files), *report.students[1:])))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The first errs in row 7, the second in rows 1 to 6 and 8, and both in row 10."""
    rows = ner_rows()
    one = make_run(tmp_path / "old", rows, spoiled(rows, [6, 9]), request={"max_drop": 1.0, "batch_size": 32})
    request = {"max_drop": None, "batch_size": 32}
    other = make_run(tmp_path / "new", rows, spoiled(rows, [0, 1, 2, 3, 4, 5, 7, 9]), size=3_565_000, request=request)
    return one, other


# ---------------------------------------------------------------- rows and labels


def test_rows_come_by_what_was_lost_and_the_score_has_its_test(two: tuple[Path, Path]) -> None:
    result = compare(two)
    (against,) = result.against
    assert [file.title for file in result.files] == ["old", "new"]
    assert [(row.kind, row.number) for row in result.rows] == [
        *(("lost", n) for n in (1, 2, 3, 4, 5, 6, 8)),
        ("won", 7),
    ]
    assert against.n_by_kind == {"lost": 7, "won": 1}
    assert result.rows[0].shares == (1.0, 0.5) and result.rows[0].where == "test.txt:1"
    assert against.score is not None and against.score.changed == 8
    assert against.score.difference == pytest.approx(-0.05) == pytest.approx(against.difference)
    # Each of 8 rows moves by the same: 7 or 8 of one kind, 0 or 1, have the chance of 18 in 256.
    assert against.score.p == pytest.approx(18 / 256)
    assert verdict(against, result.files[0]) == (
        "new and old cannot be told apart on these rows: −5.00 points "
        "(95 % interval −9.17 to 0.00; paired permutation, exact, p = 0.07; 8 of 60 rows changed)"
    )


def test_labels_stand_by_their_loss(two: tuple[Path, Path]) -> None:
    (against,) = compare(two).against
    first, second = against.labels
    assert (first.label, second.label) == ("to", "from")
    # Arrivals: 58 of 60 found before, 52 after, none too many. F1 = 2 * 58 / 118 and 2 * 52 / 112.
    assert first.old == pytest.approx(116 / 118) and first.new == pytest.approx(104 / 112)
    assert first.test.difference == pytest.approx(104 / 112 - 116 / 118) and first.test.changed == 8
    assert second.old == pytest.approx(120 / 122)


def test_an_answer_is_told_by_what_differs(two: tuple[Path, Path]) -> None:
    row = compare(two).rows[0]
    to = row.texts[0].split()[3]
    assert [(item.text, item.state) for item in items(row, 0)] == [(f"{to} [to]", "right")]
    assert [(item.text, item.state) for item in items(row, 1)] == [(f"{to} [from]", "wrong"), (f"{to} [to]", "missing")]


def rows_of(tmp_path: Path, task: str, rows: Sequence[Row], *predictions: Sequence[Any], **more: Any) -> Comparison:
    names = ("old", "new", "newer")
    runs = [
        make_run(tmp_path / name, rows, own, task=task, **more) for name, own in zip(names, predictions, strict=False)
    ]
    return compare(runs)


def label(name: str | None) -> Prediction:
    return Prediction((name,) if name else (), ((name or "art", 0.7), ("war", 0.3)))


def test_classes_are_right_or_wrong(tmp_path: Path) -> None:
    rows = [Row(text=f"text {i}", labels=("art",), where=f"a.csv:{i + 2}") for i in range(20)]
    old = [label("art")] * 18 + [label("law")] * 2
    new = [label("law")] * 8 + [label("art")] * 11 + [label("war")]
    result = rows_of(tmp_path, "classify", rows, old, new)
    (against,) = result.against
    assert against.score is not None and against.score.test == "McNemar, exact"
    assert against.score.p == pytest.approx(2 * (1 + 9) / 2**9)  # one won of nine that changed
    assert against.n_by_kind == {"lost": 8, "won": 1, "both wrong": 1}
    assert [row.kind for row in result.rows] == ["lost"] * 8 + ["won", "both wrong"]
    assert [(item.text, item.state) for item in items(result.rows[-1], 1)] == [("war 70 %", "wrong")]
    assert verdict(against, result.files[0]).startswith("new is worse than old: 35.00 points fewer (95 % interval −")


def test_how_certain_an_answer_is_makes_no_difference(tmp_path: Path) -> None:
    rows = [Row(text=f"text {i}", labels=("art",)) for i in range(4)]
    sure = [Prediction(("art",), (("art", 0.9), ("war", 0.1)))] * 4
    result = rows_of(tmp_path, "classify", rows, [label("art")] * 4, sure)
    assert result.rows == () and result.against[0].n_by_kind == {}
    assert verdict(result.against[0], result.files[0]) == "new and old get the same rows right and wrong"


def test_a_row_out_of_scope_is_not_scored(tmp_path: Path) -> None:
    rows = [Row(text="a", labels=("art",)), Row(text="b", labels=("oos",))]
    result = rows_of(tmp_path, "classify", rows, [label("art"), label(None)], [label("art"), label("law")])
    (row,) = result.rows
    assert (row.kind, row.number, row.shares) == ("not scored", 2, (None, None))
    assert [item.text for item in items(row, 0)] == ["out of scope 30 %"]


def test_several_labels_a_row(tmp_path: Path) -> None:
    rows = [Row(text="a", labels=("art", "law")), Row(text="b", labels=("war",))]
    full, half = Prediction(("art", "law"), (("art", 0.9), ("law", 0.8))), Prediction(("art",), (("art", 0.9),))
    war = Prediction(("war",), (("war", 0.9),))
    result = rows_of(tmp_path, "classify", rows, [full, war], [half, war], options={"multi_label": True})
    (row,) = result.rows
    assert row.kind == "lost" and row.shares == pytest.approx((1.0, 2 / 3))
    assert [(item.text, item.state) for item in items(row, 1)] == [("law", "missing")]


def test_answers_to_questions(tmp_path: Path) -> None:
    rows = [Row(text="who?", second="ann and bob", answers=(("ann", 0), ("ann and bob", 0)), where="q:1")]
    one, other, wrong = ((Span(text, 0, 3, 1.0),) for text in ("ann", "ann and bob", "bob"))
    assert rows_of(tmp_path / "a", "qa", rows, [one], [other]).rows == ()  # both right, each in its way
    (row,) = rows_of(tmp_path / "b", "qa", rows, [one], [wrong]).rows
    assert row.texts == ("who?", "ann and bob") and row.gold == ["ann", "ann and bob"]
    assert [(item.text, item.state) for item in items(row, 1)] == [("bob", "wrong")]


def test_of_values_the_ranks_are_held_against_the_right_ones(tmp_path: Path) -> None:
    rows = [Row(text=f"a{i}", second="b", score=i / 10) for i in range(10)]
    old = [(i / 10, 0.0) for i in range(10)]
    new = [(0.95, 0.0), *old[1:]]  # the least similar pair is called the most similar
    result = rows_of(tmp_path, "similarity", rows, old, new)
    assert result.rows[0].kind == "further" and result.rows[0].number == 1 and result.rows[0].gold == 0.0
    assert {row.kind for row in result.rows} == {"further"} and len(result.rows) == 10
    assert [(item.text, item.state) for item in items(result.rows[0], 1)] == [("similarity 0.95", "plain")]
    assert result.against[0].score is not None and result.against[0].score.test == "paired bootstrap, 2,000 resamples"


def test_of_vectors_the_neighbours_found_count(tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 8))
    from edgebert.tasks.embed import nearest

    rows = [Row(text=f"t{i}", gold=near) for i, near in enumerate(nearest(list(vectors)))]
    result = rows_of(tmp_path, "embed", rows, list(vectors), list(vectors + rng.normal(0, 0.4, (30, 8))))
    assert result.rows and {row.kind for row in result.rows} == {"lost"}
    assert result.rows[0].answers == (None, None) and items(result.rows[0], 0) == ()
    losses = [row.shares[0] - row.shares[1] for row in result.rows]  # type: ignore[operator]
    assert losses == sorted(losses, reverse=True)


def test_of_several_heads_the_row_s_own_is_shown(tmp_path: Path) -> None:
    rows = [Row(words=("a", "b"), tags=("B-X", "O"), head="slots"), Row(text="c", labels=("art",), head="topic")]
    sides = ([{"slots": ("B-X", "O")}, {"topic": label(name)}] for name in ("art", "law"))
    result = rows_of(tmp_path, "slots=ner,topic=classify", rows, *sides)
    (row,) = result.rows
    assert row.gold == ["art"] and row.answers == ([{"label": "art", "score": 0.7}], [{"label": "law", "score": 0.7}])
    assert [item.label for item in result.against[0].labels] == ["topic: art", "slots: X", "topic: law"]
    assert result.against[0].score is not None and result.against[0].score.difference == pytest.approx(-0.5)


def test_files_are_called_by_what_tells_them_apart(two: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = two
    first = "3-layers/onnx-fp32"
    report = read_report(old / "report" / "report.json")
    fp32 = report.students[0].artifacts[0]
    score = report.students[0].artifacts[1].parity.score
    files = (replace(fp32, parity=replace(fp32.parity, score=score)), report.students[0].artifacts[1])
    save(old, replace(report, students=(replace(report.students[0], artifacts=files), *report.students[1:])))
    titles = [file.title for file in compare([old, f"{old}:{first}"]).files]
    assert titles == [FILE, first]
    assert [file.title for file in compare([old, f"{old}:{first}", new]).files] == [
        f"old:{FILE}",
        f"old:{first}",
        f"new:{FILE}",
    ]
    rows = ner_rows()
    namesake = make_run(tmp_path / "other" / "old", rows, spoiled(rows, []))
    assert [file.title for file in compare([old, namesake]).files] == [str(old), str(namesake)]


def test_three_runs_are_held_against_the_first(tmp_path: Path) -> None:
    rows = ner_rows()
    sides = [spoiled(rows, at) for at in ([5], [0, 5], [])]
    result = rows_of(tmp_path, "ner", rows, *sides)
    assert [dict(item.n_by_kind) for item in result.against] == [{"lost": 1}, {"won": 1}]
    assert [(row.kind, row.number, row.shares) for row in result.rows] == [
        ("lost", 1, (1.0, 0.5, 1.0)),
        ("won", 6, (0.5, 0.5, 1.0)),
    ]


# ---------------------------------------------------------------- cost, and what else differs


def test_cost_stands_side_by_side(two: tuple[Path, Path]) -> None:
    figures = {figure.name: figure for figure in compare(two).figures}
    assert figures["size"].values == (7_130_000, 3_565_000) and figures["size"].ratios == (None, 0.5)
    assert list(figures) == [
        "size",
        "latency here, 1 thread, own lengths",
        "latency here, 2 threads, own lengths",
        "latency here, 1 thread, 128 tokens",
        "latency here, 2 threads, 128 tokens",
        "predicted latency, 2 threads, 23 tokens",
        "predicted latency, 2 threads, 128 tokens",
        "load here",
        "first run here",
        "peak memory here",
    ]


def timed(p50: float, **changes: Any) -> Latency:
    latency = Latency("measured", HOST, "onnxruntime", "1.32.0", 1, 12, 1, p50, "data", statistic=QUIETEST, spread=0.02)
    return replace(latency, **changes)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"p50_ms": 2.5}, "1.25× ± 0.05"),  # 1.02 * 1.02 - 1 = 4 % of it
        ({"p50_ms": 2.06, "spread": None}, "1.03×"),
        ({"runtime": "tflite", "p50_ms": 1.0}, "0.50× ± 0.02"),
        ({"statistic": MEDIAN}, f"not comparable (statistic: {QUIETEST} and {MEDIAN})"),
        ({"seq_len": 14}, "not comparable (median tokens: 12 and 14)"),
        ({"how": "emulated"}, "not comparable (how: measured and emulated)"),
    ],
)
def test_times_are_divided_only_under_equal_conditions(
    two: tuple[Path, Path], change: dict[str, Any], text: str
) -> None:
    for folder, latency in zip(two, (timed(2.0), timed(2.0, **change)), strict=True):
        changed_file(folder, latencies=(latency,))
    (figure,) = [item for item in compare(two).figures if item.name.startswith("latency")]
    assert ratio_text(figure, 1) == text and ratio_text(figure, 0) == ""


def test_times_of_two_machines_are_not_divided(two: tuple[Path, Path]) -> None:
    report = read_report(two[1] / "report" / "report.json")
    hardware = {"cpu": "Another CPU", "cores": 2, "ram_mb": 16384}
    save(two[1], replace(report, environment={**report.environment, "hardware": hardware}))
    result = compare(two)
    figures = {figure.name: figure for figure in result.figures}
    for name in ("latency here, 1 thread, own lengths", "load here", "peak memory here"):
        assert "machine: " in figures[name].apart[1] and figures[name].ratios == (None, None)
    assert figures["predicted latency, 2 threads, 23 tokens"].ratios == (None, 1.0)
    assert result.differs["cpu"] == ("Made-up CPU @ 2.4 GHz", "Another CPU")


def test_what_one_file_alone_has_is_shown_without_a_ratio(two: tuple[Path, Path]) -> None:
    there = Footprint(20.0, 4.0, 9_000_000, "onnxruntime", "1.32.0", called="Pixel 6")
    changed_file(two[1], device_footprint=there, latencies=(timed(2.0, called="Pixel 6", device="pixel6"),))
    figures = {figure.name: figure for figure in compare(two).figures}
    assert figures["load on the target"].values == (None, 20.0)
    assert figures["latency on the target, 1 thread, own lengths"].ratios == (None, None)


def test_what_else_differs_is_told(two: tuple[Path, Path]) -> None:
    report = read_report(two[1] / "report" / "report.json")
    environment = {**report.environment, "seed": 14, "versions": {**report.environment["versions"], "torch": "2.14.0"}}  # type: ignore[dict-item]
    save(two[1], replace(report, environment=environment, data=replace(report.data, sha256="ef" * 32)))
    assert compare(two).differs == {
        "data sha256": ("cd" * 8, "ef" * 8),
        "seed": ("13", "14"),
        "asked for: max drop": ("1.0", "not given"),
        "version of torch": ("2.13.0", "2.14.0"),
    }


# ---------------------------------------------------------------- what cannot be compared


def test_a_request_that_nothing_kept_differs_in_nothing(two: tuple[Path, Path]) -> None:
    assert compare(two).differs == {"asked for: max drop": ("1.0", "not given")}
    (two[1] / "manifest.json").write_text("{")
    assert compare(two).differs == {}


def test_notes_on_measuring_name_their_run(two: tuple[Path, Path]) -> None:
    save(two[1], replace(read_report(two[1] / "report" / "report.json"), notes=("this machine was shared",)))
    assert compare(two).notes == ("new: this machine was shared",)


def test_an_older_run_is_told_with_the_command_that_helps(tmp_path: Path) -> None:
    rows = ner_rows()
    old = make_run(tmp_path / "old", rows, spoiled(rows, []), kept=False)
    new = make_run(tmp_path / "new", rows, spoiled(rows, [0]))
    result = compare([old, new])
    assert result.rows == () and result.against[0].score is None
    assert result.against[0].difference == pytest.approx(-0.5 / 60)
    (note,) = result.notes
    assert note.startswith("old: the rows are not there: it was verified by an older edgebert")
    assert note.endswith(f"makes only that step anew: edgebert fit --device pixel6 --run {old}")
    assert verdict(result.against[0], result.files[0]).endswith("no test says whether that is chance")


def test_without_its_stages_a_report_still_has_the_test(two: tuple[Path, Path]) -> None:
    import shutil

    kept = compare(two)
    for folder in two:
        rows = next(folder.glob("stages/*verify*"))
        outcomes = json.loads(next(rows.glob("outcomes/*.json")).read_text())
        from edgebert.files import from_plain

        changed_file(folder, outcomes=from_plain(RowOutcomes, outcomes))
        shutil.rmtree(rows)
    result = compare(two)
    assert result.against[0].score == kept.against[0].score and result.rows == ()
    assert "the stage that verified it is not in the run's folder any more" in result.notes[0]


def test_other_rows_are_told(tmp_path: Path) -> None:
    rows, others = ner_rows(), ner_rows(seed=1)
    old = make_run(tmp_path / "old", rows, spoiled(rows, []))
    new = make_run(tmp_path / "new", others, spoiled(others, []))
    result = compare([old, new])
    assert result.against[0].without_rows == "the two files were verified on other rows"
    assert result.notes == ("new: scores are not compared row by row: the two files were verified on other rows",)


def refused(*runs: object, kind: type[EdgebertError] = RequestError) -> str:
    with pytest.raises(kind) as caught:
        compare([str(run) for run in runs])
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_mistakes_are_told(two: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = two
    assert "one file alone cannot be compared" in refused(old)
    assert f"{FILE} is given twice" in refused(old, new, f"{old}:{FILE}")
    assert "unknown run 'odl'" in (message := refused(tmp_path / "odl", new)) and "Did you mean old" in message
    assert "unknown file '3-layers/onnx-int9'" in (message := refused(old, f"{new}:3-layers/onnx-int9"))
    assert f"Did you mean {FILE}" in message
    (tmp_path / "empty").mkdir()
    assert "this is no run folder" in refused(old, tmp_path / "empty")
    assert f"whose folder is wanted: {old}" in refused(old / "report", new)
    (new / "report" / "report.json").unlink()
    assert "this run has not finished" in refused(old, new)


def test_a_run_that_packaged_nothing_needs_the_name_of_a_file(two: tuple[Path, Path]) -> None:
    old, new = two
    save(new, replace(read_report(new / "report" / "report.json"), winner=None))
    message = refused(old, new)
    assert "packaged nothing" in message and f"{new}:STUDENT/FILE" in message and FILE in message
    result = compare([str(old), f"{new}:{FILE}"])
    assert result.files[1].packaged is False and len(result.rows) == 8


def test_other_tasks_and_metrics_are_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [Row(text="a", labels=("art",))]
    other = make_run(tmp_path / "topics", rows, [label("art")], task="classify")
    assert f"its task is classify, and that of {two[0]} is ner" in refused(two[0], other)
    parity = read_report(two[1] / "report" / "report.json").students[0].artifacts[1].parity
    changed_file(two[1], parity=replace(parity, score=Score("token accuracy", 0.9, "test", 60)))
    assert "its metric is token accuracy, and that of" in refused(*two)


@pytest.mark.parametrize("damage", ["changed", "short", "no JSON"])
def test_a_damaged_run_is_told(two: tuple[Path, Path], damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (answers,) = two[1].glob("stages/*verify*/answers/*.jsonl")
    answers.write_text({"changed": "[]\n" * 60, "short": "[]\n", "no JSON": "{" * 60}[damage])
    if damage != "changed":  # as if it had been written so
        monkeypatch.setattr("edgebert.workflows.compare.is_whole", lambda *_: True)
    message = refused(*two, kind=RunError)
    assert "what this run kept of its rows cannot be read" in message
    assert (
        f"Give its command again, which makes anew what is damaged: edgebert fit --device pixel6 --run {two[1]}"
        in message
    )


# ---------------------------------------------------------------- what a person sees


def said(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(item) for item in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_terminal(two: tuple[Path, Path]) -> None:
    text = said(*two, "--rows", 2)
    assert max(map(len, text.splitlines())) <= 100
    assert "−" not in text  # the code pages of Windows consoles have none
    for part in (
        "new and old cannot be told apart on these rows: -5.00 points",
        "rows: 7 lost, 1 won",
        "0.50×",
        "Labels of new against old",
        "Rows that differ: 2 of 8; --rows N shows more",
        "What else differs",
        "asked for: max drop",
    ):
        assert part in text, part
    assert text.count("lost   row") == 2 and "test.txt:1" in text
    assert "Rows that differ" not in said(*two, "--rows", 0)


def test_json_has_everything(two: tuple[Path, Path]) -> None:
    document = json.loads(said(*two, "--json"))
    assert document == json.loads(json.dumps(plain(compare(two))))
    assert len(document["rows"]) == 8 and document["against"][0]["score"]["changed"] == 8
    assert document["files"][0]["score"]["value"] == pytest.approx(59 / 60)


def test_the_page_holds_everything_and_nothing_of_it_is_obeyed(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    rows = [Row(text=f"{evil} {i}", labels=(evil if i % 2 else "art",), where=f"{evil}:{i}") for i in range(12)]
    right = [label(row.labels[0]) for row in rows]
    old = make_run(tmp_path / "old", rows, right, task="classify", request={"recipe": evil})
    new = make_run(tmp_path / "a<b>", rows, [label("art"), label(evil)] * 6, task="classify")
    worse = make_run(tmp_path / "worse", rows, [label("law")] * 12, task="classify")
    page = tmp_path / "compare.html"
    text = said(old, new, worse, "-o", page, "--rows", 3)
    assert f"page: {page}" in text
    html = page.read_text(encoding="utf-8")
    assert evil not in html and html.count("<script>") == 1 and "a<b>" not in html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; 3" in html and "a&lt;b&gt;" in html
    assert html.count('<article class="row"') == 12 == html.count('data-kind="lost"')
    assert "http:" not in html and "https:" not in html and " src=" not in html
    assert html.count('class="badge bad">worse') == 1 and "no sure difference" not in html.split("</header>")[1]


def test_a_page_that_cannot_be_is_refused_before_anything_is_read(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for output, part in (
        (tmp_path, "a folder is where the page would be"),
        (tmp_path / "no" / "c.html", "no such folder"),
    ):
        with pytest.raises(RequestError, match=part):
            compare(two, output=str(output))
    monkeypatch.setattr("edgebert.workflows.compare.is_installed", lambda module: module != "jinja2")
    with pytest.raises(RequestError, match=r'(?s)needs jinja2.*pip install "edgebert\[fit\]"'):
        compare(two, output=str(tmp_path / "c.html"))
    assert compare(two).rows


def test_it_needs_nothing_but_the_base_install(two: tuple[Path, Path]) -> None:
    absent = ("torch", "transformers", "scipy", "sklearn", "jinja2", "matplotlib", "onnx", "datasets")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}))\n"  # importing one of them raises
        f"from edgebert.cli import main; main(['compare', {str(two[0])!r}, {str(two[1])!r}, '--rows', '1'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Rows that differ: 1 of 8" in done.stdout


def test_a_row_says_itself() -> None:
    """Nothing is there, and one file finds something."""
    row = DifferingRow("lost", 1, "", ("x",), [], ([], [{"text": "x", "type": "to", "start": 0, "end": 1}]), (1.0, 0.0))
    assert [(item.text, item.state) for item in items(row, 0)] == [("nothing", "plain")]
    assert [(item.text, item.state) for item in items(row, 1)] == [("x [to]", "wrong")]
