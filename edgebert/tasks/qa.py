"""Questions whose answer stands in a context: its span is found, or said to be absent. Scored as SQuAD does.

Rajpurkar, Zhang, Lopyrev, Liang (2016), "SQuAD: 100,000+ Questions for Machine Comprehension of Text", arXiv 1606.05250;
no-answer as in Rajpurkar, Jia, Liang (2018), arXiv 1806.03822. A long context is read in overlapping windows; a span's
score is the sum of its first and last token's, and the best span over all windows wins. "Not here" is the span of the
first token alone; over windows its score is the least, as one window that holds the answer is enough.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from edgebert.errors import DataError, RequestError, shown
from edgebert.tasks import Task
from edgebert.tasks._encode import room, valid_unicode
from edgebert.tasks._labels import left_out_note, text_of
from edgebert.types import Feature, Outputs, Record, Row, Score

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Encoding, Tokenizer
    from typing_extensions import Self

NOWHERE = (-1, -1)
SHORTLIST = 20  # first and last tokens of a window that are combined, as in SQuAD's reference programs
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True)
class Span:
    """A candidate: its text, its characters in the context ((-1, -1): there is no answer), and its score in logits."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """The task `qa`; see `edgebert.tasks.Task` for what each function promises.

    Raises RequestError for options that cannot be.
    """

    stride: int = field(default=0, metadata={"help": "tokens that windows share; 0 is a quarter of a window"})
    max_answer_tokens: int = field(default=30, metadata={"help": "longest answer"})
    n_best: int = field(default=3, metadata={"help": "answers that are given"})
    no_answer: float | None = field(
        default=None, metadata={"help": "margin of 'not here' over the best span from which there is none"}
    )

    name = "qa"
    title = "the answer in a context"
    metric = "F1"
    head = "question-answering"
    columns = {
        "text": ("question", "query"),
        "second": ("context", "passage", "paragraph", "document"),
        "answers": ("answers", "answer", "answer_text"),
        "group": ("group", "title", "article"),
    }
    aliases = ("question-answering",)
    inputs = ("question", "context")
    example = ("who wrote the report", "The report was written by Ada in May.")

    def __post_init__(self) -> None:
        for name, least in (("stride", 0), ("max_answer_tokens", 1), ("n_best", 1)):
            if getattr(self, name) < least:
                what = f"{getattr(self, name)} is too low"
                raise RequestError(what, where=f"{self.name}.{name}", hint=f"It is at least {least}.")
        if self.no_answer is not None and math.isnan(self.no_answer):
            raise RequestError("the margin is not a number", where=f"{self.name}.no_answer", hint="0 is usual.")

    # ------------------------------------------------------------ data

    def rows(self, records: Iterable[Record]) -> tuple[list[Row], list[str]]:
        """Questions with their context and every right answer. Without a question a row is left out, with a note."""
        rows, empty = [], 0
        counts: Counter[str] = Counter()
        for record in records:
            question, context = text_of(record, "text", "text"), text_of(record, "second", "second")
            if not context:
                raise DataError("the context is empty", where=record.where, hint="Every question needs a context.")
            empty += not question
            if question:
                answers = _answers(record, context, counts)
                group = str(record.columns.get("group") or "")
                rows.append(Row(text=question, second=context, answers=answers, group=group, where=record.where))
        return rows, [
            *left_out_note(empty, "without a question"),
            *(f"{n} answers {what}" for what, n in counts.items() if n),
        ]

    def check(self, rows: Sequence[Row], split: str) -> None:
        if not any(row.answers for row in rows):
            hint = f"Check the column of the answers, or give other rows with --data {split}=FILE"
            raise DataError(f"none of the {len(rows)} rows of the {split} split has an answer", where=split, hint=hint)

    # ------------------------------------------------------------ windows

    def encode(
        self, rows: Sequence[Row], tokenizer: Tokenizer, labels: Sequence[str], max_length: int
    ) -> list[Feature]:
        """Windows of the question and a part of the context. A question keeps at most half of a window.

        Targets: the first answer's first and last token; the first token of the window twice where it does not hold it;
        none where nobody has said the answer.
        Raises RequestError when a window has no room for a token of each.
        """
        from tokenizers import Tokenizer

        private = Tokenizer.from_str(tokenizer.to_str())
        private.no_padding()
        private.no_truncation()
        half = room(private, max_length, pair=True) // 2
        if not half:
            what = f"windows of {max_length} tokens leave no room for a question and a context"
            raise RequestError(what, where="max_length", hint=f"At least {max_length + 1}; 384 is usual.")
        questions = [_first_tokens(private, valid_unicode(row.text or ""), half) for row in rows]
        stride = self.stride or max_length // 4
        shortest = max_length - half - private.num_special_tokens_to_add(True)
        private.enable_truncation(max_length, stride=max(0, min(stride, shortest - 1)), strategy="only_second")
        texts = [(question, valid_unicode(row.second or "")) for question, row in zip(questions, rows, strict=True)]
        return [
            _feature(i, row, window, encoding)
            for i, (row, encoding) in enumerate(zip(rows, private.encode_batch(texts), strict=True))
            for window in (encoding, *encoding.overflowing)
        ]

    # ------------------------------------------------------------ answers

    def decode(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> list[tuple[Span, ...]]:
        """The n_best spans of each row, the best first; the one without text stands first where there is no answer."""
        spans: list[list[Span]] = [[] for _ in rows]
        absent = [float("inf")] * len(rows)
        for feature, output in zip(features, outputs, strict=True):
            start, end = output["start_logits"], output["end_logits"]
            absent[feature.row] = min(absent[feature.row], float(start[0] + end[0]))
            context = rows[feature.row].second or ""
            spans[feature.row] += _spans(feature, start, end, context, self.max_answer_tokens)
        return [self._choose(span, none) for span, none in zip(spans, absent, strict=True)]

    def _choose(self, results: Sequence[Span], absent: float) -> tuple[Span, ...]:
        best: dict[tuple[int, int], Span] = {}
        for span in sorted(results, key=lambda item: -item.score):  # windows overlap: one span, its best score
            best.setdefault((span.start, span.end), span)
        ordered = tuple(best.values())[: self.n_best]
        none = Span("", *NOWHERE, absent)
        if not ordered:
            return (none,)
        if self.no_answer is None:
            return ordered
        return (none, *ordered) if absent - ordered[0].score > self.no_answer else (*ordered, none)

    def same(self, a: tuple[Span, ...], b: tuple[Span, ...]) -> list[bool]:
        return [(a[0].start, a[0].end) == (b[0].start, b[0].end)]

    def tuned(
        self, rows: Sequence[Row], features: Sequence[Feature], outputs: Sequence[Outputs], labels: Sequence[str]
    ) -> Self:
        """With the margin of the best F1 on these rows, where some have no answer and the user set none."""
        if self.no_answer is not None or all(row.answers for row in rows):
            return self
        open_task = replace(self, no_answer=float("inf"))  # never absent, but its score is given last
        gains = []  # (margin, what saying "absent" adds to the row's F1)
        for row, result in zip(rows, open_task.decode(rows, features, outputs, labels), strict=True):
            right = [text for text, _ in row.answers]
            gains.append((result[-1].score - result[0].score, f1_of("", right) - f1_of(result[0].text, right)))
        gains.sort(reverse=True)
        best, total, margin = 0.0, 0.0, gains[0][0]
        for (value, gain), (following, _) in zip(gains, [*gains[1:], (gains[-1][0] - 1.0, 0.0)], strict=True):
            total += gain
            if total > best and following < value:
                best, margin = total, (value + following) / 2
        return replace(self, no_answer=margin)

    def score(self, rows: Sequence[Row], predictions: Sequence[tuple[Span, ...]], split: str) -> Score:
        """F1 over words and exact match, each against the answer that fits best, as SQuAD 2.0's program has them."""
        pairs = [
            (prediction[0].text, [text for text, _ in row.answers])
            for row, prediction in zip(rows, predictions, strict=True)
        ]
        n = max(1, len(pairs))
        exact = sum(normal(result) in _golds(right) for result, right in pairs) / n
        return Score(
            self.metric, sum(f1_of(*pair) for pair in pairs) / n, split, len(pairs), more={"exact match": exact}
        )

    def shown(self, row: Row, prediction: tuple[Span, ...]) -> object:
        """The text of the best answer."""
        return prediction[0].text

    def gold(self, row: Row) -> object:
        """The texts of the right answers."""
        return [text for text, _ in row.answers]

    def read_texts(self, *texts: str) -> Row:
        return Row(text=texts[0], second=texts[1], labelled=False)

    def answer(self, row: Row, prediction: tuple[Span, ...]) -> dict[str, object]:
        """The best answer with its characters in the context, its share among the candidates, and the candidates."""
        import numpy as np

        scores = np.array([span.score for span in prediction])
        shares = np.exp(scores - scores.max())
        shares = shares / shares.sum()
        candidates = [
            {"text": span.text, "start": span.start, "end": span.end, "score": round(float(share), 4)}
            if span.start >= 0
            else {"text": "", "start": None, "end": None, "score": round(float(share), 4)}
            for span, share in zip(prediction, shares, strict=True)
        ]
        return {**candidates[0], "candidates": candidates}

    def decoder(self, labels: Sequence[str]) -> Mapping[str, object]:
        """`stride` 0 is a quarter of a window; `no_answer` None never says that there is no answer."""
        settings = {name: getattr(self, name) for name in ("stride", "max_answer_tokens", "n_best", "no_answer")}
        return {"kind": "qa", "shortlist": SHORTLIST, **settings}


