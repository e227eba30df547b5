"""Rules of phones' accelerators: each is said once, with its source and date, and everything that counts or prefers by it
takes it from there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgebert.devices.accelerators import DYNAMIC_SHAPE, GPU_REFUSES, LARGE_TABLE, RULES, rule_of
from edgebert.devices.profiles import load_device
from edgebert.report.tables import file_table
from edgebert.search.plan import make_plan
from edgebert.search.starts import Start
from edgebert.types import Budget, MethodCall, Plan, Recipe
from tests.report_factory import make_report
from tests.test_plan import METHODS, by_name, config_of, taken


def test_every_rule_has_its_source_and_date() -> None:
    for rule in RULES:
        assert rule.why.endswith(".") and rule.source, rule
        assert re.fullmatch(r"(?:read )?\d{4}-\d{2}(?:[,;] (?:read )?\d{4}-\d{2})*", rule.date), rule.date
    assert len({rule.finding for rule in RULES}) == len(RULES)


def test_a_count_finds_its_rule() -> None:
    assert rule_of("input of dynamic shape") is DYNAMIC_SHAPE
    assert rule_of("GATHER_ND refused by the GPU delegate") is GPU_REFUSES
    assert rule_of("EMBEDDING_LOOKUP") is rule_of("lookups with 32-bit indices") is None


def test_the_guide_tells_every_rule() -> None:
    guide = " ".join((Path(__file__).parents[1] / "docs/guides/conversion.md").read_text(encoding="utf-8").split())
    for rule in RULES:
        assert rule.finding.replace("{}", "OPERATOR") in guide and rule.source in guide and rule.date in guide, (
            rule.finding
        )


def test_the_report_cites_who_said_it() -> None:
    report = make_report()
    found = {"weight too large for the CoreML provider": 1, "GATHER_ND": 2}
    students = [
        replace(item, artifacts=tuple(replace(file, accelerator_fallbacks=found) for file in item.artifacts))
        for item in report.students
    ]
    lines = {
        line.name: line.cells for group in file_table(replace(report, students=tuple(students))) for line in group.lines
    }
    assert "1" in lines[f"weight too large for the CoreML provider ({LARGE_TABLE.cited})"] and "2" in lines["GATHER_ND"]


def plan_for(device: str, budget: Budget, **fixed: object) -> Plan:
    recipe = Recipe((MethodCall("trim", fixed), MethodCall("drop", {"n_layers": 2}), MethodCall("teach", {})))
    return make_plan(
        [Start("teacher", config_of())], recipe, load_device(device), budget, [12], n_candidates=1, methods=METHODS
    )


def test_iphones_prefer_tables_that_the_accelerator_takes() -> None:
    on_pixel, on_iphone = plan_for("pixel6", Budget()), plan_for("iphone13", Budget())
    assert taken(on_pixel) == ["L2-v30.5k"] and taken(on_iphone) == ["L2-v12k"]
    reason = by_name(on_iphone)["L2-v30.5k"].reason
    assert reason == f"fits, but a word table of more than 16,384 rows may leave the accelerator ({LARGE_TABLE.cited})"
    assert by_name(on_iphone)["L2-v10k"].reason == "fits, but a vocabulary of 12,000 also fits"
    assert any("--set trim-vocab.size=N" in note and LARGE_TABLE.cited in note for note in on_iphone.notes)
    assert not any("16,384" in text for text in (*on_pixel.notes, *(item.reason for item in on_pixel.candidates)))


def test_a_larger_table_is_taken_where_it_is_asked_for() -> None:
    plan = plan_for("iphone13", Budget(), size=20000)
    assert taken(plan) == ["L2-v20k"]
    assert plan.candidates[0].reason.endswith(
        f"though a word table of more than 16,384 rows may leave the accelerator ({LARGE_TABLE.cited})"
    )
    assert any("16,384" in note for note in plan.notes)


def test_where_no_large_table_fits_nothing_is_said() -> None:
    plan = plan_for("iphone13", Budget(size_mb=10))
    assert taken(plan) == ["L2-v12k"] and not any("16,384" in note for note in plan.notes)


@pytest.mark.parametrize(("size", "told"), [(16384, False), (16385, True)])
def test_the_limit_is_inclusive(size: int, told: bool) -> None:
    plan = plan_for("iphone13", Budget(), size=size)
    assert (LARGE_TABLE.cited in plan.candidates[0].reason) == told == (LARGE_TABLE.cited in " ".join(plan.notes))


def test_a_profile_of_ones_own_with_core_ml_is_of_the_family() -> None:
    device = replace(load_device("pixel6"), runtimes=("Core ML",))
    recipe = Recipe((MethodCall("trim", {}), MethodCall("drop", {"n_layers": 2}), MethodCall("teach", {})))
    plan = make_plan([Start("teacher", config_of())], recipe, device, Budget(), [12], n_candidates=1, methods=METHODS)
    assert taken(plan) == ["L2-v12k"]
