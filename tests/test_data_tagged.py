"""Words and tags as corpora and tools write them: which column is what, and how a tag is spelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebert.data.bio import UNTYPED, are_entities, normalise
from edgebert.data.columns import assign
from edgebert.data.conll import LINES, read_conll, read_conllu
from edgebert.data.files import from_file
from edgebert.errors import DataError
from edgebert.tasks.ner import TASK as NER
from edgebert.tasks.tag import TASK as TAG

ROWS = [[("Anna", "B-PER"), ("Berg", "I-PER"), ("sleeps", "O")], [("in", "O"), ("Riga", "B-LOC"), (".", "O")]]


def in_place(i: int, j: int) -> str:
    return f"f:{10 * i + j}"


def read(content: str) -> tuple[list[list[tuple[str, str]]], list[str]]:
    notes: list[str] = []
    records = read_conll(content.encode(), "f", "utf-8", notes)
    return [list(zip(r.columns["words"], r.columns["tags"], strict=True)) for r in records], notes


def written(line: str, between: str = "\n", before: str = "", after: str = "") -> str:
    """ROWS in a layout; `line` may name n (of the word in its sentence), s (of the sentence), word and tag."""
    return after + between.join(
        before + "".join(line.format(n=n, s=s, word=word, tag=tag) + "\n" for n, (word, tag) in enumerate(row, 1))
        for s, row in enumerate(ROWS, 1)
    )


COUNTS = "the first column counts the words; the second is read as the word"
NUMBERS = "the first column numbers the sentences; the second is read as the word"


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (written("{n}\t{word}\t{tag}\tO", before="#\thttp://x.org/1 [2010]\n"),
         [COUNTS, "column 3 is read as the tag; those behind it hold none"]),
        (written("{n} {word} NN {tag}", before="# http://x.org\n"), [COUNTS, "column 4 is read as the tag, as the last"]),
        (written("{s}\t{word}\t{tag}"), [NUMBERS]),
        (written("{s}\t{word}\t{tag}", between=""), [NUMBERS]),  # no blank line parts the sentences
        (written("{n}\t{word}\t{tag}\t-\tann_1", before="# sent_id = 1\n"),
         [COUNTS, "column 3 is read as the tag: those behind say the same of every word"]),
        (written("{tag}\t{word}"), ["the first column is read as the tag and the last as the word"]),
        (written("{word} NN B-NP {tag}"), ["of 4 columns the first is read as the word and the last as the tag"]),
        (written("{word}\t{tag}\t"), []),
        (written("{word}\t{tag}", before="#sent_id=7\n"), []),
        (written("{word} -X- _ {tag}", after="-DOCSTART- -X- O\n\n"),
         ["of 4 columns the first is read as the word and the last as the tag"]),
        (written("{word}\t{tag}", after="Token\tLabel\n"),
         ["the first line names the columns: 'Token' is read as the word, 'Label' as the tag"]),
        (written("{n}\t{word}\t{tag}\tNN", after="\tword\tner_tag\tpos\n"),
         ["the first line names the columns: 'word' is read as the word, 'ner_tag' as the tag; left aside: pos"]),
        (written("{s} {word} {tag}", after="sentence_id word tag\n", between=""),
         ["the first line names the columns: 'word' is read as the word, 'tag' as the tag, 'sentence_id' as what tells"
          " sentences apart"]),
        (written("{word}\t{tag}\tO\t-", after="TOKEN\tNE-COARSE\tNE-NESTED\tMISC\n# id = 1\n"),
         ["the first line names the columns: 'TOKEN' is read as the word, 'NE-COARSE' as the tag; left aside:"
          " NE-NESTED, MISC"]),
        (written("{word}\t{tag}", before="###MEDLINE:1\n\n"), []),
        ("Anna|NNP|B-PER Berg|NNP|I-PER sleeps|VB|O\n\nin|IN|O Riga|NNP|B-LOC .|.|O\n",
         ["each line is read as a sentence, what stands before the first '|' of a word as the word"]),
        (written("de:{word}\t{tag}"),
         ["every word begins with the code of a language (de), which is left out"]),
    ],
)  # fmt: skip
def test_layouts_give_the_same_words_and_tags(content: str, notes: list[str]) -> None:
    assert read(content) == (ROWS, notes)


def test_deeper_levels_of_nested_entities_are_counted() -> None:
    text = "1\tUni\tB-ORG\tO\n2\tWien\tI-ORG\tB-LOC\n\n1\tWien\tB-LOC\tO\n2\t.\tO\tO\n"
    rows, notes = read(text)
    assert rows == [[("Uni", "B-ORG"), ("Wien", "I-ORG")], [("Wien", "B-LOC"), (".", "O")]]
    assert notes[1] == "column 3 is read as the tag; 1 entities of the deeper levels behind it are left aside"


def test_chunks_are_no_outer_level_and_numbers_may_be_words() -> None:
    assert read("Anna NN B-NP O\nran VB B-VP O\n\nTea NN B-NP O\n")[0][0] == [("Anna", "O"), ("ran", "O")]
    assert read("1 CD O\n2 CD O\n\nfirst JJ O\n")[0][0] == [("1", "O"), ("2", "O")]
    assert read("at:x O\nlate O\n")[0] == [[("at:x", "O"), ("late", "O")]]


def test_a_file_without_blank_lines_is_told() -> None:
    assert read("a O\n" * 201)[1] == ["no blank line parts sentences: the file is one row of 201 words"]
    assert read("a O\n" * 201 + "\nb O\n")[1] == []


def test_a_hash_that_is_a_word_is_no_comment() -> None:
    assert read("#\tNN\nis\tVB\n\nTea\tNN\n")[0] == [[("#", "NN"), ("is", "VB")], [("Tea", "NN")]]
    assert read("#\tno tag\nis\tVB\n\nTea\tNN\n")[0] == [[("is", "VB")], [("Tea", "NN")]]


def test_words_and_types_may_hold_spaces(tmp_path: object) -> None:
    for name, line, row in (
        ("a.tsv", "10 000\tO\nclerk\tB-Job Title\n\n", [("10 000", "O"), ("clerk", "B-Job Title")]),
        ("b.bio", "10 000\tO\nclerk\tO\nAnna\tPER\n\n", [("10 000", "O"), ("clerk", "O"), ("Anna", "PER")]),
    ):
        path = tmp_path / name  # type: ignore[operator]
        path.write_text(line * 9)
        records = from_file(path, None, "utf-8").parts[0].records
        assert [list(zip(r.columns["words"], r.columns["tags"], strict=True)) for r in records] == [row] * 9


@pytest.mark.parametrize("content", ["a\t\n", "a\t\t\n", "\t\n\t\nb", "a b\nc\n", "# x\n#y\n"])
def test_lines_without_a_tag_are_refused_where_they_stand(content: str) -> None:
    with pytest.raises(DataError, match="column"):
        read(content)


CONLL_U = "1\tAnna\t_\tPROPN\t_\t_\t0\troot\t_\t{}\n2\tran\t_\tVERB\t_\t_\t1\tdep\t_\tSpaceAfter=No\n\n"


@pytest.mark.parametrize("misc", ["NER=B-PER", "SpaceAfter=No|Entity=B-PER", "name=B-PER"])
def test_entities_of_conllu_stand_in_misc(misc: str) -> None:
    notes: list[str] = []
    (record,) = read_conllu(CONLL_U.format(misc).encode(), "f", "utf-8", notes)
    assert record.columns == {
        "words": ["Anna", "ran"], "upos": ["PROPN", "VERB"], "ner_tags": ["B-PER", "O"], LINES: [1, 2]
    }  # fmt: skip
    assert notes == ["the column MISC has tags of entities, which the task ner reads; the task tag reads UPOS"]
    records = assign([record], TAG.columns, {})[0], assign([record], NER.columns, {})[0]
    assert [task.rows(own)[0][0].tags for task, own in zip((TAG, NER), records, strict=True)] == [
        ("PROPN", "VERB"), ("B-PER", "O"),
    ]  # fmt: skip
    (plain,) = read_conllu(CONLL_U.format("Entity=(e1-person)").encode(), "f")
    assert plain.columns["tags"] == ["PROPN", "VERB"]


def test_ontonotes_brackets() -> None:
    line = "bc/x 0 {n} {word} NN (TOP* - - - A {entity} *{more} (1)\n"
    cells = [
        ("In", "*"),
        ("New", "(GPE*"),
        ("York", "*)"),
        ("or", "*"),
        ("Riga", "(GPE)"),
        ("Bank", "(ORG(GPE*"),
        ("x", "*))"),
    ]
    text = "#begin document (bc/x); part 000\n" + "".join(
        line.format(n=n, word=word, entity=entity, more="") for n, (word, entity) in enumerate(cells)
    )
    text += "\n" + line.format(n=0, word="So", entity="*", more=" (V*)") + "\n#end document\n"
    rows, notes = read(text)
    assert [" ".join(f"{word}|{tag}" for word, tag in row) for row in rows] == [
        "In|O New|B-GPE York|I-GPE or|O Riga|B-GPE Bank|B-ORG x|I-ORG", "So|O",
    ]  # fmt: skip
    assert notes == ["columns 4 and 11 of CoNLL-2012 are read as the word and its entity"]


# ---------------------------------------------------------------- spellings


@st.composite
def bio_rows(draw: st.DrawFn) -> list[list[str]]:
    """Rows of BIO tags in which each of three types begins somewhere."""
    kinds = st.sampled_from(["", "PER", "GPE", "x"])
    runs = draw(st.lists(st.lists(st.tuples(kinds, st.integers(1, 3)))))
    rows = [[(f"{'I' if i else 'B'}-{kind}" if kind else "O") for kind, n in run for i in range(n)] for run in runs]
    return [*rows, ["O", "B-PER", "I-PER", "O"], ["B-GPE", "B-GPE"], ["B-x"]]


SPELLED = ("{low}-{kind}", "{letter}_{kind}", "{letter}:{kind}", "{kind}-{letter}", "{kind}_{letter}")


@given(bio_rows(), st.sampled_from(SPELLED))
def test_every_spelling_is_read_as_the_same_tags(rows: list[list[str]], form: str) -> None:
    def spelled(tag: str) -> str:
        letter, _, kind = tag.partition("-")
        return form.format(letter=letter, low=letter.lower(), kind=kind) if kind else "O"

    result, notes = normalise([[spelled(tag) for tag in row] for row in rows], in_place)
    assert result == [tuple(row) for row in rows]
    first = next(tag for row in rows for tag in row if tag != "O")
    assert notes == [f"tags are written as '{spelled(first)}', which is read as '{first}'"]


@given(bio_rows())
def test_letters_alone_are_entities_of_one_type(rows: list[list[str]]) -> None:
    result, notes = normalise([[tag[0] for tag in row] for row in rows], in_place)
    assert result == [tuple(tag if tag == "O" else f"{tag[0]}-{UNTYPED}" for tag in row) for row in rows]
    assert notes == ["tags have no type: entities are read as of the type ENTITY"]


@given(bio_rows())
def test_types_alone_lose_only_the_borders_between_like_neighbours(rows: list[list[str]]) -> None:
    result, (note,) = normalise([[tag.partition("-")[2] or "O" for tag in row] for row in rows], in_place)
    for row, tags in zip(rows, result, strict=True):
        assert [tag[2:] for tag in tags] == [tag[2:] for tag in row]
        pairs = zip(["O", *row], tags, row, strict=False)
        assert all((tag[0] == "I") == (tag != "O" and before[2:] == tag[2:]) for before, tag, _ in pairs)
    assert note.startswith("tags are types alone, such as '")


@pytest.mark.parametrize(
    ("tags", "bio", "notes"),
    [
        ("I-A I-A E-A O E-A", "B-A I-A I-A O B-A", ["tags are IOE, read as BIO"]),
        ("b-x o", "B-x O", ["the tag 'o' is read as O", "tags are written as 'b-x', which is read as 'B-x'"]),
        ("0 B-A 0", "O B-A O", ["the tag '0' is read as O"]),
        ("vitamin-e O", "B-vitamin-e O",
         ["tags are types alone, such as 'vitamin-e': neighbouring words of one type are read as one entity"]),
        ("u-x b-x l-x", "B-x B-x I-x", ["tags are written as 'u-x', which is read as 'U-x'",
                                         "tags are BILOU, read as BIO"]),
        ("E-mail O S-Bahn phone", "B-E-mail O B-S-Bahn B-phone",
         ["tags are types alone, such as 'E-mail': neighbouring words of one type are read as one entity"]),
    ],
)  # fmt: skip
def test_less_usual_tags(tags: str, bio: str, notes: list[str]) -> None:
    assert normalise([tags.split()], in_place) == ([tuple(bio.split())], notes)


def test_parts_of_speech_are_no_entities() -> None:
    assert not are_entities(["NN", "VBZ", ","])
    assert not are_entities(["", "O"])
    assert are_entities(["O", "LOC"])
    assert are_entities(["O", "S-LOC", "L-LOC"])  # to be refused as such
    for tags in (["B-A", "", "O"], ["O", "", "LOC"]):
        with pytest.raises(DataError, match="the tag is empty") as caught:
            normalise([tags], in_place)
        assert caught.value.where == "f:1"
