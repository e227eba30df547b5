"""Every error that a user meets: what was wrong, where, and what to do about it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 600  # characters of what is wrong


class EdgebertError(Exception):
    """A message for the user.

    Args:
        what: one sentence that says what is wrong.
        where: the file and line, option or label concerned.
        hint: what to do now.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        what = without_password(_on_one_line(what))  # it may quote a file
        super().__init__(what)
        self.what, self.where, self.hint = what, without_password(where or "") or None, hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f"\n  {self.hint}" if self.hint else "")


class DataError(EdgebertError):
    """Rows, columns, labels or encodings that cannot be used."""


class TeacherError(EdgebertError):
    """A teacher that cannot be found, trusted or read."""


class RequestError(EdgebertError):
    """An option, device, task, method or recipe that does not exist or does not fit."""


class PluginError(EdgebertError):
    """A method, task, converter or target that breaks its contract."""


class RunError(EdgebertError):
    """A folder that cannot be used: locked, read-only, full or damaged; or what else the system refused."""


class BudgetError(EdgebertError):
    """No student meets the budget. Exit code 1: the request was right, the answer is no."""

    exit_code = 1


class WorkerFinished(EdgebertError):
    """Of several processes, the main one goes on with the work: this one was there to train, and is done. Exit code 0."""

    exit_code = 0

    def __init__(self) -> None:
        super().__init__("this process has trained its part; the main one writes the results")


class ParityError(EdgebertError):
    """A converted file does not compute what the student computes."""

    exit_code = 1


def unknown(kind: str, name: str, known: Iterable[str], *, where: str | None = None, more: str = "") -> RequestError:
    """The error for a name that is not in `known`, with the nearest names offered."""
    names = sorted(known)
    near = get_close_matches(name[:200], names, n=3, cutoff=0.4)
    offer = f"Did you mean {' or '.join(shown(item) for item in near)}?" if near else f"Known: {name_list(names, 60)}."
    return RequestError(f"unknown {kind} '{shown(name)}'", where=where, hint=f"{offer} {more}".strip())


def _on_one_line(what: str) -> str:
    """The message without its middle where that is long, so that what is quoted hides nothing of what is said."""
    whole = shown(what, len(what))
    return whole if len(whole) <= LONGEST else f"{whole[: LONGEST - 200]} … {whole[-190:]}"


def shown(text: str, most: int = 80) -> str:
    """Text of a user as a message shows it: on one line, without what a terminal would obey, and not too long."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:most])
    return f"{plain}…" if len(text) > most else plain


def without_password(text: str) -> str:
    """The text with no password of a URL in it: neither `name:password@host` nor `?password=…`."""
    text = re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&](?:ssl)?pass(?:word|wd)=)[^&\s]*", r"\1***", text)


def control_in(texts: Iterable[str]) -> str | None:
    """The first of some labels that holds a character which a terminal would obey, as a message shows it; None where none
    does."""
    found = next((text for text in texts if any(map(_is_obeyed, text))), None)
    return None if found is None else shown(found)


def visible(text: str) -> str:
    """A text of somebody else as a terminal may be given it."""
    return "".join(ascii(c)[1:-1] if _is_obeyed(c) else c for c in text)


def _is_obeyed(c: str) -> bool:
    """Tabs and line breaks do no harm."""
    return unicodedata.category(c) == "Cc" and c not in "\t\n\r"


def name_list(names: Iterable[object], most: int = 20) -> str:
    """Names of a file's columns or keys as a message lists them; "none" where there are none."""
    all_names = [shown(str(name), 40) for name in names]
    more = f" and {len(all_names) - most} more" if len(all_names) > most else ""
    return f"{', '.join(all_names[:most])}{more}" if all_names else "none"


def first_line(error: object) -> str:
    """The first line of an exception's text, or its type's name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
