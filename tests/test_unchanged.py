"""A fit of which nothing has changed does nothing; whatever could change its result is noticed; --locked refuses it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import edgebert
from edgebert.cli import main
from edgebert.errors import RequestError
from edgebert.results import FitResult
from edgebert.types import FitRequest
from edgebert.workflows import unchanged
from edgebert.workflows.inputs import Inputs, read_inputs
from edgebert.workflows.names import resolve_names
from edgebert.workflows.target import MeasurementTarget
from edgebert.workflows.unchanged import Comparison, compare, describe, fingerprint_now
from tests.conftest import make_checkpoint

OPTIONS: dict[str, Any] = {
    "teacher": "model",
    "data": ("rows",),
    "recipe": "recipe.toml",
    "unlabelled": ("texts",),
    "teacher_epochs": 4.0,
    "epochs": 4.0,
    "learning_rate": 3e-3,
    "params": {"drop-layers.n_layers": "2"},
    "max_drop": 60.0,
    "formats": ("onnx",),
}
RECIPE = '[[method]]\nname = "trim-vocab"\nfloor = 20\n[[method]]\nname = "drop-layers"\n[[method]]\nname = "kd"\n'
CONFIG = """\
devices = ["board.toml", "pixel6"]
teacher = "model"
[data]
rows = "rows"
unlabelled = "texts"
[student]
recipe = "recipe.toml"
[student.params.drop-layers]
n_layers = "2"
[budget]
max_drop = 60
[training]
teacher_epochs = 4
epochs = 4
learning_rate = 3e-3
[output]
formats = "onnx"
[bundle]
platforms = ["python", "mediapipe"]
"""


@pytest.fixture(scope="module")
def place(toy_checkpoint: Path, toy_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, rows, texts and a recipe, and a run in runs/ that was made of them."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(toy_checkpoint, folder / "model")
    shutil.copytree(toy_data, folder / "rows")
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("fly to aville\nis bton far today\n", encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    here = Path.cwd()
    os.chdir(folder)
    try:
        result = edgebert.fit("pixel6", **OPTIONS)
    finally:
        os.chdir(here)
    assert result.exit_code == 0
    return folder


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the place that a test may spoil, as the current folder."""
    folder = tmp_path / "copy"
    shutil.copytree(place, folder)
    monkeypatch.chdir(folder)
    return folder


def request(**more: Any) -> FitRequest:
    return FitRequest(**{"device": "pixel6", "task": "ner", **OPTIONS, **more})


def compared(**more: Any) -> Comparison:
    return compare(request(**more), fingerprint_now(request(**more)))


def fit(**more: Any) -> tuple[FitResult, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    result = edgebert.fit(**{"device": "pixel6", **OPTIONS, **more}, on_event=events.append)
    return result, events


def state(folder: Path) -> Mapping[str, tuple[int, int]]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in paths}


def append(path: Path, text: str = "\n") -> None:
    path.write_bytes(path.read_bytes() + text.encode())


# ---------------------------------------------------------------- nothing changed


def test_the_second_fit_touches_nothing_and_gives_the_same(here: Path) -> None:
    before = state(here)
    result, events = fit()
    created = json.loads((here / "runs/ner-rows-pixel6/manifest.json").read_text())["created"]
    assert [event["text"] for event in events] == [f"nothing changed since {created}: nothing was done"]
    assert state(here) == before
    assert result.run == Path("runs/ner-rows-pixel6") and result.exit_code == 0
    assert result.bundle == result.run / "bundle"
    assert result.report.winner == "L2-v82/onnx-int8"
    edgebert.check(result.bundle)


