"""The house holds: arrows between packages run one way, and no package is in a circle. Imports inside functions count."""

from __future__ import annotations

import ast
import os
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import edgebert

ROOT = Path(edgebert.__file__).parent
# From what uses to what is used. A package may import those below it, and those of its own line where no circle comes of it.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("api",),
    ("workflows",),
    ("report", "search", "measure", "verify"),
    ("bundle", "budget"),
    ("cost", "teachers"),
    ("converters", "methods"),
    ("training",),
    ("tasks",),
    ("modeling",),
    ("data", "runtime", "devices", "runs", "device_profiles"),
    ("results",),
    ("types",),
    ("quantization",),
    ("distributed", "registry", "faults", "files"),
    ("errors",),
)
ARROWS_BACK: dict[tuple[str, str], str] = {}  # (from, to) -> why it must stay
TOP_LEVEL = {"__init__", "__main__", "api", "errors", "types", "registry", "files", "faults", "distributed"}
TOP_LEVEL |= {"results"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines
COPIED_WHOLE = {"measure/runner.py"}  # to a board, as one file


def modules() -> dict[str, Path]:
    """Every module by its dotted name."""
    results = {}
    for folder, _, files in os.walk(ROOT, followlinks=True):
        for file in files:
            if file.endswith(".py"):
                path = Path(folder, file)
                parts = ("edgebert", *path.relative_to(ROOT).with_suffix("").parts)
                results[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return results


def package_of(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def arrows() -> dict[tuple[str, str], set[str]]:
    """(package, package that it imports) -> the modules that do."""
    known, results = modules(), defaultdict(set)
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = []
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "edgebert":
                full = [f"{node.module}.{item.name}" for item in node.names]
                targets = [item if item in known else node.module for item in full]
            elif isinstance(node, ast.Import):
                targets = [item.name for item in node.names if item.name.split(".")[0] == "edgebert"]
            for target in targets:
                if package_of(target) != package_of(name):
                    results[package_of(name), package_of(target)].add(name)
    return results


def test_arrows_run_one_way_and_no_package_is_in_a_circle() -> None:
    rank = {name: at for at, line in enumerate(LAYERS) for name in line} | {"__init__": -1}
    result = arrows()
    assert {name for arrow in result for name in arrow} <= rank.keys(), "every package has its line"
    back = {arrow: sorted(by) for arrow, by in result.items() if rank[arrow[0]] > rank[arrow[1]]}
    graph: dict[str, set[str]] = defaultdict(set)
    for item, other in result:
        graph[item].add(other)
    try:
        order, circle = list(TopologicalSorter(graph).static_order()), []
    except CycleError as error:
        order, circle = [], list(error.args[1])
    print(f"{len(result)} arrows, {len(back)} back, {0 if order else 1} circles")
    assert not circle, f"a circle: {' -> '.join(reversed(circle))}"
    assert back.keys() == ARROWS_BACK.keys(), back


def test_at_most_ten_modules_stand_at_the_top() -> None:
    assert {path.stem for path in ROOT.glob("*.py")} == TOP_LEVEL


def test_converters_and_methods_do_not_know_each_other() -> None:
    assert not {("converters", "methods"), ("methods", "converters")} & arrows().keys()


def test_no_file_and_no_function_is_long() -> None:
    long: list[str] = []
    for path in modules().values():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if (n := text.count("\n")) > LONGEST_FILE and name not in COPIED_WHOLE:
            long.append(f"{name}: {n} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (n := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION:
                long.append(f"{name}, {node.name}: {n} lines")
    assert not long
