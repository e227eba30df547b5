"""The ops of the interpreter, on numbers worked by hand, and what it does with packages that it must not trust."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebert.errors import EdgebertError
from edgebert.runtime.mil import package as package_module
from edgebert.runtime.mil.package import decode
from edgebert.runtime.mil.program import Step, Type
from edgebert.runtime.mil.registry import OPS, check, table

table()
A, B = [[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]


def t(values: object, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def ints(values: object, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


ROOT = math.sqrt(2)
GELU_1 = 0.5 * (1 + math.erf(1 / ROOT))
LSTM = {  # its gates are always 3/4 in, 1/4 kept, 1/2 out, and 1/2 is what is put in
    "x": t([[[5.0]], [[7.0]]]), "initial_h": t([[9.0]]), "initial_c": t([[1.0]]),
    "weight_ih": t([[0.0]] * 4), "weight_hh": t([[0.0]] * 4),
    "bias": t([math.log(3), -math.log(3), 0.0, math.atanh(0.5)]),
}  # fmt: skip
TANH = [0.5 * math.tanh(0.625), 0.5 * math.tanh(0.53125)]  # the cell: 1/4 + 3/8, then a quarter of that + 3/8
CASES = [
    ("add", {"x": t(A), "y": t([1.0, 2.0])}, [[2.0, 4.0], [4.0, 6.0]]),
    ("sub", {"x": t(1.0), "y": t([0.0, 1.0])}, [1.0, 0.0]),
    ("mul", {"x": t(A), "y": t(2.0)}, [[2.0, 4.0], [6.0, 8.0]]),
    ("real_div", {"x": t([1.0]), "y": t([4.0])}, [0.25]),
    ("real_div", {"x": ints([12, 6]), "y": ints([4, 6])}, [3, 1]),
    ("floor_div", {"x": ints([-7, 7]), "y": ints([2, 2])}, [-4, 3]),
    ("mod", {"x": ints([-7, 7]), "y": ints([3, 3])}, [2, 1]),
    ("pow", {"x": t([3.0]), "y": t(2.0)}, [9.0]),
    ("maximum", {"x": t([1.0, 5.0]), "y": t([2.0, 2.0])}, [2.0, 5.0]),
    ("minimum", {"x": t([1.0, 5.0]), "y": t([2.0, 2.0])}, [1.0, 2.0]),
    ("greater_equal", {"x": ints([1, 2, 3]), "y": ints(2)}, [False, True, True]),
    ("less", {"x": ints([1, 2, 3]), "y": ints(2)}, [True, False, False]),
    ("not_equal", {"x": ints([0, 2]), "y": ints(0)}, [False, True]),
    ("logical_or", {"x": t([True, False], torch.bool), "y": t([False, False], torch.bool)}, [True, False]),
    ("logical_not", {"x": t([True, False], torch.bool)}, [False, True]),
    ("select", {"cond": t([True, False], torch.bool), "a": t(1.0), "b": t([5.0, 6.0])}, [1.0, 6.0]),
    ("gelu", {"x": t([1.0, 0.0, -1.0])}, [GELU_1, 0.0, GELU_1 - 1]),
    ("gelu", {"x": t([1.0]), "mode": "TANH_APPROXIMATION"},
     [0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * 1.044715))]),
    ("gelu", {"x": t([1.0]), "mode": "SIGMOID_APPROXIMATION"}, [1 / (1 + math.exp(-1.702))]),
    ("relu", {"x": t([-1.0, 2.0])}, [0.0, 2.0]),
    ("erf", {"x": t([0.5])}, [math.erf(0.5)]),
    ("clip", {"x": t([-5.0, 0.5, 5.0]), "alpha": -1.0, "beta": 1.0}, [-1.0, 0.5, 1.0]),
    ("rsqrt", {"x": t([3.0]), "epsilon": 1.0}, [0.5]),
    ("inverse", {"x": t([3.0]), "epsilon": 1.0}, [0.25]),
    ("log", {"x": t([0.0]), "epsilon": 1.0}, [0.0]),
    ("cast", {"x": t([1.9, -1.9]), "dtype": "int32"}, [1, -1]),
    ("cast", {"x": ints([0, 3]), "dtype": "bool"}, [False, True]),
    ("cast", {"x": ints([40000]), "dtype": "uint16"}, [40000]),
    ("linear", {"x": t([[1.0, 2.0]]), "weight": t([[3.0, 4.0], [5.0, 6.0]]), "bias": t([1.0, -1.0])}, [[12.0, 16.0]]),
    ("matmul", {"x": t(A), "y": t(B)}, [[70.0, 100.0], [150.0, 220.0]]),
    ("matmul", {"x": t(A), "y": t(B), "transpose_y": True}, [[50.0, 110.0], [110.0, 250.0]]),
    ("matmul", {"x": t(A), "y": t(B), "transpose_x": True}, [[100.0, 140.0], [140.0, 200.0]]),
    ("einsum", {"values": (t([[[1.0, 2.0]]]), t([[[3.0]], [[4.0]]])), "equation": "chw,whr->chr"}, [[[11.0]]]),
    ("conv", {"x": t([[[1.0, 2.0, 3.0]]]), "weight": t([[[1.0, 10.0]]]), "bias": t([0.5])}, [[[21.5, 32.5]]]),
    ("conv", {"x": t([[[1.0, 2.0, 3.0]]]), "weight": t([[[1.0, 10.0]]]), "pad_type": "custom", "pad": [1, 0]},
     [[[10.0, 21.0, 32.0]]]),
    ("conv", {"x": t([[[1.0], [2.0]]]), "weight": t([[[3.0]], [[4.0]]]), "groups": 2}, [[[3.0], [8.0]]]),
    ("avg_pool", {"x": t([[[1.0, 3.0, 5.0]]]), "kernel_sizes": [2], "strides": [2], "pad_type": "valid",
                  "ceil_mode": True}, [[[2.0, 5.0]]]),
    ("max_pool", {"x": t([[[1.0, 3.0, 5.0]]]), "kernel_sizes": [2], "pad_type": "valid"}, [[[3.0, 5.0]]]),
    ("reduce_sum", {"x": t(A), "axes": [0]}, [4.0, 6.0]),
    ("reduce_mean", {"x": t(A), "axes": [-1], "keep_dims": True}, [[1.5], [3.5]]),
    ("reduce_max", {"x": t(A)}, 4.0),
    ("reduce_prod", {"x": ints([[2, 3], [4, 5]]), "axes": [1]}, [6, 20]),
    ("reduce_l2_norm", {"x": t([[3.0, 4.0]]), "axes": [1]}, [5.0]),
    ("topk", {"x": t([[1.0, 5.0, 3.0], [2.0, 2.0, 4.0]]), "k": 2}, ([[5.0, 3.0], [4.0, 2.0]], [[1, 2], [2, 0]])),
    ("topk", {"x": t([3.0, 1.0, 2.0]), "axis": 0, "ascending": True, "return_indices": False}, [1.0]),
    ("argsort", {"x": t([[1.0, 5.0, 3.0], [2.0, 2.0, 4.0]])}, [[1, 2, 0], [2, 0, 1]]),
    ("argsort", {"x": t([3.0, 1.0, 2.0]), "axis": 0, "ascending": True}, [1, 2, 0]),
    ("cumsum", {"x": ints([[1, 2, 3]]), "axis": 1}, [[1, 3, 6]]),
    ("cumsum", {"x": ints([1, 2, 3]), "exclusive": True}, [0, 1, 3]),
    ("cumsum", {"x": ints([1, 2, 3]), "reverse": True}, [6, 5, 3]),
    ("softmax", {"x": t([[0.0, math.log(3)]])}, [[0.25, 0.75]]),
    ("softmax", {"x": t([[0.0], [math.log(3)]]), "axis": 0}, [[0.25], [0.75]]),
    ("layer_norm", {"x": t([[1.0, 3.0]]), "axes": [1], "gamma": t([2.0, 2.0]), "beta": t([0.5, 0.5]), "epsilon": 0.0},
     [[-1.5, 2.5]]),
    ("layer_norm", {"x": t([[1.0], [3.0]]), "axes": [0], "gamma": t([1.0, 2.0]), "epsilon": 3.0}, [[-0.5], [1.0]]),
    ("shape", {"x": t(A)}, [2, 2]),
    ("reshape", {"x": t(A), "shape": [4, -1], "opset": 5}, [[1.0], [2.0], [3.0], [4.0]]),
    ("reshape", {"x": t(A), "shape": [1, 0, -1, 0], "opset": 7}, [[[[1.0, 2.0], [3.0, 4.0]]]]),
    ("transpose", {"x": t(A), "perm": [1, 0]}, [[1.0, 3.0], [2.0, 4.0]]),
    ("expand_dims", {"x": t([1.0, 2.0]), "axes": [0, -1]}, [[[1.0], [2.0]]]),
    ("squeeze", {"x": t([[[1.0, 2.0]]]), "axes": [0, 2]}, [[1.0, 2.0]]),
    ("concat", {"values": (ints([1]), ints([2, 3])), "axis": 0}, [1, 2, 3]),
    ("stack", {"values": (ints([1]), ints([2])), "axis": 1}, [[1, 2]]),
    ("split", {"x": ints([1, 2, 3]), "axis": 0, "split_sizes": [1, 2]}, ([1], [2, 3])),
    ("split", {"x": ints([1, 2]), "axis": 0, "num_splits": 2}, ([1], [2])),
    ("lstm", LSTM | {"output_sequence": True}, ([[[TANH[0]]], [[TANH[1]]]], [[TANH[1]]], [[0.53125]])),
    ("lstm", LSTM, ([[[TANH[1]]]], [[TANH[1]]], [[0.53125]])),
    ("slice_by_index", {"x": ints([[1, 2, 3], [4, 5, 6]]), "begin": [0, 1], "end": [0, 3], "end_mask": [True, False]},
     [[2, 3], [5, 6]]),
    ("slice_by_index", {"x": ints([[1, 2, 3], [4, 5, 6]]), "begin": [-1, 0], "end": [0, 0],
                        "end_mask": [False, True], "squeeze_mask": [True, False]}, [4, 5, 6]),
    ("slice_by_index", {"x": ints([1, 2, 3, 4]), "begin": [3], "end": [0], "stride": [-2]}, [4, 2]),
    ("slice_by_size", {"x": ints([1, 2, 3]), "begin": [1], "size": [-1]}, [2, 3]),
    ("pad", {"x": t([[1.0]]), "pad": [0, 1, 2, 0], "constant_val": 9.0}, [[9.0, 9.0, 1.0], [9.0, 9.0, 9.0]]),
    ("tile", {"x": ints([[1, 2]]), "reps": [2, 1]}, [[1, 2], [1, 2]]),
    ("reverse", {"x": ints([1, 2])}, [2, 1]),
    ("band_part", {"x": t([[1.0, 1.0], [1.0, 1.0]]), "lower": 0}, [[1.0, 1.0], [0.0, 1.0]]),
    ("range_1d", {"start": ints(1), "end": ints(6), "step": ints(2)}, [1, 3, 5]),
    ("fill", {"shape": [2], "value": ints(7)}, [7, 7]),
    ("fill_like", {"ref_tensor": ints([1, 2]), "value": t(0.5)}, [0.5, 0.5]),
    ("gather", {"x": t(A), "indices": ints([1, 0]), "opset": 7}, [[3.0, 4.0], [1.0, 2.0]]),
    ("gather", {"x": ints([1, 2]), "indices": ints(-1), "opset": 6}, 2),
    ("gather", {"x": ints([[1, 2], [3, 4]]), "indices": ints([[1], [0]]), "axis": 1, "batch_dims": 1, "opset": 7},
     [[2], [3]]),
    ("gather_along_axis", {"x": t(A), "indices": ints([[1], [0]]), "axis": 1, "opset": 7}, [[2.0], [3.0]]),
    ("gather_nd", {"x": t(A), "indices": ints([[1, 0], [0, 1]]), "opset": 7}, [3.0, 2.0]),
    ("one_hot", {"indices": ints([1, 5]), "one_hot_vector_size": 2, "on_value": t(1.0), "off_value": t(0.0)},
     [[0.0, 1.0], [0.0, 0.0]]),
    ("quantize", {"input": t([0.3, 0.25, -9.0]), "scale": t(0.1), "output_dtype": "int8", "zero_point":
                  ints(1, torch.int8)}, [4, 3, -89]),
    ("quantize", {"input": t([99.0, -99.0]), "scale": t(0.1), "output_dtype": "int8"}, [127, -128]),
    ("quantize", {"input": t([[1.0, 1.0]]), "scale": t([1.0, 0.5]), "axis": 1, "output_dtype": "uint8"}, [[1, 2]]),
    ("dequantize", {"input": ints([4, -4], torch.int8), "scale": t(0.5), "zero_point": ints(2, torch.int8)},
     [1.0, -3.0]),
    ("constexpr_affine_dequantize", {"quantized_data": ints([[1, 2], [3, 4]], torch.int8), "zero_point":
                                     ints([0, 1], torch.int8), "scale": t([1.0, 0.5]), "axis": 0},
     [[1.0, 2.0], [1.0, 1.5]]),
    ("constexpr_blockwise_shift_scale", {"data": ints([[1, 2, 3, 4]], torch.int8), "scale": t([[1.0, 0.5]]),
                                         "offset": ints([[0, 1]], torch.int8)}, [[1.0, 2.0, 1.0, 1.5]]),
    # 2-bit places 2, 3, 0, 1, lowest bits first: 0b01001110
    ("constexpr_lut_to_dense", {"indices": ints([0b01001110], torch.uint8), "lut": t([1.0, 2.0, 3.0, 4.0]),
                                "shape": [2, 2]}, [[3.0, 4.0], [1.0, 2.0]]),
    ("constexpr_lut_to_dense", {"indices": ints([[0], [1], [1], [0]], torch.uint8),
                                "lut": t([1.0, 2.0, 10.0, 20.0]).reshape(2, 1, 2, 1)},
     [[1.0], [2.0], [20.0], [10.0]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "expected"), CASES, ids=[f"{case[0]}-{i}" for i, case in enumerate(CASES)]
)
def test_op(name: str, arguments: dict, expected: object) -> None:
    outcome = OPS[name].run(**arguments)
    results = outcome if isinstance(outcome, tuple) else (outcome,)
    wanted = expected if isinstance(expected, tuple) else (expected,)
    assert len(results) == len(wanted)
    for result, values in zip(results, wanted, strict=True):
        assert result.shape == torch.tensor(values).shape
        np.testing.assert_allclose(result.numpy(), np.array(values), rtol=1e-6, atol=1e-7)


REFUSED = [
    ("lstm", LSTM | {"direction": "reverse"}, "an lstm in direction reverse"),
    ("lstm", LSTM | {"activation": "relu"}, "with sigmoid, tanh, relu"),
    ("gather", {"x": t(A), "indices": ints([2]), "opset": 5}, "indices 2 to 2 into 2 entries"),
    ("gather", {"x": t(A), "indices": ints([-1]), "opset": 7}, "indices -1"),
    ("gather_along_axis", {"x": t(A), "indices": ints([[0]]), "axis": 1, "opset": 7}, "gather_along_axis of"),
    ("real_div", {"x": ints([3]), "y": ints([2])}, "remainder"),
    ("cast", {"x": t([300.0]), "dtype": "int8"}, "cast of 300"),
    ("cast", {"x": t([1.0]), "dtype": "int64"}, "cast to int64"),
    ("gelu", {"x": t([1.0]), "mode": "QUICK"}, "mode QUICK"),
    ("pad", {"x": t([1.0]), "pad": [1, 0], "mode": "reflect"}, "pad of mode reflect"),
    ("concat", {"values": (t([1.0]), t([2.0])), "axis": 0, "interleave": True}, "interleaves"),
    ("conv", {"x": t([[[1.0]]]), "weight": t([[[1.0]]]), "pad_type": "same"}, "padding of type same"),
    ("quantize", {"input": t([1.0]), "scale": t(1.0), "output_dtype": "int4"}, "quantize to int4"),
    ("dequantize", {"input": ints([1], torch.int8), "scale": t([1.0])}, "without an axis"),
    ("reshape", {"x": t(A), "shape": [1, 0, -1, 0], "opset": 6}, "reshape with a 0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "message"), REFUSED)
def test_op_refuses(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(EdgebertError, match=message):
        OPS[name].run(**arguments)


def test_check_names_what_is_not_known() -> None:
    assert check("softmax", ["x", "axis"], 5) is None
    assert check("gru", ["x"], 5) == "gru"
    assert check("softmax", ["x", "temperature"], 5) == "softmax(temperature)"
    assert check("gather", ["x", "indices", "opset"], 7) == "gather(opset)"  # it is ours, not the program's
    assert check("linear", ["x"], 5) == "linear without weight"


def test_type_rounds_to_float16_and_holds_programs_to_their_word() -> None:
    half = Type("FLOAT16", (None, 2))
    assert half.settle(t([[1.0001, 70000.0]])).tolist() == [[1.0, math.inf]]
    assert Type("FLOAT32", (2,)).settle(t([1.0001, 2.0]))[0] == t(1.0001)
    with pytest.raises(TypeError, match="FLOAT16 is declared"):
        half.settle(ints([[1, 2]]))
    with pytest.raises(TypeError, match=r"shape \(1, 3\)"):
        half.settle(t([[1.0, 2.0, 3.0]]))


def test_step_names_the_op_that_fails() -> None:
    step = Step("add", {"x": t([1.0, 2.0])}, (("y", "Tensor", ("other",)),), (("sum", Type("FLOAT32", (2,))),))
    assert step.run({"other": t([1.0, 1.0])})["sum"].tolist() == [2.0, 3.0]
    with pytest.raises(EdgebertError, match="op add 'sum'"):
        step.run({"other": t([1.0, 1.0, 1.0])})


@pytest.mark.parametrize(
    ("dtype", "raw", "count", "expected"),
    [
        ("FLOAT16", struct.pack("<2e", 1.5, -2.0), 2, [1.5, -2.0]),
        ("INT8", b"\x01\xff", 2, [1, -1]),
        ("INT4", b"\xf1\x08", 3, [1, -1, -8]),  # lower half first
        ("UINT4", b"\xf1", 2, [1, 15]),
        ("UINT6", bytes([0b01000001, 0b00100000, 0b00001100]), 4, [1, 1, 2, 3]),  # six bits, across bytes
        ("UINT1", b"\x05", 3, [1, 0, 1]),
    ],
)
def test_decode(dtype: str, raw: bytes, count: int, expected: list[float]) -> None:
    assert decode(np.frombuffer(raw, np.uint8), dtype, count).tolist() == expected
    with pytest.raises(EdgebertError, match="cannot hold"):
        decode(np.frombuffer(raw, np.uint8), dtype, 99)


def test_manifest_must_stay_inside(tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    (tmp_path / "outside").write_bytes(b"")
    folder = tmp_path / "model.mlpackage"
    folder.mkdir()
    with pytest.raises(EdgebertError, match="no Core ML package"):
        package_module.open_package(folder)
    manifest = {"rootModelIdentifier": "a", "itemInfoEntries": {"a": {"path": "../../outside"}}}
    (folder / "Manifest.json").write_text(json.dumps(manifest))
    (folder / "Data").mkdir()
    with pytest.raises(EdgebertError, match="outside itself"):
        package_module.open_package(folder)
