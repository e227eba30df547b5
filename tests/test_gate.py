"""The gate: every limit by a value worked by hand, noise against change, what it prints, and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tomllib

from edgebert.budget.findings import FIGURES, Finding, GateResult, Subject
from edgebert.budget.limits import LIMITS
from edgebert.budget.settings import read_budget
from edgebert.budget.suggest import suggest
from edgebert.cli import main
from edgebert.errors import RequestError, RunError
from edgebert.report.gate import to_annotations, to_junit, to_markdown
from edgebert.report.serial import dump_report, read_report
from edgebert.results import Report, RowOutcomes, Tallies
from edgebert.types import CpuTime
from edgebert.verify.growth import COMPARISONS, noise
from edgebert.workflows.gate import gate
from tests.report_factory import make_empty_report, make_report

N = 400


def outcomes(wrong: int, n: int = N, rows: str = "r" * 64) -> RowOutcomes:
    """Of `n` rows of two labels, the first `wrong` are wrong: labelled b, and taken for a."""
    gold = ["b" if i % 2 == 0 or i < wrong else "a" for i in range(n)]
    labels: dict[str, Any] = {}
    for label in "ab":
        entries = []
        for i in range(n):
            own, right = ("a" if i < wrong else gold[i]) == label, gold[i] == label
            if own or right:
                entries.append((i, 2.0 * (own and right), float(own + right)))
        labels[label] = tuple(zip(*entries, strict=True))
    whole = (tuple(float(i >= wrong) for i in range(n)), (1.0,) * n)
    return RowOutcomes("accuracy", "test", rows, n, (Tallies("", False, tuple(range(n)), whole, labels),))


def changed_file(report: Report, **changes: Any) -> Report:
    """The report with fields of its packaged file replaced; of a path such as artifact__size_bytes within them."""
    subject = Subject.of(report)
    file = subject.file
    for path, value in changes.items():
        name, _, inner = path.partition("__")
        file = replace(file, **{name: replace(getattr(file, name), **{inner: value}) if inner else value})
    student = replace(
        subject.student, artifacts=tuple(file if item is subject.file else item for item in subject.student.artifacts)
    )
    return replace(report, students=tuple(student if item is subject.student else item for item in report.students))


def slower(report: Report, factor: float, spread: float | None = 0.01, machine: float = 1.0) -> Report:
    """The packaged file `factor` times as slow on a machine that is `machine` times as slow for every file: another one,
    unless that is 1."""

    def of(file: Any, times: float) -> Any:
        latencies = tuple(
            item
            if item.how == "predicted"
            else replace(item, p50_ms=item.p50_ms * times, p90_ms=(item.p90_ms or 0) * times, spread=spread)
            for item in file.latencies
        )
        return replace(file, latencies=latencies)

    teacher = replace(report.teacher, artifacts=tuple(of(file, machine) for file in report.teacher.artifacts))
    file = of(Subject.of(report).file, factor * machine)
    return changed_file(elsewhere(replace(report, teacher=teacher), machine), latencies=file.latencies)


def elsewhere(report: Report, machine: float) -> Report:
    """The report as a machine of this speed makes it."""
    hardware = {"processor": f"{machine:g} times as slow", "cores": 2, "instructions": [], "system": "any"}
    return replace(report, environment={**report.environment, "hardware": hardware})


GOOD = changed_file(make_report(), outcomes=outcomes(8))


def write(folder: Path, report: Report, name: str = "report.json") -> Path:
    path = folder / name
    path.write_text(dump_report(report), encoding="utf-8")
    return path


def judged(
    folder: Path, budget: str, report: Report = GOOD, baseline: Report | None = None
) -> tuple[GateResult, dict[str, Finding]]:
    (folder / "budget.toml").write_text(budget, encoding="utf-8")
    old = write(folder, baseline, "old.json") if baseline else None
    result = gate(write(folder, report), folder / "budget.toml", old)
    return result, {item.limit: item for item in result.findings}


# ---------------------------------------------------------------- limits


def test_every_limit_has_a_figure_and_no_figure_is_without_a_limit() -> None:
    assert {limit.name for limit in LIMITS if not limit.growth} == set(FIGURES)
    assert {limit.name for limit in LIMITS if limit.growth} == set(COMPARISONS)


# The packaged file of tests/report_factory: 7.13 MB, 0.9505 on test, 2.81 ms here on a thread, 3.401 ms p90; the teacher 0.9531.
@pytest.mark.parametrize(
    ("line", "value", "kept", "broken"),
    [
        ("size_mb = {}", 7.13, "7.13", "7.12"),
        ("score = {}", 95.05, "95", "95.1"),
        ("drop_points = {}", 0.26, "0.27", "0.25"),
        ("label_drop_points = {}", 0.26, "0.27", "0.25"),
        ("label_score = {}", 95.8 - 0.25, "95.5", "95.6"),
        ("nrmse = {}", 0.0412, "0.05", "0.04"),
        ("equal_percent = {}", 99.83, "99.8", "99.9"),
        ("accelerator_fallbacks = {}", 3, "3", "2"),
        ('latency_ms = {{ max = {}, on = "here" }}', 2.81, "2.82", "2.8"),
        ('latency_ms = {{ max = {}, on = "here", threads = 2, tokens = 128 }}', 2.81 * 4.6, "13", "12.9"),
        ('latency_ms = {{ max = {}, on = "predicted" }}', 5.4, "5.4", "5.3"),
        ('latency_p90_ms = {{ max = {}, on = "here" }}', 2.81 * 1.21, "3.5", "3.3"),
        ('load_ms = {{ max = {}, on = "here" }}', 7_130_000 / 4e5, "18", "17"),
        ('memory_mb = {{ max = {}, on = "here" }}', 7.13 * 1.4, "10", "9.9"),
    ],
)
def test_a_limit_is_kept_up_to_its_value_and_broken_beyond_it(
    line: str, value: float, kept: str, broken: str, tmp_path: Path
) -> None:
    report = changed_file(GOOD, accelerator_fallbacks={"CAST": 1, "GATHER": 2})
    name = line.split()[0]
    for bound, outcome in ((kept, "passed"), (broken, "failed")):
        result, findings = judged(tmp_path, f"[limits]\n{line.format(bound)}\n", report)
        assert findings[name].value == pytest.approx(value, rel=1e-3)
        assert (findings[name].outcome, result.exit_code) == (outcome, int(outcome == "failed"))
    assert findings[name].reason and findings[name].how


def test_a_label_with_few_rows_is_not_judged(tmp_path: Path) -> None:
    """Of the factory's labels airline has 101 rows and fare.class, of 66.7 %, nine."""
    _, findings = judged(tmp_path, "[limits]\nlabel_score = 90\n")
    assert findings["label_score"].outcome == "passed"
    _, findings = judged(tmp_path, "[limits]\nlabel_score = { min = 90, rows = 5 }\n")
    assert findings["label_score"].reason.startswith("label fare.class: 66.45 points is below the least of 90")


