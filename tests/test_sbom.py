"""The bill of materials and the model card of bundles and packages, read by the libraries of those who made their forms."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from packageurl import PackageURL

from edgebert.bundle.card import _code, base_of, metric_id, model_card, without_metadata
from edgebert.bundle.check import check_bundle
from edgebert.bundle.licences import SPDX, hub_id, spdx_id
from edgebert.bundle.manifest import read_manifest
from edgebert.bundle.platforms import PLATFORMS
from edgebert.bundle.sbom import Library, bill_of_materials
from edgebert.bundle.write import write_bundle
from edgebert.files import sha256_file
from edgebert.tasks import find_task
from edgebert.types import DataSource, Latency, Score, TypeScore
from edgebert.workflows.bundle import bundle as write_package
from tests.packages import make_bundle
from tests.test_bundle import parts as parts  # a fixture

SHA = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FACTS: dict[str, Any] = {
    "created": "2026-11-30T13:05:40+00:00",
    "teacher": {"name": "sentence-transformers/all-MiniLM-L6-v2", "origin": "package gt==0.1.0", "sha256": SHA,
                "licence": "apache-2.0", "language": "en"},
    "data": DataSource("atis", "MIT, as the package states", "a corpus: of flights", "ab" * 32),
    "recipe": "drop-layers(n_layers=3)+kd()",
    "score": Score("strict entity F1", 0.95444151, "test", 893, 0.95, 0.96, (TypeScore("city", 1.0, 1.0, 1.0, 716),)),
    "teacher_score": Score("strict entity F1", 0.96, "test", 893),
    "latencies": [Latency("predicted", "pixel6", "onnxruntime", "", 2, 22, 1, 1.45, low_ms=0.48, high_ms=4.36)],
    "versions": {"python": "3.11.7", "edgebert": "0.1.0", "torch": "2.13.0+cpu", "onnxruntime": "1.32.0",
                 "tokenizers": "0.23.3", "numpy": "2.3.5", "seqeval": "not installed"},
}  # fmt: skip
CONFIG = {"pad_token_id": 0, "model_type": "bert", "architectures": ["BertForTokenClassification"]}


@pytest.fixture
def known(tmp_path: Path, parts: dict[str, Any]) -> Path:
    """A bundle of which everything is recorded that a fit records."""
    (parts["student"] / "config.json").write_text(json.dumps(CONFIG))
    return write_bundle(tmp_path / "bundle", **parts | {"facts": FACTS})


def read_bill(folder: Path) -> dict[str, Any]:
    """The bill of a bundle or a package, which keeps CycloneDX's schema in its strict form."""
    text = (folder / "sbom.cdx.json").read_text(encoding="utf-8")
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert problem is None, problem
    bill: dict[str, Any] = json.loads(text)
    refs = [item["bom-ref"] for item in components(bill) if "bom-ref" in item]
    assert len(refs) == len(set(refs))
    for link in bill["dependencies"]:
        assert {link["ref"], *link["dependsOn"]} <= set(refs)
    for item in components(bill):
        if "purl" in item:
            assert PackageURL.from_string(item["purl"]).to_string() == item["purl"]
    return bill


def components(bill: dict[str, Any]) -> list[dict[str, Any]]:
    top = bill["metadata"]["component"]
    return [top, *top["components"], *bill["components"]]


# ---------------------------------------------------------------- the bill of materials


