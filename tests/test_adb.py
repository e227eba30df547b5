"""An Android phone by adb's real client and server, against a device that speaks adb's protocol (tests/adb_device.py).

Proven here: which bytes a phone would receive, where and with which mode; which command lines, run by a real sh; that
nothing of ours is left; each message. What only a phone can prove stands in edgebert/measure/targets/adb.py, with the
command.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebert.converters import CONVERTERS
from edgebert.errors import EdgebertError, RequestError
from edgebert.measure.targets import TARGETS, File, Job, Outcome, adb
from edgebert.measure.targets import _adb_client as client
from edgebert.measure.targets import _adb_tools as tools
from edgebert.measure.targets._adb_litert import Tflite, three
from tests import adb_programs
from tests.adb_device import PLACE, Device

pytestmark = pytest.mark.skipif(not shutil.which("adb"), reason="adb is not installed (.ci/system-packages)")
ROWS = [[2, 11, 3], [2, 12, 13, 14, 15, 16, 17, 18, 19, 20, 3], [2, 21, 22, 23, 3]]
INPUTS = tuple(
    {"input_ids": [row], "attention_mask": [[1] * len(row)], "token_type_ids": [[0] * len(row)]} for row in ROWS
)


def elf(machine: int, linker: bytes = b"/system/bin/linker64\0") -> bytes:
    """The head of a 64-bit program: what is read before anything is pushed."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(100) + linker + bytes(5000)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An adb server of the test's own: its port, its home, no USB emulators."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setenv("ADB_LOCAL_TRANSPORT_MAX_PORT", "0")
    for name in (
        "ANDROID_SERIAL",
        "ADB_SERVER_SOCKET",
        "ADB_VENDOR_KEYS",
        *(tool.variable for tool in tools.TOOLS.values()),
    ):
        monkeypatch.delenv(name, raising=False)
    yield
    subprocess.run(["adb", "kill-server"], capture_output=True, check=False)


@pytest.fixture
def device(server: None, tmp_path: Path) -> Iterator[Device]:
    """A phone that is connected and authorised."""
    programs = {
        tools.LITERT.name: adb_programs.LITERT,
        tools.ONNX.name: adb_programs.ONNX,
        tools.EXECUTORCH.name: adb_programs.EXECUTORCH,
    }
    item = Device(tmp_path / "phone", programs=programs)
    connect(item)
    yield item
    item.close()


@pytest.fixture
def binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Programs for Android by their headers, in a folder with a name that a shell would stumble over."""
    folder = tmp_path / "my tools; touch gone 'x'"
    folder.mkdir()
    created = {}
    for tool in tools.TOOLS.values():
        created[tool.name] = folder / tool.name
        created[tool.name].write_bytes(elf(183))
        monkeypatch.setenv(tool.variable, str(created[tool.name]))
    return created


def connect(one: Device) -> None:
    subprocess.run(["adb", "connect", one.serial], capture_output=True, check=True, timeout=30)


@pytest.fixture(scope="module")
def tflite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT of lengths 8 and 16, in a folder with spaces and quotes."""
    pytest.importorskip("litert_torch", reason="pip install edgebert[tflite]")
    from edgebert.converters import tflite
    from edgebert.modeling.graph import make_source
    from tests.conftest import make_tokenizer
    from tests.families import tiny

    folder = tmp_path_factory.mktemp("a 'b\"; c")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    source = make_source(tiny("bert"), lengths=(8, 16), labels=("a", "b", "c"), tokenizer=folder / "tokenizer.json")
    return tflite.export(source, folder).path


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph of two int64 inputs; the phone's stub only reads their names."""
    import onnx
    from onnx import TensorProto, helper

    kinds = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, None]) for name in ("input_ids", "attention_mask")
    ]
    out = helper.make_tensor_value_info("logits", TensorProto.INT64, [1, None])
    graph = helper.make_graph([helper.make_node("Add", ["input_ids", "attention_mask"], ["logits"])], "g", kinds, [out])
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    onnx.save(helper.make_model(graph), str(path))
    return path


def job(*files: File, **changes: Any) -> Job:
    return replace(Job(files, INPUTS, threads=2, min_runs=9, max_seconds=0.01, timeout_s=60, n_outputs=0), **changes)