def test_the_command_line_loads_no_torch(here: Path) -> None:
    manifest = json.loads((here / "runs/ner-rows-pixel6/manifest.json").read_text())
    files = {name: value for name, value in manifest["fingerprint"]["versions"].items() if name.endswith("files")}
    code = (
        "import sys\nfrom edgebert.cli import main\nfrom edgebert.workflows import unchanged\n"
        f"unchanged.source_digests = lambda: {files!r}  # somebody may edit them while the tests run\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n"
        "    print('ended', ended.code, sorted({'torch', 'transformers', 'datasets'} & sys.modules.keys()))\n"
    )
    words = ["fit", "--device", "pixel6", "--teacher", "model", "--data", "rows", "--recipe", "recipe.toml"]
    words += ["--unlabelled", "texts", "--teacher-epochs", "4", "--epochs", "4", "--learning-rate", "3e-3"]
    words += ["--set", "drop-layers.n_layers=2", "--max-drop", "60", "--format", "onnx"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert "nothing was done" in done.stderr
    assert done.stdout.splitlines()[-1] == "ended 0 []"
    assert "packaged: L2-v82 onnx int8" in done.stdout


def test_the_recorded_exit_code_is_the_one_it_ends_with(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "runs/ner-rows-pixel6/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"exit_code": 1}))
    assert fit()[0].exit_code == 1
    path.write_text(json.dumps(manifest | {"exit_code": 70}))
    assert compared().unchanged is None


def test_a_run_that_was_moved_is_found_by_its_folder(here: Path) -> None:
    (here / "runs/ner-rows-pixel6").rename(here / "elsewhere")
    assert compared().folder is None
    result = compared(run="elsewhere").unchanged
    assert result is not None and result.run == Path("elsewhere")


# ---------------------------------------------------------------- what is noticed


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("rows/train.conll", "data rows/train.conll changed"),
        ("rows/more.conll", "data rows/more.conll is new"),
        ("rows/dev.conll", "data rows/dev.conll is gone"),
        ("model/model.safetensors", "teacher model/model.safetensors changed"),
        ("model/tokenizer.json", "teacher model/tokenizer.json changed"),
        ("model/README.md", "teacher model/README.md is new"),
        ("recipe.toml", "recipe recipe.toml changed"),
        ("texts/a.txt", "unlabelled texts/a.txt changed"),
        ("texts/deep/b.txt", "unlabelled texts/deep/b.txt is new"),
    ],
)
def test_a_file_that_is_read(path: str, told: str, here: Path) -> None:
    if told.endswith("new"):
        (here / path).parent.mkdir(exist_ok=True)
        (here / path).write_text("fly\tO\n")
    elif told.endswith("gone"):
        (here / path).unlink()
    elif path.endswith(".safetensors"):  # as long as it was, so that only its sha256 tells
        content = bytearray((here / path).read_bytes())
        content[-1] ^= 1
        (here / path).write_bytes(content)
    else:
        append(here / path)
    comparison = compared()
    assert [str(change) for change in comparison.changes] == [told]
    assert comparison.unchanged is None
    assert describe(comparison) == f"not as in the run of {comparison.created}: {told}"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": 3}, "--seed: was 0, is 3"),
        ({"max_size_mb": 9.0}, "--max-size-mb: was not given, is 9.0"),
        ({"formats": ("onnx", "tflite")}, "--format: was onnx, is onnx, tflite"),
        ({"params": {"drop-layers.n_layers": "3"}}, "--set drop-layers.n_layers: was 2, is 3"),
        ({"on": "none"}, "--on: was not given, is none"),
    ],
)
def test_another_request(options: dict[str, Any], told: str, here: Path) -> None:
    assert [str(change) for change in compared(**options).changes] == [told]


def test_files_beside_what_is_read_do_not_count(here: Path) -> None:
    (here / "rows/.hidden").write_text("x")
    (here / "model/optimizer.pt").write_text("x")
    (here / "notes.txt").write_text("x")
    assert compared().unchanged is not None


def test_versions_and_sources_and_this_machine(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions, hardware = unchanged._versions(), unchanged.describe_hardware()
    monkeypatch.setattr(unchanged, "_versions", lambda: versions | {"torch": "9.9"})
    monkeypatch.setattr(unchanged, "source_digests", lambda: {"edgebert's files": "0" * 64})
    monkeypatch.setattr(unchanged, "describe_hardware", lambda: hardware | {"cores": 99})
    torch, files, cores = (str(change) for change in compared().changes)
    assert torch == f"torch: was {versions['torch']}, is 9.9"
    assert files.startswith("edgebert's files: was ") and files.endswith("is 000000000000…")
    assert cores == f"cores: was {hardware['cores']}, is 99"


def test_every_library_that_is_declared_has_its_version() -> None:
    names = unchanged._versions().keys()
    assert {"python", "torch", "transformers", "scipy", "tokenizers", "onnxruntime", "coremltools", "regex"} <= names
    assert not {"pytest", "mkdocs", "hypothesis"} & names


def test_an_edit_of_our_own_files_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "package" / "a.py").write_text("a = 1")
    (tmp_path / "linked" / "b.py").write_text("b = 1")
    (tmp_path / "package" / "converters").symlink_to(tmp_path / "linked")
    digests = [unchanged._digest(tmp_path / "package")]
    for path in ("package/a.py", "linked/b.py"):
        append(tmp_path / path)
        digests.append(unchanged._digest(tmp_path / "package"))
    assert len(set(digests)) == 3


