"""Runs jobs of GitLab's pipelines here: their script in bash, their caches and artifacts as folders."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.pipelines import combinations, read_yaml


@dataclass
class GitLabJob:
    code: int
    output: str
    artifacts: Path


def gitlab_job(
    path: Path, job: str, matrix: Mapping[str, str], workspace: Path, kept: Path, env: Mapping[str, str]
) -> GitLabJob:
    """One job of a pipeline in a workspace that its checkout has filled: cache, script, cache and artifacts.

    Args:
        matrix: one entry of its `parallel: matrix`.
        kept: a folder for caches/ and artifacts/, shared by the jobs.
    """
    parsed = read_yaml(path)
    described = parsed[job]
    entries = [
        {name: [value] if isinstance(value, str) else value for name, value in entry.items()}
        for entry in described["parallel"]["matrix"]
    ]
    assert dict(matrix) in [entry for item in entries for entry in combinations(item)], f"{matrix} is not in the matrix"
    variables = {**env, **matrix, "CI_PROJECT_DIR": str(workspace)}

    def put_in(text: str) -> str:
        return re.sub(r"\$(\w+)", lambda match: variables[match[1]], text)

    variables |= {name: put_in(value) for name, value in parsed.get("variables", {}).items()}
    caches = described.get("cache", [])
    for cache in caches:
        places = [kept / "caches" / put_in(key) for key in (cache["key"], *cache.get("fallback_keys", ()))]
        if found := next((place for place in places if place.exists()), None):
            shutil.copytree(found, workspace, dirs_exist_ok=True, symlinks=True)
    (kept / "artifacts").mkdir(parents=True, exist_ok=True)
    shutil.copytree(kept / "artifacts", workspace, dirs_exist_ok=True)
    script = workspace.parent / f"{job}.sh"
    script.write_text("\n".join(described["script"]) + "\n", encoding="utf-8")
    result = subprocess.run(
        ["bash", "-eo", "pipefail", str(script)], cwd=workspace, env=variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=550,
    )  # fmt: skip
    for cache in caches:
        if result.returncode == 0 or cache.get("when") == "always":
            _collect(workspace, cache["paths"], kept / "caches" / put_in(cache["key"]))
    artifacts = described["artifacts"]
    if result.returncode == 0 or artifacts.get("when") == "always":
        _collect(workspace, artifacts["paths"], kept / "artifacts")
    return GitLabJob(result.returncode, result.stdout, kept / "artifacts")


def _collect(workspace: Path, patterns: Sequence[str], target: Path) -> None:
    for found in (path for pattern in patterns for path in sorted(workspace.glob(pattern))):
        place = target / found.relative_to(workspace)
        if found.is_dir():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(found, place, symlinks=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(found, place)
