"""A toy world: made-up sentences, a small WordPiece tokenizer, a BERT of two thousand parameters a layer."""

from __future__ import annotations

import gc
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from edgebert.tasks import find_task
from edgebert.types import Row, Student

settings.register_profile("edgebert", deadline=None)  # no test is gated on time
settings.load_profile("edgebert")

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
CITIES = ["aville", "bton", "cburg", "dham", "efield", "fport"]
DAYS = ["monday", "friday", "sunday"]
PATTERNS = ["fly from {0} to {1}", "show trains to {1} on {2}", "is {0} far", "leave {0} on {2}", "i like {1} a lot"]


def sentence(rng: random.Random) -> tuple[list[str], list[str]]:
    """Words and BIO tags of one made-up sentence."""
    city, other = rng.choice(CITIES), f"new {rng.choice(CITIES)}"
    fill = {"{0}": (city, "CITY"), "{1}": (other, "CITY"), "{2}": (rng.choice(DAYS), "DAY")}
    words, tags = [], []
    for token in rng.choice(PATTERNS).split():
        text, kind = fill.get(token, (token, ""))
        for i, word in enumerate(text.split()):
            words.append(word)
            tags.append(f"{'I' if i else 'B'}-{kind}" if kind else "O")
    return words, tags


def conll(n: int, seed: int) -> str:
    """A CoNLL file of n made-up sentences."""
    rng = random.Random(seed)
    rows = [zip(*sentence(rng), strict=True) for _ in range(n)]
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in row) for row in rows)


MAY_SKIP_IN_CI = ("../shared/", "EDGEBERT_TFLITE_RUNTIME", "WebGPU", "registry", "onnxruntime-web cannot be had")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that its tool is missing for is a failure: `.ci/system-packages` or pyproject.toml lacks something."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    skipped = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    if lost := [why for why in skipped if not any(mark in why for mark in MAY_SKIP_IN_CI)]:
        reporter.write_line(f"{len(lost)} tests were skipped, which CI does not allow: {lost[0]}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def one_core_a_worker() -> None:
    """Workers side by side keep to a core each. What two of them time on the same two cores waits for the other's threads
    and takes ten times as long."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and CORES:
        os.sched_setaffinity(0, {CORES[int(worker.removeprefix("gw")) % len(CORES)]})


@pytest.fixture(scope="module")
def all_cores() -> Iterator[None]:
    """For what is slow on one core and times nothing, such as a browser."""
    if not CORES:
        yield
        return
    item = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    yield
    os.sched_setaffinity(0, item)


@pytest.fixture(scope="session", autouse=True)
def _no_calibrations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the user has calibrated would change predictions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Toy models are too small to share between threads."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _little_to_collect() -> None:
    """Each training ends with a garbage collection, which takes a second where all of torch is looked through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _short_timing() -> Iterator[None]:
    """No test is about how long this machine is measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgebert.workflows.profiling.SECONDS_HERE", 0.02)
        yield


@pytest.fixture(scope="session")
def toy_rows() -> list[Row]:
    rng = random.Random(0)
    return [Row(tuple(words), tuple(tags)) for words, tags in (sentence(rng) for _ in range(96))]


@pytest.fixture(scope="session")
def toy_labels(toy_rows: list[Row]) -> tuple[str, ...]:
    return find_task("ner").labels(toy_rows)


@pytest.fixture(scope="session")
def toy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT encoder without a head: 4 layers, width 32, with a tokenizer of 120 tokens, random weights."""
    return make_checkpoint(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def pooled_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy checkpoint as one of sentence-transformers, whose vectors are the mean of its states."""
    folder = make_checkpoint(tmp_path_factory.mktemp("pooled"))
    (folder / "1_Pooling").mkdir()
    description = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(description), encoding="utf-8")
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling")))
    ]
    (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder


@pytest.fixture
def teacher(toy_checkpoint: Path, toy_labels: tuple[str, ...]) -> Student:
    """The toy checkpoint with a head for the toy labels, random weights."""
    import torch

    from edgebert.modeling.checkpoint import load_model, load_tokenizer

    torch.manual_seed(1)
    model, _ = load_model(toy_checkpoint, "AutoModelForTokenClassification", toy_labels)
    model.config.architectures = [type(model).__name__]
    return Student(model, load_tokenizer(toy_checkpoint))


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, n, seed in (("train", 160, 1), ("dev", 40, 2), ("test", 40, 3)):
        (folder / f"{split}.conll").write_text(conll(n, seed), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def onnxruntime_web() -> Path:
    """The folder of onnxruntime-web's files: the user's cache, or what npm fetches into it."""
    from edgebert.errors import EdgebertError
    from edgebert.measure.targets import _browser_assets

    try:
        return _browser_assets.fetch(lambda **event: None)
    except EdgebertError as error:
        pytest.skip(f"onnxruntime-web cannot be had here: {error.what}")


def make_checkpoint(folder: Path, *, n_layers: int = 4) -> Path:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_tokenizer():
    """WordPiece with every word of the toy world, single letters, and a few tokens that nothing uses."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = sorted({word for pattern in PATTERNS for word in pattern.split() if "{" not in word})
    rare = ["zebra", "quartz", "##ing", "##ed"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    tokens += [w for w in [*words, *CITIES, *DAYS, "new", *rare] if w not in tokens]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return tokenizer