def test_a_bundles_bill_tells_what_it_is_and_what_it_was_made_of(known: Path) -> None:
    bill = read_bill(known)
    model = bill["metadata"]["component"]
    file = known / "model.fp32.onnx"
    assert (model["type"], model["name"]) == ("machine-learning-model", "ner-atis")
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256_file(file)}]
    assert {item["name"]: item["hashes"][0]["content"] for item in model["components"]} == {
        name: sha256_file(known / name) for name in (file.name, "tokenizer.json", "labels.json")
    }
    card = model["modelCard"]
    assert card["modelParameters"] == {
        "approach": {"type": "supervised"},
        "task": "token-classification",
        "architectureFamily": "bert",
        "modelArchitecture": "BertForTokenClassification",
        "datasets": [{"ref": "data"}],
        "inputs": [{"format": "input_ids: int64"}, {"format": "attention_mask: int64"}],
        "outputs": [{"format": "logits: float32"}],
    }
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "f1 (strict entity F1)", "value": "0.954442", "slice": "test, 893 rows"},
        {"type": "latency p50 in ms, predicted", "value": "1.45",
         "slice": "pixel6, onnxruntime , 2 threads, 22 tokens, batch 1",
         "confidenceInterval": {"lowerBound": "0.48", "upperBound": "4.36"}},
    ]  # fmt: skip
    quantization = {item["name"]: item["value"] for item in model["properties"]}
    assert quantization["edgebert:precision"] == "fp32" and quantization["edgebert:weight_bits"] == "32"
    others = {item["bom-ref"]: item for item in bill["components"]}
    assert others["teacher"]["purl"] == "pkg:huggingface/sentence-transformers/all-MiniLM-L6-v2"
    assert others["teacher"]["hashes"][0]["content"] == SHA
    assert others["teacher"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert others["data"]["licenses"] == [{"license": {"name": "MIT, as the package states"}}]
    assert others["data"]["hashes"][0]["content"] == "ab" * 32
    assert [item["purl"] for name, item in others.items() if name.startswith("runtime")] == [
        "pkg:pypi/onnxruntime@1.32.0", "pkg:pypi/tokenizers@0.23.3", "pkg:pypi/numpy@2.3.5",
    ]  # fmt: skip
    tools = {item["name"]: item for item in bill["metadata"]["tools"]["components"]}
    assert next(iter(tools)) == "edgebert" and "seqeval" not in tools
    assert tools["torch"]["purl"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    assert bill["metadata"]["timestamp"] == FACTS["created"]
    check_bundle(known)


def test_equal_bundles_have_equal_bills_and_others_another_number(
    tmp_path: Path, parts: dict[str, Any], known: Path
) -> None:
    again = write_bundle(tmp_path / "again", **parts | {"facts": FACTS})
    for page in ("sbom.cdx.json", "MODEL_CARD.md"):
        assert (again / page).read_bytes() == (known / page).read_bytes()
    other = write_bundle(tmp_path / "other", **parts | {"facts": FACTS | {"recipe": "kd()"}})
    numbers = {json.loads((folder / "sbom.cdx.json").read_text())["serialNumber"] for folder in (known, again, other)}
    assert len(numbers) == 2


def test_what_is_not_known_is_left_out(tmp_path: Path, parts: dict[str, Any]) -> None:
    """A teacher of the user's own disk: its folders are nobody's business."""
    facts = {
        "teacher": {"name": "/home/somebody/secret/my-bert", "origin": "local folder", "sha256": SHA, "licence": ""}
    }
    folder = write_bundle(tmp_path / "bundle", **parts | {"facts": facts})
    bill = read_bill(folder)
    assert bill["components"][0] == {
        "type": "machine-learning-model", "bom-ref": "teacher", "name": "my-bert",
        "description": "the model that it was taught by, from local folder",
        "hashes": [{"alg": "SHA-256", "content": SHA}],
    }  # fmt: skip
    assert "timestamp" not in bill["metadata"] and "datasets" not in str(bill)
    card = ModelCard((folder / "MODEL_CARD.md").read_text(encoding="utf-8")).data.to_dict()
    assert card == {
        "license": "unknown", "library_name": "edgebert", "tags": ["edgebert", "onnx", "fp32", "ner"],
        "pipeline_tag": "token-classification",
    }  # fmt: skip
    for page in ("MODEL_CARD.md", "sbom.cdx.json", "README.md", "manifest.json"):
        assert "secret" not in (folder / page).read_text(encoding="utf-8"), page


def test_facts_that_somebody_edited_end_in_no_traceback(known: Path) -> None:
    manifest, task = read_manifest(known), find_task("ner")
    for facts in (
        {"score": 0.5, "latencies": [1, {"p50_ms": 1}], "teacher": "a: [b", "data": 3},
        {"score": {"metric": "x"}},
    ):
        edited: Any = {**manifest, "facts": facts}
        ModelCard(model_card("mine", edited, task))
        text = json.dumps(bill_of_materials("mine", edited, task))
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_licences_are_those_of_spdx() -> None:
    """The schema lists SPDX's identifiers."""
    parts = [{"type": "library", "name": name, "licenses": [{"license": {"id": name}}]} for name in SPDX]
    bill: dict[str, Any] = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": parts}
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(bill)) is None
    parts[0]["licenses"] = [{"license": {"id": "apache-2.0"}}]
    assert validator.validate_str(json.dumps(bill)) is not None
    assert [spdx_id(name.lower()) for name in SPDX] == list(SPDX)
    assert hub_id("Apache-2.0") == "apache-2.0"


def test_other_licences_are_told_as_they_are() -> None:
    assert [spdx_id(text) for text in ("MIT, see there", "", "apache")] == ["", "", ""]
    assert [hub_id(text) for text in ("MIT, see there", "", " ")] == ["other", "unknown", "unknown"]


def test_addresses_of_libraries() -> None:
    assert Library("npm", "@huggingface/transformers").purl == "pkg:npm/%40huggingface/transformers"
    assert Library("maven", "com.google/litert", "2.1").purl == "pkg:maven/com.google/litert@2.1"
    assert Library.of_requirement("ai-edge-litert>=2.3,<3") == Library("pypi", "ai-edge-litert", "", ">=2.3,<3")
    assert Library.of_requirement("numpy") == Library("pypi", "numpy")


# ---------------------------------------------------------------- the model card


def test_the_card_is_read_by_the_hubs_library(known: Path) -> None:
    page = (known / "MODEL_CARD.md").read_text(encoding="utf-8")
    card = ModelCard(page)
    expected = ModelCardData(
        language="en", license="apache-2.0", library_name="edgebert", tags=["edgebert", "onnx", "fp32", "ner"],
        pipeline_tag="token-classification", base_model="sentence-transformers/all-MiniLM-L6-v2", datasets=["atis"],
        metrics=["f1"], model_name="ner-atis",
        eval_results=[EvalResult("token-classification", "atis", "atis", "f1", 0.954442, dataset_split="test",
                                 metric_name="strict entity F1")],
    )  # fmt: skip
    assert card.data.to_dict() == expected.to_dict()
    assert card.text.strip() == without_metadata(page).strip() and card.text.lstrip().startswith("# ner-atis\n")


def test_names_that_yaml_would_read_as_something_else_stay_text(known: Path) -> None:
    manifest, task = copy.deepcopy(read_manifest(known)), find_task("ner")
    for name in (
        "no",
        "1.5",
        "a: b #c",
        "- x",
        "quo'te\"\n---\nlicense: mit",
        "データ",
        "<b>",
        "null",
        "a\u2028b\x85c",
    ):
        manifest["facts"]["data"] = {"name": name, "licence": "", "origin": ""}
        manifest["facts"]["teacher"] = {"name": "x/y", "origin": "hub", "licence": name}
        data = ModelCard(model_card("mine", manifest, task)).data
        line = " ".join(name.split())
        assert (data.model_name, data.license, data.license_name) == ("mine", "other", line)
        assert [result.dataset_name for result in data.eval_results or []] == [line]


def test_a_score_of_several_heads_has_a_result_each(known: Path) -> None:
    manifest: Any = read_manifest(known)
    parts = {"slots": {"metric": "strict entity F1", "value": 0.9, "split": "test", "n": 4},
             "intent": {"metric": "accuracy", "value": 0.5, "split": "test", "n": 4}}  # fmt: skip
    score = {"metric": "mean", "value": 0.7, "split": "test", "n": 4, "parts": parts}
    manifest["facts"] |= {"score": score}
    data = ModelCard(model_card("two", manifest, find_task("ner"))).data
    assert [(item.task_type, item.metric_type, item.metric_value) for item in data.eval_results or []] == [
        ("slots", "f1", 0.9), ("intent", "accuracy", 0.5),
    ]  # fmt: skip
    assert data.metrics == ["f1", "accuracy"]


def test_metrics_by_the_hubs_names() -> None:
    names = (
        "strict entity F1",
        "token accuracy",
        "Spearman correlation",
        "recall@10 of the teacher's neighbours",
        "a b",
    )
    assert [metric_id(name) for name in names] == ["f1", "accuracy", "spearmanr", "recall", "a-b"]


def test_the_base_is_what_the_student_started_from() -> None:
    teacher = {"name": "big/teacher", "origin": "hub"}
    assert base_of({"teacher": teacher}) == "big/teacher"
    assert base_of({"teacher": teacher, "start": {"name": "small/start", "origin": "hub cache"}}) == "small/start"
    assert base_of({"teacher": teacher, "start": {"name": "small", "origin": "local folder"}}) == ""
    assert base_of({}) == ""


# ---------------------------------------------------------------- packages


WANTED = {  # what the package manager brings, by platform
    "android": ["pkg:maven/com.microsoft.onnxruntime/onnxruntime-android@1.27.0"],
    "huggingface": ["pkg:pypi/optimum-onnx", "pkg:npm/%40huggingface/transformers"],
    "python": ["pkg:pypi/onnxruntime", "pkg:pypi/numpy", "pkg:pypi/tokenizers"],
    "web": ["pkg:npm/onnxruntime-web@1.30.0"],
}


@pytest.mark.parametrize("platform", WANTED)
def test_a_package_has_a_bill_of_its_own(platform: str, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", "ner")
    result = write_package(bundle, platform, output=tmp_path / "package")
    bill = read_bill(result.folder)
    top = bill["metadata"]["component"]
    assert (top["bom-ref"], top["name"]) == ("package", result.name)
    files = {path.relative_to(result.folder).as_posix() for path in result.folder.rglob("*") if path.is_file()}
    assert {item["name"] for item in top["components"]} == files - {"manifest.json", "sbom.cdx.json"}
    for item in top["components"]:
        assert item["hashes"][0]["content"] == sha256_file(result.folder / item["name"])
    others = {item["bom-ref"]: item for item in bill["components"]}
    assert sorted(item["purl"] for name, item in others.items() if name.startswith("runtime")) == sorted(
        WANTED[platform]
    )
    assert others["model"]["type"] == "machine-learning-model"
    manifest = json.loads((result.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["files"]["sbom.cdx.json"]["sha256"] == sha256_file(result.folder / "sbom.cdx.json")
    page = "README.md" if platform == "huggingface" else "MODEL_CARD.md"
    card = ModelCard((result.folder / page).read_text(encoding="utf-8"))
    assert card.data.pipeline_tag == "token-classification" and card.data.license == "cc0-1.0"
    assert set(WANTED) <= set(PLATFORMS.all())


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("B-city", "`B-city`"),
        ("a`b", "``a`b``"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<b>*x*</b>", r"&lt;b&gt;\*x\*&lt;/b&gt;"),
        ("a & b", "`a & b`"),
    ],
)
def test_a_label_in_the_card(label: str, shown: str) -> None:
    assert _code(label) == shown
