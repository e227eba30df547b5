"""Text files of one word a line (CoNLL style), and of one sentence a line (`word:TAG … <=> intent`, ATIS style).

Both give records with the columns `words`, `tags` and LINES (the line of each word, from 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgebert.data.layout import PREFIX, Sentence, find_layout, is_header, parted
from edgebert.data.ontonotes import is_ontonotes, read_sentences
from edgebert.data.text import lines
from edgebert.errors import DataError, shown
from edgebert.types import Record

TAG_LIKE = re.compile(r"O|[A-Z]-\S+")
COMMENT = re.compile(r"#[ \t]|#(begin|end) |#\w+ ?= ?|###\S")
_ENTITY = re.compile(r"(?:NER|NE|Entity|name)=(O|[BIELSUMW]-[^\s()]+)", re.IGNORECASE)
_COLUMNS = re.compile(r"# *global\.columns *= *(.+)")  # of CoNLL-U Plus
DOCUMENT = "-DOCSTART-"
CONLLU_COLUMNS = 10
LONG = 200  # words that no sentence has
LINES = "#lines"  # a name that no column of a table is likely to have


def read_conll(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a sentence: first column the word, last column the tag, a blank line between sentences.

    Columns are separated by tabs if the first line of words has one, else by spaces. What `find_layout` tells of other
    columns is added to `notes`. Raises DataError with file:line for a line whose number of columns is not that of the
    first, or is 1.
    """
    text = lines(content, place, encoding)
    if between := _separator_in_words(text):
        if notes is not None:
            notes.append(
                f"each line is read as a sentence, what stands before the first '{between}' of a word as the word"
            )
        return _one_line_sentences(text, between, place)
    if between := _separator_behind_words(text):
        if notes is not None:
            notes.append(
                f"each line is read as a sentence, what stands behind the last '{between}' of a word as its tag"
            )
        return _one_line_sentences(text, between, place, first=False)
    if is_ontonotes(text):
        if notes is not None:
            notes.append("columns 4 and 11 of CoNLL-2012 are read as the word and its entity")
        return [record for words in read_sentences(text, place) for record in _record(words, place)]
    sentences, header = _sentences(text, place)
    if not sentences:
        return []
    layout = find_layout(sentences, header)
    if notes is not None:
        notes += layout.notes
    if layout.sentence is not None:
        sentences = [own for sentence in sentences for own in parted(sentence, layout.sentence)]
    if notes is not None and len(sentences) == 1 and len(sentences[0]) > LONG:
        notes.append(f"no blank line parts sentences: the file is one row of {len(sentences[0]):,} words")
    prefix = PREFIX if layout.prefixed else None
    records: list[Record] = []
    for sentence in sentences:
        cells = [(number, own[layout.word], own[layout.tag]) for number, own in sentence]
        if prefix:
            cells = [(number, prefix.sub("", word, count=1), tag) for number, word, tag in cells]
        records += _record(cells, place)
    return records


def _separator_in_words(text: list[str]) -> str:
    """What parts word and tag where a line is a sentence, as in WikiNER: `Anna|NNP|I-PER sleeps|VBZ|O`; "" if none does."""
    head = [line.split() for line in text[:200] if line.strip()]
    if not head or all(len(pairs) < 3 for pairs in head):
        return ""
    parted = [pair.rsplit("|") for pairs in head for pair in pairs]
    if len({len(parts) for parts in parted}) != 1 or len(parted[0]) not in (2, 3):
        return ""
    return "|" if all(TAG_LIKE.fullmatch(parts[-1]) for parts in parted) else ""


def _separator_behind_words(text: list[str]) -> str:
    """As `_separator_in_words`, for what may also stand within a word: `and/or/O Paris/B-LOC`, `Paris_B-LOC`."""
    pairs = [pair for line in text[:200] for pair in line.split()]
    lines = [line.split() for line in text[:200] if line.strip()]
    if not lines or all(len(line) < 3 for line in lines):
        return ""
    for separator in "/_":
        parted = [pair.rpartition(separator) for pair in pairs]
        if all(word and TAG_LIKE.fullmatch(tag) for word, _, tag in parted):
            return separator
    return ""


def _one_line_sentences(text: list[str], between: str, place: str, *, first: bool = True) -> list[Record]:
    records: list[Record] = []
    for number, line in enumerate(text, 1):
        parted = [(pair, pair.rpartition(between)) for pair in line.split()]
        if bad := next((tag for _, (_, mark, tag) in parted if not mark), None):
            hint = f"A word reads: word{between}TAG, or word{between}POS{between}TAG."
            raise DataError(f"'{shown(bad)}' has no '{between}' before a tag", where=f"{place}:{number}", hint=hint)
        words = [pair.partition(between)[0] if first else word for pair, (word, _, _) in parted]
        tags = [tag for _, (_, _, tag) in parted]
        records += _record([(number, word, tag) for word, tag in zip(words, tags, strict=True)], place)
    return records


def _sentences(text: list[str], place: str) -> tuple[list[Sentence], list[str] | None]:
    """The lines of each sentence, and the cells of the header where there is one."""
    tabbed, width = _shape(text)
    shaped = [cells for line in text if _holds_words(line) and len(cells := _columns(line, tabbed)) == width]
    tags = {cells[-1] for cells in shaped[1:]}  # the first may be a header
    sentences: list[Sentence] = [[]]
    header: list[str] | None = None
    for number, line in enumerate(text, 1):
        if not line.strip():
            sentences.append([])
            continue
        cells = _columns(line, tabbed)
        if DOCUMENT in cells[:2]:
            sentences.append([])
            continue
        if header is None and (names := _COLUMNS.match(line)) and len(names[1].split()) == width:
            header = names[1].split()
            continue
        if not sentences[-1] and _is_comment(line, cells, width, tags):
            continue
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) != width or width == 1:
            raise _wrong_columns(f"{place}:{number}", len(cells), max(width, 2), tabbed)
        if header is None and not any(sentences) and is_header(cells, tags):
            header = cells
            continue
        sentences[-1].append((number, cells))
    return [sentence for sentence in sentences if sentence], header


