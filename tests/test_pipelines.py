"""action.yml and the example pipelines as they stand: right by their published schemas, safe, and described."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from tests.expressions import Scope
from tests.pipelines import read_outputs, read_yaml

ROOT = Path(__file__).parent.parent
CI = ROOT / "examples" / "ci"
PUBLISHED = {
    ROOT / "action.yml": "vendor.github-actions",
    CI / "github.yml": "vendor.github-workflows",
    CI / "gitlab-ci.yml": "vendor.gitlab-ci",
}


# ---------------------------------------------------------------- what they say


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.name)
def test_a_pipeline_is_right_by_its_published_schema(path: Path, tmp_path: Path) -> None:
    wrong = tmp_path / path.name  # a schema that takes anything says nothing
    wrong.write_text(re.sub(r"\b(runs|jobs|script):", r"\1x:", path.read_text(encoding="utf-8")), encoding="utf-8")
    command = ["--builtin-schema", PUBLISHED[path], "--output-format", "json", "--verbose", str(path), str(wrong)]
    result = CliRunner().invoke(check_jsonschema, command)
    told = json.loads(result.stdout)
    assert {error["filename"] for error in told["errors"]} == {str(wrong)}
    assert (told["successes"], told["parse_errors"]) == ([str(path)], [])


def steps_of(path: Path) -> list[Mapping[str, Any]]:
    parsed = read_yaml(path)
    return parsed["runs"]["steps"] if "runs" in parsed else parsed["jobs"]["edgebert"]["steps"]


@pytest.mark.parametrize("path", [ROOT / "action.yml", CI / "github.yml"], ids=lambda path: path.name)
def test_nothing_that_others_choose_is_put_into_a_script(path: Path) -> None:
    scripts = [step["run"] for step in steps_of(path) if "run" in step]
    assert len(scripts) > 1
    assert [script for script in scripts if "${{" in script] == []


@pytest.mark.parametrize("path", [ROOT / "action.yml", CI / "github.yml"], ids=lambda path: path.name)
def test_actions_of_others_are_githubs_own_by_their_major_version(path: Path) -> None:
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    others = [name for name in used if not re.fullmatch(r"actions/[\w/-]+@v\d+", name)]
    assert others == ([] if path.name == "action.yml" else ["OWNER/edgebert@main"])


def test_the_guide_has_every_input_and_output_of_the_action() -> None:
    action = read_yaml(ROOT / "action.yml")
    lines = (ROOT / "docs" / "guides" / "ci.md").read_text(encoding="utf-8").splitlines()
    told = {name for line in lines if line.startswith("| `") for name in re.findall(r"`([\w-]+)`", line.split("|")[1])}
    assert told == {*action["inputs"], *action["outputs"]}


# ---------------------------------------------------------------- the runner of these tests


def test_expressions_are_those_of_github(tmp_path: Path) -> None:
    contexts = {"inputs": {"comment": "true", "name": ""}, "github": {"event": {"pull_request": None}}}
    scope = Scope(contexts, tmp_path, steps={"a": {"outcome": "success", "outputs": {"n": "1"}}})
    assert scope.value("inputs.comment == 'true' && steps.a.outputs.n != ''") is True
    assert (
        scope.text("x-${{ inputs.name == '' && 'none' || inputs.name }}-${{ github.event.pull_request.number }}")
        == "x-none-"
    )
    assert scope.value("!endsWith('a/B/c', format('/{0}/{1}', 'b', 'C'))") is False
    scope.failed = True
    assert [scope.holds(item) for item in (None, "always()", "inputs.comment == 'true'", "failure()")] == [
        False, True, False, True,
    ]  # fmt: skip
    with pytest.raises(KeyError):
        scope.value("steps.b.outputs.n")
    with pytest.raises(KeyError):
        scope.value("inputs.coment")


def test_outputs_are_read_as_github_reads_them() -> None:
    assert dict(read_outputs("a=1=2\nb<<end-1\nx\n\ny=3\nend-1\nc=\n")) == {"a": "1=2", "b": "x\n\ny=3", "c": ""}
