"""What is true at each step of some episodes, and which steps a probe is asked about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bcprobe.annotators import ANNOTATORS
from bcprobe.bootstrap import Ints
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import OWN_DATA
from bcprobe.episodes.twins import placements
from bcprobe.errors import InputError, check_name
from bcprobe.types import PLACING, Click

#: Value of ``previous_action`` at the first step of an episode.
NO_ACTION = "none"
#: Value of ``placed_x`` and ``placed_y`` before any placement.
NONE_PLACED = -1


@dataclass(frozen=True)
class Latent:
    """What a probe reads: a column of `label_table`, and how the reading is scored.

    ``kind`` is ``binary`` (AUC), ``classes`` (balanced accuracy) or ``number`` (R2).
    ``negatives`` names the sets of steps asked about, the leading one first.
    """

    name: str
    kind: str
    negatives: tuple[str, ...] = ("all",)

    @property
    def metric(self) -> str:
        """Name of the score."""
        return {"binary": "auc", "classes": "balanced_accuracy", "number": "r2"}[self.kind]


LATENTS = {
    latent.name: latent
    for latent in (
        Latent("mistake", "binary", ("errable", "matched", "all")),
        Latent("phase", "classes"),
        Latent("position", "number"),
        Latent("progress", "number"),
        Latent("undo_next", "binary"),
        Latent("mistake_kind", "classes"),
    )
}


def get_latent(name: str, labels: pd.DataFrame | None = None) -> Latent:
    """The latent of that name: a built-in one, or any other column of a table of ``labels``.

    A column of bool is binary, of numbers a number, of anything else classes. Raises `InputError`
    with the nearest name.
    """
    if name in LATENTS or labels is None or name not in labels:
        return LATENTS[check_name("latent", name, [*LATENTS, *_own(labels)])]
    column = labels[name]
    if pd.api.types.is_bool_dtype(column):
        return Latent(name, "binary")
    return Latent(name, "number" if pd.api.types.is_numeric_dtype(column) else "classes")


def _own(labels: pd.DataFrame | None) -> list[str]:
    """Columns of a table that the user added."""
    return [] if labels is None else [str(c) for c in labels if c not in (*COLUMNS, "group")]


def add_labels(labels: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """A table with columns [step] more, which any probe takes as labels.

    Raises `InputError` for a name that has a meaning already, another length, or missing values.
    """
    made = labels.copy(deep=False)
    for name, column in values.items():
        if name in (*COLUMNS, "group"):
            raise InputError(f"label '{name}' is built in; give yours another name")
        found = np.asarray(column)
        if found.shape != (len(labels),):
            raise InputError(
                f"label '{name}' has shape {list(found.shape)}; there are {len(labels)} steps"
            )
        missing = int(pd.isna(found).sum())
        if missing:
            raise InputError(f"label '{name}' is missing at {missing} of {len(labels)} steps")
        made[name] = found
    return made


def label_table(episodes: Iterable[Episode]) -> pd.DataFrame:
    """One row per step, in order; everything but the click describes the state before it.

    ``episode`` counts from 0 in the order given, ``step`` within the episode. ``action``,
    ``widget``, ``valid``, ``phase`` and ``undo_next`` tell of the click about to be made.
    ``just_placed``: the click before was a placement, or named a class (`PLACING`).
    ``previous_right``: it was, and no mistake stands now. ``previous_mistaken``: it was, and it
    brought the first mistake. ``click_x``, ``click_y``: the click about to be made, in px;
    ``placed_x``, ``placed_y``: the last that placed or classified (`NONE_PLACED`). ``errable``: the
    click before put something down where an annotator could have erred, and nothing was wrong
    before it. ``layout``, ``difficulty``, ``annotator_seed`` and ``origin`` are the episode's.
    """
    rows = [row for number, episode in enumerate(episodes) for row in _rows(number, episode)]
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = (
    "task", "episode", "world_seed", "step", "action", "widget", "valid", "phase", "position",
    "position_fraction", "progress", "mistake", "mistake_kind", "undo_next", "previous_action",
    "just_placed", "previous_right", "previous_mistaken", "click_x", "click_y", "placed_x",
    "placed_y", "errable", "layout", "difficulty", "annotator_seed", "origin",
)  # fmt: skip


def _rows(number: int, episode: Episode) -> Iterable[tuple[object, ...]]:
    before, last = None, Click(NONE_PLACED, NONE_PLACED)
    could = _errable(episode)
    for t, step in enumerate(episode.steps):
        now = step.latents
        placed = before is not None and before.action in PLACING and before.valid
        if before is not None and placed:
            last = before.click
        clean = before is None or not before.latents.mistake
        yield (
            episode.task, number, episode.world_seed,
            t, step.action, step.widget, step.valid, step.phase,
            now.position, now.position_fraction, now.progress, now.mistake, now.mistake_kind,
            step.undo_next, NO_ACTION if before is None else before.action, placed,
            placed and not now.mistake, placed and now.mistake and clean, *step.click, *last,
            t - 1 in could, episode.layout, episode.difficulty, episode.annotator_seed,
            episode.origin,
        )  # fmt: skip
        before = step


def _errable(episode: Episode) -> set[int]:
    """Steps at which an annotator could err; in worlds of one's own data, every placement."""
    if episode.difficulty == OWN_DATA or episode.task not in ANNOTATORS:
        return {t for t, step in enumerate(episode.steps) if step.action in PLACING and step.valid}
    return set(placements(episode))


