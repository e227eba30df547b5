"""The model with everything between a text and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from .decoders import DECODERS, Outputs, Row
from .errors import ModelError
from .files import DATA, TOKENIZER, read_settings
from .windows import Window, Windows
from .words import Words

if TYPE_CHECKING:
    from .answers import Answer, Embedding, Entity, Label, Tag

CALLS = {  # what each kind of task offers
    "ner": "entities(text)",
    "tag": "tag(text)",
    "classify": "classify(text)",
    "pair": "classify(first, second)",
    "embed": "embed(text)",
    "similarity": "similarity(a, b)",
    "qa": "answer(question, context)",
    "multi": "answers(text)",
}
_TAGS_WORDS = ("ner", "tag")
_READS_TWO = ("pair", "similarity", "qa")
_HEADS_OF_TWO_TEXTS = "answers(text, second)"


class Session(Protocol):
    """The model file in its runtime."""

    def run(self, ids: Sequence[int], types: Sequence[int], length: int = 0) -> dict[str, Any]:
        """Float32 outputs by name, without batch axis, of one window."""


def open_model(*, threads: int = 1) -> Model:
    """Opens the model of this package. Do it once: a model is safe to share between threads.

    Args:
        threads: that one call of the model may use.

    Raises:
        ModelError: a file of the package is missing or was changed, or the runtime refuses the model.
    """
    return Model(threads=threads)


class Model:
    """An open model; see `open`. A call that it does not offer raises ModelError with those that it does.

    Attributes:
        name: of the package.
        labels: in the order of the model's outputs.
        calls: what it offers.
    """

    def __init__(self, *, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}, and is at least 1")
        self.settings: Mapping[str, Any] = read_settings()
        self._task: Mapping[str, Any] = self.settings["task"]
        self._heads: tuple[Mapping[str, Any], ...] = tuple(self._task.get("heads", ()))
        unknown = {head["kind"] for head in (self._task, *self._heads)} - CALLS.keys()
        if unknown:
            raise ModelError(f"this package does not know the kind of task {unknown.pop()}: a newer edgebert wrote it")
        self.name: str = self.settings["name"]
        self.labels: tuple[str, ...] = tuple(self._task["labels"])
        self._words = Words(self.settings["words"])
        self.windows = Windows(DATA / TOKENIZER, self.settings["max_length"], self.settings["frame"], self._words)
        self._session: Session | None = _session(self.settings, threads)

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the model's memory once its running calls have ended; a later call raises ModelError."""
        self._session = None

    @property
    def calls(self) -> tuple[str, ...]:
        own = [head["kind"] for head in self._heads] or [self._task["kind"]]
        every = [_HEADS_OF_TWO_TEXTS if len(self._task["inputs"]) > 1 else CALLS["multi"]] if self._heads else []
        return tuple(dict.fromkeys([*(CALLS[kind] for kind in own), *every]))

    # ------------------------------------------------------------ calls

    def entities(self, text: str) -> list[Entity]:
        """Entities of a text, from its first to its last; [] for none."""
        return self._ask("ner", text)

    def tag(self, text: str) -> list[Tag]:
        """A tag for each word."""
        return self._ask("tag", text)

    def classify(self, text: str, second: str | None = None) -> list[Label]:
        """The likeliest labels of a text, or of a pair of texts, the likeliest first.

        A label None, or the model's own name for it, stands first where the text belongs to no class. Of a model whose
        texts may have several labels, those that it gives, maybe none.
        """
        kind, texts = ("classify", (text,)) if second is None else ("pair", (text, second))
        return self._ask(kind, *texts)

    def embed(self, text: str) -> Embedding:
        """The text's vector, of length 1 where the model makes it so, and the same in 8 bits."""
        return self._ask("embed", text)

    def similarity(self, a: str, b: str) -> float:
        """How alike two texts are: a cosine, -1 to 1."""
        return float(self._ask("similarity", a, b)["similarity"])

    def answer(self, question: str, context: str) -> Answer:
        """The part of the context that answers the question; "" where the model says that there is none."""
        return self._ask("qa", question, context)

    def answers(self, text: str, second: str | None = None) -> dict[str, Any]:
        """Of a model of several heads, each head's answer by its name, as the head's own call gives it. A head that reads one
        text has none where words are tagged and the text has no words."""
        if not self._heads:
            raise self._not_offered("answers")
        texts = (text,) if second is None else (text, second)
        if len(texts) != len(self._task["inputs"]):
            raise ModelError(f"{len(texts)} texts where the model reads {' and '.join(self._task['inputs'])}")
        similarities = {head["name"] for head in self._heads if head["kind"] == "similarity"}
        answers: dict[str, Any] = self.predict(*texts)
        return {name: item["similarity"] if name in similarities else item for name, item in answers.items()}

    def predict(self, *texts: str) -> Any:
        """The answer to as many texts as the model reads, as `edgebert predict` gives it."""
        row = self.read(*texts)
        windows = self.encode(row)
        return self.decode(row, windows, [self.run(window) for window in windows])

    def _ask(self, kind: str, *texts: str) -> Any:
        """The answer of the task, or of the only head, of this kind."""
        if self._task["kind"] == kind:
            return self.predict(*texts)
        heads = [head for head in self._heads if head["kind"] == kind]
        if not heads:
            raise self._not_offered(CALLS[kind])
        if len(heads) > 1:
            names = ", ".join(head["name"] for head in heads)
            raise ModelError(f"several heads offer {CALLS[kind]}: {names}; answers() gives each by its name")
        head, row = heads[0], self.read(*texts)
        windows = self._of_head(head, row)
        if not windows and kind not in _TAGS_WORDS:
            raise ModelError("the text has no words")
        return _decoded(head, row, windows, [self.run(window) for window in windows])

    def _not_offered(self, call: str) -> ModelError:
        return ModelError(f"{self.name} has no {call}; it has {', '.join(self.calls)}")

    # ------------------------------------------------------------ from texts to answers

    def read(self, *texts: str) -> Row:
        """What is asked. Raises TypeError for what is no text."""
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"a {type(text).__name__} where a text is needed")
        tags_words = any(head["kind"] in _TAGS_WORDS for head in (self._task, *self._heads))
        words = self._words.find(texts[0]) if tags_words else ()
        return Row(texts[0], texts[1] if len(texts) > 1 else None, words)

    def encode(self, row: Row) -> list[Window]:
        """The windows that the model reads of a row. Heads that read one text share those of the carrier."""
        if not self._heads:
            return self._windows(self._task, row)
        carrier = self._task["carrier"]
        results = []
        for head in self._heads:
            if head["name"] == carrier:
                results += self._windows(head, row)
            elif head["kind"] in _READS_TWO:
                results += [window._replace(head=head["name"]) for window in self._windows(head, row)]
        return results

    def _of_head(self, head: Mapping[str, Any], row: Row) -> list[Window]:
        """The windows that one head alone reads."""
        if head["kind"] in _READS_TWO:
            return self._windows(head, row)
        carrier = next(item for item in self._heads if item["name"] == self._task["carrier"])
        windows = self._windows(carrier, row)
        return windows if head is carrier else windows[:1]

    def _windows(self, task: Mapping[str, Any], row: Row) -> list[Window]:
        kind, second = task["kind"], row.second
        if kind in _TAGS_WORDS:
            return self.windows.of_words([row.text[start:end] for start, end in row.words])
        if kind == "qa":
            return self.windows.of_context(row.text, second or "", task["stride"])
        if kind == "similarity":
            return [window for text in (row.text, second or "") for window in self.windows.cut(text)]
        return self.windows.cut(row.text, second if kind == "pair" else None)

    def run(self, window: Window, length: int = 0) -> Outputs:
        """The model's outputs; `length` tokens long at least, where the file takes padding."""
        session = self._session
        if session is None:
            raise ModelError("the model was closed")
        if not window.ids:
            raise ModelError("the text has no tokens")
        return session.run(window.ids, window.types, length)

    def decode(self, row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> Any:
        """The answer that outputs give."""
        if not self._heads:
            return DECODERS[self._task["kind"]](self._task, row, windows, outputs)
        results = {}
        for head in self._heads:
            own = head["name"] if head["kind"] in _READS_TWO else ""
            mine = [i for i, window in enumerate(windows) if window.head == own]
            if not own and head["name"] != self._task["carrier"]:
                if not mine:
                    continue
                mine = mine[:1]
            results[head["name"]] = _decoded(head, row, [windows[i] for i in mine], [outputs[i] for i in mine])
        return results


def _decoded(head: Mapping[str, Any], row: Row, windows: Sequence[Window], outputs: Sequence[Outputs]) -> Any:
    """A head's answer; its outputs begin with its name."""
    prefix = f"{head['name']}_"
    own = [{k[len(prefix) :]: v for k, v in output.items() if k.startswith(prefix)} for output in outputs]
    return DECODERS[head["kind"]](head, row, windows, own)


def _session(settings: Mapping[str, Any], threads: int) -> Session:
    path = DATA / settings["model"]["file"]
    if settings["model"]["format"] == "tflite":  # a package has the runtime of its own model
        from .session_tflite import TfliteSession

        return TfliteSession(path, settings, threads)
    from .session_onnx import OnnxSession

    return OnnxSession(path, settings, threads)
