"""Data files and TOMLs for the fuzzer: valid ones of every format, and what damage makes of them.

Everything follows from a random.Random, so that a number is enough to make a file again.
"""

from __future__ import annotations

import bz2
import copy
import csv
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from typing import Any

TASKS = ("classify", "pair", "similarity", "embed", "ner", "tag", "qa")
WORDS = ("fly", "to", "Aville", "from", "Bton", "the", "old", "boat", "co-op", "o'clock", "naïve", "東京", "👍🏽", "U.S.",
         "Anna's", "e-mail", "#fun", "", "1.5", "-", "नमस्ते", "cafe\u0301", "a\u00a0b", "\u200b")  # fmt: skip
LABELS = ("pos", "neg", "food", "0", "1", "oos", "True", "LABEL_1", "0.0", "a b", "x|y")
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "E-PER", "S-LOC", "LOC", "b-loc", "LOC-B", "B", "NOUN", "B_LOC")
ODD: tuple[Any, ...] = (None, True, False, 0, -1, 3, 1.5, -0.0, 1e308, float("inf"), float("-inf"), float("nan"), 10**30,
    -(10**400), "", " ", "\t", "\n", "\0", "\ud800", "\udfff", "\u2028", "\ufeff", "nan", "None", "null", "?", "-1", "1e999", "['a', 'b']",
    "['a' 'b']", "[", "[[", "{}", "{'a': 1}", "array(['a'], dtype=object)", "[nan]", "(1, 2)", "a,b", "a|b", "a;b", '"', "'",
    [], [[]], {}, [None], ["a"], ["a", "b"], [1, 2], [1.5], [{}], {"a": {}}, {"a": []}, "x" * 5000, list(range(50)),
    {"start": 0}, [0, 3, "LOC"], [[0, 3, "LOC"]], [["x", "y"], 3], {"choices": ["a"]}, "2020-01-01", "__label__a b",
)  # fmt: skip
NAMES = ("text", "label", "labels", "words", "tokens", "tags", "ner_tags", "entities", "spans", "score", "second", "answers",
         "context", "question", "sentence1", "sentence2", "answer", "accept", "options", "data", "rows", "annotations",
         "result", "value", "choices", "start", "end", "", "Unnamed: 0", "id", "index", "columns", "schema", "sentence_id",
         "predictions", "label_id", "cats", "intent", "paragraphs", "qas", "title", "train", "test", "meta", "group")  # fmt: skip


def sentence(rng: random.Random, n: int = 8) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, n))).strip() or "fly"


# ---------------------------------------------------------------- valid tables


def cells(rng: random.Random, kind: str, i: int) -> dict[str, Any]:
    """A row of a table that a task reads."""
    text = f"{sentence(rng)} {i}"
    if kind == "classify":
        label: Any = rng.choice(LABELS[:3])
        return {"text": text, "label": [label, "food"] if rng.random() < 0.02 else label}
    if kind == "pair":
        return {"premise": text, "hypothesis": sentence(rng), "label": rng.choice(LABELS[:2])}
    if kind == "similarity":
        return {"sentence1": text, "sentence2": sentence(rng), "score": rng.choice((0, 2.5, 5))}
    if kind == "qa":
        answer = rng.choice(text.split() or [text])
        answers = {"text": [answer], "answer_start": [text.find(answer)]}
        return {"question": sentence(rng), "context": text, "answers": rng.choice((answers, [answer], []))}
    if kind in ("ner", "tag"):
        words = text.split() or ["fly"]
        if rng.random() < 0.3:
            end = len(words[0])
            span = rng.choice(({"start": 0, "end": end, "label": "LOC"}, [0, end, "LOC"]))
            return {"text": text, rng.choice(("entities", "spans", "label")): [span]}
        return {"tokens": words, "tags": [rng.choice(TAGS[:4]) for _ in words]}
    return {"text": text}


