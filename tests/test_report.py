"""The report: are the figures on the page, in the picture and in the terminal those of the report object?"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgebert.errors import RunError
from edgebert.files import portable
from edgebert.report import chart, read_report, tables, view, write_report
from edgebert.report import format as fmt
from edgebert.report.html import render
from edgebert.report.labels import Box, place
from edgebert.report.scale import Scale, linear_scale, log_scale
from edgebert.report.serial import dump_report
from edgebert.report.terminal import print_report
from edgebert.results import MeasuredOn, Report
from edgebert.types import AS_PUBLISHED, MEDIAN, QUIETEST, Budget, Latency, Padding, TypeScore
from tests.report_factory import CANDIDATES, make_empty_report, make_report, predicted


class Page(HTMLParser):
    """Rows of cells, texts, addresses, circles and script elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.circles: dict[str, dict[str, float]] = {}
        self._mark = ""
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        results = dict(attrs)
        self.tags.append((tag, results))
        self._mark = results.get("data-name") or "" if tag == "g" else self._mark
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
            self._in_cell = True
        if tag == "circle" and self._mark and "class" not in results:
            place = {name: float(results[name] or 0) for name in ("cx", "cy", "r")}
            self.circles.setdefault(self._mark, place)  # of the first panel

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("th", "td")
        self._mark = "" if tag == "g" else self._mark

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data

    def row(self, name: str, n: int = 0) -> list[str]:
        """The cells after the n-th row header of this name."""
        return [row[1:] for row in self.rows if row and row[0] == name][n]


def terminal(report: Report, width: int = 100, folder: Path | None = None) -> str:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=width), folder)
    return stream.getvalue()


# ---------------------------------------------------------------- numbers


def test_numbers_are_written_in_one_way() -> None:
    assert fmt.percent(0.9512) == "95.1"
    assert fmt.percent(0.95117, 2) == "95.12"
    assert fmt.percent(None) == "—"
    assert [fmt.points(x) for x in (-0.0034, 0.0123, -0.00001, 0.0)] == ["−0.34", "+1.23", "0.00", "0.00"]
    assert [fmt.megabytes(x) for x in (5_123_456, 90_900_000, 431_000_000, 9_996_000)] == [
        "5.12 MB", "90.9 MB", "431 MB", "10.0 MB",
    ]  # fmt: skip
    assert [fmt.milliseconds(x) for x in (2.8312, 22.51, 99.96, 0.0512, None)] == ["2.83", "22.5", "100", "0.05", "—"]
    assert [fmt.times(x) for x in (8.04, 1.949, 99.94, 123.4)] == ["8.0×", "1.9×", "99.9×", "123×"]
    assert [fmt.difference(x) for x in (3.21e-06, 0.4567)] == ["3.2e-06", "0.46"]


def test_a_prediction_carries_the_word_and_its_interval() -> None:
    assert fmt.prediction(predicted(5.4)) == "predicted 5.40 (3.24–9.18)"
    assert fmt.prediction(replace(predicted(5.4), low_ms=None)) == "predicted 5.40"


def test_a_latency_says_how_it_was_obtained() -> None:
    latency = Latency("measured", "here", "onnxruntime", "1.32.0", 1, 12, 1, 2.8, "data", 3.1, 1200)
    assert fmt.latency_basis(latency) == (
        "measured, onnxruntime 1.32.0, 1 thread, batch 1, data lengths (median 12 tokens), 1,200 runs, "
        "p50: median of all runs"
    )
    fixed = replace(latency, how="predicted", runtime_version="", threads=0, seq_len=128, lengths="fixed", n_runs=0)
    assert fmt.latency_basis(replace(fixed, statistic=AS_PUBLISHED)) == (
        "predicted, onnxruntime, all cores, batch 1, 128 tokens, p50: as published"
    )
    quiet = replace(latency, statistic=QUIETEST)
    assert fmt.latency_bases([quiet, replace(quiet, p50_ms=9.0, n_runs=50), latency]) == [
        "measured, onnxruntime 1.32.0, 1 thread, batch 1, data lengths (median 12 tokens), 50 to 1,200 runs, "
        "p50: quietest tenth of blocks",
        fmt.latency_basis(latency),
    ]