def test_the_device_profile_counts_with_its_figures(here: Path) -> None:
    profile = (Path(edgebert.__file__).parent / "device_profiles" / "pixel6.toml").read_text(encoding="utf-8")
    (here / "board.toml").write_text(profile.replace('name = "pixel6"', 'name = "board"'), encoding="utf-8")
    then = fingerprint_now(request(device="board.toml"))
    size = then["device"]["budget"]["size_mb"]
    (here / "board.toml").write_text((here / "board.toml").read_text().replace(f"size_mb = {size:g}", "size_mb = 7"))
    now = fingerprint_now(request(device="board.toml"))
    found = [str(change) for change in unchanged._changes("device", then["device"], now["device"])]
    assert found == [f"device profile, budget.size_mb: was {size}, is 7.0"]


def test_a_calibration_counts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(here / "home"))
    path = here / "home/edgebert/calibrations/pixel6.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert [str(change) for change in compared().changes] == ["calibration of pixel6 is new"]


def test_a_target_counts_by_what_it_is_called(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebert.measure.targets import TARGETS

    target = MeasurementTarget("adb", TARGETS.get("adb"), ("onnx",), "Pixel 6", is_device=True)
    monkeypatch.setattr(unchanged, "find_target", lambda *_: (target, []))
    (change,) = compared().changes
    assert str(change) == "measured on: was not given, is adb, Pixel 6, True, onnx"


@pytest.mark.parametrize(
    "path", ["report/report.json", "report/index.html", "bundle/labels.json", "bundle/model.int8.onnx"]
)
def test_results_that_are_not_whole(path: str, here: Path) -> None:
    append(here / "runs/ner-rows-pixel6" / path)
    comparison = compared()
    assert comparison.unchanged is None and not comparison.changes
    assert "is not as it was written" in describe(comparison)


def test_a_fit_goes_on_with_its_stages(here: Path) -> None:
    append(here / "runs/ner-rows-pixel6/bundle/labels.json")
    result, events = fit()
    assert [event["stage"] for event in events if event["event"] == "kept"][:2] == ["teacher", "answers"]
    assert not any(event["event"] == "begin" for event in events), "no stage is made again"
    assert result.exit_code == 0
    assert compared().unchanged is not None


def test_rows_of_the_hub_are_never_said_to_be_unchanged(here: Path) -> None:
    comparison = compare(request(data=("owner/name",), run="runs/ner-rows-pixel6"),
                         fingerprint_now(request(data=("owner/name",))))  # fmt: skip
    assert comparison.unknown == ("rows of the hub (owner/name)",)
    assert comparison.unchanged is None


def test_an_edit_while_it_trains_is_noticed_afterwards(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebert.workflows import fit as workflow

    stages = workflow._stages

    def edit(job: Any) -> FitResult:
        append(here / "rows/train.conll", "\nfly\tO\n")
        return stages(job)

    monkeypatch.setattr(workflow, "_stages", edit)
    fit(run="runs/other")
    assert [str(change) for change in compared(run="runs/other").changes] == ["data rows/train.conll changed"]


def test_a_run_of_an_earlier_edgebert_goes_on_as_before(here: Path) -> None:
    path = here / "runs/ner-rows-pixel6/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["fingerprint"]
    for text in (json.dumps(manifest), "[]", "{", ""):
        path.write_text(text)
        comparison = compared(run="runs/ner-rows-pixel6")
        assert comparison.unchanged is None and describe(comparison) == ""


def test_processes_that_train_together_all_start(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "world_size", lambda: 2)
    assert unchanged.recorded_result(request(), locked=False, on_event=None) is None


# ---------------------------------------------------------------- checkpoints that nobody named


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder with a teacher of eight layers, which is not small."""
    make_checkpoint(tmp_path / "models" / "teacher", n_layers=8)
    return tmp_path / "models"


def inputs(**options: Any) -> Inputs:
    asked = request(**{"recipe": None, "params": {}, "unlabelled": (), "data": (), **options})
    return read_inputs(asked, resolve_names(asked))


def test_what_a_method_reads_counts(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "de.tsv").write_text("ja\tyes\n", encoding="utf-8")
    params = {"multilingual-align.parallel": f"{tmp_path}/de.tsv", "mtdnn-kd.teachers": f"{tmp_path}/one"}
    files = inputs(recipe="multilingual-align+mtdnn-kd", params=params).files
    assert files[f"multilingual-align {tmp_path}/de.tsv"]["bytes"] == 7
    assert files[f"mtdnn-kd {tmp_path}/one/config.json"]["bytes"] == 2


def test_a_checkpoint_beside_the_teacher_counts(deep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def beside() -> dict[str, object]:
        found = inputs(teacher=str(deep / "teacher")).found
        return {name: facts for name, facts in found.items() if name.endswith("(beside the teacher)")}

    assert list(beside()) == [f"checkpoint {deep / 'teacher'} (beside the teacher)"]
    make_checkpoint(deep / "small", n_layers=2)
    first = beside()
    assert f"checkpoint {deep / 'small'} (beside the teacher)" in first
    append(deep / "small" / "tokenizer.json")
    assert beside() != first
    assert inputs(teacher=str(deep / "teacher"), student="teacher").found == {}
    monkeypatch.setattr("edgebert.workflows.inputs.MOST_BYTES_FOUND", 10)
    assert inputs(teacher=str(deep / "teacher")).unknown == [
        "checkpoints beside the teacher, which are too large to compare quickly"
    ]


def test_named_starts_and_students_count_file_by_file(deep: Path, toy_checkpoint: Path) -> None:
    shutil.copytree(toy_checkpoint, deep.parent / "starts" / "tiny")
    files = inputs(teacher=str(toy_checkpoint), starts=(str(deep.parent / "starts"),)).files
    assert f"start {deep.parent / 'starts' / 'tiny'}/model.safetensors" in files
    files = inputs(teacher=str(toy_checkpoint), student=str(deep / "teacher")).files
    assert f"student {deep / 'teacher'}/model.safetensors" in files


def test_a_small_teacher_is_alone(toy_checkpoint: Path) -> None:
    assert inputs(teacher=str(toy_checkpoint)).found == {}


def test_a_teacher_that_is_still_on_the_hub_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    result = inputs(teacher="nobody/no-such-model")
    assert result.unknown == ["the teacher nobody/no-such-model, which is not on this machine yet"]


# ---------------------------------------------------------------- --locked


def locked(capsys: pytest.CaptureFixture[str], **options: str) -> str:
    words = ["fit", "--locked", "--quiet", "--device", "pixel6", "--teacher", "model", "--data", "rows", "--recipe",
             "recipe.toml", "--unlabelled", "texts", "--teacher-epochs", "4", "--epochs", "4", "--learning-rate", "3e-3",
             "--set", "drop-layers.n_layers=2", "--max-drop", "60", "--format", "onnx"]  # fmt: skip
    for name, value in options.items():
        words += [f"--{name}", value]
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr()
    assert ended.value.code == (2 if printed.err else 0), printed
    return printed.err


def test_locked_repeats_what_is_equal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert locked(capsys) == ""


def test_locked_lists_every_difference(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    append(here / "rows/train.conll", "\nfly\tO\n")
    append(here / "model/tokenizer.json")
    versions, hardware = unchanged._versions(), unchanged.describe_hardware()
    monkeypatch.setattr(unchanged, "_versions", lambda: versions | {"torch": "9.9"})
    monkeypatch.setattr(unchanged, "describe_hardware", lambda: hardware | {"cores": 99})
    before = state(here)
    lines = locked(capsys, seed="5").splitlines()
    assert lines[0] == "error: runs/ner-rows-pixel6/manifest.json: 4 differences to the run that --locked repeats"
    assert lines[1:3] == ["  --seed: was 0, is 5", f"  torch: was {versions['torch']}, is 9.9"]
    size = (here / "rows/train.conll").stat().st_size
    assert lines[3].startswith(f"  data rows/train.conll: was {size - 7} bytes ")
    assert f", is {size} bytes " in lines[3]
    assert lines[4].startswith("  teacher model/tokenizer.json: was ")
    assert len(lines) == 5, "another machine is no difference"
    assert state(here) == before


def test_locked_without_a_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert locked(capsys, run="runs/none").startswith("error: runs/none: there is no manifest.json of a finished run\n")
    path = here / "runs/ner-rows-pixel6/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "fingerprint": None}))
    assert "its manifest.json records no fingerprint" in locked(capsys)


def test_the_manifest_alone_is_enough_to_repeat(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = here / "runs/ner-rows-pixel6"
    run.rename(here / "runs/kept")  # beside it, so that its stages are linked
    run.mkdir()
    shutil.copy(here / "runs/kept/manifest.json", run)
    assert locked(capsys) == ""
    assert (run / "bundle/manifest.json").exists()


# ---------------------------------------------------------------- several devices, and packages


@pytest.fixture
def config(here: Path) -> Iterator[Path]:
    profile = (Path(edgebert.__file__).parent / "device_profiles" / "rpi4.toml").read_text(encoding="utf-8")
    (here / "board.toml").write_text(profile.replace('name = "rpi4"', 'name = "board"'), encoding="utf-8")
    path = here / "edgebert.toml"
    path.write_text(CONFIG, encoding="utf-8")
    yield path


def test_each_device_is_fitted_and_packaged_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first shares every stage with the run that is there, the second is that run."""
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", config.name])
    printed = capsys.readouterr()
    assert ended.value.code == 2, "no file of the winner is one that MediaPipe runs"
    board, pixel = Path("runs/ner-rows-board"), Path("runs/ner-rows-pixel6")
    assert "teacher: reused from run ner-rows-pixel6" in printed.err
    assert printed.err.count("nothing was done") == 1
    for run in (board, pixel):
        assert (run / "packages/python/pyproject.toml").exists()
        assert f"package {run}/packages/python (python, " in printed.out
    assert printed.err.count("error: ") == 2 and "mediapipe runs tflite" in printed.err
    summary = [line.split() for line in printed.out.splitlines()[-3:]]
    assert summary[0] == ["device", "packaged", "MB", "score", "exit"]
    assert [(line[0], line[1], line[-1]) for line in summary[1:]] == [
        ("board.toml", "L2-v82/onnx-int8", "2"), ("pixel6", "L2-v82/onnx-int8", "2"),
    ]  # fmt: skip

    with pytest.raises(SystemExit):
        main(["fit", "--config", config.name, "--json", "--quiet"])
    told = json.loads(capsys.readouterr().out)
    assert [(item["device"], item["packages"][0]["platform"]) for item in told] == [
        ("board.toml", "python"), ("pixel6", "python"),
    ]  # fmt: skip
    assert "mediapipe runs tflite" in told[0]["errors"][0]

    config.write_text(CONFIG.replace(', "mediapipe"', ""), encoding="utf-8")
    before = state(config.parent)
    results = edgebert.fit_config(config.name)
    assert [item.exit_code for item in results] == [0, 0]
    assert state(config.parent) == before, "nothing is written again"

    package = results[0].packages[0]
    append(package.folder / "pyproject.toml", "# mine\n")
    again = edgebert.fit_config(config.name)[0].packages[0]
    assert again == package
    assert "# mine" not in (package.folder / "pyproject.toml").read_text(encoding="utf-8")


def test_a_device_that_fails_does_not_keep_the_others(config: Path) -> None:
    foreign = config.parent / "runs/some-board"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("mine")
    first, second = edgebert.fit_config(config.name, {"run": "runs/some"})
    assert first.fit is None and first.exit_code == 2
    assert first.errors[0].startswith("runs/some-board: the folder is not empty and is no run: it holds mine.txt")
    assert [path.name for path in foreign.iterdir()] == ["mine.txt"]
    assert second.fit is not None and second.fit.run == Path("runs/some-pixel6")


def test_locked_refuses_before_the_first_device_begins(config: Path) -> None:
    before = state(config.parent)
    with pytest.raises(RequestError, match="there is no manifest"):
        edgebert.fit_config(config.name, locked=True)
    assert state(config.parent) == before


def test_a_platform_that_does_not_exist_is_refused_first(config: Path) -> None:
    config.write_text(CONFIG.replace("mediapipe", "androit"), encoding="utf-8")
    with pytest.raises(RequestError, match=r"edgebert.toml:19, bundle.platforms: unknown platform 'androit'"):
        edgebert.fit_config(config.name)
    assert not (config.parent / "runs/ner-rows-board").exists()
