"""The one exception users meet, and the search for the name they meant."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable


class InputError(Exception):
    """Bad input, told in one line that names the thing and the mend (exit code 2)."""


class Interrupted(SystemExit):
    """A signal other than Ctrl-C asked to stop; the exit code is 128 and its ``number``."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def check_name(kind: str, name: str, known: Iterable[str]) -> str:
    """``name`` if it is known; else raise `InputError` with the nearest known name."""
    names = list(known)
    if not isinstance(name, str):
        raise InputError(f"a {kind} is named by text, not by {type(name).__name__} {name!r}")
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise InputError(f"unknown {kind} '{name}'{hint}")


def whole(name: str, value: object) -> int:
    """The value as a plain Python integer; raises `InputError` if it is no whole number."""
    try:
        plain = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{name} {value!r} is no whole number") from None
    if isinstance(value, bool):
        raise InputError(f"{name} {value!r} is no whole number")
    return plain


def at_least_one(name: str, value: object) -> int:
    """The value; raises `InputError` if it is no whole number, or below 1."""
    plain = whole(name, value)
    if plain < 1:
        raise InputError(f"{name} is {plain}; it must be 1 or more")
    return plain