def table(rng: random.Random, kind: str) -> list[dict[str, Any]]:
    state = rng.getrandbits(32)
    first = cells(random.Random(state), kind, 0)
    rows = [cells(rng, kind, i) for i in range(rng.choice((1, 12, 40, 40, 40)))]
    return [first, *(row for row in rows if row.keys() == first.keys())]


def as_csv(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(
        stream,
        delimiter=rng.choice(",,,;\t|"),
        quoting=rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
        lineterminator=rng.choice(("\n", "\r\n", "\r")),
    )
    numbered = rng.random() < 0.2
    if rng.random() < 0.7:
        writer.writerow([*([""] if numbered else []), *rows[0]])
    for i, row in enumerate(rows):
        values = [str(v) if not isinstance(v, list) or rng.random() < 0.5 else json.dumps(v) for v in row.values()]
        writer.writerow([*([i] if numbered else []), *values])
    return stream.getvalue().encode("utf-8", "surrogatepass")


def as_json(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    if rng.random() < 0.4:
        damage = rng.choice((0, 0, 0.02, 0.1))
        lines = [json.dumps(mutate_value(rng, row) if rng.random() < damage else row) for row in rows]
        return "\n".join(lines).encode()
    columns = list(rows[0])
    by_index = {str(i): row for i, row in enumerate(rows)}
    shapes: list[Any] = [
        rows,
        {"data": rows, "version": 1},
        {"rows": [{"row_idx": i, "row": row, "truncated_cells": []} for i, row in enumerate(rows)]},
        by_index,
        {name: {i: row[name] for i, row in by_index.items()} for name in columns},
        {"columns": columns, "index": list(range(len(rows))), "data": [list(row.values()) for row in rows]},
        [list(row.values()) for row in rows],
        {"schema": {"fields": [{"name": "index"}]}, "data": [{"index": i, **row} for i, row in enumerate(rows)]},
        {name: [row[name] for row in rows] for name in columns},
        {"train": rows, "test": rows},
        [{"id": i, "data": row, "annotations": [{"result": [_labelled(rng)]}]} for i, row in enumerate(rows)],
    ]
    value = rng.choice(shapes)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 3))):
        value = mutate_value(rng, value)
    return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _labelled(rng: random.Random) -> dict[str, Any]:
    """A result of Label Studio."""
    if rng.random() < 0.5:
        return {
            "type": "choices",
            "from_name": "sentiment",
            "to_name": "text",
            "value": {"choices": [rng.choice(LABELS)]},
        }
    value = {"start": 0, "end": 3, "text": "fly", "labels": ["LOC"]}
    return {"type": "labels", "from_name": "label", "to_name": "text", "value": value}


