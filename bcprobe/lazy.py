"""Names that are looked up when they are first used, so that ``import bcprobe`` costs nothing."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


def resolve(path: str) -> Any:
    """What ``module:name`` stands for."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


class CallableModule(ModuleType):
    """A room that can be called: ``bcprobe.activations(...)`` is its main function.

    A name of the public interface may be that of a room, which Python binds to the package as soon
    as anything imports from it; so the room itself answers.
    """

    _main: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the room's main function."""
        return resolve(self._main)(*arguments, **options)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The room's main function."""
        found: Callable[..., Any] = resolve(self._main)
        return found

    @property
    def __signature__(self) -> inspect.Signature:
        """That of the room's main function, for ``help`` and Jupyter."""
        return inspect.signature(self.__wrapped__)


def make_callable(module: str, main: str) -> None:
    """Let an imported module be called as the function ``main`` (``module:name``)."""
    room = sys.modules[module]
    room.__class__ = CallableModule
    room._main = main  # type: ignore[attr-defined]