def read_conllu(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a sentence of CoNLL-U: FORM (column 2) and UPOS (column 4) of each word; where MISC (column 10) has a
    tag of an entity (`NER=B-LOC`), these are `ner_tags`, and UPOS is `upos`.

    Ranges of surface tokens (1-2) and empty nodes (1.1) are no words. https://universaldependencies.org/format.html
    Raises DataError with file:line for a line that has not ten columns, or whose id is none.
    """
    records: list[Record] = []
    entities: list[list[str]] = []  # of each record
    sentence: list[tuple[int, str, str, str]] = []
    for number, line in enumerate([*lines(content, place, encoding), ""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if sentence:
                records += _record([word[:3] for word in sentence], place)
                entities.append([word[3] for word in sentence])
            sentence = []
            continue
        columns = line.split("\t")
        if len(columns) != CONLLU_COLUMNS:
            raise _wrong_columns(f"{place}:{number}", len(columns), CONLLU_COLUMNS, True)
        if columns[0].isdecimal():
            entity = next((match[1] for part in columns[9].split("|") if (match := _ENTITY.fullmatch(part))), "O")
            sentence.append((number, columns[1], columns[3], entity))
        elif not re.fullmatch(r"\d+[-.]\d+", columns[0]):
            hint = "The first column counts the words of a sentence from 1."
            raise DataError(f"'{shown(columns[0])}' is no word id", where=f"{place}:{number}", hint=hint)
    if all(tag == "O" for tags in entities for tag in tags):
        return records
    if notes is not None:
        notes.append("the column MISC has tags of entities, which the task ner reads; the task tag reads UPOS")
    return [_with_entities(record, tags) for record, tags in zip(records, entities, strict=True)]


def _with_entities(record: Record, tags: list[str]) -> Record:
    columns = {**record.columns, "upos": record.columns["tags"], "ner_tags": tags}
    return Record({name: value for name, value in columns.items() if name != "tags"}, record.where)


def read_atis(content: bytes, place: str, encoding: str = "utf-8", notes: list[str] | None = None) -> list[Record]:
    """One record a line of `word:TAG word:TAG … <=> intent`; a pair is split at its last colon."""
    records: list[Record] = []
    for number, line in enumerate(lines(content, place, encoding), 1):
        if not line.strip():
            continue
        pairs, mark, intent = line.rpartition(" <=> ")
        if not mark:
            raise DataError("no ' <=> ' before the intent", where=f"{place}:{number}", hint=_ATIS_HINT)
        results = [_pair(pair, f"{place}:{number}") for pair in pairs.split()]
        records += _record(
            [(number, word, tag) for word, tag in results],
            place,
            text=" ".join(word for word, _ in results),
            intent=intent.strip(),
        )
    return records


_ATIS_HINT = "A line reads: word:TAG word:TAG … <=> intent"


def _pair(pair: str, where: str) -> tuple[str, str]:
    word, mark, tag = pair.rpartition(":")
    if not mark:
        raise DataError(f"'{shown(pair)}' has no ':' between word and tag", where=where, hint=_ATIS_HINT)
    return word, tag


def _record(sentence: list[tuple[int, str, str]], place: str, **more: str) -> Iterator[Record]:
    if sentence:
        numbers, words, tags = (list(column) for column in zip(*sentence, strict=True))
        yield Record({"words": words, "tags": tags, LINES: numbers, **more}, f"{place}:{numbers[0]}")


def _holds_words(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("#", DOCUMENT))


def _shape(text: list[str]) -> tuple[bool, int]:
    """Whether tabs separate the columns, and how many there are: as in the first line that is surely no comment."""
    sure = (line for line in text if _holds_words(line))
    hashed = (line for line in text if line.startswith("#"))
    line = next(sure, None) or next(hashed, "")
    tabbed = "\t" in line
    return tabbed, len(_columns(line.rstrip("\t ") if tabbed else line, tabbed))


def _columns(line: str, tabbed: bool) -> list[str]:
    # not str.split(): a word may be a no-break space
    if tabbed:
        return [column.strip(" ") for column in line.split("\t")]
    return re.split(" +", line.strip(" "))


def _is_comment(line: str, columns: list[str], width: int, tags: set[str]) -> bool:
    """A line that begins with '# ' and cannot be a word and its tag; a tweet may begin with '#word' or '#'."""
    if not COMMENT.match(line):
        return False
    return len(columns) != width or not (columns[-1] in tags or TAG_LIKE.fullmatch(columns[-1]))


def _wrong_columns(where: str, number: int, wanted: int, tabbed: bool) -> DataError:
    separator = "tabs" if tabbed else "spaces"
    what = f"{number} columns separated by {separator}, where the file's first line has {wanted}"
    if number == 1:
        what = f"the line has one column, where the file's first line has {wanted}"
        what = "the line has one column, where a word and its tag are needed" if wanted == 2 else what
    hint = (
        "The file is read as one word a line: the word first and its tag last, with tabs or spaces between; comments "
        "begin with '# '. Texts, one a line, are read by --task classify, where they have labels, or --task embed."
    )
    return DataError(what, where=where, hint=hint)