def test_only_what_the_budget_names_judges_a_latency(tmp_path: Path) -> None:
    """The device was never measured: a prediction judges only where the budget says so."""
    result, findings = judged(tmp_path, '[limits]\nlatency_ms = { max = 99, on = "device" }\n')
    assert (findings["latency_ms"].outcome, result.exit_code) == ("missing", 2)
    assert findings["latency_ms"].reason == (
        'nothing measured the file on pixel6: give fit --on TARGET, or write on = "predicted"'
    )
    _, findings = judged(tmp_path, '[limits]\nlatency_ms = { max = 99, on = "here", threads = 7 }\n')
    assert "not measured on this machine with 7 threads at the rows' own lengths: it was with" in (
        findings["latency_ms"].reason
    )


def test_without_a_budget_the_runs_own_judges(tmp_path: Path) -> None:
    result = gate(write(tmp_path, GOOD))
    findings = {item.limit: item for item in result.findings}
    assert {"latency_ms", "size_mb", "memory_mb", "drop_points"} <= set(findings) and result.exit_code == 0
    assert findings["latency_ms"].how.startswith("predicted, pixel6")


def test_a_file_that_failed_parity_fails(tmp_path: Path) -> None:
    result, findings = judged(
        tmp_path, "[limits]\nsize_mb = 99\n", changed_file(GOOD, parity__failures=("an output is another",))
    )
    assert (result.exit_code, findings["parity"].reason) == (1, "an output is another")


