"""Which column of a CoNLL-style file holds the words, and which the tags: the first and the last, unless it shows
otherwise."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

Cells = Sequence[str]
Sentence = list[tuple[int, list[str]]]  # (line, its cells) of each word

TYPED = re.compile(r"[BIELSUMW]-\S.*")
PREFIX = re.compile(r"[a-z]{2,}(?:-[a-z]+)*:(?=.)")  # of a language, as WikiANN writes it
_CHUNKS = frozenset(("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP", "NC", "PC", "VC"))
WORD_NAMES = ("word", "words", "token", "tokens", "tok", "form", "surface", "text")
TAG_NAMES = ("ner", "nertag", "nertags", "tag", "tags", "label", "labels", "entity", "iob", "bio", "biotag", "iobtag")
SENTENCE_NAMES = (
    "sentenceid",
    "sentence",
    "sentence#",
    "sentid",
    "sent",
    "sentenceidx",
    "sentencenumber",
    "sentenceno",
)
DOCUMENT_NAMES = ("document", "documentid", "doc", "docid", "file", "filename")
_OTHER_NAMES = (
    *("", "#", "id", "index", "idx", "i", "tokenid", "start", "end", "lemma", "misc", *DOCUMENT_NAMES),
    *("pos", "upos", "xpos", "postag", "postags", "chunk", "feats", "features", "head", "deprel", "shape", "ner2"),
)
_PART_OF_SPEECH = ("upos", "xpos", "pos", "postag", "postags")
_FEW = 3  # words that are too few to tell a pattern


@dataclass(frozen=True)
class Layout:
    """Columns from 0, and notes on what was guessed."""

    word: int
    tag: int
    sentence: int | None = None  # the column that tells sentences apart where no blank line does
    prefixed: bool = False  # words begin with PREFIX
    notes: tuple[str, ...] = ()


def is_header(cells: Cells, tags: Collection[str] = ()) -> bool:
    """Whether a line names columns: all by usual names, or one of them a word and none like the file's tags.

    Args:
        tags: the last cells of other lines, where they are known.
    """
    names = [plain_name(cell) for cell in cells]
    if len(names) < 2 or not any(name in WORD_NAMES for name in names):
        return False
    if set(names) <= {*WORD_NAMES, *TAG_NAMES, *SENTENCE_NAMES, *_OTHER_NAMES}:
        return True
    capitals = all(cell[:1].isupper() and cell != "O" and not TYPED.fullmatch(cell) for cell in cells)
    return capitals and len(cells) > 2 and bool(tags) and cells[-1] not in tags


def is_tagged(lines: Sequence[Cells]) -> bool:
    """Whether the last cells of lines are the tags of words: all O or a tag with a type, or O at least half of the time."""
    if lines and is_header(lines[0]):
        lines = lines[1:]
    last = [next((cell for cell in reversed(cells) if cell.strip()), "").strip() for cells in lines]
    if not last or any(len(cells) < 2 for cells in lines):
        return False
    return all(tag == "O" or TYPED.fullmatch(tag) for tag in last) or 2 * last.count("O") >= len(last)


def find_layout(sentences: Sequence[Sentence], header: Cells | None = None) -> Layout:
    """The layout of a file whose lines have the same number of cells, at least 2, and which has at least one.

    Args:
        header: the cells of a first line that names the columns.
    """
    width = len(sentences[0][0][1])
    columns = _Columns(sentences)
    word, sentence, notes = _word_column(sentences, width)
    tag = width - 1
    if header is not None:
        first = next((column for column in range(1, width) if columns.are_tags(column)), tag)
        return _named(header, word, first, sentence, tagged=columns.are_tags(first))
    if word == 0 and columns.are_tags(0) and not columns.are_tags(tag):
        word, tag = tag, 0
        notes.append("the first column is read as the tag and the last as the word")
    else:
        tag, message = _tag_column(columns, word, tag)
        notes += message
        if notes and not message and tag - word > 1:
            notes.append(f"column {tag + 1} is read as the tag, as the last")
    if width > 2 and not notes:
        notes.append(f"of {width} columns the first is read as the word and the last as the tag")
    prefixes = _prefixes(sentences, word)
    if prefixes:
        notes.append(
            f"every word begins with the code of a language ({', '.join(code.removesuffix(':') for code in prefixes)}), which is left out"
        )
    return Layout(word, tag, sentence, bool(prefixes), tuple(notes))


def parted(sentence: Sentence, column: int) -> list[Sentence]:
    """The sentences of one run of words: each begins where the cell of a column changes and is not blank."""
    results: list[Sentence] = []
    before = None
    for line in sentence:
        key = line[1][column].strip()
        if not results or (key and key != before):
            results.append([])
        results[-1].append(line)
        before = key or before
    return results


class _Columns:
    """The distinct cells of columns, counted when asked for."""

    def __init__(self, sentences: Sequence[Sentence]) -> None:
        self._sentences = sentences

    def distinct(self, column: int) -> set[str]:
        return {cells[column] for sentence in self._sentences for _, cells in sentence}

    def are_tags(self, column: int) -> bool:
        """Whether all cells are tags with a type, or O; some of the former."""
        result = self.distinct(column) - {"O"}
        return bool(result) and all(TYPED.fullmatch(tag) for tag in result)

    def are_numbers(self, column: int) -> bool:
        return all(re.fullmatch(r"-?[0-9.]+(?:[eE]-?[0-9]+)?", cell) for cell in self.distinct(column))

    def types(self, column: int) -> set[str]:
        return {tag.partition("-")[2] for tag in self.distinct(column) - {"O"}}

    def n_entities(self, column: int) -> int:
        return sum(
            cells[column][:2] in ("B-", "S-", "U-", "W-") for sentence in self._sentences for _, cells in sentence
        )


def _word_column(sentences: Sequence[Sentence], width: int) -> tuple[int, int | None, list[str]]:
    """The column of words, the one that tells sentences apart, and notes."""
    firsts = [[cells[0] for _, cells in sentence] for sentence in sentences]
    if width < 3 or not all(cell.isascii() and cell.isdecimal() and len(cell) < 10 for own in firsts for cell in own):
        return 0, None, []
    numbers = [[int(cell) for cell in own] for own in firsts]
    if max(map(len, numbers)) == 1:
        return 0, None, []
    if all(b - a == 1 for own in numbers for a, b in pairwise(own)):
        return 1, None, ["the first column counts the words; the second is read as the word"]
    note = "the first column numbers the sentences; the second is read as the word"
    if all(a == b for own in numbers for a, b in pairwise(own)):
        return 1, None, [note]
    if len(numbers) == 1 and all(0 <= b - a <= 1 for a, b in pairwise(numbers[0])):
        return 1, 0, [note]
    return 0, None, []


def _tag_column(columns: _Columns, word: int, last: int) -> tuple[int, list[str]]:
    """The column of tags, and notes: not one that says the same of every word, nor the deeper levels of nested ones."""
    tag, notes = last, []
    while tag > word + 1 and columns.are_numbers(tag) and columns.are_tags(tag - 1):
        tag -= 1
        notes.append(f"column {tag + 1} is read as the tag: those behind it are numbers")
    last = tag
    if last - word > 1 and not columns.are_tags(last):
        while tag > word + 1 and len(result := columns.distinct(tag)) == 1 and not result & {"O"}:
            tag -= 1
        if tag != last and columns.are_tags(tag):
            notes.append(f"column {tag + 1} is read as the tag: those behind say the same of every word")
        else:
            tag = last
    first = tag
    while first > word + 1 and columns.are_tags(first - 1) and columns.types(first) <= columns.types(first - 1):
        if columns.types(first - 1) <= _CHUNKS:
            break
        first -= 1
    if first < tag:
        n = sum(columns.n_entities(column) for column in range(first + 1, tag + 1))
        aside = f"{n} entities of the deeper levels behind it are left aside" if n else "those behind it hold none"
        notes.append(f"column {first + 1} is read as the tag; {aside}")
    return first, notes


def _named(header: Cells, word: int, tag: int, sentence: int | None, *, tagged: bool) -> Layout:
    """The layout that a header tells; what it does not tell is as given.

    Args:
        tagged: whether some column has the tags of entities.
    """
    names = [plain_name(cell) for cell in header]
    word = next((names.index(name) for name in WORD_NAMES if name in names), word)
    usual = (*TAG_NAMES, *(() if tagged else _PART_OF_SPEECH))
    tag = next((names.index(name) for name in usual if name in names), tag)
    sentence = next((names.index(name) for name in SENTENCE_NAMES if name in names), sentence)
    aside = [cell.strip() for i, cell in enumerate(header) if i not in (word, tag, sentence) and cell.strip()]
    note = f"the first line names the columns: '{header[word]}' is read as the word, '{header[tag]}' as the tag"
    note += "" if sentence is None else f", '{header[sentence]}' as what tells sentences apart"
    return Layout(word, tag, sentence, notes=(f"{note}; left aside: {', '.join(aside)}" if aside else note,))


def _prefixes(sentences: Sequence[Sentence], word: int) -> list[str]:
    """The codes of languages that words begin with, where every word does."""
    results: set[str] = set()
    n = 0
    for sentence in sentences:
        for _, cells in sentence:
            match = PREFIX.match(cells[word])
            if match is None:
                return []
            results.add(match.group())
            n += 1
    return sorted(results) if n >= _FEW and len(results) <= n // _FEW else []


def plain_name(name: str) -> str:
    """A column's name without case, spaces, hyphens and underscores."""
    return re.sub(r"[_\-\s]+", "", name.casefold())