def quiet(**event: Any) -> None:
    assert event["event"] in ("measuring", "note")
    assert event["text"]


def run(device: Device, wanted: Job) -> Outcome:
    return adb.measure(device.serial, wanted, quiet)


def starts(device: Device) -> list[str]:
    return (device.sandbox / "starts").read_text().splitlines()


def left_over(device: Device) -> list[str]:
    return [path.name for path in device.root.iterdir()]


# ---------------------------------------------------------------- what a phone sees


def test_an_onnx_file_byte_for_byte(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    from onnx import TensorProto, numpy_helper

    outcome = run(device, job(File("onnx", "onnx", onnx_file), cores=(4, 6, 7)))
    [result] = outcome.records
    assert (result.failure, result.runtime) == ("", "ONNX Runtime")
    [folder] = {path.split("/")[4] for path in device.pushed}
    assert folder.startswith("edgebert-")
    assert len(folder) == len("edgebert-") + 16
    at = f"{PLACE}/{folder}"
    assert device.pushed[f"{at}/onnxruntime_perf_test"].content == binaries["onnxruntime_perf_test"].read_bytes()
    assert device.pushed[f"{at}/0/model.onnx"].content == onnx_file.read_bytes()
    assert {oct(item.mode) for item in device.pushed.values()} == {"0o100644"}
    assert (device.sandbox / "chmod").read_text().split()[0] == "755"
    assert set(device.pushed) == {
        f"{at}/onnxruntime_perf_test", f"{at}/0/model.onnx",
        *(f"{at}/0/inputs/{k}/input_{i}.pb" for k in range(3) for i in range(2)),
    }  # fmt: skip
    first = (
        f"taskset d0 sh -c 'rm -rf {at}/0/test_data_set_0 {at}/0/inputs/0/times.csv && cp -r {at}/0/inputs/0 "
        f"{at}/0/test_data_set_0 && LD_LIBRARY_PATH={at} {at}/onnxruntime_perf_test -e cpu -m times -r 13 -x 2 "
        f"{at}/0/model.onnx {at}/0/inputs/0/times.csv && {{ cat {at}/0/inputs/0/times.csv; true; }}'\necho edgebert-ended:$?"
    )
    rounds = [command for command in device.commands if "taskset" in command]
    assert rounds[0] == first
    assert "-r 53 " in rounds[1], "0.2 s of 4 ms are 50 runs, and three that count"
    assert (device.sandbox / "masks").read_text().split() == ["d0"] * len(rounds)
    fed = []
    for k, row in enumerate(ROWS):
        parts = [device.pushed[f"{at}/0/inputs/{k}/input_{i}.pb"].content for i in range(2)]
        tensors = [TensorProto.FromString(part) for part in parts]
        assert [tensor.name for tensor in tensors] == ["input_ids", "attention_mask"]
        assert [numpy_helper.to_array(item).tolist() for item in tensors] == [[row], [[1] * len(row)]]
        assert {tensor.data_type for tensor in tensors} == {TensorProto.INT64}
        fed.append(hashlib.sha256(b"".join(parts)).hexdigest())
    assert (device.sandbox / "fed").read_text().split() == fed, "an input a round, in order"
    assert left_over(device) == []
    assert device.commands[-1].startswith(f"rm -rf {at}\n")
    assert result.times_ms == pytest.approx([4.00] * 3 + [4.01] * 3 + [4.02] * 3)
    assert len(result.times_ms) == 9
    assert (result.load_ms, result.first_run_ms, result.peak_memory_bytes) == (pytest.approx(45.5992), 12, 31457280)
    assert "onnxruntime_perf_test, sha256 " in result.runtime_version


def test_a_tflite_file_with_its_outputs(device: Device, binaries: dict[str, Path], tflite_file: Path) -> None:
    """Inputs are padded to the signature, and what comes back is what LiteRT computes here."""
    outcome = run(device, job(File("tflite", "tflite", tflite_file), n_outputs=2))
    [result] = outcome.records
    assert result.failure == ""
    [folder] = {path.split("/")[4] for path in device.pushed}
    at = f"{PLACE}/{folder}"
    for name, fill in (("input_ids", 0), ("attention_mask", 0), ("token_type_ids", 0)):
        wanted = np.full(8, fill, "<i4")
        wanted[:3] = INPUTS[0][name][0]
        assert device.pushed[f"{at}/0/inputs/0/{name}.bin"].content == wanted.tobytes()
        assert len(device.pushed[f"{at}/0/inputs/1/{name}.bin"].content) == 4 * 16
    words = starts(device)[1].split()
    here = str(device.local(at))
    names = next(word for word in words if word.startswith("--input_layer=")).split("=")[1].split(",")
    assert sorted(names) == ["attention_mask", "input_ids", "token_type_ids"]
    assert words == [
        f"--graph={here}/0/model.tflite",
        "--signature_to_run_for=seq16",
        f"--input_layer={','.join(names)}",
        "--input_layer_shape=1,16:1,16:1,16",
        f"--input_layer_value_files={','.join(f'{name}:{here}/0/inputs/1/{name}.bin' for name in names)}",
        "--num_threads=2", "--num_runs=3", "--min_secs=0", "--warmup_runs=2", "--warmup_min_secs=0.2",
        f"--output_filepath={here}/0/inputs/1/outputs.bin",
    ]  # fmt: skip
    assert "output_filepath" not in starts(device)[2]
    session = CONVERTERS.get("tflite").open(tflite_file, 1)
    assert len(result.outputs) == 2
    for row, outputs in zip(INPUTS, result.outputs, strict=False):
        wanted = session.run({name: np.asarray(value) for name, value in row.items()})
        assert set(outputs) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(np.asarray(outputs[name]), value, atol=1e-5)
    assert result.times_ms[:6] == (5.0, 5.01, 5.02, 5.3, 5.301, 5.302), "the first run of each input, the second"
    assert (result.load_ms, result.first_run_ms) == (12.345, 9.0)
    assert result.peak_memory_bytes == round(20.25 * 2**20)
    assert left_over(device) == []


@pytest.mark.slow
def test_an_executorch_file_with_its_outputs(device: Device, binaries: dict[str, Path], tmp_path: Path) -> None:
    """Inputs are as long as the longest row, of which the tool reads the row's own length."""
    pytest.importorskip("executorch", reason="pip install edgebert[executorch]")
    from edgebert.modeling.graph import make_source
    from tests.families import tiny

    model = tiny("bert", num_hidden_layers=1, max_position_embeddings=16)
    path = CONVERTERS.get("executorch").export(make_source(model, labels=("a", "b", "c")), tmp_path).path
    outcome = run(device, job(File("pte", "executorch", path), n_outputs=2))
    [result] = outcome.records
    assert (result.failure, result.runtime) == ("", "ExecuTorch")
    [folder] = {path.split("/")[4] for path in device.pushed}
    at = f"{PLACE}/{folder}"
    assert device.pushed[f"{at}/0/inputs/0/input_ids.bin"].content == np.array([2, 11, 3] + [0] * 13, "<i8").tobytes()
    here, names = str(device.local(at)), ("input_ids", "attention_mask", "token_type_ids")
    assert starts(device)[1].split() == [
        f"--model_path={here}/0/model.executorch",
        f"--inputs={','.join(f'{here}/0/inputs/1/{name}.bin' for name in names)}",
        "--input_shapes=1x11,1x11,1x11", "--method_name=forward", "--num_executions=103", "--cpu_threads=2",
        "--print_output=none", f"--output_file={here}/0/inputs/1/output",
    ]  # fmt: skip
    assert "output_file" not in starts(device)[2]
    session = CONVERTERS.get("executorch").open(path, 1)
    assert len(result.outputs) == 2
    for row, outputs in zip(INPUTS, result.outputs, strict=False):
        wanted = session.run({name: np.asarray(value) for name, value in row.items()})
        np.testing.assert_allclose(np.asarray(outputs["logits"]), wanted["logits"], atol=1e-5)
    assert result.times_ms[:6] == pytest.approx((2.0, 3.0, 4.0, 2.01, 3.01, 4.01)), (
        "the first run of each input, the second"
    )
    assert (result.load_ms, result.first_run_ms, result.peak_memory_bytes) == (7.5, 9.0, None)
    assert left_over(device) == []


def test_files_take_turns(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    outcome = run(device, job(File("a; b", "onnx", onnx_file), File("c", "onnx", onnx_file)))
    order = [Path(line.split()[-1]).parts[-4:-1] for line in starts(device)]
    assert [part[0] + part[2] for part in order[:4]] == ["00", "10", "01", "11"]
    assert [result.name for result in outcome.records] == ["a; b", "c"]
    assert {len(result.times_ms) for result in outcome.records} == {9}


def test_measuring_goes_on_until_p50_is_stable(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    [result] = run(device, job(File("onnx", "onnx", onnx_file), max_seconds=60)).records
    assert len(result.times_ms) == 36, "six blocks of five are the fewest that are called stable; a pass has nine runs"


def test_what_the_phone_tells_of_itself(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    outcome = run(device, job(File("onnx", "onnx", onnx_file)))
    assert (outcome.device, outcome.how) == ("Google Pixel 6", "measured")
    assert outcome.facts == {
        "serial": device.serial,
        "processor": "GS101",
        "system": "Android 14",
        "core_clocks_mhz": [1803.0, 1803.0, 2802.0],
        "clock_mhz": [2802.0, 2802.0],
        "temperature_c": [31.2, 31.2],
        "cores": [],
        "threads": 2,
        "left_behind": [],
    }


def test_a_folder_with_weights_and_the_library(
    device: Device, binaries: dict[str, Path], onnx_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(onnx_file, folder / "model.onnx")
    (folder / "model.onnx.data").write_bytes(b"weights")
    library = binaries["onnxruntime_perf_test"].with_name("libonnxruntime.so")
    library.write_bytes(elf(183))
    assert run(device, job(File("onnx", "onnx", folder))).records[0].failure == ""
    names = {path.split("/", 5)[5] for path in device.pushed if "inputs" not in path}
    assert names == {"onnxruntime_perf_test", "libonnxruntime.so", "0/model.onnx", "0/model.onnx.data"}


# ---------------------------------------------------------------- what goes wrong


def test_no_adb(monkeypatch: pytest.MonkeyPatch, onnx_file: Path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RequestError, match="--on adb: adb is not installed"):
        adb.measure("", job(File("onnx", "onnx", onnx_file)), quiet)
    assert adb.answers("") == "adb is not installed"


def test_no_phone(server: None, onnx_file: Path) -> None:
    with pytest.raises(RequestError, match="no phone is connected") as caught:
        adb.measure("", job(File("onnx", "onnx", onnx_file)), quiet)
    assert "USB debugging" in str(caught.value.hint)
    assert adb.answers("") == "no phone is connected"


def test_a_look_at_a_phone(device: Device, binaries: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert adb.look("", ("tflite", "onnx")).lacks == {}
    monkeypatch.delenv(tools.ONNX.variable)
    seen = adb.look(device.serial, ("tflite", "onnx"))
    assert seen.called == "Google Pixel 6" and list(seen.lacks) == ["onnx"]
    assert "no onnxruntime_perf_test for the phone. Set it to the path" in seen.lacks["onnx"]


def test_several_phones(device: Device, tmp_path: Path) -> None:
    other = Device(tmp_path / "other")
    connect(other)
    try:
        with pytest.raises(RequestError, match="2 phones are connected") as caught:
            client.select(client.find(), "")
        for item in (device, other):
            assert f"--on adb:{item.serial} (device)" in str(caught.value.hint)
        assert client.select(client.find(), other.serial).serial == other.serial
        assert adb.answers(other.serial) == ""
    finally:
        other.close()


@pytest.mark.parametrize("serial", ["x'; touch gone; '", 'a b"c', "$(touch gone)", "-s", "../x"])
def test_a_serial_is_never_a_command(
    device: Device, serial: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError) as caught:
        client.select(client.find(), serial)
    assert caught.value.what == f"no phone of serial '{serial}'"
    assert device.serial in str(caught.value.hint)
    assert not (tmp_path / "gone").exists()
    assert device.commands == []


def test_serials_with_spaces_and_quotes_are_listed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No device on the loopback can have such a serial, so this one list is not adb's own."""
    fake = tmp_path / "adb"
    fake.write_text("#!/bin/sh\nprintf 'List of devices attached\\na b;c\\tdevice\\n%s\\toffline\\n\\n' \"it's\"\n")
    fake.chmod(0o755)
    assert client.listed(str(fake)) == [("a b;c", "device"), ("it's", "offline")]
    with pytest.raises(RequestError) as caught:
        client.select(str(fake), "")
    assert "--on 'adb:a b;c' (device)" in str(caught.value.hint)


def test_not_authorised(server: None, tmp_path: Path) -> None:
    phone = Device(tmp_path / "phone", authorised=False)
    try:
        connect(phone)
        with pytest.raises(RequestError, match="has not authorised this computer") as caught:
            client.select(client.find(), "")
        assert "Allow USB debugging" in str(caught.value.hint)
        assert phone.commands == []
    finally:
        phone.close()


def test_offline(device: Device) -> None:
    device.close()
    with pytest.raises(RequestError, match="is offline"):
        client.select(client.find(), device.serial)


def test_32_bit_system(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    device.set_property("ro.product.cpu.abi", "armeabi-v7a")
    with pytest.raises(EdgebertError, match=r"the phone runs a 32-bit system \(armeabi-v7a\)"):
        run(device, job(File("onnx", "onnx", onnx_file)))
    assert device.pushed == {}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no such file"),
        (b"#!/bin/sh\n", "not a program of Linux or Android"),
        (elf(62), "built for x86-64, the phone is aarch64"),
        (elf(40), "built for arm (32 bits), the phone is aarch64"),
        (elf(183, b"/lib/ld-linux-aarch64.so.1\0"), "built for Linux, not for Android"),
    ],
)
def test_a_benchmark_that_cannot_run(
    device: Device, binaries: dict[str, Path], onnx_file: Path, content: bytes | None, what: str
) -> None:
    path = binaries["onnxruntime_perf_test"]
    path.unlink()
    if content:
        path.write_bytes(content)
    with pytest.raises(RequestError) as caught:
        run(device, job(File("onnx", "onnx", onnx_file)))
    assert what in caught.value.what
    assert str(caught.value.where).startswith("EDGEBERT_ANDROID_ONNXRUNTIME")
    assert "microsoft/onnxruntime" in str(caught.value.hint)
    assert device.pushed == {}, "the header is read before anything is copied"


def test_a_benchmark_that_is_not_given(device: Device, onnx_file: Path) -> None:
    with pytest.raises(RequestError, match="EDGEBERT_ANDROID_ONNXRUNTIME: no onnxruntime_perf_test for the phone"):
        run(device, job(File("onnx", "onnx", onnx_file)))


def test_a_format_that_phones_do_not_run(device: Device, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"a phone cannot run apple \(coreml\)"):
        run(device, job(File("apple", "coreml", tmp_path)))


def test_no_space(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    device.full = True
    with pytest.raises(EdgebertError, match=r"no space left on the phone for onnxruntime_perf_test \(0 MB\)"):
        run(device, job(File("onnx", "onnx", onnx_file)))
    assert left_over(device) == []


def test_a_refused_file_does_not_stop_the_others(
    device: Device, binaries: dict[str, Path], onnx_file: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not onnx at all")
    outcome = run(device, job(File("bad", "onnx", bad), File("good", "onnx", onnx_file)))
    assert outcome.records[0].failure.startswith("the ONNX file cannot be read")
    assert (outcome.records[0].times_ms, len(outcome.records[1].times_ms)) == ((), 9)


def test_an_input_that_the_file_cannot_take(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    rows = ({"input_ids": [[2, 3]]},)
    [result] = run(device, job(File("onnx", "onnx", onnx_file), inputs=rows)).records
    assert result.failure == "the file reads attention_mask, which the inputs do not have"
    assert left_over(device) == []


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        ("refuse 1", "onnxruntime_perf_test refuses onnx (exit code 1): ERROR: Didn't find op for builtin opcode 'X'"),
        ("other 1", "onnxruntime_perf_test printed what is not known of it: 'a tool of another world"),
    ],
)
def test_a_round_that_fails_keeps_those_before(
    device: Device, binaries: dict[str, Path], onnx_file: Path, mode: str, what: str
) -> None:
    (device.sandbox / "mode").write_text(mode)
    [result] = run(device, job(File("onnx", "onnx", onnx_file))).records
    assert result.failure.startswith(what)
    assert result.times_ms == pytest.approx([4.02]), "of a pass that was not finished, the last run of each round"
    assert left_over(device) == []


def test_a_benchmark_that_hangs_is_ended(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    (device.sandbox / "mode").write_text("hang 1")
    [result] = run(device, job(File("onnx", "onnx", onnx_file), timeout_s=4)).records
    assert result.failure.startswith("stopped in round 2: the phone did not answer within")
    assert len(result.times_ms) == 1
    [folder] = {path.split("/")[4] for path in device.pushed}
    assert (device.sandbox / "killed").read_text().split() == [str(device.local(f"{PLACE}/[e]{folder[1:]}"))]
    for pid in (device.sandbox / "pids").read_text().split():
        assert not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert left_over(device) == []


def test_a_phone_that_dies_in_the_middle(device: Device, binaries: dict[str, Path], onnx_file: Path) -> None:
    device.dies_at = "inputs/1/times.csv"
    outcome = run(device, job(File("onnx", "onnx", onnx_file)))
    [result] = outcome.records
    assert result.failure.startswith("stopped in round 2: the phone went away")
    assert len(result.times_ms) == 1
    [folder] = {path.split("/")[4] for path in device.pushed}
    assert outcome.facts["left_behind"] == [f"{PLACE}/{folder}"], "it is gone, so the folder is named instead"


def test_a_phone_that_dies_before_anything_is_measured(
    device: Device, binaries: dict[str, Path], onnx_file: Path
) -> None:
    device.dies_at = "inputs/0/times.csv"
    with pytest.raises(EdgebertError, match=r"the phone went away.*still there: /data/local/tmp/edgebert-"):
        run(device, job(File("onnx", "onnx", onnx_file)))


# ---------------------------------------------------------------- what LiteRT's tool prints


SAID = client.CommandOutput(0, "", "")


@pytest.mark.parametrize(
    ("summary", "times"),
    [
        ("count=3 first=10 curr=30 min=10 max=30 avg=20 std=8 p5=10 median=20 p95=30", (10, 20, 30)),
        ("count=3 first=20 curr=10 min=10 max=30 avg=20 std=8 p5=10 median=20 p95=30", (20, 30, 10)),
        ("count=3 first=30 curr=20 min=10 max=30 avg=20 std=8 p5=10 median=20 p95=30", (30, 10, 20)),
        ("count=3 first=10 curr=10 min=10 max=30 avg=16.6667 std=8 p5=10 median=10 p95=30", (10, 30, 10)),
        ("count=3 first=10 curr=30 min=10 max=30 avg=20 std=8", (10, 20, 30)),
        ("count=3 first=2000000 curr=3000000 min=2000000 max=3000000 avg=2.5e+06 std=8", (2e6, 2.5e6, 3e6)),
        ("count=3 curr=17(all same) p5=17 median=17 p95=17", (17, 17, 17)),
    ],
)
def test_three_runs_from_their_summary(summary: str, times: tuple[float, ...]) -> None:
    assert three(summary, SAID) == pytest.approx([time / 1e3 for time in times])


@pytest.mark.parametrize("summary", ["count=2 first=1 curr=2 min=1 max=2 avg=1", "count=3 median=5", "count=3 curr=5"])
def test_other_summaries_are_not_guessed_at(summary: str) -> None:
    with pytest.raises(EdgebertError, match="printed what is not known of it"):
        three(summary, SAID)


def test_outputs_are_told_apart_by_the_order_of_the_file() -> None:
    row = {"input_ids": [[2, 3]]}
    kind = Tflite(File("f", "tflite", Path("f")), (4,), outputs={4: [("end_logits", (1, 4)), ("start_logits", (1, 4))]})
    content = np.arange(8, dtype="<f4").tobytes()
    assert kind.decode(content, row) == {"end_logits": [[0.0, 1.0]], "start_logits": [[4.0, 5.0]]}
    with pytest.raises(EdgebertError, match="wrote 28 bytes of outputs"):
        kind.decode(content[:-4], row)


def test_the_target_is_registered() -> None:
    assert TARGETS.get("adb") is adb.TARGET