def test_the_statistic_of_p50_stands_wherever_the_number_does() -> None:
    """And one is never divided by another."""
    report = make_report()
    quiet = tuple(replace(latency, statistic=QUIETEST) for latency in report.teacher.torch_latencies)
    mixed = replace(report, teacher=replace(report.teacher, torch_latencies=quiet))
    for text in (" ".join(terminal(mixed).split()), render(mixed)):
        assert "p50: median of all runs" in text and "p50: quietest tenth of blocks" in text
    best = view.winner(report)
    assert best is not None
    assert view.speedup(best, view.baseline(report, view.TORCH), report) == pytest.approx(22.5 / 2.81)
    assert view.speedup(best, view.baseline(mixed, view.TORCH), mixed) is None
    assert "p50 (quietest tenth of blocks or median of all runs) / p90" in render(mixed)


def test_a_shared_machine_is_told() -> None:
    report = make_report(notes=("this machine was shared while it was measured (other processes compute)",))
    assert "note: this machine was shared" in terminal(report) and "this machine was shared" in render(report)


def test_a_report_whose_fields_have_their_old_names_is_read(tmp_path: Path) -> None:
    text = dump_report(make_report()).replace('"accelerator_fallbacks"', '"leaves_accelerator"')
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(text.replace('"baselines"', '"twins"'), encoding="utf-8")
    new.write_text(dump_report(make_report()), encoding="utf-8")
    assert '"leaves_accelerator"' in text and read_report(old) == read_report(new)


def test_a_report_of_before_there_was_a_statistic_is_read(tmp_path: Path) -> None:
    document = json.loads(dump_report(make_report()))
    for latency in document["teacher"]["torch_latencies"]:
        del latency["statistic"]
    del document["notes"]
    (tmp_path / "report.json").write_text(json.dumps(document))
    result = read_report(tmp_path / "report.json")
    assert {item.statistic for item in result.teacher.torch_latencies} == {MEDIAN} and result.notes == ()


# ---------------------------------------------------------------- what is shown


def test_entries_are_models_in_torch_and_their_files() -> None:
    report = make_report()
    labels = [entry.label for entry in view.entries(report)]
    assert labels == [
        f"{model} {p}" for model in ("teacher", "3-layers", "2-layers") for p in ("torch", "onnx fp32", "onnx int8")
    ]
    best = view.winner(report)
    assert best is not None
    assert best.label == "3-layers onnx int8"
    assert view.drop(best, report) == pytest.approx(0.9505 - 0.9531)
    assert view.speedup(best, view.baseline(report, "torch"), report) == pytest.approx(22.5 / 2.81)
    assert view.speedup(best, view.baseline(report, "int8"), report) == pytest.approx(5.31 / 2.81)
    assert view.score_floor(report) == pytest.approx(0.9431)


def test_two_files_of_one_name_are_refused() -> None:
    report = make_report()
    with pytest.raises(ValueError, match="names of their own"):
        view.entries(replace(report, students=(report.students[0], report.students[0])))


def test_the_planners_prediction_stands_for_the_int8_file_only() -> None:
    report = make_report()
    bare = tuple(replace(result, latencies=()) for result in report.students[0].artifacts)
    changed = replace(report, students=(replace(report.students[0], artifacts=bare),))
    shown = {entry.label: view.predicted(entry, changed) for entry in view.entries(changed) if entry.rank == 1}
    assert shown == {"3-layers torch": None, "3-layers onnx fp32": None, "3-layers onnx int8": CANDIDATES[0].latency}


def test_a_prediction_of_the_file_itself_goes_before_and_the_budgets_length_before_others() -> None:
    report = make_report()
    entry = view.winner(report)
    assert entry is not None and entry.result is not None
    short, right = replace(predicted(1.1), seq_len=12), replace(predicted(2.2), seq_len=23)
    own = replace(entry, result=replace(entry.result, latencies=(short, right)))
    assert view.predicted(own, report) == right


def test_a_measurement_on_another_machine_is_not_shown_as_one_from_here() -> None:
    report = make_report()
    phone = replace(report.teacher.torch_latencies[0], device="pixel6", p50_ms=1.0)
    first = report.students[0].artifacts[1]
    student = replace(report.students[0], artifacts=(replace(first, latencies=(phone, *first.latencies)),))
    changed = replace(report, students=(student,))
    best = view.winner(changed)
    assert best is not None
    latency = view.main_latency(best, changed)
    assert latency is not None
    assert latency.p50_ms == 2.81


# ---------------------------------------------------------------- JSON


