"""action.yml and the example pipelines: every step of them is carried out, in fresh folders, on a model of the toy world."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from tests.conftest import conll
from tests.gitlab import gitlab_job
from tests.pipelines import BIN, GitHub, Job

ROOT = Path(__file__).parent.parent
CI = ROOT / "examples" / "ci"
PUSH = {"name": "push", "ref": "refs/heads/main", "event": {"pull_request": None}}
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq, which stands for that of gh, is not installed")

CONFIG = """\
task = "ner"
teacher = "./teacher"
device = "pixel6"

[data]
rows = "./rows"

[student]
recipe = "trim-vocab+drop-layers+kd"

[student.params]
trim-vocab.floor = 20
drop-layers.n_layers = 2

[budget]
max_drop = 60
measure_on = "none"

[training]
teacher_epochs = 4
epochs = 4
learning_rate = 3e-3

[output]
formats = ["onnx"]
"""
BUDGET = "[limits]\nscore = 90\nsize_mb = 1\n\n[growth]\nscore_points = 0.5\n"


def pull_request(repository: str = GitHub.repository) -> dict[str, Any]:
    event = {"pull_request": {"number": 7, "head": {"repo": {"full_name": repository}}}}
    return {"name": "pull_request", "ref": "refs/pull/7/merge", "base_ref": "main", "event": event}


# ---------------------------------------------------------------- the whole action


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The action as GitHub would fetch it. It measures for as short a time as the other tests do."""
    folder = tmp_path_factory.mktemp("action")
    for name in ("edgebert", "converters", "device_profiles"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("action.yml", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    profiling = folder / "edgebert" / "workflows" / "profiling.py"
    text, n = re.subn(
        r"^SECONDS_HERE = [\d.]+", "SECONDS_HERE = 0.02", profiling.read_text(encoding="utf-8"), flags=re.M
    )
    assert n == 1
    profiling.write_text(text, encoding="utf-8")
    return folder


def environment(site: Path) -> dict[str, str]:
    """pip's own command, line by line as it stands, but what it installs goes into a folder, and the libraries are here."""
    return {
        "PIP_TARGET": str(site), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1",
        "PIP_UPGRADE": "1", "PYTHONPATH": str(site), "EXTRA_PATH": str(site / "bin"), "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1", "LANG": "C.UTF-8", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip


@pytest.fixture
def project(toy_checkpoint: Path, tmp_path: Path) -> Path:
    """A repository with a teacher, rows, a request and a budget."""
    folder = tmp_path / "project"
    (folder / "rows").mkdir(parents=True)
    shutil.copytree(toy_checkpoint, folder / "teacher")
    for split, n, seed in (("train", 160, 1), ("dev", 40, 2), ("test", 40, 3)):
        (folder / "rows" / f"{split}.conll").write_text(conll(n, seed), encoding="utf-8")
    (folder / "edgebert.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "budget.toml").write_text(BUDGET, encoding="utf-8")
    return folder


@pytest.fixture
def hub(checkout: Path, project: Path, tmp_path: Path) -> GitHub:
    return GitHub(tmp_path / "hub", project, {"OWNER/edgebert@main": checkout}, environment(tmp_path / "site"))


def work(hub: GitHub, event: Mapping[str, Any], device: str = "pixel6") -> Job:
    return hub.run(CI / "github.yml", "edgebert", {"device": device}, event)


def begun(hub: GitHub) -> list[str]:
    """The stages that the run of the newest job has begun so far; what it took over from a cache is in it."""
    (events,) = hub.root.glob(f"job{len(hub.runs)}/workspace/runs/*/events.jsonl")
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    return [line["stage"] for line in lines if line["event"] == "begin"]


@needs_jq
@pytest.mark.slow
def test_the_action_fits_judges_packages_and_tells(hub: GitHub, project: Path) -> None:
    """main, then a pull request that breaks a limit: one fit, since the second job finds every stage in the cache."""
    first = work(hub, PUSH)
    assert not first.failed, first.log
    stages = begun(hub)
    assert stages[:2] == ["teacher", "answers"]
    facts = first.outputs["edgebert"]
    assert (facts["verdict"], facts["exit-code"], facts["run"]) == ("passed", "0", "runs/ner-rows-pixel6")
    assert "passed" in first.summary
    kept = hub.artifacts / "1" / "edgebert-pixel6" / "ner-rows-pixel6"
    assert {path.name for path in kept.iterdir()} >= {"report", "bundle", "junit.xml", "gate.md", "manifest.json"}
    assert Path(facts["report"]).read_bytes() == (kept / "report" / "report.json").read_bytes()
    assert (Path(facts["bundle"]) / "manifest.json").exists()
    assert ElementTree.parse(kept / "junit.xml").getroot().get("failures") == "0"
    assert hub.told("comments") == []
    caches = sorted(path.name for path in hub.caches.glob("edgebert-runs*"))
    assert len(caches) == 1

    (project / "budget.toml").write_text(BUDGET.replace("size_mb = 1", "size_mb = 0.001"), encoding="utf-8")
    hub.tell(comments=[
        {"id": 1, "user": {"type": "User"}, "body": "<!-- edgebert: edgebert-pixel6 -->\nnot ours"},
        {"id": 2, "user": {"type": "Bot"}, "body": "<!-- edgebert: edgebert-rpi4 -->\nof another job"},
    ])  # fmt: skip
    second = work(hub, pull_request())
    assert begun(hub) == stages
    assert "nothing was done" in second.step("Fit").output
    assert second.failed
    assert second.step("Verdict").code == 1
    facts = second.outputs["edgebert"]
    assert (facts["verdict"], facts["exit-code"]) == ("failed", "1")
    assert second.step("Package").outcome == second.step("Save finished stages").outcome == "skipped"
    assert sorted(path.name for path in hub.caches.glob("edgebert-runs*")) == caches
    assert "::error title=edgebert gate%2C size_mb::" in second.step("Gate").output
    uploaded = hub.artifacts / "2" / "edgebert-pixel6" / "ner-rows-pixel6"
    assert (uploaded / "bundle" / "manifest.json").exists()
    failed = ElementTree.parse(uploaded / "junit.xml").getroot().findall(".//testcase[failure]")
    assert [case.get("name") for case in failed] == ["size_mb"]
    *others, ours = hub.told("comments")
    assert [item["body"].splitlines()[1] for item in others] == ["not ours", "of another job"]
    assert ours["body"].startswith("<!-- edgebert: edgebert-pixel6 -->\n### ")
    assert "**size\\_mb**" in ours["body"]
    assert ours["body"] == second.summary
    assert "baseline/ner-rows-pixel6/report/report.json" in ours["body"].replace("\\_", "_")


# ---------------------------------------------------------------- what goes wrong, and what others try


def work_with(hub: GitHub, event: Mapping[str, Any], **inputs: str) -> Job:
    """A job of a workflow that uses the action with these inputs."""
    uses = {"uses": "OWNER/edgebert@main", "id": "edgebert", "with": inputs}
    job = {"strategy": {"matrix": {"n": [1]}}, "steps": [{"uses": "actions/checkout@v6"}, uses]}
    path = hub.root / "workflow.yml"
    path.write_text(json.dumps({"name": "w", "jobs": {"edgebert": job}}), encoding="utf-8")
    return hub.run(path, "edgebert", {"n": 1}, event)


@needs_jq
def test_a_request_that_cannot_be_is_told_everywhere_and_in_one_comment(hub: GitHub) -> None:
    first, second = (work_with(hub, pull_request(), config="missing.toml") for _ in range(2))
    for number, job in enumerate((first, second), 1):
        assert job.failed
        assert job.step("Verdict").code == 2
        facts = job.outputs["edgebert"]
        assert (facts["verdict"], facts["exit-code"], facts["run"], facts["bundle"]) == ("unjudged", "2", "", "")
        assert "missing.toml" in job.step("Fit").output
        assert (hub.artifacts / str(number) / "edgebert" / "comment.md").exists()
        assert job.summary.startswith("<!-- edgebert: edgebert -->\n### edgebert fit ended with 2\n\n    ")
        assert "missing.toml" in job.summary
    (comment,) = hub.told("comments")
    assert comment["body"] == first.summary
    methods = [call[call.index("--method") + 1] for call in hub.calls() if "--method" in call]
    assert methods == ["POST", "PATCH"]
    assert list(hub.caches.glob("edgebert-runs*")) == []


@needs_jq
def test_where_no_comment_may_be_written_the_verdict_stays_the_same(hub: GitHub) -> None:
    hub.tell(denied=True)
    job = work_with(hub, pull_request(), config="missing.toml")
    assert "::warning title=edgebert::No comment" in job.step("Comment").output
    assert job.step("Comment").outcome == "success"
    assert job.step("Verdict").code == 2


@pytest.mark.parametrize("event", [pull_request("fork/model"), PUSH], ids=["fork", "push"])
def test_only_pull_requests_of_the_repository_itself_are_commented(event: dict[str, Any], hub: GitHub) -> None:
    job = work_with(hub, event, config="missing.toml")
    assert job.step("Comment").outcome == "skipped"
    assert "edgebert fit ended with 2" in job.summary
    assert hub.calls() == []


def test_no_input_is_carried_out_as_a_command(hub: GitHub) -> None:
    bad = '"; touch "$GITHUB_WORKSPACE/here" #$(touch "$GITHUB_WORKSPACE/here")`touch "$GITHUB_WORKSPACE/here"`'
    names = ("config", "device", "task", "teacher", "data", "budget", "baseline", "platforms")
    job = work_with(hub, pull_request("fork/model"), **dict.fromkeys(names, bad))
    assert job.step("Verdict").code == 2
    assert 'touch "$GITHUB_WORKSPACE/here"' in job.step("Fit").output
    assert list(hub.root.rglob("here")) == []


@pytest.mark.parametrize("name", ["a/../../../b", "a b", "$(id)", ""])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str, hub: GitHub) -> None:
    job = work_with(hub, PUSH, name=name)
    assert job.step("Prepare").code == 2
    assert f"The input name is '{name}'" in job.step("Prepare").output
    assert {step.outcome for step in job.steps[4:]} == {"skipped"}
    assert job.failed


# ---------------------------------------------------------------- several devices, changes, packages


@needs_jq
@pytest.mark.slow
def test_several_devices_a_change_and_a_baseline(hub: GitHub, project: Path) -> None:
    """One job for two devices; then a change of the rows: what nobody uses any more is not kept in the next cache."""
    config = CONFIG.replace('device = "pixel6"', 'devices = ["pixel6", "rpi4"]')
    (project / "edgebert.toml").write_text(config, encoding="utf-8")
    first = work_with(hub, PUSH, budget="budget.toml", platforms="python, web")
    assert not first.failed, first.log
    runs = first.outputs["edgebert"]["run"].split()
    assert runs == ["runs/ner-rows-pixel6", "runs/ner-rows-rpi4"]
    assert first.summary.count("edgebert gate: passed") == 2
    for name in ("ner-rows-pixel6", "ner-rows-rpi4"):
        packages = hub.artifacts / "1" / "edgebert" / name / "packages"
        assert any((packages / "python").glob("**/check.py"))
        assert any((packages / "web").glob("**/package.json"))
    (before,) = hub.caches.glob("edgebert-runs*")

    (project / "rows" / "train.conll").write_text(conll(170, 9), encoding="utf-8")
    shutil.copytree(hub.artifacts / "1" / "edgebert", project / "main")
    shutil.rmtree(project / "main" / "ner-rows-rpi4")
    second = work_with(hub, pull_request(), budget="budget.toml", baseline="main")
    assert not second.failed, second.log
    assert "There is no baseline of ner-rows-rpi4 in main" in second.step("Gate").output
    assert second.summary.count("main/ner-rows-pixel6/report/report.json") == 1
    (after,) = set(hub.caches.glob("edgebert-runs*")) - {before}
    old, new = ({path.name for path in cache.glob("*/stages/*")} for cache in (before, after))
    assert len(old) == len(new)
    assert {name.rpartition("-")[0] for name in old & new} <= {"08-profile"}


@pytest.mark.slow
def test_what_one_device_cannot_have_is_told_beside_what_the_other_has(hub: GitHub, project: Path) -> None:
    """A budget that no student of one device fits: its error, the other's gate, and the worse of both as exit code."""
    shutil.copyfile(ROOT / "device_profiles" / "rpi4.toml", project / "tiny.toml")
    text = re.sub(r"^size_mb = .*", "size_mb = 0.1", (project / "tiny.toml").read_text(encoding="utf-8"), flags=re.M)
    (project / "tiny.toml").write_text(text, encoding="utf-8")
    config = CONFIG.replace('device = "pixel6"', 'devices = ["pixel6", "tiny.toml"]')
    (project / "edgebert.toml").write_text(config, encoding="utf-8")
    job = work_with(hub, PUSH)
    facts = job.outputs["edgebert"]
    assert (facts["verdict"], facts["exit-code"], facts["run"]) == ("failed", "1", "runs/ner-rows-pixel6")
    assert "tiny.toml: " in job.step("Fit").output
    assert "### edgebert fit failed in part\n\n    tiny.toml: " in job.summary
    assert "edgebert gate: passed" in job.summary
    assert job.failed


# ---------------------------------------------------------------- GitLab


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, str]]]:
    """A server of artifacts: its address, and job and path -> text."""
    files: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            key = f"{asked.path}?job={parse_qs(asked.query)['job'][0]}"
            text = files.get(key) if self.headers["JOB-TOKEN"] == "a-token" else None
            self.send_response(500 if "broken" in files else 404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v4", files
    server.shutdown()
    thread.join()
    server.server_close()


RAW = "/api/v4/projects/5/jobs/artifacts/main/raw/runs/rpi4/report/report.json?job=fit: [rpi4]"


@pytest.mark.slow
def test_the_pipeline_of_gitlab(
    served: tuple[str, dict[str, str]], checkout: Path, project: Path, tmp_path: Path
) -> None:
    """Of main; then of a merge request, which finds main's cache and report."""
    address, files = served
    base = environment(tmp_path / "site")
    variables = {
        **base, "PATH": f"{tmp_path / 'site' / 'bin'}:{BIN}:/usr/bin:/bin", "HOME": str(tmp_path), "CI_API_V4_URL": address,
        "CI_PROJECT_ID": "5", "CI_JOB_TOKEN": "a-token", "CI_DEFAULT_BRANCH": "main",
    }  # fmt: skip
    wheels = tmp_path / "wheels"  # what stands for the registry that a runner would ask
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels)]
    subprocess.run([*command, str(checkout)], check=True)
    variables["PIP_FIND_LINKS"] = str(wheels)

    def run(job: str, source: str, branch: str, **matrix: str) -> Any:
        workspace = tmp_path / f"{source}-{job}"
        shutil.copytree(project, workspace)
        more = {"CI_PIPELINE_SOURCE": source, "CI_COMMIT_REF_SLUG": branch}
        return gitlab_job(CI / "gitlab-ci.yml", job, matrix, workspace, tmp_path / "kept", {**variables, **more})

    kept = tmp_path / "kept" / "artifacts"
    fit = run("fit", "push", "main", DEVICE="rpi4")
    assert fit.code == 0, fit.output
    gate = run("gate", "push", "main", DEVICE="rpi4")
    assert gate.code == 0, gate.output
    assert not (kept / "runs" / "rpi4" / "stages").exists()

    package = run("package", "push", "main", DEVICE="rpi4", PLATFORM="python")
    assert package.code == 0, package.output
    assert list(kept.glob("packages/rpi4/**/check.py"))

    again = run("fit", "merge_request_event", "feature", DEVICE="rpi4")
    assert again.code == 0, again.output
    assert "reused" in again.output or "nothing was done" in again.output
    assert "done in" not in again.output
    new = run("gate", "merge_request_event", "feature", DEVICE="rpi4")
    assert "main has no results for rpi4 yet" in new.output
    assert new.code == 0, new.output
    shutil.rmtree(tmp_path / "merge_request_event-gate")
    files[RAW] = (kept / "runs" / "rpi4" / "report" / "report.json").read_text(encoding="utf-8")
    compared = run("gate", "merge_request_event", "feature", DEVICE="rpi4")
    assert compared.code == 0, compared.output
    assert "against baseline.json" in compared.output
    shutil.rmtree(tmp_path / "merge_request_event-gate")
    files["broken"] = ""
    broken = run("gate", "merge_request_event", "feature", DEVICE="rpi4")
    assert broken.code == 2
    assert "the server answered 500" in broken.output
