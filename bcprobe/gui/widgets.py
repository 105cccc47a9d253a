"""Buttons: what they are and what state they are in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Button:
    """A button of a task, wherever a layout puts it.

    ``action`` is one of `bcprobe.types.ACTIONS`; ``group`` is the panel heading it stands
    under (empty: none); ``tone`` names a theme colour: ``forward``, ``back``, ``view``,
    ``select``, ``undo`` or ``done``.
    """

    name: str
    label: str
    action: str
    group: str
    tone: str


@dataclass(frozen=True)
class ButtonState:
    """How a button shows: a disabled one answers no click, an active one is lit.

    A ticked one stands for something that is there already.
    """

    enabled: bool = True
    active: bool = False
    ticked: bool = False
