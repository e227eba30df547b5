"""Runs jobs of GitHub's workflows here, and the actions that they use: every `run` step in bash, as a runner would.

What is not here is done by something small that behaves alike: `uses:` of GitHub's own actions by a copy of folders, `gh` by
a program that answers from a file, with `--jq` given to jq. Whatever is not known, an input, an output, a context, an action,
an option of gh, is an error: a slip of the pen must not pass for an empty text.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.expressions import Scope

BIN = Path(sys.executable).parent
SHELLS = {  # GitHub's own, by what a step calls them
    "": ("bash", "-e"),
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
}


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# ---------------------------------------------------------------- what a job says


@dataclass
class Step:
    """What became of one step."""

    name: str
    outcome: str  # success, failure or skipped
    output: str = ""
    code: int = 0
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass
class Job:
    """What became of one job: its steps, those of the actions that it uses included, in order."""

    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)  # of the steps that have an id
    summary: str = ""
    failed: bool = False

    def step(self, name: str) -> Step:
        (found,) = (step for step in self.steps if step.name == name)
        return found

    @property
    def log(self) -> str:
        return "\n".join(f"## {step.name}: {step.outcome}\n{step.output}" for step in self.steps)


def combinations(matrix: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(matrix, values, strict=True)) for values in itertools.product(*matrix.values())]


class GitHub:
    """A repository of GitHub with its caches, artifacts and comments.

    Args:
        root: an empty folder for all of it.
        project: the files that checkout gives; changed between jobs as commits would.
        actions: `uses` of actions that are not GitHub's own -> their folder.
    """

    repository = "someone/model"

    def __init__(self, root: Path, project: Path, actions: Mapping[str, Path], env: Mapping[str, str]) -> None:
        self.root, self.project, self.actions, self.env = root, project, actions, dict(env)
        self.caches, self.artifacts, self.bin, self.gh = (root / name for name in ("caches", "artifacts", "bin", "gh"))
        for folder in (self.caches, self.artifacts, self.bin, self.gh):
            folder.mkdir(parents=True)
        self.runs: list[dict[str, Any]] = []
        self._write_gh()

    # ---- what gh sees

    def _write_gh(self) -> None:
        program = self.bin / "gh"
        program.write_text(f"#!{sys.executable}\n{Path(__file__).with_name('fake_gh.py').read_text('utf-8')}")
        program.chmod(0o755)
        self.tell(comments=[], runs=[], denied=False)

    def tell(self, **facts: Any) -> None:
        """Changes what gh answers from."""
        path = self.gh / "state.json"
        old = json.loads(path.read_text("utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**old, **facts}), encoding="utf-8")

    def told(self, name: str) -> Any:
        return json.loads((self.gh / "state.json").read_text("utf-8"))[name]

    def calls(self) -> list[list[str]]:
        """The arguments of every gh so far."""
        path = self.gh / "calls.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    # ---- a job

    def run(self, workflow: Path, job: str, matrix: Mapping[str, Any], event: Mapping[str, Any]) -> Job:
        """One job of a workflow, for one entry of its matrix, in a fresh workspace."""
        parsed = read_yaml(workflow)
        described = parsed["jobs"][job]
        assert dict(matrix) in combinations(described["strategy"]["matrix"]), f"{matrix} is not in the matrix"
        number = len(self.runs) + 1
        base = self.root / f"job{number}"
        workspace = base / "workspace"
        for name in ("workspace", "temp", "home"):
            (base / name).mkdir(parents=True)
        github = {
            "repository": self.repository, "event_name": event["name"], "event": event["event"], "ref": event["ref"],
            "base_ref": event.get("base_ref", ""), "token": "a-token", "action_path": None,
        }  # fmt: skip
        runner = {"os": "Linux", "arch": "X64", "temp": str(base / "temp")}
        scope = Scope({"github": github, "runner": runner, "matrix": matrix, "env": {}}, workspace)
        done = Job()
        environment = {
            **self.env, "PATH": f"{self.bin}:{self.env.get('EXTRA_PATH', '')}:{BIN}:/usr/bin:/bin", "HOME": str(base / "home"),
            "GITHUB_WORKSPACE": str(workspace), "GITHUB_REPOSITORY": self.repository, "GITHUB_RUN_ID": str(number),
            "GITHUB_WORKFLOW": parsed["name"], "RUNNER_TEMP": str(base / "temp"), "GH_STATE": str(self.gh),
            "GITHUB_STEP_SUMMARY": str(base / "summary.md"), "CI": "true",
        }  # fmt: skip
        self._steps(described["steps"], scope, environment, done, number)
        done.failed = scope.failed
        done.outputs = {name: facts["outputs"] for name, facts in scope.steps.items()}
        done.summary = (base / "summary.md").read_text("utf-8") if (base / "summary.md").exists() else ""
        status = "failure" if scope.failed else "success"
        branch = event["ref"].removeprefix("refs/heads/")
        self.runs.append({"databaseId": number, "branch": branch, "event": event["name"], "status": status})
        self.tell(runs=self.runs)
        return done

    def _steps(
        self, steps: Sequence[Mapping[str, Any]], scope: Scope, environment: dict[str, str], done: Job,
        number: int,
    ) -> None:  # fmt: skip
        for described in steps:
            known = {"id", "name", "if", "uses", "with", "run", "shell", "env", "working-directory"}
            assert set(described) <= known, set(described) - known
            step = Step(described.get("name") or described.get("uses", ""), "skipped")
            if scope.holds(described.get("if")):
                done.steps.append(step)  # before those of an action that it uses
                own = {name: scope.text(value) for name, value in described.get("env", {}).items()}
                if "run" in described:
                    self._script(described, scope, {**environment, **own}, step)
                else:
                    given = {name: scope.text(value) for name, value in described.get("with", {}).items()}
                    self._use(described["uses"], given, scope, environment, done, number, step)
            else:
                done.steps.append(step)
            if "id" in described:
                scope.steps[described["id"]] = {"outcome": step.outcome, "outputs": Outputs(step.outputs)}
            scope.failed = scope.failed or step.outcome == "failure"

    def _script(self, described: Mapping[str, Any], scope: Scope, environment: dict[str, str], step: Step) -> None:
        assert "${{" not in described["run"], f"{step.name} puts an expression into its script"
        place = Path(environment["RUNNER_TEMP"]) / "script.sh"
        place.write_text(described["run"], encoding="utf-8")
        output = place.with_name("output")
        output.write_text("")
        folder = scope.workspace / scope.text(described.get("working-directory", "."))
        result = subprocess.run(
            [*SHELLS[described.get("shell", "")], str(place)], cwd=folder, env={**environment, "GITHUB_OUTPUT": str(output)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=550,
        )  # fmt: skip
        step.code, step.output = result.returncode, result.stdout
        step.outcome = "failure" if result.returncode else "success"
        step.outputs.update(read_outputs(output.read_text("utf-8")))

    def _use(
        self, uses: str, given: dict[str, str], scope: Scope, environment: dict[str, str], done: Job,
        number: int, step: Step,
    ) -> None:  # fmt: skip
        step.outcome = "success"
        if uses in self.actions:
            folder = self.actions[uses]
            action = read_yaml(folder / "action.yml")
            inputs = {name: facts.get("default", "") for name, facts in action["inputs"].items()}
            assert given.keys() <= inputs.keys(), f"no such input: {given.keys() - inputs.keys()}"
            inner = Scope({**scope.contexts, "inputs": {**inputs, **given}}, scope.workspace)
            self._steps(
                action["runs"]["steps"], inner, {**environment, "GITHUB_ACTION_PATH": str(folder)}, done, number
            )
            step.outputs.update({name: inner.text(facts["value"]) for name, facts in action["outputs"].items()})
            step.outcome = "failure" if inner.failed else "success"
            return
        base, _, version = uses.partition("@")
        assert base.startswith("actions/") and re.fullmatch(r"v\d+", version), (
            f"{uses} is not GitHub's own, by its version"
        )
        local = LOCAL[base]
        assert given.keys() <= local.inputs, f"{uses} has no input {given.keys() - local.inputs}"
        local.act(self, given, scope.workspace, number, step)


class Outputs(dict[str, str]):
    """Of a step: one that it did not set is empty, as in GitHub."""

    def __missing__(self, key: str) -> str:
        return ""


def read_outputs(text: str) -> Iterator[tuple[str, str]]:
    """What was written to GITHUB_OUTPUT: NAME=VALUE, and NAME<<MARK with lines up to the mark."""
    lines = iter(text.splitlines())
    for line in lines:
        if match := re.match(r"([\w-]+)<<(.+)", line):
            yield match[1], "\n".join(itertools.takewhile(lambda own, end=match[2]: own != end, lines))
        else:
            name, equals, value = line.partition("=")
            assert equals, f"GITHUB_OUTPUT has {line!r}"
            yield name, value


# ---------------------------------------------------------------- GitHub's own actions


@dataclass(frozen=True)
class Local:
    """What stands for one of GitHub's actions here."""

    inputs: set[str]
    act: Callable[[GitHub, dict[str, str], Path, int, Step], None]


