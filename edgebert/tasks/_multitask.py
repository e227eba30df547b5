"""One encoder with several heads: each a task of its own, trained together, in one file with outputs for each head.

Labels of the whole are `HEAD/LABEL`. A row belongs to one head (`Row.head`), and a row that belongs to none, as a user's
text, is answered by all. Heads that read one text share their windows, so that such a text is run once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from edgebert.errors import RequestError, unknown
from edgebert.modeling.heads import MULTI_TASK
from edgebert.results import Tallies
from edgebert.tasks import Task, tally_columns
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from typing_extensions import Self

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
MARK = "/"  # between a head's name and a label of it


def multitask(spec: str, find: Callable[[str], Task]) -> MultiTask:
    """The task of `slots=ner,intent=classify`; a head without a name is called as its task.

    Raises:
        RequestError: an unknown task, a name that cannot be one, or two heads with one name.
    """
    heads: dict[str, Task] = {}
    for item in spec.split(","):
        name, mark, kind = (part.strip() for part in item.rpartition("="))
        entry = find(kind)
        name = name if mark else entry.name
        if not NAME.fullmatch(name) or name.endswith(("start", "end")):
            hint = "Small letters, digits and single dashes, not ending in start or end: --task slots=ner"
            raise RequestError(f"'{name}' cannot name a head", where="--task", hint=hint)
        if name in heads:
            hint = f"Name them: --task first={kind} --task second={kind}"
            raise RequestError(f"two heads are named '{name}'", where="--task", hint=hint)
        heads[name] = entry
    return MultiTask(tuple(heads.items()))


@dataclass(frozen=True)
class MultiTask(Task):
    """A task of several heads; see `edgebert.tasks.Task` for what each function promises.

    Args:
        heads: (name, task) each, in the order of the file's outputs.
    """

    heads: tuple[tuple[str, Task], ...]

    head = MULTI_TASK
    columns = {}
    answer_name = "heads"

    def __post_init__(self) -> None:
        spec = ",".join(f"{name}={head.name}" for name, head in self.heads)
        facts = {
            "name": spec,
            "title": " and ".join(head.title for _, head in self.heads),
            "metric": "mean of " + " and ".join(f"{name}'s {head.metric}" for name, head in self.heads),
            "inputs": max((head.inputs for _, head in self.heads), key=len),
            "cuts": any(head.cuts for _, head in self.heads),
            "paired": any(head.paired for _, head in self.heads),
            "asks_teacher": any(head.asks_teacher for _, head in self.heads),
        }
        for key, value in facts.items():
            object.__setattr__(self, key, value)

    @property
    def by_name(self) -> dict[str, Task]:
        return dict(self.heads)

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        raise NotImplementedError("each head's data is read by its own task, see edgebert.workflows.data")

    def labels(self, rows: Iterable[Row]) -> tuple[str, ...]:
        rows = list(rows)
        return tuple(
            f"{name}{MARK}{label}"
            for name, head in self.heads
            for label in head.labels([row for row in rows if row.head == name])
        )

    @property
    def reads_words(self) -> bool:
        return any(head.reads_words for _, head in self.heads)

    def fold(self, label: str) -> str:
        name, _, own = label.partition(MARK)
        return f"{name}{MARK}{self.by_name[name].fold(own) if name in self.by_name else own}"

    def model_settings(self, labels: Sequence[str]) -> dict[str, object]:
        heads = []
        for name, head in self.heads:
            settings = head.model_settings(_own(labels, name))
            known = {"problem_type": "problem", "edgebert_pooling": "pooling"}
            more = {known[key]: value for key, value in settings.items() if key in known}
            own, *_ = cast("Sequence[Mapping[str, object]]", settings.get("edgebert_heads", [{}]))
            vector = {k: v for k, v in own.items() if k in ("pooling", "width")}
            heads.append({"name": name, "kind": head.head, "n_labels": len(_own(labels, name)), **more, **vector})
        return {"edgebert_heads": heads}

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """Each head's rows by its own task; a row of no head by all of them, in as few windows as they need."""
        results = []
        for name, head in self.heads:
            at = [i for i, row in enumerate(rows) if row.head == name]
            own = head.encode([rows[i] for i in at], tokenizer, _own(labels, name), max_length)
            if at and self._shares(name):
                own = self._carried([rows[i] for i in at], own, tokenizer, max_length)
            results += [replace(feature, row=at[feature.row], head=name) for feature in own]
        free = [i for i, row in enumerate(rows) if not row.head]
        if free:
            results += self._of_all([rows[i] for i in free], free, tokenizer, labels, max_length)
        return sorted(results, key=lambda feature: feature.row)

    def _carrier(self) -> tuple[str, Task] | None:
        """Of the heads that read one text, the one whose windows serve them all: one that tags words before others."""
        ones = [(name, head) for name, head in self.heads if len(head.inputs) == 1]
        return min(ones, key=lambda item: not item[1].reads_words) if ones else None

    def _shares(self, name: str) -> bool:
        carrier = self._carrier()
        return carrier is not None and carrier[0] != name and len(self.by_name[name].inputs) == 1

    def _carried(
        self, rows: Sequence[Row], own: Sequence[Feature], tokenizer: Tokenizer, max_length: int
    ) -> list[Feature]:
        """The head's targets on the carrier's windows: of each row the first, which is what it will read in use."""
        carrier = self._carrier()
        assert carrier is not None
        again = [carrier[1].read_texts(row.text if row.text is not None else row.identity) for row in rows]
        first: dict[int, Feature] = {}
        for feature in carrier[1].encode(again, tokenizer, (), max_length):
            first.setdefault(feature.row, feature)
        return [
            replace(first[item.row], words=(), labels=(), targets=item.targets) for item in own if item.row in first
        ]

    def _of_all(
        self, rows: Sequence[Row], at: Sequence[int], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        carrier = self._carrier()
        results = []
        for name, head in self.heads:
            if not self._shares(name):
                # A head of one text was trained on it alone.
                read = rows if len(head.inputs) > 1 else [replace(row, second=None) for row in rows]
                own = head.encode(read, tokenizer, _own(labels, name), max_length)
                shared = carrier is not None and name == carrier[0]
                results += [replace(feature, row=at[feature.row], head="" if shared else name) for feature in own]
        return results

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[dict[str, object]]:
        """Of each row, the prediction of its head, or of all, by the head's name."""
        results: list[dict[str, Any]] = [{} for _ in rows]
        for name, head in self.heads:
            at, own, given = self._of_head(name, rows, features, outputs)
            predictions = head.decode([rows[i] for i in at], own, given, _own(labels, name))
            for i, prediction in zip(at, predictions, strict=True):
                results[i][name] = prediction
        return results

    def _of_head(
        self, name: str, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[list[int], list[Feature], list[Outputs]]:
        """A head's rows by their number, and their windows and outputs as its task knows them.

        A head that reads another's windows gets the first of each row, and no row that has none.
        """
        shares, plain = self._shares(name), len(self.by_name[name].inputs) == 1
        prefix, seen = f"{name}_", set()
        picked: list[tuple[Feature, Outputs]] = []
        for feature, output in zip(features, outputs, strict=True):
            mine = feature.head == name or (feature.head == "" and plain)
            if mine and not (shares and feature.row in seen):
                seen.add(feature.row)
                picked.append((feature, {k.removeprefix(prefix): v for k, v in output.items() if k.startswith(prefix)}))
        at = [i for i, row in enumerate(rows) if row.head in ("", name) and (i in seen or not shares)]
        place = {i: k for k, i in enumerate(at)}
        return at, [replace(feature, row=place[feature.row]) for feature, _ in picked], [output for _, output in picked]

    def score(self, rows: Sequence[Row], predictions: Sequence[Mapping[str, Any]], split: str) -> Score:
        """The mean of the heads' scores, each over its own rows, which stand in `parts`."""
        parts = {}
        for name, head in self.heads:
            pairs = [
                (row, prediction[name]) for row, prediction in zip(rows, predictions, strict=True) if row.head == name
            ]
            if pairs:
                own, theirs = zip(*pairs, strict=True)
                parts[name] = head.score(own, theirs, split)
        mean = sum(part.value for part in parts.values()) / len(parts) if parts else 0.0
        return Score(self.metric, mean, split, len(rows), parts=parts)

    def outcomes(self, rows: Sequence[Row], predictions: Sequence[Mapping[str, Any]]) -> tuple[Tallies, ...]:
        results = []
        for name, head in self.heads:
            if at := [i for i, row in enumerate(rows) if row.head == name]:
                tallies = head.tallies([rows[i] for i in at], [predictions[i][name] for i in at])
                results.append(tally_columns(name, head.ranked, at, tallies))
        return tuple(results)

    def shown(self, row: Row, prediction: Mapping[str, Any]) -> object:
        return {name: self.by_name[name].shown(row, own) for name, own in prediction.items()}

    def gold(self, row: Row) -> object:
        return {row.head: self.by_name[row.head].gold(row)}

    def same(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[bool]:
        return [agree for name in a for agree in self.by_name[name].same(a[name], b[name])]

    def tuned(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> Self:
        heads = []
        for name, head in self.heads:
            at, own, given = self._of_head(name, rows, features, outputs)
            heads.append((name, head.tuned([rows[i] for i in at], own, given, _own(labels, name)) if given else head))
        return replace(self, heads=tuple(heads))

    def with_teacher_labels(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[Row, ...]:
        results = list(rows)
        for name, head in self.heads:
            at, own, given = self._of_head(name, rows, features, outputs)
            for i, row in zip(at, head.with_teacher_labels([rows[i] for i in at], own, given), strict=True):
                results[i] = row
        return tuple(results)

    def read_texts(self, *texts: str) -> Row:
        carrier = self._carrier()
        first = carrier[1].read_texts(texts[0]) if carrier else Row(text=texts[0])
        return replace(first, second=texts[1]) if len(texts) > 1 else first

    def answer(self, row: Row, prediction: Mapping[str, Any]) -> dict[str, object]:
        """Each head's answer by its name."""
        return {name: self.by_name[name].answer(row, own) for name, own in prediction.items()}

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object] | None:
        """Of each head its name, labels and own decoder; its outputs begin with its name and an underscore. `carrier` names
        the head whose windows every head of one text reads, the others only the first of them; "" where there is none."""
        heads = []
        for name, head in self.heads:
            own = head.decoder(_own(labels, name))
            if own is None:
                return None
            heads.append({"name": name, "inputs": head.inputs, "labels": _own(labels, name), **own})
        carrier = self._carrier()
        return {"kind": "multi", "carrier": carrier[0] if carrier else "", "heads": heads}

    def options(self) -> dict[str, object]:
        return {f"{name}.{key}": value for name, head in self.heads for key, value in head.options().items()}

    def configured(self, options: Mapping[str, object]) -> Self:
        """Options by `HEAD.OPTION`."""
        names = self.by_name
        for key in options:
            if key.partition(".")[0] not in names:
                raise unknown("head", key.partition(".")[0], names, where="--set")
        own = {
            name: {key.partition(".")[2]: value for key, value in options.items() if key.partition(".")[0] == name}
            for name in names
        }
        return replace(self, heads=tuple((name, head.configured(own[name])) for name, head in self.heads))


def _own(labels: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(label.partition(MARK)[2] for label in labels if label.partition(MARK)[0] == name)
