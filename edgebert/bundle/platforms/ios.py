"""ios: a Swift package with a Core ML model, which iPhone, iPad and Mac run; its tokenizer and answers build on Linux, too.

Each file of the Swift sources mirrors the file of the Android package with the same name.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebert.bundle.engine import open_engine
from edgebert.bundle.golden import read_golden
from edgebert.bundle.manifest import CARD, GOLDEN, read_manifest
from edgebert.bundle.platforms import Platform
from edgebert.bundle.platforms._uses import use_of
from edgebert.bundle.ports.assets import LICENCES, SETTINGS, write_assets, write_template
from edgebert.bundle.strict_json import write_json
from edgebert.errors import DataError
from edgebert.tasks import find_task

TEMPLATES = Path(__file__).parent / "templates" / "ios"
PROGRAM = Path("Data", "com.apple.CoreML", "model.mlmodel")  # of a .mlpackage
SYSTEMS = {6: ("15.0", "12.0"), 7: ("16.0", "13.0"), 8: ("17.0", "14.0"), 9: ("18.0", "15.0")}  # iOS, macOS by version
OLDEST = 7  # Core ML compiles a model without blocking from iOS 16 on
LONGEST = 50  # characters of a name
KEYWORDS = frozenset({"Any", "Protocol", "Self", "Type"})
TAKEN = frozenset(  # modules that an app imports, and types that it would hide
    {"Answer", "Combine", "CoreData", "CoreFoundation", "CoreGraphics", "CoreML", "CryptoKit", "Dispatch", "EdgeModel",
     "Embedding", "Entity", "Foundation", "Observation", "PackageDescription", "String", "Swift", "SwiftUI", "Testing",
     "UIKit", "AppKit", "XCTest"}
)  # fmt: skip
_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
_RIGHT = "Take letters and digits that begin with a capital: FlightSlots."
_LABELS = '.map { "\\($0.label ?? "other"): \\($0.score)" }.joined(separator: "\\n")'
_LIKELIEST = "A list of `ScoredLabel(label, score)`, the likeliest first."
_USES = {  # see `Uses`
    "ner": ("entities(text)", '.map { "\\($0.type): \\($0.text)" }.joined(separator: "\\n")', "A list of `Entity(text, type, range)`."),
    "tag": ("tag(text)", '.map { "\\($0.text): \\($0.tag)" }.joined(separator: "\\n")', "A list of `TaggedWord(text, tag, range)`."),
    "classify": ("classify(text)", _LABELS, _LIKELIEST),
    "pair": ("classify(first, second)", _LABELS, _LIKELIEST),
    "embed": ("embed(text)", '.values.map { "\\($0)" }.joined(separator: ", ")', "An `Embedding`: `values`, and the same as `bytes` times `scale`."),
    "similarity": ("similarity(first, second)", ".description", "A cosine, -1 to 1."),
    "qa": ("answer(question, context)", ".text", "An `Answer(text, range, score, candidates)`; no `range` says that there is none."),
    "multi": ("answers(text)", '.map { "\\($0.key): \\($0.value)" }.joined(separator: "\\n")', "Each head's `HeadAnswer` by its name; {heads}."),
}  # fmt: skip
_SECOND_FIELD = """            TextField("{}", text: $second, axis: .vertical)
                .textFieldStyle(.roundedBorder)
"""


def check_name(name: str) -> str:
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        return f"it is no name of a Swift module of at most {LONGEST} characters. {_RIGHT}"
    if name in KEYWORDS:
        return f"{name} is a keyword of Swift. {_RIGHT}"
    if name in TAKEN:
        return f"{name} already means something else in an app. {_RIGHT}"
    return ""


def default_name(words: Sequence[str]) -> str:
    name = "".join(word.capitalize() for word in words)[: LONGEST - len("Model")]
    return f"{name}Model" if check_name(name) else name


def write(bundle: Path, folder: Path, name: str) -> None:
    manifest = read_manifest(bundle)
    sources, tests = folder / "Sources" / name, folder / "Tests" / f"{name}Tests"
    assets = sources / "Model"
    settings = write_assets(bundle, assets, name, golden=tests)
    session = open_engine(bundle, manifest).session
    # Its shapes do not tell them.
    lengths = {
        "lengths": list(getattr(session, "lengths", ())),
        "functions": {name: length for length, name in getattr(session, "functions", {}).items()},
    }
    write_json(assets / SETTINGS, settings | {"model": {**settings["model"], **lengths}})
    shutil.move(assets / CARD, folder / CARD)
    shutil.move(assets / LICENCES, folder / LICENCES)
    ios, macos = oldest_systems(assets / manifest["model"])
    task = find_task(manifest["task"]).configured(manifest["task_options"])
    values = {
        "NAME": name,
        "FOLDER": f"{name}-ios",
        "TITLE": task.title.capitalize(),
        "IOS": ios,
        "MACOS": macos,
        "SIZE": f"{sum(path.stat().st_size for path in assets.rglob('*') if path.is_file()) / 1e6:.1f}",
        "GOLDEN": str(sum(1 for _ in read_golden(tests / GOLDEN))),
        **_calls(settings["task"]),
    }
    for source in ("Package.swift", "README.md", "Sample/ContentView.swift"):
        write_template(TEMPLATES / source, folder / source, values)
    for kind, target in (("Sources", sources), ("Tests", tests)):
        for path in sorted((TEMPLATES / kind).glob("*.swift")):
            write_template(path, target / path.name, values)


def oldest_systems(package: Path) -> tuple[str, str]:
    """The oldest iOS and macOS that run a .mlpackage.

    Raises:
        DataError: it is none, or of a version of the format that we do not know.
    """
    path = package / PROGRAM
    start = path.read_bytes()[:2] if path.is_file() else b""
    # The first field of the message is the version, a number below 128: its key and one byte.
    if len(start) < 2 or start[0] != 0x08 or start[1] not in SYSTEMS:
        raise DataError("it is no Core ML package of a known version", where=str(package))
    return SYSTEMS[max(start[1], OLDEST)]


def _calls(task: Mapping[str, Any]) -> dict[str, str]:
    """What of README and sample depends on the task."""
    use = use_of(task, _USES)
    return {
        "USE": use.use,
        "RESULT": use.result,
        "CALL": f"try model.{use.call}{use.shown}",
        "FIRST_HINT": use.hints[0],
        "SECOND_FIELD": _SECOND_FIELD.format(use.hints[1]) if use.reads_two else "",
    }


PLATFORM = Platform(
    name="ios",
    title="a Swift package",
    formats=("coreml",),
    prove="swift test",
    check_name=check_name,
    default_name=default_name,
    write=write,
)