def _checkout(hub: GitHub, given: dict[str, str], workspace: Path, number: int, step: Step) -> None:
    shutil.copytree(hub.project, workspace, dirs_exist_ok=True)


def _nothing(hub: GitHub, given: dict[str, str], workspace: Path, number: int, step: Step) -> None:
    assert all(given.values()), given


def _slot(hub: GitHub, key: str) -> Path:
    assert 0 < len(key) <= 512 and "," not in key, f"no key of a cache: {key!r}"
    return hub.caches / key.replace("/", "%2F")


def _restore(hub: GitHub, given: dict[str, str], workspace: Path, number: int, step: Step) -> None:
    """The cache of this key, else the newest of the first prefix that has any."""
    step.outputs["cache-primary-key"] = given["key"]
    wanted = [given["key"], *given.get("restore-keys", "").split()]
    for prefix in wanted:
        begins = _slot(hub, prefix).name
        found = [path for path in hub.caches.iterdir() if path.name.startswith(begins)]
        if found:
            newest = max(found, key=lambda path: (path.name == begins, path.stat().st_mtime_ns))
            shutil.copytree(newest, workspace / given["path"], dirs_exist_ok=True, symlinks=True)
            step.outputs["cache-matched-key"] = newest.name.replace("%2F", "/")
            step.outputs["cache-hit"] = str(newest.name == _slot(hub, given["key"]).name).lower()
            return