def test_json_round_trip(tmp_path: Path) -> None:
    report = make_report()
    path = tmp_path / "report.json"
    path.write_text(dump_report(report), encoding="utf-8")
    back = read_report(path)
    assert portable(back) == portable(report)
    assert back.students[0].artifacts[1].parity == report.students[0].artifacts[1].parity
    assert back.teacher.torch_latencies == report.teacher.torch_latencies
    assert back.plan.budget == Budget(8.0, 12.0, 200.0, 1.0)
    assert back.teacher.candidate is None


def test_json_has_a_schema_a_stable_order_and_no_folder_of_the_machine() -> None:
    text = dump_report(make_report())
    document = json.loads(text)
    assert list(document)[:3] == ["schema", "run", "command"]
    assert document["schema"] == 1
    assert document["students"][0]["artifacts"][1]["parity"]["score"]["value"] == 0.9517 - 0.0012
    assert document["device"]["path"] == "pixel6.toml"
    assert list(document["n_rows"]) == ["dev", "test", "train"]
    assert "/somewhere" not in text
    assert text == dump_report(make_report(n_rows={"test": 893, "dev": 500, "train": 4478}))


def test_json_refuses_a_number_that_json_does_not_have() -> None:
    report = make_report()
    broken = replace(report, teacher=replace(report.teacher, test=replace(report.teacher.test, value=math.nan)))
    with pytest.raises(ValueError, match="JSON"):
        dump_report(broken)


@pytest.mark.parametrize(
    "text", ["{", '{"schema": 2}', '{"schema": 1, "run": "x"}', "[]", '{"schema": 1, "teacher": 3}']
)
def test_a_damaged_report_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(RunError, match="not a report that this edgebert reads"):
        read_report(path)


# ---------------------------------------------------------------- the page


def test_the_page_shows_the_figures_of_every_file() -> None:
    report = make_report()
    page, n = Page(render(report)), 5  # the fifth column after the header is the winner's
    entries = view.entries(report)
    assert entries[n].packaged
    files = [entry.result for entry in entries if entry.result]
    assert page.row("strict entity F1, test, %") == [f"{100 * e.score.value:.2f}" for e in entries]
    assert page.row("points against the teacher")[n] == "−0.26"
    assert page.row("on dev, %")[n] == "95.25"
    assert page.row("file")[n] == "7.13 MB"
    assert page.row("in a zip")[n] == "3.56 MB"
    assert page.row("of the teacher's fp32 file")[n] == "7.9%"
    assert page.row("data lengths, 1 thread")[n] == "2.81 / 3.40"
    assert page.row("data lengths, all cores")[n] == "2.00 / 2.41"
    assert page.row("128 tokens, 1 thread")[n] == "22.2 / 26.9"
    assert page.row("128 tokens, all cores")[n] == "12.9 / 15.6"
    assert page.row("speed against the teacher in torch")[n] == "8.0×"
    assert page.row("load, ms")[n] == "17.8"
    assert page.row("first run, ms")[n] == "6.74"
    assert page.row("peak memory")[n] == "9.98 MB"
    differences = [cell for cell in page.row("worst logit difference") if cell != "—"]
    assert differences == [f"{r.parity.max_logit_difference:.2g}" for r in files]
    assert page.row("equal predictions, %")[n] == "99.83"
    assert page.row("p50 (interval)")[1] == "predicted 23.8 (14.3–40.5)"
    assert page.row("p50 (interval)")[n] == "predicted 5.40 (3.24–9.18)"
    assert page.row("verdict")[n] == "packaged"


def test_the_page_shows_every_type_with_the_figures_of_both() -> None:
    report = make_report()
    page = Page(render(report))
    teacher, best = report.teacher.test.per_type[5], report.students[0].artifacts[1].parity.score.per_type[5]
    six = [item for score in (teacher, best) for item in (score.precision, score.recall, score.f1)]
    assert page.row("fare.class") == ["9", *(f"{100 * item:.1f}" for item in six), "−0.3"]
    order = [row[0] for row in page.rows if row and row[0] in {"city.from", "city.to", "day", "meal"}]
    assert order == ["city.to", "city.from", "day", "meal"]


