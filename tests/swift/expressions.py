"""Expressions of Swift as Python."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from tests.swift.grammar import BINARY, PRECEDENCE, PYTHON, descendants, mangled, parse_text, safe
from tests.swift.runtime import RUNTIME


class Expressions:
    """Names in their scopes, and expressions; closures become functions before the line that they stand in."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.owner = ""
        self.static = False
        self.scopes: list[dict[str, str]] = []
        self.lines: list[str] = []
        self.depth = 0
        self.fresh = itertools.count()

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def declare(self, name: str) -> str:
        made = f"{name}_{next(self.fresh)}"
        self.scopes[-1][name] = made
        return made

    def local(self, name: str) -> str | None:
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def reference(self, name: str) -> str:
        if found := self.local(name):
            return found
        members = self.module.types.get(self.owner, {"self": set(), "static": set()})
        if name in members["self"] and not self.static:
            return f"self.{safe(name)}"
        if name in members["static"]:
            return f"{self.owner}.{safe(name)}"
        if name in self.module.types or name in self.module.globals or name in RUNTIME:
            return safe(name)
        for known in self.module.globals:  # a function that is handed on
            if known.startswith(f"{name}__"):
                return known
        raise NameError(f"{name} in {self.owner}")

    # ------------------------------------------------------------ expressions

    def expression(self, node: Any) -> str:
        if node.type in BINARY or node.type == "ternary_expression":
            tokens = self.flat(node)
            return self.climb(tokens, 0)
        if node.type in ("call_expression", "navigation_expression"):
            if hoisted := self.hoisted(node):
                return hoisted
            if self.misread(node) is not None:
                return self.climb(self.flat(node), 0)
        if node.type == "+":
            return repr(node.type)  # an operator as the closure of `reduce`
        handler: Callable[[Any], str] | None = getattr(self, f"of_{node.type}", None)
        if handler is None:
            raise NotImplementedError(f"{node.type}: {node.text.decode()[:80]}")
        return handler(node)

    def flat(self, node: Any) -> list[str]:
        """Operands and operators from left to right."""
        if node.type == "try_expression":
            return self.flat(node.named_children[-1])
        if node.type == "ternary_expression":
            parts = [node.child_by_field_name(name) for name in ("condition", "if_true", "if_false")]
            return [*self.flat(parts[0]), "?", self.expression(parts[1]), *self.flat(parts[2])]
        if node.type == "prefix_expression" and node.children[-1].type in BINARY:
            inner = self.flat(node.children[-1])
            return [self.prefixed(node.children[0].text.decode(), inner[0]), *inner[1:]]
        if (binary := self.misread(node)) is not None:
            last = binary
            while last.type in BINARY:
                last = last.children[-1]
            text = node.text[last.start_byte - node.start_byte :].decode()
            return [*self.flat(binary)[:-1], *self.flat(parse_text(text).named_children[0])]
        if node.type not in BINARY:
            return [self.expression(node)]
        left, right = node.children[0], node.children[-1]
        operator = node.children[1].text.decode()
        return [*self.flat(left), operator, *self.flat(right)]

    def climb(self, tokens: list[str], least: int) -> str:
        left = tokens.pop(0)
        while tokens and PRECEDENCE[tokens[0]] >= least:
            operator = tokens.pop(0)
            if operator == "?":
                yes = tokens.pop(0)
                left = f"({yes} if {left} else {self.climb(tokens, 0)})"
                continue
            right = self.climb(tokens, PRECEDENCE[operator] + (operator != "??"))
            if operator == "/":
                left = f"divided({left}, {right})"
            elif operator in ("..<", "..."):
                left = f"Range({left}, {right}{' + 1' if operator == '...' else ''})"
            elif operator == "??":
                value = f"_value_{next(self.fresh)}"
                left = f"({value} if ({value} := {left}) is not None else {right})"
            elif operator in ("+", "=="):
                left = f"({left} {operator} {right})"
            else:
                left = f"({left} {PYTHON.get(operator, operator)} {right})"
        return left

    def hoisted(self, node: Any) -> str:
        """`!a.b(c)`, which the grammar reads as `(!a.b)(c)`."""
        at, prefix = node, None
        while at.type in ("call_expression", "navigation_expression"):
            at = at.children[0]
            if at.type == "prefix_expression":
                prefix = at
        if prefix is None or prefix.text.startswith(b"."):
            return ""
        operator = prefix.children[0]
        text = node.text[operator.end_byte - operator.start_byte :].decode()
        return self.prefixed(operator.text.decode(), self.expression(parse_text(text).named_children[0]))

    def misread(self, node: Any) -> Any:
        """`a + b(c)`, which the grammar reads as `(a + b)(c)`: the sum."""
        at = node
        while at.type in ("call_expression", "navigation_expression"):
            at = at.children[0]
        return at if at is not node and at.type in BINARY else None

    def prefixed(self, operator: str, operand: str) -> str:
        return {"!": f"(not {operand})", "-": f"(-{operand})", "~": f"(~{operand})", "&": operand}[operator]

    def of_prefix_expression(self, node: Any) -> str:
        operator = node.children[0].text.decode()
        if operator == ".":
            return f"implicit({node.children[-1].text.decode()!r})"
        return self.prefixed(operator, self.expression(node.children[-1]))

    def of_try_expression(self, node: Any) -> str:
        inner = self.expression(node.named_children[-1])
        return f"attempt(lambda: {inner})" if node.children[0].text == b"try?" else inner

    def of_simple_identifier(self, node: Any) -> str:
        return self.reference(node.text.decode())

    def of_self_expression(self, node: Any) -> str:
        return "self"

    def of_integer_literal(self, node: Any) -> str:
        return node.text.decode()

    of_real_literal = of_hex_literal = of_integer_literal

    def of_boolean_literal(self, node: Any) -> str:
        return node.text.decode().capitalize()

    def of_nil_literal(self, node: Any) -> str:
        return "None"

    nil = of_nil_literal

    def of_line_string_literal(self, node: Any) -> str:
        parts = []
        for child in node.children[1:-1]:
            if child.type == "interpolated_expression":
                parts.append(f"shown({self.expression(child.named_children[0])})")
            elif child.type == "str_escaped_char":
                text = child.text.decode()
                parts.append(repr(chr(int(text[3:-1], 16)) if text.startswith("\\u{") else json.loads(f'"{text}"')))
            elif child.type == "line_str_text":
                parts.append(repr(child.text.decode()))
        return f"({' + '.join(parts)})" if parts else "''"

    def of_tuple_expression(self, node: Any) -> str:
        values = [self.expression(child) for child in node.children_by_field_name("value")]
        return f"({values[0]})" if len(values) == 1 else f"({', '.join(values)},)"

    def of_array_literal(self, node: Any) -> str:
        return f"[{', '.join(self.expression(child) for child in node.named_children if child.type != 'comment')}]"

    def of_dictionary_literal(self, node: Any) -> str:
        keys, values = node.children_by_field_name("key"), node.children_by_field_name("value")
        return (
            f"{{{', '.join(f'{self.expression(k)}: {self.expression(v)}' for k, v in zip(keys, values, strict=True))}}}"
        )

    def of_navigation_expression(self, node: Any) -> str:
        target, name = node.children[0], node.child_by_field_name("suffix").children[-1].text.decode()
        if target.type == "prefix_expression" and target.text.startswith(b"."):
            raise NotImplementedError(node.text)
        if any(child.type == "?" for child in node.children):
            value = f"_value_{next(self.fresh)}"
            return f"(None if ({value} := {self.expression(target)}) is None else prop({value}, {name!r}))"
        return f"prop({self.expression(target)}, {name!r})"

    def of_optional_chaining(self, node: Any) -> str:
        return self.expression(node.children[0])

    def of_as_expression(self, node: Any) -> str:
        return self.expression(node.children[0])

    def arguments(self, suffix: Any) -> tuple[list[str], list[str]]:
        labels, values = [], []
        for child in suffix.children:
            if child.type == "value_arguments":
                for argument in (item for item in child.children if item.type == "value_argument"):
                    label, value = argument.child_by_field_name("name"), argument.child_by_field_name("value")
                    labels.append("u" if label is None else label.text.decode())
                    values.append(self.expression(value))
            elif child.type == "lambda_literal":
                labels.append("u")
                values.append(self.expression(child))
        return labels, values

    def of_call_expression(self, node: Any) -> str:
        target, suffix = node.children[0], node.children[-1]
        labels, values = self.arguments(suffix)
        given = ", ".join(values)
        if (
            suffix.children
            and suffix.children[0].type == "value_arguments"
            and suffix.children[0].children[0].type == "["
        ):
            return f"at({self.expression(target)}, {given})"
        if target.type == "prefix_expression" and target.text.startswith(b"."):
            return f"implicit({target.children[-1].text.decode()!r}, {given})"
        if target.type == "array_literal":
            return f"([{values[0]}] * {values[1]})" if labels == ["repeating", "count"] else f"list({given})"
        if target.type == "simple_identifier":
            name = target.text.decode()
            if self.local(name):
                return f"{self.local(name)}({given})"
            for scope in ("self", "static"):
                if mangled(name, labels) in self.module.types.get(self.owner, {}).get(scope, ()):
                    return f"{'self' if scope == 'self' else self.owner}.{mangled(name, labels)}({given})"
            if mangled(name, labels) in self.module.globals:
                return f"{mangled(name, labels)}({given})"
            if name in self.module.types:
                return f"make({name}, {labels!r}, [{given}])"
            if name == "XCTAssertThrowsError":
                return (
                    f"throws(lambda: {', '.join(values)})"
                    if len(values) == 1
                    else f"throws(lambda: {values[0]}, {values[1]})"
                )
            if name in RUNTIME:
                pairs = sorted(zip(labels, values, strict=True), key=lambda pair: pair[0] != "u")
                return f"{name}({', '.join(v if label == 'u' else f'{safe(label)}={v}' for label, v in pairs)})"
            raise NameError(f"{name}({labels}) in {self.owner}")
        if target.text in (b"-", b"!", b"~"):
            return self.prefixed(target.text.decode(), f"({given})")
        if target.type == "navigation_expression":
            name = target.child_by_field_name("suffix").children[-1].text.decode()
            return f"call({self.expression(target.children[0])}, {name!r}, {labels!r}, [{given}])"
        raise NotImplementedError(node.text.decode()[:80])

    def statement(self, node: Any) -> None:
        raise NotImplementedError

    def of_lambda_literal(self, node: Any) -> str:
        name = f"_closure_{next(self.fresh)}"
        kind = next((child for child in node.children if child.type == "lambda_function_type"), None)
        parameters = []
        self.scopes.append({})
        if kind is not None:
            for item in descendants(kind, "lambda_parameter"):
                parameters.append(self.declare(item.child_by_field_name("name").text.decode()))
        else:
            text = node.text.decode()
            for i in range(2 if "$1" in text else 1 if "$0" in text else 0):
                parameters.append(self.declare(f"${i}").replace("$", "d"))
                self.scopes[-1][f"${i}"] = parameters[-1]
        self.line(f"def {name}({', '.join(parameters)}):")
        self.depth += 1
        inner = next((child for child in node.children if child.type == "statements"), None)
        statements = inner.named_children if inner is not None else []
        self.scopes.append({})
        for i, statement in enumerate(statements):
            single = len(statements) == 1 and (statement.type in BINARY or not hasattr(self, f"do_{statement.type}"))
            if i == 0 and single:
                self.line(f"return {self.expression(statement)}")
            else:
                self.statement(statement)
        self.scopes.pop()
        self.depth -= 1
        self.scopes.pop()
        return name

    def of_await_expression(self, node: Any) -> str:
        return self.expression(node.named_children[-1])
