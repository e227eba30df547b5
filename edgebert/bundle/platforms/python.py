"""python: a wheel that runs the model in ONNX Runtime or LiteRT, with neither torch nor edgebert.

The runtime in `templates/python/runtime` is written out as it stands; what differs between packages is read from
edgebert.json, so that no label ever stands in source. Tokens come from the `tokenizers` library, and so every tokenizer
can be packaged.
"""

from __future__ import annotations

import gzip
import hashlib
import keyword
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgebert.bundle.card import without_metadata
from edgebert.bundle.golden import read_golden
from edgebert.bundle.manifest import CARD, GOLDEN, TOKENIZER, read_manifest
from edgebert.bundle.platforms import Platform
from edgebert.bundle.platforms._wheel import Distribution, normal_name, source_files, wheel_name, write_wheel
from edgebert.bundle.ports.assets import LICENCES, SETTINGS, write_assets, write_template
from edgebert.bundle.sbom import Library
from edgebert.bundle.strict_json import write_json
from edgebert.files import to_toml
from edgebert.runtime.scratch import scratch_folder
from edgebert.tasks import find_task

TEMPLATES = Path(__file__).parent / "templates" / "python"
PYTHON, PYTHON_OF_NEW_ONNX = "3.10", "3.11"  # the oldest; ONNX Runtime has left 3.10 at 1.23
RUNTIMES = {  # of each format: requirement, name in sentences, the runtime's module
    "tflite": ("ai-edge-litert>=2.3,<3", "LiteRT", "session_tflite.py"),
    "onnx": ("onnxruntime>=1.20", "ONNX Runtime", "session_onnx.py"),
}
REQUIRES = ("numpy>=1.26", "tokenizers>=0.22")
# Modules that a package must not hide: those that it needs itself, those that pip needs, and those of Python beside its
# standard library.
TAKEN = frozenset(
    {"ai_edge_litert", "edgebert", "flatbuffers", "google", "huggingface_hub", "numpy", "onnxruntime", "pip",
     "pkg_resources", "setuptools", "test", "tokenizers", "wheel"}
)  # fmt: skip
LONGEST = 80  # characters of a name
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_RIGHT = "Take letters, digits and single dashes, beginning with a letter: my-entities."
_CALLS = {  # of each kind of task: the call, and the texts that it is given
    "ner": "entities({})", "tag": "tag({})", "classify": "classify({})", "pair": "classify({})", "embed": "embed({})",
    "similarity": "similarity({})", "qa": "answer({})", "multi": "answers({})",
}  # fmt: skip


def check_name(name: str) -> str:
    module = normal_name(name)
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        return f"pip knows names of at most {LONGEST} letters, digits, dashes, dots and underscores. {_RIGHT}"
    if not module.isidentifier() or keyword.iskeyword(module):
        return f"import {module} is no Python. {_RIGHT}"
    if module in sys.stdlib_module_names or module in TAKEN:
        return f"import {module} already means another module. {_RIGHT}"
    return ""


def default_name(words: Sequence[str]) -> str:
    name = "-".join(words)[: LONGEST - len("-model")].strip("-")
    return f"{name}-model" if check_name(name) else name


def write(bundle: Path, folder: Path, name: str) -> None:
    manifest = read_manifest(bundle)
    module = normal_name(name)
    package = folder / "src" / module
    data = package / "data"
    with scratch_folder("golden-") as scratch:
        settings = write_assets(bundle, data, name, golden=scratch, port=False)
        golden = scratch / GOLDEN
        (data / f"{GOLDEN}.gz").write_bytes(gzip.compress(golden.read_bytes(), mtime=0))
        texts = next(read_golden(golden))["texts"]
    shutil.move(data / CARD, folder / CARD)
    shutil.move(data / LICENCES, folder / LICENCES)
    _complete(data / SETTINGS, settings, manifest)
    _, runtime, session = RUNTIMES[manifest["format"]]
    requirement, python = _runtime_of(manifest)
    for path in sorted((TEMPLATES / "runtime").glob("*.py")):
        if not path.name.startswith("session_") or path.name == session:
            shutil.copyfile(path, package / path.name)
    (package / "py.typed").touch()
    task = find_task(manifest["task"]).configured(manifest["task_options"])
    about = _version(folder / "src")
    call = _CALLS[settings["task"]["kind"]].format(", ".join(map(ascii, texts)))
    values = {
        "NAME": name,
        "MODULE": module,
        "TITLE": task.title.capitalize(),
        "RUNTIME": runtime,
        "PYTHON": python,
        "WHEEL": wheel_name(name, about),
        "CALL": call,
        "CALLS": _calls_of_heads(settings["task"]),
        "ARGUMENTS": " ".join(_quoted(text) for text in texts),
    }
    for source, target in (("README.md", "README.md"), ("check.py.txt", "check.py"), ("example.py.txt", "example.py")):
        write_template(TEMPLATES / source, folder / target, values)
    _write_project(folder, name, about, task.title, [requirement, *REQUIRES], python)


