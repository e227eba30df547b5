"""What lines of plain text turn out to hold: labels, another file format, or another language than the training rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgebert.data.contents import bare_name
from edgebert.data.labelled_lines import FASTTEXT, are_labelled
from edgebert.data.layout import TYPED
from edgebert.errors import DataError, shown
from edgebert.types import Row

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LOOKED_AT = 1000  # lines, rows
TABLE_ENDINGS = (
    *(".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".conll", ".conllu", ".iob", ".bio", ".iob2", ".bio2"),
    *(".xml", ".html", ".htm", ".ann", ".spacy"),
)
DELIMITERS = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}
HEADERS = frozenset(("text", "sentence", "utterance", "label", "intent", "category", "tokens", "ner_tags", "sentiment"))
MOSTLY = 0.8
COMMONEST = 25  # tokens
UNLIKE_LENGTH, UNLIKE_UNKNOWN, UNLIKE_COMMON = 1.5, 0.1, 0.4
ENOUGH_ROWS = 20  # labelled, to say what is common in them
PLAIN = "--unlabelled takes plain text, one text a line"


def check_plain_text(path: Path, lines: Sequence[str], n_inputs: int, labels: Sequence[str]) -> list[str]:
    """Notes on what may be no text. Raises DataError where it surely is more: labels, a table, JSON or tagged words.

    Args:
        n_inputs: texts of a row; two stand on one line with a tab between them.
        labels: of the task.
    """
    suffix = bare_name(path).suffix.lower()
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()][:LOOKED_AT]
    head = [line for _, line in numbered]
    if not head:
        return []
    where = f"{path}:{numbered[0][0]}"
    if suffix in TABLE_ENDINGS:
        raise DataError(f"this is a {suffix} file, no plain text", where=str(path), hint=_hint("its texts alone"))
    if _is_json(head):
        raise DataError("the file holds JSON", where=where, hint=_hint("the field of its texts"))
    if _share(line.lstrip().startswith("<") and line.rstrip().endswith(">") for line in head) > MOSTLY:
        raise DataError("the file holds markup", where=where, hint=_hint("the text between its tags"))
    digit = (
        head[0][0].isdigit() and head[0][0] not in labels
    )  # a number, as of a recipe, is a label only where labels are
    if (are_labelled(head) and not digit) or _share(FASTTEXT in line for line in head) > 0.5:
        what = f"lines hold a label beside their text: '{shown(head[0], 60)}'"
        raise DataError(what, where=where, hint=_hint("the text without its label"))
    if tag := _tagged(head):
        what = f"lines are words with a tag each, as CoNLL files have them ('{shown(tag, 40)}')"
        raise DataError(what, where=where, hint=_hint("each sentence on a line, without its tags"))
    if result := _column(head, n_inputs, labels):
        raise DataError(result, where=where, hint=_hint("the column of the texts alone"))
    last = [line.rpartition(",")[2].strip().strip('"') for line in head if "," in line]
    if n_inputs == 1 and _are_classes(last, len(head)):
        return [
            f"{path.name}: each line ends with a comma and one of {len(set(last))} words, such as '{shown(last[0], 40)}': if that is a label, leave it out"
        ]
    return []


def _hint(what: str) -> str:
    return f"{PLAIN}: write {what} into a .txt file. Labelled rows belong to --data."


def _share(results: Iterable[bool]) -> float:
    results = list(results)
    return sum(results) / len(results)


def _is_json(head: Sequence[str]) -> bool:
    """Whether lines are JSON objects or lists, or the file begins as one that goes over lines."""

    def parsed(line: str) -> bool:
        try:
            return isinstance(json.loads(line), dict | list)
        except (ValueError, RecursionError):
            return False

    if _share(line.lstrip()[:1] in "{[" and parsed(line) for line in head) > 0.5:
        return True
    return head[0].strip() in ("{", "[", "[{") and bool(re.match(r'\s*("[^"]*"\s*:|[{"\[])', "".join(head[1:2])))


def _tagged(head: Sequence[str]) -> str:
    """A line of words with tags, where most lines are; "" where they are not."""
    cells = [line.split() for line in head if not line.startswith(("#", "-DOCSTART-"))]
    last = [own[-1] for own in cells if 2 <= len(own) <= 14]
    tags = [tag for tag in last if tag == "O" or TYPED.fullmatch(tag)]
    conllu = [own for own in cells if len(own) >= 10 and own[0].isdigit()]
    if len(cells) >= 3 and max(len(tags), len(conllu)) > MOSTLY * len(cells):
        return next(line for line in head if not line.startswith("#"))
    return ""


def _column(head: Sequence[str], n_inputs: int, labels: Sequence[str]) -> str:
    """What says that lines hold columns beside the texts; "" where nothing does."""
    known = {name.casefold() for label in labels for name in (label, label.rpartition(":")[2])} - {"o", ""}
    for delimiter, name in DELIMITERS.items():
        names = {cell.strip().strip('"').casefold() for cell in head[0].split(delimiter)}
        if len(names) > 1 and names & HEADERS and all(len(item.split()) < 3 for item in names):
            return f"the first line names columns, with {name} between them: '{shown(head[0], 60)}'"
        cells = [[cell.strip().strip('"') for cell in line.split(delimiter)] for line in head]
        extra = [own for own in cells if len(own) > n_inputs or (len(own) > 1 and delimiter != "\t")]
        if len(extra) <= 0.5 * len(head):
            continue
        for end, place in ((-1, "ends"), (0, "begins")):
            own = [cell[end] for cell in extra]
            labelled = [item for item in own if item.casefold() in known]
            if len(labelled) > 0.5 * len(head):
                return f"each line {place} with a label of the task, beside {name}: '{shown(labelled[0], 40)}'"
            if delimiter != "," and _are_classes(own, len(head)):
                return f"each line {place} with what looks like a label, beside {name}: '{shown(own[0], 40)}'"
        if delimiter == "\t" and n_inputs == 1:
            return f"lines have {len(extra[0])} columns with a tab between them: '{shown(head[0], 60)}'"
    return ""


def _are_classes(cells: Sequence[str], n_lines: int) -> bool:
    """Whether cells are a few words that come again and again, as labels do and the ends of sentences do not."""
    short = [cell for cell in cells if cell and len(cell.split()) == 1 and len(cell) <= 40]
    enough = len(short) == len(cells) and len(cells) > MOSTLY * n_lines and len(cells) >= 10
    return enough and 1 < len(set(short)) <= len(short) / 4


def strangeness(rows: Sequence[Row], train: Sequence[Row], tokenizer: Tokenizer) -> list[str]:
    """A note where the text is unlike the training rows as another language is: in how the tokenizer splits it, how much
    of it is unknown, and which tokens are common."""
    if not train:
        return []
    ours, theirs = (_Tokens(some, tokenizer) for some in (rows, train))
    signs = []
    if ours.per_character > UNLIKE_LENGTH * theirs.per_character:
        signs.append(f"{ours.per_character:.2f} tokens a character in place of {theirs.per_character:.2f}")
    if ours.unknown > theirs.unknown + UNLIKE_UNKNOWN:
        signs.append(f"{100 * ours.unknown:.0f} % of its tokens unknown in place of {100 * theirs.unknown:.0f} %")
    common = [token for token, _ in ours.words.most_common(COMMONEST)]
    seen = sum(token in theirs.words for token in common)
    if len(train) >= ENOUGH_ROWS and len(common) == COMMONEST and seen < UNLIKE_COMMON * COMMONEST:
        signs.append(f"{seen} of its {COMMONEST} commonest tokens in the training rows")
    if not signs:
        return []
    note = f"the unlabelled text is unlike the training rows ({', '.join(signs)})"
    return [f"{note}: is it of another language or subject? The teacher's answers to it may teach nothing"]


class _Tokens:
    """The tokens of some rows: how many a character, the share of unknown ones, and the counts of the others."""

    def __init__(self, rows: Sequence[Row], tokenizer: Tokenizer) -> None:
        step = max(1, len(rows) // LOOKED_AT)
        texts = [" ".join(row.words) if row.words else f"{row.text or ''} {row.second or ''}" for row in rows[::step]]
        tokens = [token for item in tokenizer.encode_batch(texts, add_special_tokens=False) for token in item.tokens]
        unknown = sum(token in ("[UNK]", "<unk>") for token in tokens)
        n_characters = sum(not character.isspace() for text in texts for character in text)
        self.per_character, self.unknown = len(tokens) / max(1, n_characters), unknown / max(1, len(tokens))
        self.words = Counter(
            token for token in tokens if any(map(str.isalnum, token)) and token not in ("[UNK]", "<unk>")
        )
