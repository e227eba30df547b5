"""edgebert.toml: what the schema says and what the reader does are one, mistakes are told with their line, and the command
line counts more."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgebert.cli import cli, main
from edgebert.errors import RequestError
from edgebert.files import to_toml
from edgebert.types import FitRequest
from edgebert.workflows.config import config_problems, problems, read_config
from edgebert.workflows.config_text import config_table, config_text
from edgebert.workflows.options import OPTIONS, TABLES, FitOption, schema

ROOT = Path(__file__).parent.parent
VALIDATOR = jsonschema.Draft202012Validator(schema())
WHOLE = """\
devices = ["pixel6", "rpi4"]
task = "classify"
teacher = "my-bert"
run = "runs/mine"

[data]
rows = ["train=rows.csv", "test=more/test.csv"]
columns = { text = "body", label = "topic" }
unlabelled = "texts.txt"
max_length = 64

[student]
recipe = "trim-vocab+drop-layers+kd"

[student.params.drop-layers]
n_layers = 2

[student.params]
"kd.temperature" = 2

[budget]
max_drop = 1
measure_on = "none"

[training]
effort = "quick"
epochs = 3
seed = 7.0

[output]
formats = "onnx"

[bundle]
platforms = ["android", "web"]
"""


def write(folder: Path, text: str, name: str = "edgebert.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# ---------------------------------------------------------------- one declaration


def test_every_field_of_a_request_is_declared_once() -> None:
    declared = [option.field for option in OPTIONS]
    assert len(declared) == len(set(declared))
    assert set(declared) == {item.name for item in fields(FitRequest)} | {"devices", "platforms"}


def test_the_schema_is_one_and_describes_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    result: Any = schema()
    assert result["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for option in OPTIONS:
        table = result["properties"][option.table] if option.table else result
        description = table["properties"][option.name]
        assert description["description"] == option.help
        assert jsonschema.Draft202012Validator(description).is_valid(option.example), option.dotted
    training = result["properties"]["training"]["properties"]
    assert training["effort"]["enum"] == ["quick", "standard", "thorough"]
    assert training["effort"]["default"] == "standard"
    assert (training["epochs"]["type"], training["epochs"]["exclusiveMinimum"]) == ("number", 0)
    assert (training["average_weights"]["minimum"], training["average_weights"]["maximum"]) == (0, 1)


def test_the_command_prints_the_schema() -> None:
    done = CliRunner().invoke(cli, ["config", "schema"])
    assert done.exit_code == 0
    assert json.loads(done.output) == json.loads(json.dumps(schema()))


def test_the_guide_has_the_table_of_the_declaration() -> None:
    text = (ROOT / "docs" / "guides" / "config.md").read_text(encoding="utf-8")
    assert config_table() in text, "copy what edgebert.workflows.config_text.config_table() returns into the guide"


# ---------------------------------------------------------------- schema and reader agree

SCALARS = st.one_of(
    st.text(max_size=6), st.integers(-10, 200), st.floats(-2, 9, allow_nan=False), st.booleans(), st.just("quick")
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
PARAMS = st.dictionaries(
    st.sampled_from(["kd", "kd.folds", "drop-layers", ""]),
    SCALARS | st.dictionaries(st.sampled_from(["folds", "x.y"]), SCALARS | st.lists(SCALARS, max_size=1), max_size=2),
    max_size=2,
)
COLUMNS = st.dictionaries(st.sampled_from(["text", "second", "label", "lable"]), st.text(max_size=3), max_size=2)


def values(option: FitOption) -> st.SearchStrategy[Any]:
    """What is right, what is nearly right, and anything."""
    near = [st.just(option.example), st.just(option.default if option.default is not None else ""), ANYTHING]
    if option.type == "table":
        near.append(COLUMNS if option.keys else PARAMS)
    if option.type == "strings":
        near.append(st.lists(st.sampled_from(["a", "b", ""]), max_size=3))
    if option.type in ("number", "integer"):
        near.append(st.sampled_from([-1, 0, 0.0, 0.5, 1, 1.0, 1.5, 7, 8, 2.0]))
    return st.one_of(near)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    result: dict[str, Any] = {"device": "pixel6"} if draw(st.integers(0, 5)) else {}
    for option in draw(st.lists(st.sampled_from(OPTIONS), max_size=4)):
        place = result.setdefault(option.table, {}) if option.table else result
        if isinstance(place, dict):
            place[option.name] = draw(values(option))
    if not draw(st.integers(0, 3)):
        result[draw(st.sampled_from(["training", "dvice", "student", "effort", "", "task"]))] = draw(ANYTHING)
    if not draw(st.integers(0, 3)):
        place = result.setdefault(draw(st.sampled_from(["training", "budget"])), {})
        if isinstance(place, dict):
            place[draw(st.sampled_from(["effort", "efort", "max_drop", "device"]))] = draw(ANYTHING)
    return json.loads(json.dumps(result))  # type: ignore[no-any-return]


@given(documents())
def test_the_reader_refuses_what_the_schema_refuses_and_nothing_else(document: dict[str, Any]) -> None:
    told = [str(problem) for problem in problems(document, Path("nowhere.toml"))]
    refused = [error.message for error in VALIDATOR.iter_errors(document)]
    assert bool(told) == bool(refused), (told, refused)


@given(documents())
def test_what_is_right_can_be_written_and_read(document: dict[str, Any]) -> None:
    if not VALIDATOR.is_valid(document):
        return
    text = "\n".join(f"{to_toml(name)} = {to_toml(value)}" for name, value in document.items())
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), text)
        config = read_config(path)
    assert len(config.requests({})) == len(config.devices) >= 1


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "2026-11-30", "9223372036854775808"])
def test_what_json_cannot_say_is_no_number(value: str, tmp_path: Path) -> None:
    path = write(tmp_path, f'device = "pixel6"\n[training]\nepochs = {value}\n')
    with pytest.raises(RequestError, match=r"edgebert.toml:3, training.epochs: .* is not a number"):
        read_config(path)


# ---------------------------------------------------------------- what is read


def test_a_whole_file_becomes_a_request_for_each_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(write(tmp_path, WHOLE).relative_to(tmp_path))
    first, second = config.requests({})
    assert config.platforms == ("android", "web")
    assert (first.device, second.device) == ("pixel6", "rpi4")
    assert (first.run, second.run) == ("runs/mine-pixel6", "runs/mine-rpi4")
    assert first.data == ("train=rows.csv", "test=more/test.csv")
    assert first.unlabelled == ("texts.txt",)
    assert first.columns == {"text": "body", "label": "topic"}
    assert first.params == {"drop-layers.n_layers": 2, "kd.temperature": 2}
    assert (first.max_drop, first.on, first.epochs, first.seed) == (1.0, "none", 3.0, 7)
    assert isinstance(first.max_drop, float) and isinstance(first.seed, int)
    assert first.formats == ("onnx",) and first.precisions == ("int8",) and first.effort == "quick"
    assert first.teacher == "my-bert" and first.max_size_mb is None


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        'device = "board.toml"\nteacher = "bert"\nrun = "out"\n[data]\nrows = ["train=a.csv", "b", "atis", "owner/name"]\n'
        'unlabelled = "t.txt"\n[student]\nstart = "teacher"\nrecipe = "r.toml"\nstarts = "small"\n'
    )
    path = write(tmp_path / "job", text)
    (path.parent / "bert").mkdir()
    (path.parent / "b").mkdir()
    (request,) = read_config(path.relative_to(tmp_path)).requests({})
    assert (request.device, request.teacher, request.run) == ("job/board.toml", "job/bert", "job/out")
    assert request.data == ("train=job/a.csv", "job/b", "atis", "owner/name")
    assert (request.unlabelled, request.recipe, request.starts) == (("job/t.txt",), "job/r.toml", ("job/small",))
    assert request.student == "teacher"
    params = '[student.params.multilingual-align]\nparallel = "t.tsv, ~/a.de:../a.en"\nrate = 0.1\n[student.params.nobody]\nx = "y"\n'
    (request,) = read_config(write(tmp_path / "params", f'device = "pixel6"\n{params}').relative_to(tmp_path)).requests(
        {}
    )
    paths = f"params/t.tsv,{Path.home()}/a.de:params/../a.en"
    assert request.params == {"multilingual-align.parallel": paths, "multilingual-align.rate": 0.1, "nobody.x": "y"}
    (path.parent / "bert").rmdir()
    assert read_config(path.relative_to(tmp_path)).requests({})[0].teacher == "bert", "a hub id stays one"


def test_rows_of_heads_are_relative_to_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        'device = "pixel6"\ntask = "slots=ner,intent=classify"\n[data]\nrows = ["slots=train=a.conll", "intent=./b"]\n'
    )
    (request,) = read_config(Path(write(tmp_path / "job", text).relative_to(tmp_path))).requests({})
    assert request.data == ("slots=train=job/a.conll", "intent=job/b")


def test_what_is_given_beside_the_file_counts_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[FitRequest, ...]] = []

    def fit_devices(config: Any, given: Any, run: Any, on_event: Any, *, locked: bool) -> Any:
        asked.append(config.requests(given))
        raise RequestError("enough")

    monkeypatch.setattr("edgebert.workflows.config_fit.fit_devices", fit_devices)
    path = str(write(tmp_path, WHOLE))
    words = ["fit", "--config", path, "--device", "iphone13", "--epochs", "9", "--set", "kd.temperature=4", "--seed", "0",
             "--text-column", "words", "--format", "tflite,coreml", "--baselines"]  # fmt: skip
    with pytest.raises(SystemExit):
        main(words)
    ((request,),) = asked
    assert (request.device, request.epochs, request.seed, request.effort) == ("iphone13", 9.0, 0, "quick")
    assert request.run == str(tmp_path / "runs/mine")
    assert request.params == {"drop-layers.n_layers": 2, "kd.temperature": "4"}
    assert request.columns == {"text": "words", "label": "topic"}
    assert request.formats == ("tflite", "coreml") and request.baselines is True


def test_the_command_line_alone_gives_the_defaults_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def fit(**options: Any) -> None:
        asked.append(options)
        raise RequestError("enough")

    monkeypatch.setattr("edgebert.api.fit", fit)
    with pytest.raises(SystemExit):
        main(["fit", "--device", "pixel6"])
    (options,) = asked
    assert {name: value for name, value in options.items() if name not in ("command", "on_event")} == {
        "device": "pixel6",
        "locked": False,
    }


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('device = "pixel6"\n[training]\nefort = "quick"\n', r":3, training.efort: unknown key 'efort'\n  Did you mean effort"),
        ('device = "pixel6"\n[budget]\nmax-drop = 1\n', r":3, budget.max-drop: unknown key 'max-drop' in \[budget\]\n  Did you "
         "mean max_drop"),
        ('device = "pixel6"\nmax_drop = 1\n', r":2, max_drop: unknown key 'max_drop'\n  It stands under \[budget\]"),
        ('device = "pixel6"\n[data]\nteacher = "x"\n', r":3, data.teacher: .*\n  It stands at the top, before the first"),
        ('device = "pixel6"\n[student]\nformat = "onnx"\n', r"It stands under \[output\], as formats"),
        ('device = "pixel6"\n[trainning]\nseed = 1\n', r":2, trainning: unknown key 'trainning'\n  Did you mean training"),
        ('device = 6\n', r":1, device: 6 is not a string that is not empty"),
        ('device = ""\n', r':1, device: "" is not a string'),
        ('device = "pixel6"\n\n[training]\nepochs = "3"\n', r':4, training.epochs: "3" is not a number'),
        ('device = "pixel6"\n[training]\nseed = true\n', r":3, training.seed: true is not a whole number"),
        ('device = "pixel6"\n[training]\nbatch_size = 1.5\n', r":3, training.batch_size: 1.5 is not a whole number"),
        ('device = "pixel6"\n[training]\nbatch_size = 0\n', r":3, training.batch_size: 0 is not at least 1"),
        ('device = "pixel6"\n[training]\nepochs = 0\n', r":3, training.epochs: 0 is not above 0"),
        ('device = "pixel6"\n[training]\naverage_weights = 2\n', r":3, training.average_weights: 2 is not at most 1"),
        ('device = "pixel6"\n[training]\neffort = "quik"\n', r":3, training.effort: .*'quik'\n  Did you mean quick\?"),
        ('device = "pixel6"\n[student]\nbaselines = "yes"\n', r':3, student.baselines: "yes" is not true or false'),
        ('device = "pixel6"\n[output]\nformats = ["onnx", "onnx"]\n', r":3, output.formats: .* without repetitions"),
        ('device = "pixel6"\ntraining = "quick"\n', r':2, training: "quick" is no table'),
        ('device = "pixel6"\n[data.columns]\nlable = "x"\n', r":3, data.columns.lable: unknown key 'lable'\n  Did you mean label"),
        ('device = "pixel6"\n[data]\ncolumns = "x"\n', r':3, data.columns: "x" is not a table'),
        ('device = "pixel6"\n[student.params]\nkd = 3\n', r":3, student.params.kd: 'kd' names no parameter"),
        ('device = "pixel6"\n[student.params.kd]\nfolds = [3]\n', r":3, student.params.kd.folds: \[3\] is not a string"),
        ('devices = []\n', r":1, devices: \[\] is not a string, or a list of strings"),
        ('devices = ["pixel6", "pixel6"]\n', r":1, devices: .* without repetitions"),
        ('device = "pixel6"\ndevices = ["rpi4"]\n', r":2, devices: device and devices are both given"),
        ('task = "ner"\n', r"edgebert.toml: no device is named\n  Write device = "),
        ('device = "pixel6\n', r"cannot be read as TOML: .*line 1"),
        ('device = "pixel6"\ndevice = "rpi4"\n', r"cannot be read as TOML: .*line 2"),
    ],
)  # fmt: skip
def test_one_mistake(text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", str(path), "--quiet"])
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert re.search(told, message), message
    assert [item.name for item in tmp_path.iterdir()] == ["edgebert.toml"], "nothing may be left behind"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('device = "pixle6"\n', r":1, device: unknown device 'pixle6'\n  Did you mean pixel6"),
        ('devices = ["pixel6", "nothing.toml"]\n', r":1, devices: \S*nothing.toml: no such file"),
        ('device = "pixel6"\ntask = "nre"\n', r":2, task: unknown task 'nre'\n  Did you mean ner"),
        ('device = "pixel6"\n[data]\nrows = "nowhere.conll"\n', r":3, data.rows: \S*nowhere.conll: no such file"),
        (f'device = "pixel6"\nteacher = "./{"x" * 300}"\n[data]\nrows = "{"y" * 300}"\n', r":2, teacher: there is no folder"),
        ('device = "pixel6"\n[data]\nunlabelled = "no.txt"\n', r":3, data.unlabelled: there is no file or folder \S*no.txt"),
        ('device = "pixel6"\nteacher = "./nobody"\n', r":2, teacher: there is no folder \S*nobody\n  Paths are relative to"),
        ('device = "pixel6"\n[student]\nstarts = "small"\n', r":3, student.starts: there is no file or folder"),
        ('device = "pixel6"\n[student]\nrecipe = "drop-layer"\n', r":3, student.recipe: .*drop-layer.*\n  Did you mean drop-layers"),
        ('device = "pixel6"\n[student]\nrecipe = "my.toml"\n', r":3, student.recipe: \S*my.toml: no such file"),
        ('device = "pixel6"\n[student.params.kd]\ntemprature = 1\n', r"student.params: .*temprature.*\n  Did you mean temperature"),
        ('device = "pixel6"\n[output]\nformats = "onxx"\n', r":3, output.formats: unknown format 'onxx'\n  Did you mean onnx"),
        ('device = "pixel6"\n[output]\nprecisions = "int9"\n', r":3, output.precisions: unknown precision 'int9'"),
        ('device = "pixel6"\n[output]\nformats = "tflite"\nshape = "functions"\n', r":4, output.shape: none of the formats that were "
         "asked for can take functions lengths\n  Add --format with coreai, coreml, or leave it out"),
        ('device = "pixel6"\n[bundle]\nplatforms = "androit"\n', r":3, bundle.platforms: unknown platform 'androit'\n  Did you "
         "mean android"),
    ],
)  # fmt: skip
def test_check_tells_what_is_not_there(text: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    done = CliRunner().invoke(cli, ["config", "check", str(path)], standalone_mode=False)
    assert done.return_value == 2
    assert re.search(told, done.stderr), done.stderr


def test_check_tells_everything_at_once_and_as_json(tmp_path: Path) -> None:
    path = write(tmp_path, 'device = "pixle6"\ntask = "nre"\n[bundle]\nplatforms = ["web", "ois"]\n')
    done = CliRunner().invoke(cli, ["config", "check", str(path), "--json"], standalone_mode=False)
    told = json.loads(done.output)
    assert {item["where"].partition(", ")[2] for item in told} == {"device", "task", "bundle.platforms"}
    good = write(tmp_path, 'device = "pixel6"\ntask = "ner"\n', "good.toml")
    done = CliRunner().invoke(cli, ["config", "check", str(good)], standalone_mode=False)
    assert (done.return_value, done.output) == (0, f"{good}: valid\n")


def test_a_file_that_is_not_there() -> None:
    (problem,) = config_problems(Path("nowhere.toml"))
    assert str(problem) == "nowhere.toml: no such file"


def test_checking_loads_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path, 'device = "pixel6"\ntask = "ner"\n[bundle]\nplatforms = "web"\n')
    code = (
        "import sys; from pathlib import Path; from edgebert.workflows.config import config_problems\n"
        f"assert config_problems(Path({str(path)!r})) == []\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def test_neither_a_device_nor_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--task", "ner"])
    assert ended.value.code == 2
    assert "Missing option '--device' or '--config'" in capsys.readouterr().err


# ---------------------------------------------------------------- the commented file


def test_a_commented_file_is_right_and_so_is_each_line_of_it(tmp_path: Path) -> None:
    text = config_text({"device": "pixel6", "task": "ner"})
    assert read_config(write(tmp_path, text)).devices == ("pixel6",)
    lines = re.findall(r"^# (\w+) = ", text, re.M)
    assert len(lines) == len(OPTIONS) - 3, "every option but device, task and devices"
    everything = re.sub(r"^# (?=\w+ = )", "", text, flags=re.M)
    config = read_config(write(tmp_path, everything))
    assert len(config.values) == len(OPTIONS) - 3, "all but device, devices and platforms"
    for name in TABLES:
        assert not name or f"\n[{name}]\n" in text