def test_the_page_shows_every_shape_with_its_reason() -> None:
    page = Page(render(make_report()))
    row = page.row("6-layerstrim-vocab + drop-layers + tinybert")
    assert row == [
        "teacher", "6", "4,096", "12,500,000", "predicted 12.5 MB", "predicted 10.6 (6.36–18.0)", "no", "no",
        "predicted 10.6 ms is above the budget of 8 ms",
    ]  # fmt: skip


def test_the_page_says_how_and_from_what() -> None:
    report = make_report()
    text = " ".join(Page(render(report)).texts)
    for wanted in (
        report.command, report.data.licence, report.data.sha256, report.data.origin, *report.data.notes, "2.13.0",
        "Made-up CPU @ 2.4 GHz", "13", *report.plan.notes, *report.failures, report.verdict, report.created,
        "measured, strict entity F1, test, n = 893", "8.0× the speed of the teacher in torch, 22.5 ms",
        "1.9× the speed of the teacher as int8 file, 5.31 ms", "at most 8 ms on the device at 23 tokens, batch 1",
        "−0.29 points on dev", "budget: at most 1 lost on dev", "31.1% of the teacher's int8 file, 22.9 MB",
        "variant: u8-per-channel",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_the_page_needs_nothing_from_outside() -> None:
    page = Page(render(make_report()))
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster"):
            assert not attributes.get(name) or str(attributes[name]).startswith("data:"), (tag, name)
    text = render(make_report())
    assert "@import" not in text and "url(" not in text and "http:" not in text and "https:" not in text


def test_the_page_escapes_what_others_wrote() -> None:
    evil = "<script>alert('x')</script>\"&"
    report = make_report()
    winner = report.students[0].artifacts[1]
    types = (TypeScore(evil, 0.5, 0.5, 0.5, 7),)
    test = replace(report.teacher.test, per_type=types)
    parity = replace(winner.parity, failures=(evil,), score=replace(winner.parity.score, per_type=types))
    there = Latency("measured", "pixel6", evil, evil, 2, 23, 1, 3.0, n_runs=60, called=evil)
    pad = Padding(f"{evil}/onnx-int8", "pixel6", "measured", 12, 1.0, 128, 3.0, 3.0, evil, evil, 2, evil)
    artifact = replace(winner.artifact, options={evil: evil})
    bad = replace(winner, artifact=artifact, parity=parity, latencies=(*winner.latencies, there))
    student = replace(report.students[0], name=evil, artifacts=(bad,), notes=(evil,))
    page_text = render(
        replace(
            report, run=evil, command=evil, verdict=evil, failures=(evil,), teacher=replace(report.teacher, test=test),
            students=(student,), environment={evil: {"deep": evil}}, plan=replace(report.plan, notes=(evil,)),
            data=replace(report.data, name=evil, licence=evil, origin=evil, notes=(evil,)),
            device=replace(report.device, title=evil, notes=evil, sources={evil: evil}),
            measured_on=MeasuredOn(evil, evil, True, (evil,), {evil: evil}), padding=(pad,), winner=f"{evil}/onnx-int8",
        )
    )  # fmt: skip
    page = Page(page_text)
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert "alert('x')" not in page_text  # quotes are escaped in attributes and text alike
    assert page.row(evil)[0] == "7"
    assert any(attributes.get("data-name") == f"{evil} onnx int8" for _, attributes in page.tags)


def test_points_lie_where_the_scale_puts_them() -> None:
    report = make_report()
    here = chart.panels(report)[0]
    circles = Page(render(report)).circles
    small, large = circles["3-layers onnx fp32"], circles["teacher onnx fp32"]
    # Equal ratios of latency are equal distances; the ends of the scale are the ends of the frame.
    per_decade = (chart.RIGHT - chart.LEFT) / math.log10(here.x.high / here.x.low)
    assert large["cx"] - small["cx"] == pytest.approx(per_decade * math.log10(9.81 / (2.81 * 1.86)), abs=0.02)
    assert small["cx"] == pytest.approx(chart.LEFT + per_decade * math.log10(2.81 * 1.86 / here.x.low), abs=0.02)
    # A higher score lies higher, by its share of the frame.
    per_point = (chart.BOTTOM - chart.TOP) / (here.y.high - here.y.low)
    assert small["cy"] - large["cy"] == pytest.approx(per_point * (95.31 - 95.17), abs=0.02)
    # Area, not radius, is the size.
    assert (large["r"] / small["r"]) ** 2 == pytest.approx(90_400_000 / 28_520_000, rel=0.01)
    assert large["r"] == chart.LARGEST_RADIUS


def test_the_budget_is_drawn_on_the_devices_panel_and_the_floor_on_both() -> None:
    here, there = chart.panels(make_report())
    assert here.budget is None
    assert there.budget is not None
    assert (there.budget[0], there.budget[1].text) == (there.x(8.0), "budget 8 ms")
    assert f'x1="{there.x(8.0):.2f}" x2="{there.x(8.0):.2f}"' in render(make_report())
    assert here.floor is not None
    assert here.floor == there.floor == (pytest.approx(here.y(94.31)), "score floor: teacher − 1 point")
    assert here.y == there.y
    best = next(mark for mark in there.marks if mark.entry.packaged)
    assert (best.low_x, best.x, best.high_x) == (there.x(5.4 * 0.6), there.x(5.4), there.x(9.18))
    assert chart.panels(make_report(plan=replace(make_report().plan, budget=Budget())))[1].budget is None


def test_hover_details_say_measured_and_predicted() -> None:
    report = make_report()
    best = view.winner(report)
    assert best is not None
    assert chart.details(best, report) == (
        "3-layers onnx int8",
        "score 95.05 (strict entity F1, test, n = 893)",
        "−0.26 points against the teacher",
        "file 7.13 MB",
        "p50 2.81 ms, p90 3.40 ms here",
        "measured, onnxruntime 1.32.0, 1 thread, batch 1, data lengths (median 12 tokens), 100 runs, "
        "p50: median of all runs",
        "predicted 5.40 ms (3.24–9.18) on Google Pixel 6",
        "packaged",
    )


def test_a_run_that_packaged_nothing_says_so() -> None:
    report = make_empty_report()
    page = Page(render(report))
    text = " ".join(page.texts)
    assert "nothing packaged" in text
    assert report.verdict in text
    assert "rejected: worst logit difference 9.1 is above 1.0" in page.row("verdict")
    # One ring explains itself in the legend; a packaged file has one in each panel beside.
    rings = [sum(a.get("class") == "ring" for _, a in item.tags) for item in (page, Page(render(make_report())))]
    assert rings == [1, 3]


def test_the_page_shows_what_competed_and_what_would_help() -> None:
    trials = (
        {"what": "layers", "recipe": "drop-layers(strategy=top)+kd", "rows": 3000, "dev": 0.8125, "chosen": False},
        {
            "what": "training",
            "recipe": "kd(hard_label_weight=0.9) & <more>",
            "rows": 6000,
            "dev": 0.905,
            "chosen": True,
        },
    )
    report = make_report(recipe_trials=trials, failures=("too large",), changes=("--max-drop 1.2 would admit <it>",))
    page = render(report)
    assert "kd(hard_label_weight=0.9) &amp; &lt;more&gt;" in page and "6,000" in page and "90.5" in page
    assert "--max-drop 1.2 would admit &lt;it&gt;" in page and "<it>" not in page


def test_a_bare_report_still_makes_a_page(tmp_path: Path) -> None:
    report = make_report()
    teacher = replace(report.teacher, artifacts=(), torch_latencies=(), test=replace(report.teacher.test, per_type=()))
    bare = replace(report, teacher=teacher, students=(), winner=None, plan=replace(report.plan, candidates=()))
    write_report(bare, tmp_path / "report")
    assert "Nothing was timed" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "95.31" in terminal(bare)


# ---------------------------------------------------------------- tables, scales, labels


def test_lines_without_figures_are_left_out() -> None:
    report = make_report()
    untimed = tuple(replace(result, latencies=()) for result in report.teacher.artifacts)
    report = replace(report, students=(), teacher=replace(report.teacher, artifacts=untimed))
    titles = [group.title for group in tables.file_table(report)]
    assert "Latency on Google Pixel 6, ms" not in titles
    assert "Parity with the student in torch, on real rows" in titles


def test_ticks_by_hand() -> None:
    assert Scale(1.4, 31, 0, 1, log=True).ticks() == [2, 5, 10, 20]
    assert Scale(0.04, 0.3, 0, 1, log=True).ticks() == [0.05, 0.1, 0.2]
    assert Scale(1.01, 1.85, 0, 1, log=True).ticks() == [1.2, 1.4, 1.6, 1.8]
    assert Scale(93.4, 95.8, 0, 1).ticks() == [93.5, 94.0, 94.5, 95.0, 95.5]
    assert Scale(0, 100, 0, 1).ticks() == [0, 20, 40, 60, 80, 100]


def test_scales_by_hand() -> None:
    scale = Scale(1, 100, 40, 440, log=True)
    assert [scale(x) for x in (1, 10, 100)] == [40, 240, 440]
    up = Scale(90, 100, 300, 100)
    assert [up(x) for x in (90, 95, 100)] == [300, 200, 100]


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=20))
def test_scales_keep_every_value_inside_and_have_ticks(values: list[float]) -> None:
    for scale in (log_scale(values, 40, 448), linear_scale(values, 40, 448, 0.5)):
        assert all(40 < scale(value) < 448 for value in values)
        ticks = scale.ticks()
        assert len(ticks) >= 2
        assert all(scale.low <= tick <= scale.high for tick in ticks)
        assert ticks == sorted(ticks)


