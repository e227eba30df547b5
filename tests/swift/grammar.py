"""What the grammar says of a source, and what it says otherwise than Swift does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BINARY = {
    "additive_expression", "multiplicative_expression", "comparison_expression", "equality_expression", "infix_expression",
    "bitwise_operation", "conjunction_expression", "disjunction_expression", "nil_coalescing_expression", "range_expression",
}  # fmt: skip
# Swift's own: the grammar does not keep to it.
PRECEDENCE = {
    "<<": 8, ">>": 8, "*": 7, "/": 7, "%": 7, "&": 7, "&*": 7, "+": 6, "-": 6, "|": 6, "^": 6, "&-": 6, "&+": 6, "..<": 5, "...": 5, "??": 4, "==": 3,
    "!=": 3, "===": 3, "!==": 3, "<": 3, ">": 3, "<=": 3, ">=": 3, "&&": 2, "||": 1, "?": 0,
}  # fmt: skip
PYTHON = {"&&": "and", "||": "or", "===": "is", "&*": "*", "&-": "-", "&+": "+", "!==": "is not"}
RESERVED = {
    "from",
    "in",
    "is",
    "pass",
    "not",
    "and",
    "or",
    "def",
    "class",
    "import",
    "del",
    "with",
    "lambda",
    "None",
    "print",
    "as",
}


def parse_file(path: Path) -> Any:
    lines = path.read_text(encoding="utf-8").splitlines()
    return parse_text("\n".join("" if line.lstrip().startswith("#") else line for line in lines))


def parse_text(text: str) -> Any:
    import tree_sitter_swift
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_swift.language())).parse(text.encode()).root_node


def spellings(node: Any, name: str) -> list[str]:
    """A function's name with the labels of its arguments, as often as it has defaults that may be left out."""
    labels, optional = [], 0
    for i, child in enumerate(node.children):
        if child.type == "parameter":
            outer = child.child_by_field_name("external_name") or child.child_by_field_name("name")
            labels.append("u" if outer.text == b"_" else outer.text.decode())
        elif node.field_name_for_child(i) == "default_value":
            optional += 1
    return [mangled(name, labels[: len(labels) - n]) for n in range(optional + 1)]


def mangled(name: str, labels: Sequence[str]) -> str:
    return f"{name}__{'_'.join(labels)}"


def descendants(node: Any, kind: str) -> Iterator[Any]:
    for child in node.children:
        if child.type == kind:
            yield child
        yield from descendants(child, kind)


def safe(name: str) -> str:
    return f"{name}_" if name in RESERVED else name