def test_a_run_that_packaged_nothing_fails(tmp_path: Path) -> None:
    result = gate(write(tmp_path, make_empty_report()))
    assert result.exit_code == 1 and "nothing was packaged" in result.findings[0].reason


# ---------------------------------------------------------------- against a baseline


def test_a_score_falls_only_by_more_than_chance(tmp_path: Path) -> None:
    """8 of 400 rows are wrong in the baseline. With 12 wrong, the exact test of 4 of 4 changed rows gives 2 / 2^4 = 0.125;
    with 20, of 12 of 12, 2 / 2^12."""
    _, findings = judged(tmp_path, "[growth]\nscore_points = 0\n", changed_file(GOOD, outcomes=outcomes(12)), GOOD)
    kept = findings["score_points"]
    assert (kept.outcome, kept.value) == ("passed", pytest.approx(1.0))
    assert kept.reason == "a drop of 1.00 points that chance explains (p = 0.12)"
    result, findings = judged(tmp_path, "[growth]\nscore_points = 0\n", changed_file(GOOD, outcomes=outcomes(20)), GOOD)
    assert (result.exit_code, findings["score_points"].value) == (1, pytest.approx(3.0))
    assert "McNemar, exact over 400 rows, 12 changed, p = 0.00049" in findings["score_points"].how
    _, findings = judged(tmp_path, "[growth]\nscore_points = 3.1\n", changed_file(GOOD, outcomes=outcomes(20)), GOOD)
    assert findings["score_points"].outcome == "passed"


def test_a_label_that_falls_is_named(tmp_path: Path) -> None:
    _, findings = judged(tmp_path, "[growth]\nlabel_points = 1\n", changed_file(GOOD, outcomes=outcomes(60)), GOOD)
    assert findings["label_points"].outcome == "failed"
    assert re.match("label [ab]: [0-9.]+ points is over the limit of 1 points", findings["label_points"].reason)
    assert "Holm's correction" in findings["label_points"].how


@pytest.mark.parametrize(
    ("new", "outcome"),
    [
        (slower(GOOD, 1.05), "passed"),
        (slower(GOOD, 1.5), "failed"),
        (slower(GOOD, 1.0, machine=3.0), "passed"),  # another machine: the teacher's file is as much slower
        (slower(GOOD, 1.5, machine=0.4), "failed"),  # a faster machine hides nothing
        (slower(GOOD, 1.3, spread=0.3), "passed"),  # times that scatter by 30 % cannot tell
        (slower(GOOD, 0.5), "passed"),
    ],
)
def test_a_time_grows_only_by_more_than_the_spread(new: Report, outcome: str, tmp_path: Path) -> None:
    budget = '[growth]\nlatency_percent = { max = 10, on = "here" }\n'
    _, findings = judged(tmp_path, budget, new, slower(GOOD, 1.0))
    assert findings["latency_percent"].outcome == outcome, findings["latency_percent"]


def test_noise_by_hand() -> None:
    """Two spreads of 5 %: exp(2 sqrt(2) ln 1.05) = 1.148."""
    assert noise(0.05, 0.05) == pytest.approx(1.148, abs=1e-3)
    assert noise() == 1.0


