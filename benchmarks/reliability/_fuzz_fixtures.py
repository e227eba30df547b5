"""Sound files that the fuzzer starts from: tiny models of random weights in every format, a bundle, a report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

MAX_LENGTH = 16


def make_fixtures(folder: Path) -> Path:
    """All of them in one folder, which is returned."""
    from benchmarks.reliability.tampered_bundles import make_bundles

    make_small_fixtures(folder)
    shutil.copytree(make_bundles(folder / "made", ["ner"])["ner"], folder / "bundle")
    shutil.rmtree(folder / "made")
    _models(folder)
    return folder


def make_small_fixtures(folder: Path) -> Path:
    """Those that need no model in a format of its own: a checkpoint and what lies beside it, a report, a calibration."""
    from edgebert.report.serial import dump_report
    from tests.conftest import make_checkpoint
    from tests.report_factory import make_report

    folder.mkdir(parents=True, exist_ok=True)
    make_checkpoint(folder / "checkpoint", n_layers=1)
    settings = {"model_max_length": 64, "do_lower_case": True, "pad_token": "[PAD]", "tokenizer_class": "PreTrainedTokenizerFast",
                "added_tokens_decoder": {"0": {"content": "[PAD]", "special": True}}}  # fmt: skip
    _json(folder / "tokenizer_config.json", settings)
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
               for i, (path, kind) in enumerate(kinds)]  # fmt: skip
    _json(folder / "modules.json", modules)
    pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    _json(folder / "1_Pooling.json", pooling)
    (folder / "checkpoint" / "1_Pooling").mkdir()
    _json(folder / "checkpoint" / "1_Pooling" / "config.json", pooling)
    (folder / "report.json").write_text(dump_report(make_report()), encoding="utf-8")
    _calibration(folder / "calibration.json")
    return folder


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _calibration(path: Path) -> None:
    from edgebert.cost.calibration import write_calibrations
    from tests.test_calibration import made

    write_calibrations(path, [made()])


def _models(folder: Path) -> None:
    from edgebert.converters import CONVERTERS
    from edgebert.modeling.graph import make_source
    from tests.families import tiny

    model = tiny("bert", "token-classification", num_hidden_layers=1, vocab_size=40, hidden_size=8, intermediate_size=8)
    source = make_source(model, lengths=(MAX_LENGTH,), labels=tuple("abcde"))
    tokenizer = folder / "checkpoint" / "tokenizer.json"
    names = {"onnx": "small.onnx", "tflite": "model.tflite", "coreml": "model.mlpackage", "openvino": "model.openvino",
             "executorch": "model.pte"}  # fmt: skip
    for format, name in names.items():
        (folder / format).mkdir()
        asked = replace(source, tokenizer=tokenizer) if format == "tflite" else source
        CONVERTERS.get(format).export(asked, folder / format).path.rename(folder / name)
        shutil.rmtree(folder / format)