def as_parquet(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    if rng.random() < 0.4:
        rows = [
            {name: rng.choice(ODD) if rng.random() < 0.05 else value for name, value in row.items()} for row in rows
        ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays, names = [], []
    for name, values in columns.items():
        try:
            arrays.append(pyarrow.array(values))
        except (pyarrow.ArrowException, OverflowError, ValueError, TypeError):
            arrays.append(pyarrow.array([repr(value) for value in values]))
        names.append(rng.choice(NAMES) if rng.random() < 0.2 else name)
    if rng.random() < 0.1:
        arrays, names = [*arrays, arrays[0]], [*names, names[0]]
    stream = io.BytesIO()
    try:
        parquet.write_table(pyarrow.Table.from_arrays(arrays, names=names), stream)
    except (pyarrow.ArrowException, ValueError):
        return b"PAR1 PAR1"
    return stream.getvalue()


# ---------------------------------------------------------------- valid texts


def as_conll(rng: random.Random, kind: str) -> bytes:
    gap = rng.choice(("\t", " ", "\t"))
    columns = rng.choice((2, 2, 3, 4))
    indexed = rng.random() < 0.1
    plain = [word for word in WORDS if word and not set(word) & set(" \u00a0\u200b")]
    lines = []
    for i in range(rng.choice((1, 24, 30))):
        if rng.random() < 0.2:
            lines.append(rng.choice(("-DOCSTART- -X- O O\n", "# id 7", "#\tsource", "#begin document (a)")))
        for j in range(rng.randint(1, 6)):
            more = ["x"] * (columns - 2)
            word = f"{rng.choice(plain)}{i}"
            lines.append(gap.join([*([str(j)] if indexed else []), word, *more, rng.choice(TAGS[:4])]))
        lines.append("" if i % 7 else " ")
    return rng.choice(("\n", "\r\n")).join(lines).encode()


def as_conllu(rng: random.Random, kind: str) -> bytes:
    lines = []
    for _ in range(rng.choice((1, 30))):
        lines.append("# text = fly")
        for j in range(rng.randint(1, 5)):
            number = rng.choice((str(j + 1), str(j + 1), f"{j}-{j + 1}", f"{j}.1"))
            lines.append("\t".join([number, rng.choice(WORDS), "_", rng.choice(("NOUN", "VERB", "_")), *"______"]))
        lines.append("")
    return "\n".join(lines).encode()


def as_atis(rng: random.Random, kind: str) -> bytes:
    words = [word for word in WORDS if word and not any(map(str.isspace, word))]
    pair = lambda: f"{rng.choice(words)}:{rng.choice(TAGS[:4])}"  # noqa: E731
    rows = (f"{' '.join(pair() for _ in range(rng.randint(1, 5)))} <=> {rng.choice(LABELS[:3])}" for _ in range(30))
    return "\n".join(rows).encode()


def as_lines(rng: random.Random, kind: str) -> bytes:
    style = 3 if kind == "embed" else rng.randrange(5)

    def line(i: int) -> str:
        text, label = f"{sentence(rng)} {i}", rng.choice(LABELS[:5])
        several = " ".join(f"__label__{rng.choice(LABELS)}" for _ in range(rng.randint(0, 3)))
        return (f"{several} {text}", f"ABBR:{label} {text}", f"{rng.randrange(3)} {text}", text, f"{label}\t{text}")[
            style
        ]

    return "\n".join(line(i) for i in range(rng.choice((1, 40)))).encode()


def as_squad(rng: random.Random, kind: str) -> bytes:
    articles = []
    for a in range(rng.choice((1, 24))):
        context = f"{sentence(rng, 20)} {a}"
        word = rng.choice(context.split() or ["fly"])
        answer = {"text": word, "answer_start": context.find(word)}
        qas = [{"id": str(a), "question": sentence(rng), "answers": [answer], "is_impossible": False}]
        articles.append({"title": f"t{a}", "paragraphs": [{"context": context, "qas": qas}]})
    value: Any = {"version": "1.1", "data": articles}
    for _ in range(rng.choice((0, 1, 2, 4))):
        value = mutate_value(rng, value)
    return json.dumps(value).encode()


# ---------------------------------------------------------------- damage


def mutate_value(rng: random.Random, value: Any) -> Any:
    """The JSON value with one place of it changed."""
    value = copy.deepcopy(value)
    node, path = value, []
    while isinstance(node, dict | list) and node and rng.random() < 0.8:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        path.append((node, key))
        node = node[key]
    if not path:
        return rng.choice(ODD)
    parent, key = path[-1]
    what = rng.randrange(5)
    if what == 0:
        del parent[key]
    elif what == 1 and isinstance(parent, dict):
        parent[rng.choice(NAMES)] = parent.pop(key)
    elif what == 2 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(rng.choice(parent)))
    elif what == 3 and isinstance(parent, dict):
        parent[rng.choice(NAMES)] = copy.deepcopy(rng.choice(ODD))
    else:
        parent[key] = copy.deepcopy(rng.choice(ODD))
    return value


TOKENS = (b"\n", b"\r", b"\t", b" ", b"\0", b'"', b"'", b",", b";", b"|", b"\\", b"{", b"}", b"[", b"]", b":", b"\xff", b"\xef\xbb\xbf",
    b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"NaN", b"Infinity", b"-1", b"null", b"O", b"B-", b"#", b" <=> ", b"__label__",
    b"1e999", b"-DOCSTART-", b"\\ud800", b"\\u0000", b'""', b"PAR1", b"9" * 30, b"<!-- -->", b"[" * 40, b'{"a":' * 20)  # fmt: skip


def mutate_bytes(rng: random.Random, content: bytes) -> bytes:
    """Bytes changed, cut, doubled, moved, or put in."""
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at, until = sorted((rng.randint(0, len(content)), rng.randint(0, len(content))))
        what = rng.randrange(7)
        if what == 0:
            content = content[:at] + rng.choice(TOKENS) + content[at:]
        elif what == 1:
            content = content[:at] + rng.choice(TOKENS) + content[at + 1 :]
        elif what == 2:
            content = content[:at] + content[min(until, at + 40) :]
        elif what == 3:
            content = content[:until] + content[at:until][:2000] + content[until:]
        elif what == 4:
            content = content[:at]
        elif what == 5:
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        else:
            old, new = rng.choice(TOKENS), rng.choice(TOKENS)
            content = content.replace(old, new, rng.choice((1, 3, 1000)))
    return content[:200_000]


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("rows.csv", content)
    return stream.getvalue()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zip": zipped
}  # fmt: skip


