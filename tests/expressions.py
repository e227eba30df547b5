"""Expressions of GitHub's workflows, `${{ }}`, as far as ours use them. What is not known is an error, not an empty text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+)|(?P<operator>&&|\|\||==|!=|[!(),])|(?P<name>[\w.-]+|\[\d+\]))"
)
WORDS = {"&&": " and ", "||": " or ", "!": " not "}


@dataclass
class Scope:
    """What the expressions of a step can name."""

    contexts: dict[str, Any]
    workspace: Path
    failed: bool = False
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    def value(self, expression: str) -> Any:
        """Of what stands in ${{ }}."""
        code, at = "", 0
        while expression[at:].strip():
            match = TOKEN.match(expression, at)
            assert match, f"not understood: {expression[at:]!r}"
            at = match.end()
            if match["text"]:
                code += repr(match["text"][1:-1].replace("''", "'"))
            elif match["operator"]:
                code += WORDS.get(match["operator"], match["operator"])
            elif match["number"]:
                code += match["number"]
            else:
                called = expression[at:].lstrip().startswith("(")
                code += f"functions[{match['name']!r}]" if called else f"named({match['name']!r})"
        return eval(code.strip(), {"named": self._named, "functions": self._functions()})

    def text(self, template: Any) -> str:
        """A value of the file, with its expressions put in."""
        if isinstance(template, bool):
            return str(template).lower()
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: _written(self.value(match[1])), str(template))

    def holds(self, condition: str | None) -> bool:
        """Of an `if`, which is `success()` unless it asks for another status itself."""
        bare = (condition or "success()").strip()
        if bare.startswith("${{"):
            bare = bare.removeprefix("${{").removesuffix("}}")
        asks = re.search(r"\b(always|failure|cancelled|success)\(\)", bare)
        return bool(self.value(bare)) and (bool(asks) or not self.failed)

    def _named(self, name: str) -> Any:
        first, *rest = name.split(".")
        if first in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[first]
        value = self.steps if first == "steps" else self.contexts[first]
        for key in rest:
            if value is None:  # as of github.event.pull_request in a push
                return None
            value = value[key]
        return value

    def _functions(self) -> dict[str, Callable[..., Any]]:
        return {
            "always": lambda: True,
            "success": lambda: not self.failed,
            "failure": lambda: self.failed,
            "cancelled": lambda: False,
            "endsWith": lambda text, end: str(text or "").lower().endswith(str(end).lower()),
            "format": lambda text, *values: text.format(*values),
        }


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