def test_size_and_memory_against_a_baseline(tmp_path: Path) -> None:
    new = changed_file(GOOD, artifact__size_bytes=7_700_000)
    _, findings = judged(tmp_path, "[growth]\nsize_percent = 5\n", new, GOOD)
    assert findings["size_percent"].reason == "8.0 % is over the limit of 5 %"
    budget = '[growth]\nmemory_percent = { max = 20, on = "here" }\n'
    grown = changed_file(GOOD, footprint__peak_memory_bytes=int(7_130_000 * 1.4 * 1.4))
    assert judged(tmp_path, budget, grown, GOOD)[1]["memory_percent"].outcome == "failed"
    assert judged(tmp_path, budget, GOOD, GOOD)[1]["memory_percent"].value == pytest.approx(0.0)


def test_growth_without_a_baseline_is_skipped_and_told(tmp_path: Path) -> None:
    result, findings = judged(tmp_path, "[growth]\nsize_percent = 5\n")
    assert (findings["size_percent"].outcome, findings["size_percent"].reason) == ("skipped", "no --baseline was given")
    assert result.exit_code == 0


def test_a_baseline_without_a_budget_for_it_has_a_default(tmp_path: Path) -> None:
    _, findings = judged(tmp_path, "[limits]\nsize_mb = 99\n", slower(GOOD, 2.0), slower(GOOD, 1.0))
    assert findings["latency_percent"].outcome == "failed" and findings["score_points"].outcome == "passed"


# ---------------------------------------------------------------- what cannot be compared or read


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (replace(GOOD, task="classify"), "its task is classify, the run's is ner"),
        (replace(GOOD, device=replace(GOOD.device, name="rpi4")), "its device is rpi4, the run's is pixel6"),
        (changed_file(GOOD, outcomes=outcomes(8, rows="s" * 64)), r"its test rows \(atis\) are not those of the run"),
        (make_empty_report(), "nothing was packaged in it"),
    ],
)
def test_a_baseline_of_something_else_is_refused(baseline: Report, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message) as told:
        judged(tmp_path, "[growth]\nsize_percent = 5\n", GOOD, baseline)
    assert str(told.value.where).startswith("--baseline ")


def test_a_baseline_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    empty = tmp_path / "empty.json"
    empty.touch()
    with pytest.raises(RequestError, match="the file is empty"):
        gate(path, None, empty)
    other = tmp_path / "other.json"
    other.write_text(path.read_text().replace('"schema": 1', '"schema": 99', 1))
    with pytest.raises(RunError, match="schema is not 1"):
        gate(path, None, other)
    with pytest.raises(RequestError, match="no such run or report"):
        gate(path, None, tmp_path / "no-such")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "request.toml").touch()
    with pytest.raises(RequestError, match="this run has not finished"):
        gate(tmp_path / "begun")


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("[limits]\nsize_mbb = 3\n", "unknown limit 'size_mbb'", "size_mb"),
        ("[limits]\nsize_kb = 3\n", "'size_kb' has another unit: this limit is in MB", "size_mb = 1"),
        ("[limits]\nlatency_s = 3\n", "'latency_s' has another unit: this limit is in ms", "latency_ms"),
        ("[limits]\nsize = 3\n", "'size' has another unit: this limit is in MB", "size_mb"),
        ('[limits]\nsize_mb = "3 MB"\n', "'3 MB' is text, and a number is needed", "size_mb is in MB"),
        ("[limits]\nsize_mb = true\n", "a number is needed", ""),
        ("[limits]\nsize_mb = -1\n", "-1 cannot be: it is 0 or more MB", ""),
        ("[limits]\nscore = 0.93\n", "0.93 points is hardly a limit", "score = 93"),
        ("[limits]\nscore = 101\n", "101 cannot be: it is 0 to 100 points", ""),
        ("[limits]\nlatency_ms = 3\n", "it must say what it is judged on", 'on = "here"'),
        (
            '[limits]\nlatency_ms = { max = 3, on = "phone" }\n',
            "it cannot be judged on 'phone'",
            "here, device, predicted",
        ),
        ('[limits]\nload_ms = { max = 3, on = "predicted" }\n', "it cannot be judged on 'predicted'", "here, device"),
        (
            '[limits]\nlatency_ms = { max = 3, on = "device", threads = 2 }\n',
            "threads are chosen on this machine",
            "here",
        ),
        ('[limits]\nlatency_ms = { max = 3, on = "here", threads = 0 }\n', "threads is a whole number from 1 on", ""),
        ("[limits]\nsize_mb = { max = 3, rows = 2 }\n", "unknown key 'rows'", ""),
        ("[limits]\nscore = { max = 3 }\n", "unknown key 'max'", "min"),
        ("[limits]\nsize_percent = 3\n", r"'size_percent' is no limit of \[limits\]", r"below \[growth\]"),
        ("[limit]\nsize_mb = 3\n", "unknown table 'limit'", "limits"),
        ("size_mb = 3\n", "'size_mb' stands outside a table", r"below \[limits\]"),
        ("limits = 3\n", r"\[limits\] is no table", ""),
        ("", "the budget has no limit", "--suggest"),
        ("[limits\n", "cannot be read as TOML", ""),
    ],
)
def test_a_budget_with_a_mistake_says_what_and_where(text: str, what: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=what) as told:
        read_budget(path)
    assert str(told.value.where).startswith(str(path)) and re.search(hint, told.value.hint or "")