coordinates = st.floats(0, 400)


@given(st.lists(st.tuples(st.text("abc ", min_size=1, max_size=20), coordinates, coordinates), max_size=15))
def test_labels_never_cover_points_or_each_other(points: list[tuple[str, float, float]]) -> None:
    frame = Box(0, 0, 400, 400)
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for _, x, y in points]
    labels = place([(text, x, y, 5.0, False) for text, x, y in points], taken, frame)
    boxes = [Box(m.x - len(m.text) * 3.04, m.y - 6.49, m.x + len(m.text) * 3.04, m.y + 6.49) for m in labels]
    for i, box in enumerate(boxes):
        assert box.inside(frame)
        assert not any(box.meets(other) for other in [*taken, *boxes[:i]])


def test_a_lone_point_gets_its_label_above() -> None:
    (label,) = place([("abcd", 100.0, 100.0, 10.0, True)], [], Box(0, 0, 200, 200))
    assert (label.text, label.x, label.strong) == ("abcd", 100.0, True)
    assert label.y < 90


# ---------------------------------------------------------------- terminal


def test_the_terminal_shows_every_file_at_100_columns() -> None:
    text = terminal(make_report())
    assert max(map(len, text.splitlines())) <= 100
    rows = {tuple(line.split()[:2]): line.split() for line in text.splitlines()}
    assert rows["teacher", "torch"][2:7] == ["95.31", "0.00", "-", "22.5", "1.0×"]
    assert (
        " ".join(rows["*", "3-layers"]) == "* 3-layers onnx int8 95.05 -0.26 7.13 2.81 8.0× predicted 5.40 (3.24–9.18)"
    )
    assert rows["2-layers", "onnx"][3:8] == ["93.90", "-1.41", "5.34", "1.94", "11.6×"]
    assert "packaged: 3-layers onnx int8. 3-layers int8 has the best score" in text
    assert "failed: 2-layers/onnx-int8: 1.41 points below" in text
    assert "measured, onnxruntime 1.32.0, 1 thread" in text
    assert "\x1b" not in text


