"""Sources of Swift, written as Python and loaded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.swift.expressions import Expressions
from tests.swift.grammar import parse_file, safe, spellings
from tests.swift.runtime import RUNTIME, RUNTIME_STORED


class Module:
    """Sources loaded together.

    Attributes:
        names: what they declare.
    """

    def __init__(self, sources: Sequence[Path]) -> None:
        # Of each type its instance and static members.
        self.types: dict[str, dict[str, set[str]]] = {
            name: {"self": set(stored), "static": set()} for name, stored in RUNTIME_STORED.items()
        }
        self.cases: dict[str, str] = {}  # case of an enum -> enum
        self.globals: set[str] = set()
        self.names: dict[str, Any] = dict(RUNTIME)
        trees = [parse_file(path) for path in sources]
        for tree in trees:
            self._declare(tree)
        for path, tree in zip(sources, trees, strict=True):
            code = Writer(self).source(tree)
            exec(compile(code, f"{path.name} as Python", "exec"), self.names)
        self.names["hashOf__u"] = lambda key: ((key * 0x9E3779B97F4A7C15) & (2**64 - 1)) >> 32
        self.names["_CASES"].update({case: self.names[enum] for case, enum in self.cases.items()})

    def _declare(self, node: Any, owner: str = "") -> None:
        for child in node.named_children:
            if child.type in ("class_declaration", "protocol_declaration"):
                name = child.child_by_field_name("name").text.decode().split(".")[-1]
                self.types.setdefault(name, {"self": set(), "static": set()})
                self._declare(child.child_by_field_name("body"), name)
            elif child.type in (
                "function_declaration",
                "property_declaration",
                "init_declaration",
                "subscript_declaration",
            ):
                static = any(item.type == "modifiers" and b"static" in item.text for item in child.children)
                for name in declared(child):
                    if owner:
                        self.types[owner]["static" if static else "self"].add(name)
                    else:
                        self.globals.add(name)
            elif child.type == "enum_entry":
                for item in child.children_by_field_name("name"):
                    self.cases[item.text.decode()] = owner


def declared(node: Any) -> Iterator[str]:
    if node.type == "function_declaration":
        yield from spellings(node, node.child_by_field_name("name").text.decode())
    elif node.type == "property_declaration":
        yield node.child_by_field_name("name").text.decode()


class Writer(Expressions):
    """Python of one source."""

    # ------------------------------------------------------------ declarations

    def source(self, node: Any) -> str:
        for child in node.named_children:
            if child.type in ("class_declaration", "protocol_declaration"):
                self.type(child)
            elif child.type == "function_declaration":
                self.function(child)
            elif child.type == "property_declaration":
                value = self.expression(child.child_by_field_name("value"))
                self.line(f"{safe(child.child_by_field_name('name').text.decode())} = {value}")
            elif child.type not in ("comment", "import_declaration", "typealias_declaration"):
                raise NotImplementedError(child.type)
        return "\n".join(self.lines)

    def type(self, node: Any) -> None:
        if node.type == "protocol_declaration":
            return
        body, outer = node.child_by_field_name("body"), self.owner
        for child in body.named_children:
            if child.type == "class_declaration":
                self.type(child)
        self.owner = name = node.child_by_field_name("name").text.decode()
        self.line(f"class {name}({name if name in RUNTIME else 'Value'}):")
        self.depth += 1
        self.line(f"_stored = {self.stored(node) or RUNTIME_STORED.get(name, [])!r}")
        after: list[tuple[str, Any]] = []
        for child in body.named_children:
            self.member(child, after)
        self.depth -= 1
        for attribute, value in after:
            self.static = True
            self.line(f"{name}.{safe(attribute)} = {self.expression(value)}")
            self.static = False
        self.owner = outer

    def stored(self, node: Any) -> list[str]:
        return [
            child.child_by_field_name("name").text.decode()
            for child in node.child_by_field_name("body").named_children
            if child.type == "property_declaration"
            and not any(item.type == "computed_property" for item in child.children)
            and not any(item.type == "modifiers" and b"static" in item.text for item in child.children)
        ]

    def member(self, child: Any, after: list[tuple[str, Any]]) -> None:
        static = any(item.type == "modifiers" and b"static" in item.text for item in child.children)
        computed = next((item for item in child.children if item.type == "computed_property"), None)
        if child.type in ("comment", "enum_entry", "class_declaration"):
            return
        if child.type == "function_declaration":
            self.function(child, method=True, static=static)
        elif child.type == "init_declaration":
            self.body(f"def {spellings(child, 'init')[0]}", child, child.child_by_field_name("body"))
        elif child.type == "subscript_declaration":
            self.body("def __getitem__", child, computed)
        elif computed is not None:
            self.line("@property")
            self.body(f"def {safe(child.child_by_field_name('name').text.decode())}", child, computed)
        elif child.type == "property_declaration":
            value = child.child_by_field_name("value")
            name = child.child_by_field_name("name").text.decode()
            if static:
                after.append((name, value))
            elif value is not None:
                self.body(f"def _default_{name}", child, None, value)
        else:
            raise NotImplementedError(child.type)

    def function(self, node: Any, method: bool = False, static: bool = False) -> None:
        spelled = spellings(node, node.child_by_field_name("name").text.decode())
        if static:
            self.line("@staticmethod")
        self.static = static or not method
        self.body(f"def {spelled[0]}", node, node.child_by_field_name("body"), method=method and not static)
        self.static = False
        for other in spelled[1:]:
            self.line(f"{other} = {spelled[0]}")

    def body(self, head: str, node: Any, block: Any, value: Any = None, method: bool = True) -> None:
        self.scopes.append({})
        names = ["self"] if method else []
        for i, child in enumerate(node.children):
            if child.type == "parameter":
                names.append(self.declare(child.child_by_field_name("name").text.decode()))
            elif node.field_name_for_child(i) == "default_value":
                names[-1] += f"={self.expression(child)}"
        self.line(f"{head}({', '.join(names)}):")
        self.depth += 1
        if value is not None:
            kind = (
                "set"
                if any(b"Set<" in child.text for child in node.children if child.type == "type_annotation")
                else "copied"
            )
            self.line(f"return {kind}({self.expression(value)})")
        else:
            self.statements(block)
        self.depth -= 1
        self.scopes.pop()

    # ------------------------------------------------------------ statements

    def statements(self, block: Any) -> None:
        """Those of a node that holds them."""
        before = len(self.lines)
        self.scopes.append({})
        for group in block.children:
            if group.type == "statements":
                for statement in group.named_children:
                    self.statement(statement)
        self.scopes.pop()
        if len(self.lines) == before:
            self.line("pass")

    def statement(self, node: Any) -> None:
        if node.type == "comment":
            return
        handler: Callable[[Any], None] | None = getattr(self, f"do_{node.type}", None)
        if handler:
            handler(node)
        else:
            self.line(self.expression(node))

    def block(self, head: str, node: Any) -> None:
        self.line(head)
        self.depth += 1
        self.statements(node)
        self.depth -= 1

    def do_property_declaration(self, node: Any) -> None:
        value = node.child_by_field_name("value")
        text = "None" if value is None else self.expression(value)
        wanted = node.child_by_field_name("name")
        if any(child.type == "type_annotation" and b"Set<" in child.text for child in node.children):
            text = f"set({text})"
        variable = any(child.type == "value_binding_pattern" and child.text == b"var" for child in node.children)
        self.line(f"{self.pattern(wanted)} = {f'copied({text})' if variable else text}")

    def do_assignment(self, node: Any) -> None:
        target, operator = (
            node.child_by_field_name("target").children[0],
            node.child_by_field_name("operator").text.decode(),
        )
        self.assign(target, operator, self.expression(node.child_by_field_name("result")))

    def do_infix_expression(self, node: Any) -> None:
        """`a |= b`, which the grammar takes for an operator."""
        target, operator = node.children[0], node.children[1].text.decode()
        self.assign(target, operator, self.climb(self.flat(node.children[2]), 0))

    def assign(self, target: Any, operator: str, value: str) -> None:
        if target.text == b"_":
            self.line(value)
            return
        if target.type == "navigation_expression":
            name = target.child_by_field_name("suffix").children[-1].text.decode()
            place = f"{self.expression(target.children[0])}.{safe(name)}"
        elif target.type == "call_expression":
            place = f"{self.expression(target.children[0])}[{self.arguments(target.children[-1])[1][0]}]"
        else:
            place = self.expression(target)
        self.line(f"{place} {operator} {value}")

    def do_control_transfer_statement(self, node: Any) -> None:
        kind = node.children[0].text.decode()
        result = node.child_by_field_name("result")
        if result is None and len(node.named_children) > 0:
            result = node.named_children[-1]
        if kind == "throw":
            self.line(f"raise thrown({self.expression(result)})")
        elif kind == "return":
            self.line(f"return {'None' if result is None else self.expression(result)}")
        else:
            self.line(kind)

    def do_if_statement(self, node: Any) -> None:
        self.condition(node, "if")

    def do_guard_statement(self, node: Any) -> None:
        self.line(f"if not ({self.conditions(node)}):")
        self.depth += 1
        self.statements(node)
        self.depth -= 1

    def condition(self, node: Any, head: str) -> None:
        self.scopes.append({})
        self.line(f"{head} {self.conditions(node)}:")
        self.depth += 1
        children = list(node.children)
        blocks = [i for i, child in enumerate(children) if child.type == "{"]
        self.part(children, blocks[0])
        self.depth -= 1
        self.scopes.pop()
        otherwise = next((i for i, child in enumerate(children) if child.type == "else"), None)
        if otherwise is None:
            return
        self.line("else:")
        self.depth += 1
        if len(blocks) > 1:
            self.part(children, blocks[1])
        else:
            self.statement(children[otherwise + 1])
        self.depth -= 1

    def part(self, children: list[Any], at: int) -> None:
        """The statements behind a brace."""
        before = len(self.lines)
        self.scopes.append({})
        for child in itertools.takewhile(lambda child: child.type != "}", children[at + 1 :]):
            if child.type == "statements":
                for statement in child.named_children:
                    self.statement(statement)
        self.scopes.pop()
        if len(self.lines) == before:
            self.line("pass")

    def conditions(self, node: Any) -> str:
        """All conditions of an if, guard or while; what they bind is declared."""
        end = next(i for i, child in enumerate(node.children) if child.type in ("{", "else"))
        groups: list[list[Any]] = [[]]
        for child in node.children[1:end]:
            if child.type == ",":
                groups.append([])
            else:
                groups[-1].append(child)
        return " and ".join(f"({self.one_condition(group)})" for group in groups)

    def one_condition(self, group: list[Any]) -> str:
        if group[0].type == "value_binding_pattern":
            value = self.expression(group[-1])
            name = next(child for child in group if child.type == "simple_identifier")
            return f"({self.declare(name.text.decode())} := {value}) is not None"
        if group[0].type == "case":
            value = self.expression(group[-1])
            sign = next(i for i, child in enumerate(group) if child.type == "=")
            return self.case(" ".join(child.text.decode() for child in group[1:sign]), f"({value})")
        return self.expression(group[0])

    def case(self, pattern: str, value: str) -> str:
        """Whether a value is a case of an enum, whose payload is bound."""
        words = pattern.replace("(", " ").replace(")", " ").replace(".", " ").split()
        name = words[0]
        made = self.declare(words[2]) if len(words) > 2 and words[1] == "let" else f"_unused_{next(self.fresh)}"
        return f"({made} := payload({value}, {name!r})) is not NOTHING"

    def do_while_statement(self, node: Any) -> None:
        self.scopes.append({})
        self.line(f"while {self.conditions(node)}:")
        self.depth += 1
        self.part(list(node.children), next(i for i, child in enumerate(node.children) if child.type == "{"))
        self.depth -= 1
        self.scopes.pop()

    def do_for_statement(self, node: Any) -> None:
        items = self.expression(node.child_by_field_name("collection"))
        self.scopes.append({})
        name = self.pattern(node.child_by_field_name("item"))
        self.line(f"for {name} in items_of({items}):")
        self.depth += 1
        where = next((child for child in node.children if child.type == "where_clause"), None)
        if where is not None:
            self.line(f"if not ({self.expression(where.named_children[-1])}):")
            self.line("    continue")
        self.part(list(node.children), next(i for i, child in enumerate(node.children) if child.type == "{"))
        self.depth -= 1
        self.scopes.pop()

    def pattern(self, node: Any) -> str:
        """The names that a pattern binds."""
        parts = [child for child in node.named_children if child.type == "pattern"]
        if parts:
            return f"({', '.join(self.pattern(part) for part in parts)},)"
        text = node.text.decode().removeprefix("var ").strip()
        return "_" if text == "_" else self.declare(text)

    def do_switch_statement(self, node: Any) -> None:
        value = f"_switch_{next(self.fresh)}"
        self.line(f"{value} = {self.expression(node.child_by_field_name('expr'))}")
        head = "if"
        for entry in (child for child in node.children if child.type == "switch_entry"):
            self.scopes.append({})
            patterns = [child for child in entry.children if child.type == "switch_pattern"]
            tests = " or ".join(self.matches(pattern, value) for pattern in patterns) or "True"
            self.block(f"{head} {tests}:", entry)
            self.scopes.pop()
            head = "elif"

    def matches(self, node: Any, value: str) -> str:
        text = node.text.decode()
        if text.startswith("."):
            return self.case(text, value)
        if text.startswith('"'):
            return f"{value} == {text}"
        low, dots, high = text.partition("...")
        return f"{int(low, 0)} <= {value} <= {int(high, 0)}" if dots else f"{value} == {int(text, 0)}"

    def do_do_statement(self, node: Any) -> None:
        self.block("try:", node)
        for catch in (child for child in node.children if child.type == "catch_block"):
            self.scopes.append({})
            name = self.declare("error")
            self.block(f"except SwiftError as {name}:", catch)
            self.scopes.pop()