# ---------------------------------------------------------------- what it prints


def bad(folder: Path) -> GateResult:
    """Of a run whose name, label and failure hold what each format must escape."""
    report = replace(changed_file(GOOD, parity__failures=("<b>| 50% of @you`\x1b[31m\nrows",)), run="<script>&")
    return judged(folder, "[limits]\nsize_mb = 7\nscore = 90\n[growth]\nsize_percent = 5\n", report)[0]


def test_junit_has_a_case_a_limit(tmp_path: Path) -> None:
    suite = ElementTree.fromstring(to_junit(bad(tmp_path))).find("testsuite")
    assert suite is not None
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "2", "0", "2"]
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases["size_mb"] == ["failure", "system-out"] and cases["score"] == ["system-out"]
    assert cases["size_percent"] == ["skipped", "system-out"]


def test_markdown_is_plain_text_in_a_table(tmp_path: Path) -> None:
    text = to_markdown(bad(tmp_path), "runs/a b/report.png")
    assert text.startswith("### ❌ edgebert gate: failed: 2 of 5 limits")
    assert "<b>" not in text and "<script>" not in text and "@you" not in text and "\x1b" not in text
    assert "](runs/a%20b/report.png)" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {6}
    chart = text[text.index("```mermaid") : text.index("```\n")]
    assert "bar [101.9, 94.7]" in chart, "7.13 of 7 MB, and 90 of 95.05 points"


def test_annotations_stay_on_their_line(tmp_path: Path) -> None:
    lines = list(to_annotations(bad(tmp_path)))
    assert lines[0].startswith("::warning title=edgebert gate%2C package::") and len(lines) == 4
    error = next(line for line in lines if "parity" in line)
    assert error.startswith("::error ") and "%0A" in error and "50%25" in error and "\n" not in error


def test_the_command_writes_every_form_and_ends_with_the_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, budget = write(tmp_path, GOOD), tmp_path / "budget.toml"
    budget.write_text("[limits]\nsize_mb = 7\n")
    arguments = ["gate", str(report), "--budget", str(budget)]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *arguments,
                "--junit",
                str(tmp_path / "a.xml"),
                "--markdown",
                str(tmp_path / "a.md"),
                "--annotations",
                "github",
            ]
        )
    shown = capsys.readouterr().out
    assert ended.value.code == 1 and "7.1 MB is over the limit of 7 MB" in shown and "::error title=" in shown
    assert (tmp_path / "a.xml").exists() and (tmp_path / "a.md").read_text().startswith("### ❌")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (ended.value.code, document["exit_code"]) == (1, 1)
    assert {item["limit"]: item["outcome"] for item in document["findings"]}["size_mb"] == "failed"