def _runtime_of(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """What pip installs to run the file, and the oldest Python that has it.

    ONNX Runtime computes float32 alike since 1.20, but not files of fewer bits: 1.21 to 1.24 multiply integers wrongly on
    processors with AMX, and others round otherwise. They need the version, or a younger one, that the golden vectors have
    just been replayed with here.
    """
    if manifest["format"] != "onnx" or manifest["precision"] == "fp32":
        return RUNTIMES[manifest["format"]][0], PYTHON
    return f"onnxruntime>={'.'.join(version('onnxruntime').split('.')[:2])}", PYTHON_OF_NEW_ONNX


def _complete(path: Path, settings: dict[str, Any], manifest: Mapping[str, Any]) -> None:
    """Adds what the command line calls an answer, and how many tokens the tokenizer puts around texts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path.with_name(TOKENIZER)))
    frame = {name: tokenizer.num_special_tokens_to_add(name == "pair") for name in ("single", "pair")}
    answer_name = find_task(manifest["task"]).answer_name
    write_json(path, settings | {"frame": frame, "task": {**settings["task"], "answer_name": answer_name}})


def _calls_of_heads(task: Mapping[str, Any]) -> str:
    if task["kind"] != "multi":
        return ""
    names = {"ner": "entities(text)", "pair": "classify(first, second)", "similarity": "similarity(a, b)",
             "qa": "answer(question, context)"}  # fmt: skip
    calls = [
        f"`{names.get(head['kind'], head['kind'] + '(text)')}` asks `{head['name']}` alone" for head in task["heads"]
    ]
    return f"`answers` gives what every head says, by its name; {', '.join(calls)}.\n\n"


def _quoted(text: str) -> str:
    """A text as a shell's word that stands on one line."""
    import shlex

    return shlex.quote(" ".join(text.split()))


def _version(sources: Path) -> str:
    """edgebert's version, which is the runtime's, and a digest of all files: another model is another version, so that pip
    puts it in the place of the one before."""
    digest = hashlib.sha256()
    for path in source_files(sources):
        digest.update(f"{path.relative_to(sources).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{version('edgebert')}+m{digest.hexdigest()[:8]}"


def _write_project(folder: Path, name: str, about: str, title: str, requires: Sequence[str], python: str) -> None:
    """pyproject.toml, of which pip makes the same package from source."""
    module = normal_name(name)
    lines = [
        "[build-system]",
        'requires = ["setuptools>=77"]',
        'build-backend = "setuptools.build_meta"',
        "",
        "[project]",
        f"name = {to_toml(name)}",
        f"version = {to_toml(about)}",
        f"description = {to_toml(f'{title.capitalize()}, by a small model on this machine')}",
        'readme = "README.md"',
        f"requires-python = {to_toml(f'>={python}')}",
        f"dependencies = {to_toml(list(requires))}",
        f"license-files = {to_toml([f'{LICENCES}/*'])}",
        "",
        "[project.scripts]",
        f"{to_toml(name)} = {to_toml(f'{module}.__main__:main')}",
        "",
        "[tool.setuptools.packages.find]",
        'where = ["src"]',
        "",
        "[tool.setuptools.package-data]",
        '"*" = ["py.typed", "data/**"]',
        "",
    ]
    (folder / "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")


def archive(folder: Path, parent: Path, name: str) -> Path:
    """The wheel; pyproject.toml says what its metadata holds."""
    project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    values = {key: _value(project, key) for key in ("version", "description", "requires-python", "dependencies")}
    about = Distribution(
        name=name,
        version=str(values["version"]),
        summary=str(values["description"]),
        python=str(values["requires-python"]),
        requires=list(values["dependencies"]),
        scripts={name: f"{normal_name(name)}.__main__:main"},
        readme="\n".join(without_metadata((folder / page).read_text(encoding="utf-8")) for page in ("README.md", CARD)),
    )
    return write_wheel(parent / wheel_name(name, about.version), folder / "src", folder / LICENCES, about)


def _value(project: str, key: str) -> Any:
    """What a key of our own pyproject.toml has: JSON is what `to_toml` writes for texts and lists of them."""
    import json

    found = re.search(f"^{key} = (.+)$", project, re.MULTILINE)
    assert found is not None
    return json.loads(found[1])


PLATFORM = Platform(
    name="python",
    title="a Python package",
    formats=("tflite", "onnx"),
    prove="python3 -m pip install . && python3 check.py",
    check_name=check_name,
    default_name=default_name,
    write=write,
    requires=lambda manifest: [Library.of_requirement(item) for item in (_runtime_of(manifest)[0], *REQUIRES)],
    archive=archive,
)