TASK = QuestionAnswering()


# ---------------------------------------------------------------- reading


def _answers(record: Record, context: str, counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    """(text, first character) of each answer. What was not as the data says is added to `counts`."""
    results = []
    for text, description in _listed(record):
        start = description
        if start is None or start < 0 or not context.startswith(text, start):
            places = [match.start() for match in re.finditer(f"(?={re.escape(text)})", context)]
            if not places:
                hint = "An answer is a part of its context, letter by letter; a question without one has an empty list."
                raise DataError(f"the context does not hold the answer '{text}'", where=record.where, hint=hint)
            start = min(places, key=lambda at: abs(at - (description or 0)))
            counts["did not stand where the data says and were found nearby"] += description is not None
        first, last = _visible(text)
        end = _over_marks(context, start + last)
        counts["ended between a letter and its marks and now end behind them"] += end > start + last
        results.append((context[start + first : end], start + first))
    return tuple(dict.fromkeys(results))


def _visible(text: str) -> tuple[int, int]:
    """The place of a text without the control and format characters around it, which no tokenizer reads."""
    seen = [i for i, c in enumerate(text) if unicodedata.category(c)[0] != "C"]
    return (seen[0], seen[-1] + 1) if seen else (0, len(text))


def _over_marks(text: str, end: int) -> int:
    """The end moved behind the combining marks that follow: they belong to the last letter, and some tokenizers drop
    them."""
    while end < len(text) and unicodedata.category(text[end])[0] == "M":
        end += 1
    return end


def _listed(record: Record) -> list[tuple[str, int | None]]:
    """The answers as SQuAD writes them, as the hub does (a list of texts, one of places), or as bare texts."""
    value = record.columns.get("answers")
    if value is None or value == "":
        return []
    if isinstance(value, Mapping):
        value = _transposed(value)
    pairs = []
    for item in value if isinstance(value, list | tuple) else [value]:
        text, start = (item.get("text"), item.get("answer_start")) if isinstance(item, Mapping) else (item, None)
        if not isinstance(text, str) or not text.strip() or not (start is None or type(start) is int):
            hint = 'Answers are a text, or a list of {"text": "…", "answer_start": 0}.'
            raise DataError(f"an answer is {shown(repr(item))}", where=record.where, hint=hint)
        pairs.append((text, start))
    return pairs


def _transposed(value: Mapping[str, object]) -> list[Mapping[str, object]]:
    """An object of lists as a list of objects; as it is where its lists do not go together."""
    texts, starts = value.get("text"), value.get("answer_start")
    starts = [None] * len(texts) if starts is None and isinstance(texts, list) else starts
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        return [value]
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


# ---------------------------------------------------------------- windows and spans


def _first_tokens(tokenizer: Tokenizer, text: str, most: int) -> str:
    """The text up to its token number `most`, or less: one character may be several tokens."""
    while len(offsets := tokenizer.encode(text, add_special_tokens=False).offsets) > most:
        text = text[: min(offsets[most - 1][1], len(text) - 1)]
    return text


def _feature(index: int, row: Row, window: Encoding, first: Encoding) -> Feature:
    """Types of both texts as in the row's first window: tokenizers 0.23 leaves 1 to the second text in the windows after it,
    where a template gives it 0."""
    context = row.second or ""
    types = dict(zip(first.sequence_ids, first.type_ids, strict=True)) | {None: None}
    kept = (types.get(sequence) for sequence in window.sequence_ids)
    type_ids = tuple(own if known is None else known for known, own in zip(kept, window.type_ids, strict=True))
    spans = tuple(
        _place(context, *offset) if sequence == 1 else NOWHERE
        for offset, sequence in zip(window.offsets, window.sequence_ids, strict=True)
    )
    return Feature(index, tuple(window.ids), type_ids, spans=spans, targets=_targets(row, spans))


def _place(text: str, start: int, end: int) -> tuple[int, int]:
    """The place of a token, without whitespace around it and with the marks behind it."""
    start, end = _trimmed(text, start, end)
    return (start, _over_marks(text, end)) if start < end else (start, end)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The place without the whitespace around it, which some tokenizers count to a token."""
    token = text[start:end]
    start += len(token) - len(token.lstrip())
    return start, start + len(token.strip())


def _targets(row: Row, spans: Sequence[tuple[int, int]]) -> dict[str, int]:
    if not row.labelled:
        return {}
    if not row.answers:
        return {"start_positions": 0, "end_positions": 0}
    text, start = row.answers[0]
    start, end = _trimmed(row.second or "", start, start + len(text))
    inside = [i for i, (a, b) in enumerate(spans) if b > start and 0 <= a < end and b > a]
    whole = inside and spans[inside[0]][0] <= start and spans[inside[-1]][1] >= end
    return {"start_positions": inside[0] if whole else 0, "end_positions": inside[-1] if whole else 0}


def _spans(feature: Feature, start: np.ndarray, end: np.ndarray, context: str, most: int) -> list[Span]:
    """The best spans of a window, at most SHORTLIST."""
    import numpy as np

    readable = np.array([i for i, (a, b) in enumerate(feature.spans) if b > a], np.int64)
    if not len(readable):
        return []
    firsts, lasts = (readable[np.argsort(-side[readable], kind="stable")[:SHORTLIST]] for side in (start, end))
    length = lasts[None, :] - firsts[:, None]
    scores = np.where((length >= 0) & (length < most), start[firsts][:, None] + end[lasts][None, :], -np.inf)
    order = np.argsort(-scores, axis=None, kind="stable")[:SHORTLIST]
    results = []
    for flat in order.tolist():
        i, j = divmod(flat, len(lasts))
        if np.isfinite(scores[i, j]):
            a, b = feature.spans[int(firsts[i])][0], feature.spans[int(lasts[j])][1]
            results.append(Span(context[a:b], a, b, float(scores[i, j])))
    return results


# ---------------------------------------------------------------- SQuAD's rules


def normal(text: str) -> str:
    """In lower case, without ASCII punctuation, English articles and more than one space."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def f1_of(text: str, right: Sequence[str]) -> float:
    """The best F1 over words against any right answer; 1 or 0 where one side is empty."""
    return max(_f1(normal(text).split(), gold.split()) for gold in _golds(right))


def _golds(right: Sequence[str]) -> list[str]:
    """The answers in normal form, without those of which nothing is left; the empty one alone where none is."""
    return [item for item in map(normal, right) if item] or [""]


def _f1(results: Sequence[str], right: Sequence[str]) -> float:
    if not results or not right:
        return float(list(results) == list(right))
    common = sum((Counter(results) & Counter(right)).values())
    return 2 * common / (len(results) + len(right))