def test_a_suggested_budget_is_read_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = write(tmp_path, GOOD)
    with pytest.raises(SystemExit) as ended:
        main(["gate", str(report), "--suggest"])
    text = capsys.readouterr().out
    assert ended.value.code == 0 and tomllib.loads(text)["limits"]["size_mb"] == 7.5
    result, _ = judged(tmp_path, text, GOOD, GOOD)
    assert result.exit_code == 0 and {item.outcome for item in result.findings} <= {"passed", "skipped"}


def test_a_report_with_outcomes_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert Subject.of(read_report(path)).file.outcomes == outcomes(8)
    assert path.read_text().count("\n") < 3000, "columns stand on one line"


def test_it_loads_no_torch(tmp_path: Path) -> None:
    code = "import sys, edgebert; edgebert.gate(sys.argv[1]); print(sorted({'torch', 'transformers', 'scipy', 'onnx', 'jinja2', 'matplotlib', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, str(write(tmp_path, GOOD))], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# ---------------------------------------------------------------- several conditions, other work, places


def test_a_limit_under_several_conditions_is_judged_under_each(tmp_path: Path) -> None:
    here = '{ max = 3, on = "here" }, { max = 3, on = "here", threads = 2, tokens = 128 }'
    result, findings = judged(tmp_path, f"[limits]\nlatency_ms = [{here}]\nlabel_score = [{{ min = 90 }}]\n")
    assert findings["latency_ms (here)"].outcome == "passed"
    assert findings["latency_ms (here, 128 tokens, 2 threads)"].outcome == "failed"
    assert findings["label_score (20 rows)"].outcome == "passed" and result.exit_code == 1
    chart = to_markdown(result)
    assert 'x-axis ["latency_ms (here)", "latency_ms (here, 128 tokens, 2 threads)", "label_score (20 rows)"]' in chart


@pytest.mark.parametrize(
    ("line", "what", "where"),
    [
        ("latency_ms = []", "the list is empty", "latency_ms"),
        ("size_mb = [3, 4]", "there is one such figure, so it is no list", "size_mb"),
        ('latency_ms = [{ max = 3, on = "here" }, { max = 4 }]', "it must say what it is judged on", "latency_ms[1]"),
        (
            'load_ms = [{ max = 3, on = "here" }, { max = 4, on = "here" }]',
            "two entries judge the same: here",
            "load_ms[0]",
        ),
    ],
)
def test_a_list_with_a_mistake_says_which_entry(line: str, what: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "budget.toml").write_text(f"[limits]\n{line}\n")
    with pytest.raises(RequestError, match=what) as told:
        read_budget(tmp_path / "budget.toml")
    assert str(told.value.where).endswith(where)


def computing(report: Report, wall: float, cpu: float, clock: float = 1.0) -> Report:
    """The packaged file at `wall` times its latencies, of which it computes `cpu` times as long; the teacher's file
    computes `clock` times as long."""

    def of(file: Any, times: float, share: float) -> Any:
        latencies = tuple(
            item
            if item.how == "predicted"
            else replace(
                item, p50_ms=item.p50_ms * times, p90_ms=(item.p90_ms or 0) * times, spread=0.3,
                cpu=CpuTime(item.p50_ms * share, item.p50_ms * share * 1.1, 0.01),
            )
            for item in file.latencies
        )  # fmt: skip
        footprint = replace(
            file.footprint, load_ms=file.footprint.load_ms * times, load_cpu_ms=file.footprint.load_ms * share
        )
        return replace(file, latencies=latencies, footprint=footprint)

    teacher = replace(report.teacher, artifacts=tuple(of(file, 1.0, clock) for file in report.teacher.artifacts))
    file = of(Subject.of(report).file, wall, cpu)
    report = elsewhere(replace(report, teacher=teacher), clock)
    return changed_file(report, latencies=file.latencies, footprint=file.footprint)