def _save(hub: GitHub, given: dict[str, str], workspace: Path, number: int, step: Step) -> None:
    """Written once: a key that is taken stays as it is."""
    place = _slot(hub, given["key"])
    assert (workspace / given["path"]).is_dir(), f"there is no {given['path']} to save"
    if not place.exists():
        shutil.copytree(workspace / given["path"], place, symlinks=True)
        os.utime(place)  # copytree gives it the time of what it copied


def _upload(hub: GitHub, given: dict[str, str], workspace: Path, number: int, step: Step) -> None:
    assert not re.search(r'[\\/:"<>|*?\r\n]', given["name"]), "no name of an artifact"
    place = hub.artifacts / str(number) / given["name"]
    assert not place.exists() or given.get("overwrite") == "true", "409: an artifact of this name exists"
    hides = None if given.get("include-hidden-files") == "true" else shutil.ignore_patterns(".*")
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(workspace / given["path"], place, ignore=hides)


def _download(hub: GitHub, given: dict[str, str], workspace: Path, number: int, step: Step) -> None:
    """By a pattern, which may match nothing; without merge-multiple each artifact in a folder of its name."""
    assert given["github-token"], "another run's artifacts need a token"
    for place in sorted(hub.artifacts.glob(f"{given['run-id']}/*")):
        if fnmatch.fnmatch(place.name, given["pattern"]):
            target = workspace / given["path"] / ("" if given.get("merge-multiple") == "true" else place.name)
            shutil.copytree(place, target, dirs_exist_ok=True)


LOCAL = {
    "actions/checkout": Local(set(), _checkout),
    "actions/setup-python": Local({"python-version"}, _nothing),
    "actions/cache/restore": Local({"path", "key", "restore-keys"}, _restore),
    "actions/cache/save": Local({"path", "key"}, _save),
    "actions/upload-artifact": Local({"name", "path", "include-hidden-files", "overwrite"}, _upload),
    "actions/download-artifact": Local({"pattern", "merge-multiple", "path", "run-id", "github-token"}, _download),
}