def rows_asked(labels: pd.DataFrame, latent: Latent, negatives: str = "all") -> NDArray[np.bool_]:
    """Which steps belong to the question: bool [step].

    ``all``: every step (for ``mistake_kind``, every step with a mistake). ``matched``, for
    ``mistake``: steps just after a placement that brought a mistake, against steps just
    after a right placement with no mistake standing. ``errable``: of those, only steps after a
    placement at which an annotator could have erred. Raises `InputError` for others.
    """
    if negatives not in latent.negatives:
        known = ", ".join(latent.negatives)
        raise InputError(f"latent '{latent.name}' has no negatives '{negatives}'; it has: {known}")
    if negatives == "matched":
        return (labels["previous_mistaken"] | labels["previous_right"]).to_numpy(bool)
    if negatives == "errable":
        just = labels["previous_mistaken"] | labels["previous_right"]
        return (just & labels["errable"]).to_numpy(bool)
    if latent.name == "mistake_kind":
        return labels["mistake"].to_numpy(bool)
    return np.ones(len(labels), dtype=bool)


def targets(labels: pd.DataFrame, latent: Latent) -> NDArray[np.generic]:
    """What the probe should read at each step: bool, str or float64 [step]."""
    dtype = {"binary": np.dtype(bool), "number": np.dtype(float)}.get(latent.kind)
    column = labels[latent.name]
    return column.to_numpy(dtype) if dtype else column.to_numpy().astype(str)


def check_classes(values: NDArray[np.generic], latent: Latent) -> None:
    """Raise `InputError` if there is nothing to tell apart."""
    found = np.unique(values)
    if len(values) == 0:
        raise InputError(f"latent '{latent.name}': no step to probe; use more episodes")
    if len(found) < 2:
        only = "number" if latent.kind == "number" else "class"
        raise InputError(
            f"latent '{latent.name}' has one {only} only ('{found[0]}') in these episodes; "
            "use more episodes, or another task or latent"
        )


@dataclass(frozen=True, eq=False)
class Question:
    """The steps that a probe reads and what it should read there.

    ``rows`` bool [step] marks them; ``truth``, ``groups`` and ``labels`` are theirs alone.
    """

    latent: Latent
    negatives: str
    rows: NDArray[np.bool_]
    truth: NDArray[np.generic]
    groups: Ints
    labels: pd.DataFrame

    def features(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """The rows asked about of values [step, dim]."""
        return values[self.rows].astype(np.float32)


def ask(
    labels: pd.DataFrame,
    latent: str,
    negatives: str | None = None,
    among: NDArray[np.bool_] | None = None,
) -> Question:
    """The question about a latent over a `label_table`; ``negatives`` default to the leading.

    ``among`` bool [step] leaves the other steps out. The groups are worlds (``group``, or
    ``episode`` where a table has none).

    Raises `InputError` for unknown names, or if there is nothing to tell apart.
    """
    known = get_latent(latent, labels)
    negatives = known.negatives[0] if negatives is None else negatives
    rows = rows_asked(labels, known, negatives)
    rows = rows if among is None else rows & among
    group = "group" if "group" in labels else "episode"
    chosen = labels[rows].reset_index(drop=True)
    truth = targets(chosen, known)
    check_classes(truth, known)
    return Question(known, negatives, rows, truth, chosen[group].to_numpy(np.int64), chosen)