def test_a_time_that_others_took_passes_and_is_told(tmp_path: Path) -> None:
    """The factory's file takes 2.81 ms, 3.4 ms at p90, and 17.8 ms to load."""
    limits = [
        f'{name} = {{ max = {most}, on = "here" }}'
        for name, most in (("latency_ms", 3), ("latency_p90_ms", 4), ("load_ms", 20))
    ]
    budget = "\n".join(["[limits]", *limits])
    result, findings = judged(tmp_path, budget, computing(GOOD, wall=5, cpu=1))
    assert result.exit_code == 0 and findings["latency_ms"].value == pytest.approx(5 * 2.81)
    assert findings["latency_ms"].reason == (
        "14.1 ms is over the limit of 3 ms, of which the file computes 2.81 ms: others used the machine meanwhile"
    )
    noisy = replace(Subject.of(GOOD).file.latencies[0], p50_ms=3.5, spread=0.1)
    _, findings = judged(tmp_path, limits[0].join(("[limits]\n", "\n")), changed_file(GOOD, latencies=(noisy,)))
    assert (findings["latency_ms"].outcome, findings["latency_ms"].reason) == (
        "passed",
        "3.5 ms is over the limit of 3 ms, which the measurement's spread explains: from 3.63 ms on it would count",
    )
    noisy = replace(noisy, p50_ms=3.7)
    _, findings = judged(tmp_path, limits[0].join(("[limits]\n", "\n")), changed_file(GOOD, latencies=(noisy,)))
    assert findings["latency_ms"].outcome == "failed"
    result, findings = judged(tmp_path, budget, computing(GOOD, wall=5, cpu=2))
    assert {name for name, item in findings.items() if item.outcome == "failed"} == {
        "latency_ms",
        "latency_p90_ms",
        "load_ms",
    }


HERE = computing(GOOD, wall=1, cpu=1).environment


@pytest.mark.parametrize(
    ("new", "failures"),
    [
        (computing(GOOD, wall=4, cpu=1.05), set()),  # others computed
        (computing(GOOD, wall=1, cpu=1.5), {"latency_percent"}),  # others computed beside the baseline
        (computing(GOOD, wall=4, cpu=2.5), {"latency_percent", "load_percent"}),
        (computing(GOOD, wall=3, cpu=3, clock=3), set()),  # a slower machine
        (
            replace(computing(GOOD, wall=1, cpu=1, clock=3), environment=HERE),
            set(),
        ),  # others slow the teacher's large file
        (replace(computing(GOOD, wall=2, cpu=2, clock=3), environment=HERE), set()),  # who was slowed by how much?
        (replace(computing(GOOD, wall=5, cpu=5, clock=3), environment=HERE), {"latency_percent"}),
        (
            replace(computing(GOOD, wall=1, cpu=1, clock=0.3), environment=HERE),
            set(),
        ),  # beside the baseline others computed
    ],
)
def test_processor_time_tells_growth_from_other_work(new: Report, failures: set[str], tmp_path: Path) -> None:
    budget = '[growth]\nlatency_percent = { max = 10, on = "here" }\nload_percent = { max = 20, on = "here" }\n'
    _, findings = judged(tmp_path, budget, new, computing(GOOD, wall=1, cpu=1))
    assert {name for name, item in findings.items() if item.outcome == "failed"} == failures
    assert findings["latency_percent"].how.startswith("processor time 2.81 to ")