def as_brat(rng: random.Random) -> tuple[bytes, bytes]:
    """A text of brat, a sentence a line, and its annotations."""
    lines, notes, at = [], [], 0
    for i in range(rng.choice((12, 30))):
        words = (sentence(rng, 6) + f" {i}").split(" ")
        word = next(word for word in words if word)
        start = at + " ".join(words).index(word)
        kind = rng.choice(("LOC", "PER"))
        whole = f"T{i}\t{kind} {start} {start + len(word)}\t{word}"
        notes += [
            rng.choice((whole, whole, f"T{i}\t{kind} {start} {start + 1};{start + 1} {start + len(word)}\t{word}"))
        ]
        notes += [
            rng.choice(
                ("#1\tAnnotatorNotes T1\tx", "E1\tLOC:T1", "A1\tNegation T1", "*\tEquiv T1 T1", "R1\tX Arg1:T1 Arg2:T1")
            )
        ]
        lines.append(" ".join(words))
        at += len(lines[-1]) + 1
    return "\n".join(lines).encode(), "\n".join(notes).encode()


# ---------------------------------------------------------------- TOML

TOML_ODD = ("inf", "-inf", "nan", "0", "-1", "1.5", "10000000000000000000000000", "true", '""', '" "', '"a/b"', '"../x"', '"/tmp/x"', '"a\\u0000b"',
    '"a\\nb"', '["a"]', "[]", "[[1]]", "[{}]", "{}", '{a = 1}', "1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", '"1"', "0x7fffffff",
    "1e400", '"inf"', "[1, 'a']", '"' + "x" * 400 + '"', '"."', '".."', '"~"', '"CON"', "'''a\nb'''", '"\\u202e"', "1e-320")  # fmt: skip


def mutate_toml(rng: random.Random, text: str) -> str:
    """Lines with other values, other keys, doubled, left out; or bytes changed."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(lines)) if lines else 0
        key, equals, _ = (lines[at] if lines else "").partition("=")
        what = rng.randrange(8)
        if what < 4 and equals:
            lines[at] = f"{key}= {rng.choice(TOML_ODD)}"
        elif what == 4:
            del lines[at : at + 1]
        elif what == 5:
            other = rng.choice(("method", "cores", "budget", "sources", "name", "files", "x"))
            lines.insert(at, rng.choice((f"[{other}]", f"[[{other}]]", f"{other} = {rng.choice(TOML_ODD)}")))
        elif what == 6:
            lines.insert(at, rng.choice(lines) if lines else "")
        elif equals:
            lines[at] = f"{rng.choice(NAMES) or 'a'} ={lines[at].partition('=')[2]}"
    return "\n".join(lines)