def test_the_terminal_says_where_things_are() -> None:
    assert "bundle: pixel6-ner/bundle" in terminal(make_report())
    text = terminal(make_report(), folder=Path("runs") / "pixel6-ner")
    assert "report: runs/pixel6-ner/report/index.html" in text
    assert 'edgebert predict runs/pixel6-ner "…"' in text
    empty = terminal(make_empty_report())
    assert "nothing packaged: No file passed parity" in empty
    assert "bundle:" not in empty
    assert re.search(r"3-layers\s+onnx int8 rejected", empty)


def test_the_terminal_does_not_read_markup_in_names() -> None:
    text = terminal(make_report(verdict="[red]x[/red] [/]", failures=("[bold]y",)))
    assert "[red]x[/red] [/]" in text
    assert "[bold]y" in text


# ---------------------------------------------------------------- files


def test_write_report_writes_three_files(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "report"
    write_report(make_report(), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "report.json", "report.png"]
    assert read_report(folder / "report.json").winner == "3-layers/onnx-int8"
    png = (folder / "report.png").read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    assert 1.8 < width / height < 2.4
    assert "/somewhere" not in (folder / "index.html").read_text(encoding="utf-8")


def test_a_failing_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "report"
    write_report(make_report(), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(report: Report, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgebert.report.figure.write_figure", full)
    with pytest.raises(RunError, match="the disk is full"):
        write_report(make_empty_report(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
