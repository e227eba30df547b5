"""android: a Gradle library module in Kotlin, with LiteRT or ONNX Runtime, and a sample application beside it.

Tokenizer and answers are plain Kotlin, which the JVM of any machine runs; Android's own classes and the runtime's are touched
by two small files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebert.bundle.golden import read_golden
from edgebert.bundle.manifest import CARD, GOLDEN, Manifest, read_manifest
from edgebert.bundle.platforms import Platform
from edgebert.bundle.platforms._uses import use_of
from edgebert.bundle.ports.assets import LICENCES, write_assets, write_template
from edgebert.bundle.sbom import Library
from edgebert.tasks import find_task

TEMPLATES = Path(__file__).parent / "templates" / "android"
RUNTIMES = {  # of each format
    "tflite": {
        "RUNTIME": "LiteRT",
        "DEPENDENCY": "com.google.ai.edge.litert:litert",
        "VERSION": "2.1.5",
        "MIN_SDK": "23",
        "ENGINE": "LiteRtEngine",
        "KEEP": "org.tensorflow.lite",
        "SUFFIX": "tflite",
    },
    "onnx": {
        "RUNTIME": "ONNX Runtime",
        "DEPENDENCY": "com.microsoft.onnxruntime:onnxruntime-android",
        "VERSION": "1.27.0",
        "MIN_SDK": "24",
        "ENGINE": "OnnxEngine",
        "KEEP": "ai.onnxruntime",
        "SUFFIX": "onnx",
    },
}
ENGINES = tuple(runtime["ENGINE"] for runtime in RUNTIMES.values())
LONGEST = 100  # characters of a name
KEYWORDS = frozenset(  # of Java and of Kotlin
    {"abstract", "as", "assert", "boolean", "break", "byte", "case", "catch", "char", "class", "const", "continue",
     "default", "do", "double", "else", "enum", "extends", "false", "final", "finally", "float", "for", "fun",
     "goto", "if", "implements", "import", "in", "instanceof", "int", "interface", "is", "long", "native", "new",
     "null", "object", "package", "private", "protected", "public", "return", "short", "static", "strictfp",
     "super", "switch", "synchronized", "this", "throw", "throws", "transient", "true", "try", "typealias",
     "typeof", "val", "var", "void", "volatile", "when", "while"}
)  # fmt: skip
RESERVED = frozenset({"android", "androidx", "java", "javax", "kotlin", "kotlinx"})
_SEGMENT = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RIGHT = "Take at least two parts of letters, digits and underscores with dots between them: com.example.slots."
_USES = {  # see `Uses`
    "ner": ("entities(text)", 'joinToString("\\n") { "${it.type}: ${it.text}" }', "A list of `Entity(text, type, start, end)`."),
    "tag": ("tag(text)", 'joinToString("\\n") { "${it.text}: ${it.tag}" }', "A list of `TaggedWord(text, tag, start, end)`."),
    "classify": ("classify(text)", 'joinToString("\\n") { "${it.label}: ${it.score}" }', "A list of `Label(label, score)`, the likeliest first."),
    "pair": ("classify(first, second)", 'joinToString("\\n") { "${it.label}: ${it.score}" }', "A list of `Label(label, score)`, the likeliest first."),
    "embed": ("embed(text)", "values.joinToString()", "An `Embedding`: `values`, and the same as `bytes` times `scale`."),
    "similarity": ("similarity(first, second)", "toString()", "A cosine, -1 to 1."),
    "qa": ("answer(question, context)", "text", "An `Answer(text, start, end, score, candidates)`; no `start` says that there is none."),
    "multi": ("answers(text)", "toString()", "A map of each head's answer by its name; {heads}."),
}  # fmt: skip


def check_name(name: str) -> str:
    parts = name.split(".")
    if len(name) > LONGEST or len(parts) < 2 or not all(map(_SEGMENT.fullmatch, parts)):
        return f"it is no package of Java of at most {LONGEST} characters. {_RIGHT}"
    if taken := [part for part in parts if part in KEYWORDS]:
        return f"{taken[0]} is a keyword. {_RIGHT}"
    if parts[0] in RESERVED:
        return f"packages that begin with {parts[0]} are the platform's. {_RIGHT}"
    if parts[-1] == "sample":
        return "the sample application beside it has this name. Take another last part."
    return ""


def default_name(words: Sequence[str]) -> str:
    last = "_".join(words)[:60].strip("_")
    return f"com.example.{last}" if not check_name(f"com.example.{last}") else f"com.example.{last}_model"


def requires(manifest: Manifest) -> list[Library]:
    runtime = RUNTIMES[manifest["format"]]
    return [Library("maven", runtime["DEPENDENCY"].replace(":", "/"), runtime["VERSION"])]


def write(bundle: Path, folder: Path, name: str) -> None:
    manifest = read_manifest(bundle)
    module_name = name.split(".")[-1]
    module = folder / module_name
    assets = module / "src" / "main" / "assets" / "edgebert" / name
    resources = module / "src" / "test" / "resources"
    settings = write_assets(bundle, assets, name, golden=resources)
    shutil.move(assets / CARD, folder / CARD)
    shutil.move(assets / LICENCES, folder / LICENCES)
    task = find_task(manifest["task"]).configured(manifest["task_options"])
    values = {
        "NAME": name,
        "PACKAGE": name,
        "MODULE": module_name,
        "TITLE": task.title.capitalize(),
        "SIZE": f"{sum(path.stat().st_size for path in assets.rglob('*') if path.is_file()) / 1e6:.1f}",
        "GOLDEN": str(sum(1 for _ in read_golden(resources / GOLDEN))),
        "TOLERANCE": " or ".join(f"{100 * v:g} %" if k == "relative" else f"{v:g}" for k, v in manifest["tolerance"].items()),
        **RUNTIMES[manifest["format"]],
        **_calls(settings["task"]),
    }  # fmt: skip
    _write_sources(module, folder / "sample", name, values)
    for source, target in (
        ("README.md", folder / "README.md"),
        ("settings.gradle.kts", folder / "settings.gradle.kts"),
        ("build.gradle.kts", folder / "build.gradle.kts"),
        ("module.gradle.kts", module / "build.gradle.kts"),
        ("consumer-rules.pro", module / "consumer-rules.pro"),
        ("AndroidManifest.xml", module / "src" / "main" / "AndroidManifest.xml"),
        ("sample.gradle.kts", folder / "sample" / "build.gradle.kts"),
        ("sample.AndroidManifest.xml", folder / "sample" / "src" / "main" / "AndroidManifest.xml"),
    ):
        write_template(TEMPLATES / source, target, values)


def _write_sources(module: Path, sample: Path, name: str, values: Mapping[str, str]) -> None:
    place = Path(*name.split("."))
    for kind in ("main", "test"):
        for path in sorted((TEMPLATES / kind).glob("*.kt")):
            if path.stem not in ENGINES or path.stem == values["ENGINE"]:
                write_template(path, module / "src" / kind / "kotlin" / place / path.name, values)
    write_template(
        TEMPLATES / "SampleActivity.kt",
        sample / "src" / "main" / "kotlin" / place / "sample" / "SampleActivity.kt",
        values,
    )


def _calls(task: Mapping[str, Any]) -> dict[str, str]:
    """What of README and sample depends on the task."""
    use = use_of(task, _USES)
    return {
        "USE": use.use,
        "RESULT": use.result,
        "CALL": f"model.{use.call}.{use.shown}",
        "VIEWS": "first, second" if use.reads_two else "first",
        "FIRST_HINT": use.hints[0],
        "SECOND_HINT": use.hints[1] if use.reads_two else "",
    }


PLATFORM = Platform(
    name="android",
    title="an Android library",
    formats=("tflite", "onnx"),
    prove="gradle testDebugUnitTest",
    check_name=check_name,
    default_name=default_name,
    write=write,
    requires=requires,
)