def test_a_tokenizer_that_makes_more_tokens_of_the_same_rows_is_a_cost(tmp_path: Path) -> None:
    longer = changed_file(
        slower(GOOD, 1.5),
        latencies=tuple(
            replace(i, seq_len=i.seq_len + 3 * (i.lengths == "data"))
            for i in Subject.of(slower(GOOD, 1.5)).file.latencies
        ),
    )
    budget = '[growth]\nlatency_percent = { max = 10, on = "here" }\n'
    assert judged(tmp_path, budget, longer, slower(GOOD, 1.0))[1]["latency_percent"].outcome == "failed"


def test_a_report_that_does_not_tell_of_its_packaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not tell of its packaged file, 9-layers/onnx-int8"):
        gate(write(tmp_path, replace(GOOD, winner="9-layers/onnx-int8")))


def test_what_fails_counts_for_more_than_what_cannot_be_judged(tmp_path: Path) -> None:
    result, findings = judged(tmp_path, '[limits]\nsize_mb = 7\nlatency_ms = { max = 9, on = "device" }\n')
    assert {name: item.outcome for name, item in findings.items()}["latency_ms"] == "missing"
    assert (result.exit_code, result.verdict) == (1, "failed: 1 of 4 limits, and 1 of 4 limits have no figure")


def test_a_file_that_is_not_timed_here_is_held_to_predictions(tmp_path: Path) -> None:
    """As a Core ML file that was fitted on Linux: neither the default growth nor a suggestion asks for what there is not."""
    untimed = changed_file(
        GOOD, latencies=tuple(i for i in Subject.of(GOOD).file.latencies if i.how == "predicted"), footprint=None
    )
    result, findings = judged(tmp_path, "[limits]\nsize_mb = 9\n", untimed, untimed)
    assert result.exit_code == 0 and findings["latency_percent"].how.endswith("23 tokens, batch 1, 3.2 to 9.2 ms)")
    text = suggest(Subject.of(untimed))
    assert (
        'latency_ms = { max = 8.1, on = "predicted" }' in text
        and "load_ms" not in text
        and "latency_p90_ms" not in text
    )


def test_a_task_without_labels_says_so(tmp_path: Path) -> None:
    score = replace(Subject.of(GOOD).file.parity.score, metric="Spearman", per_type=())
    _, findings = judged(tmp_path, "[limits]\nlabel_score = 50\n", changed_file(GOOD, parity__score=score))
    assert findings["label_score"].reason == "Spearman has no part of each label: leave this limit out"


def test_the_guide_lists_every_limit() -> None:
    """docs/guides/gate.md, whose tables are written by hand."""
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "gate.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|(?: (.*?))? \|$", guide, re.MULTILINE)
    told = [(name, title, unit, tuple(re.findall("`(\\w+)`", places))) for name, title, unit, places in rows]
    assert sorted(told) == sorted((item.name, item.title, item.unit, item.places) for item in LIMITS)
    for text in re.findall(r"(?:^    .*\n|^\n)*^    \[growth\]\n(?:^    .*\n)+", guide, re.MULTILINE):
        assert tomllib.loads(re.sub("^    ", "", text, flags=re.MULTILINE))


@pytest.mark.parametrize("more", [("--budget", "b.toml"), ("--baseline", "old"), ("--json",), ("--markdown", "g.md")])
def test_a_suggestion_beside_what_judges_is_refused(
    more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gate", str(write(tmp_path, GOOD)), "--suggest", *more])
    assert ended.value.code == 2 and f"{more[0]} has no meaning beside it" in capsys.readouterr().err


def test_the_picture_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    write(tmp_path / "report", GOOD)
    (tmp_path / "report" / "report.png").write_bytes(b"")
    text = tmp_path / "gate.md"
    for more, there in (((), True), (("--picture", ""), False), (("--picture", "https://example.org/a.png"), True)):
        with pytest.raises(SystemExit):
            main(["gate", str(tmp_path), "--markdown", str(text), *more])
        assert ("![" in text.read_text()) == there and "size_mb" in text.read_text()
