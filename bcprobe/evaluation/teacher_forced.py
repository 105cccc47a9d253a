"""Teacher-forced evaluation: the annotator clicks, the model predicts what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bcprobe.bootstrap import mean_score
from bcprobe.episodes import sequences
from bcprobe.episodes.clickers import AnnotatorClicker, draw_annotator
from bcprobe.episodes.embedding_cache import EmbeddingCache
from bcprobe.episodes.episode import Episode, Step
from bcprobe.episodes.record import open_world, replay
from bcprobe.episodes.sequences import PackedEpisodes, Predictions
from bcprobe.episodes.simulator import Simulator, rollout
from bcprobe.evaluation.metrics import kinds, row, share
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator
from bcprobe.types import PLACE_TOLERANCE, SCREEN_HEIGHT, SCREEN_WIDTH, Click

HISTORIES = ("full", "one", "window", "scrambled")


class PackedScreens(PackedEpisodes):
    """A packed sequence with a simulator [frame] that stands before each click."""

    def __init__(self, episodes: Sequence[Episode], opened: Sequence[Simulator]) -> None:
        super().__init__(episodes)
        self.simulators = [
            world.again(now.state)
            for episode, world in zip(episodes, opened, strict=True)
            for now, _ in replay(episode, world.world)
        ]


class Predictor(Protocol):
    """Anything that says what click follows each frame of a packed sequence."""

    def predict(self, sequence: PackedScreens) -> Predictions:
        """Predictions for every frame; ``nll`` is nan if it gives no probabilities."""
        ...


class RepeatPredictor:
    """Says that the last click comes again; the middle of the screen comes first."""

    def predict(self, sequence: PackedScreens) -> Predictions:
        """The clicks that led to the frames."""
        middle = np.array([SCREEN_WIDTH // 2, SCREEN_HEIGHT // 2])
        clicks = np.where(sequence.previous < 0, middle, sequence.previous)
        return Predictions(clicks, np.full(len(clicks), np.nan))


class ModelPredictor:
    """A ClickTransformer, with its whole context or with a damaged one.

    ``history``: ``full``; ``one``, the present frame alone; ``window``, the last ``context``
    frames and nothing that deeper layers carry over from earlier ones; ``scrambled``, the
    same frames, those before the present one in random order (with the clicks that led to
    them). ``embeddings`` is shared with others who look at the same worlds.
    """

    def __init__(
        self,
        model: ClickTransformer,
        history: str = "full",
        rng: np.random.Generator | None = None,
        embeddings: EmbeddingCache | None = None,
    ) -> None:
        if history not in HISTORIES:
            raise ValueError(f"history '{history}' is none of {HISTORIES}")
        self.model, self.history = model.eval(), history
        self.rng = generator("scrambled history") if rng is None else rng
        self.embeddings = embeddings or EmbeddingCache(model.encoder.see, model.device)

    def predict(self, sequence: PackedScreens) -> Predictions:
        """Predictions for every frame, a piece of the sequence at a time."""
        frames = np.arange(len(sequence))
        if self.history == "full":
            reach = self.model.config.reach - 1
            return _joined(
                [
                    self._pass(sequence, frames[None, max(0, start - reach) : end], end - start)
                    for start, end in _pieces(len(sequence), sequences.FRAMES)
                ]
            )
        width = 1 if self.history == "one" else self.model.config.context
        windows = np.stack([self._window(sequence, int(t), width) for t in frames])
        return _joined(
            [
                self._pass(sequence, windows[start:end], 1)
                for start, end in _pieces(len(sequence), max(1, sequences.FRAMES // width))
            ]
        )

    def _window(self, sequence: PackedScreens, t: int, width: int) -> NDArray[np.int64]:
        """Frames int64 [width] that lead to frame ``t``, -1 before an episode's first one."""
        first = int(sequence.starts[sequence.segments(np.array(t))])
        past = np.arange(max(first, t - width + 1), t)
        if self.history == "scrambled":
            past = self.rng.permutation(past)
        return np.concatenate([np.full(width - 1 - len(past), -1), past, [t]])

    def _pass(self, sequence: PackedScreens, frames: NDArray[np.int64], last: int) -> Predictions:
        """Predictions for the ``last`` frames of each row of ``frames`` [row, frame].

        -1 stands for no frame: a frame of no episode is put there, which no other sees.
        """
        shown, place = np.unique(frames.clip(0), return_inverse=True)
        tokens = self.embeddings.embed([sequence.simulators[t] for t in shown])
        segments = np.where(frames < 0, -2, sequence.segments(frames))
        parts = (sequence.previous[frames], sequence.clicks[frames], segments)
        on_device = [torch.from_numpy(part).to(self.model.device) for part in parts]
        seen = tokens[torch.from_numpy(place.reshape(frames.shape)).to(self.model.device)]
        found = sequences.predict(self.model, seen, *on_device)  # [row, frame]
        return Predictions(found.clicks[:, -last:].reshape(-1, 2), found.nll[:, -last:].reshape(-1))


def predict(
    predictor: Predictor,
    episodes: Sequence[Episode],
    *,
    annotator: bool = True,
    opened: Sequence[Simulator] | None = None,
) -> pd.DataFrame:
    """Predictions for every click of the episodes, one a row; see `predict_each`."""
    found = predict_each({"": predictor}, episodes, annotator=annotator, opened=opened)
    return found[""]


def predict_each(
    predictors: Mapping[str, Predictor],
    episodes: Sequence[Episode],
    *,
    annotator: bool = True,
    opened: Sequence[Simulator] | None = None,
) -> dict[str, pd.DataFrame]:
    """Each predictor's predictions for every click of the episodes, one a row.

    Columns: ``task``, ``episode`` (its number), ``step``, ``kind`` (see `metrics.kinds`),
    ``button`` (the click pressed one), ``nll``, ``annotator_nll`` (of the annotator's own
    distribution; nan for episodes of another origin, or if ``annotator`` is false),
    ``hit`` (the most probable click falls on the same widget; for clicks on the canvas,
    within 5 px), ``valid`` (it would change the state), ``predicted`` (action it would be),
    ``elsewhere`` (it falls on another button), ``widget`` (the one that was clicked), ``x, y``
    (the most probable click, px) and ``left, top, right, bottom`` (the pixels of the button that
    was clicked; on the canvas, of the click alone).
    ``opened`` are the episodes' worlds where they are open already.
    """
    opened = [_open(episode) for episode in episodes] if opened is None else opened
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in predictors}
    for numbers in sequences.in_batches(range(len(episodes)), lambda n: len(episodes[n])):
        sequence = PackedScreens([episodes[n] for n in numbers], [opened[n] for n in numbers])
        own = [_entropy(episodes[n], opened[n], annotator) for n in numbers]
        for name, predictor in predictors.items():
            found = predictor.predict(sequence)
            for number, entropy, start, end in zip(
                numbers, own, sequence.starts, sequence.starts[1:], strict=False
            ):
                clicks, nll = found.clicks[start:end], found.nll[start:end]
                table = _judge(episodes[number], sequence.simulators[start:end], clicks, nll)
                tables[name].append(table.assign(episode=number, annotator_nll=entropy))
    return {name: pd.concat(found, ignore_index=True) for name, found in tables.items()}


def annotator_nll(episode: Episode, opened: Simulator | None = None) -> NDArray[np.float64]:
    """Negative log-probability, nats, that the annotator itself gave to each of its clicks.

    Its mean is the annotator's entropy, measured on the very clicks that a model's loss is
    measured on. nan for episodes that the annotator did not work.
    """
    if episode.origin != "annotator":
        return np.full(len(episode), np.nan)
    simulator = (opened or _open(episode)).again()
    persona, rng = draw_annotator(episode.task, episode.annotator_seed)
    clicker = AnnotatorClicker([persona], [rng])
    found: list[float] = []

    def look(_: int, simulator: Simulator) -> None:
        click = episode.steps[len(simulator.history)].click
        found.append(-clicker.annotators[0].distribution(simulator.state).log_prob(*click))

    rollout(clicker, [simulator], len(episode), look)
    same = [a.click == b.click for a, b in zip(simulator.history, episode.steps, strict=True)]
    return np.where(same, found, np.nan)


def _entropy(episode: Episode, opened: Simulator, wanted: bool) -> NDArray[np.float64]:
    return annotator_nll(episode, opened) if wanted else np.full(len(episode), np.nan)


def accuracy_rows(predictions: pd.DataFrame, **names: Any) -> Iterator[dict[str, Any]]:
    """Score rows of one task's predictions, per kind of click and for all, buttons alone.

    Metrics: ``accuracy``, ``validity``, ``nll``, ``annotator_nll``, ``nll_gap`` (their
    difference, nats), and ``false_alarm``: how often Undo or Done is predicted elsewhere.
    """
    clusters = predictions["episode"]
    gap = predictions["nll"] - predictions["annotator_nll"]
    values = {
        "accuracy": predictions["hit"],
        "validity": predictions["valid"],
        "nll": predictions["nll"],
        "annotator_nll": predictions["annotator_nll"],
        "nll_gap": gap,
    }
    for kind, chosen in _kinds(predictions):
        for metric, value in values.items():
            kept = value[chosen].astype(float)
            if kept.notna().all():
                score = mean_score(kept, clusters[chosen])
                yield row(score, metric=metric, kind=kind, **names)
    for action in ("undo", "done"):
        alarm = predictions["predicted"] == action
        score = share(predictions, alarm, predictions["kind"] != action)
        yield row(score, metric="false_alarm", kind=action, **names)


def _kinds(predictions: pd.DataFrame) -> Iterable[tuple[str, pd.Series]]:
    yield "all", pd.Series(True, index=predictions.index)
    yield "buttons", predictions["button"]
    for kind in sorted(predictions["kind"].unique()):
        yield str(kind), predictions["kind"] == kind


def _pieces(count: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(count, start + size)) for start in range(0, count, size)]


def _open(episode: Episode) -> Simulator:
    return open_world(episode.task, episode.world_seed, episode.layout, episode.difficulty)


def _judge(
    episode: Episode,
    simulators: Sequence[Simulator],
    clicks: NDArray[np.int64],
    nll: NDArray[np.float64],
) -> pd.DataFrame:
    rows = []
    for t, (step, simulator, kind) in enumerate(
        zip(episode.steps, simulators, kinds(episode.steps), strict=True)
    ):
        click = Click(int(clicks[t, 0]), int(clicks[t, 1]))
        hit = simulator.hit(click)
        near = np.hypot(click.x - step.click.x, click.y - step.click.y) <= PLACE_TOLERANCE
        rows.append(
            {
                "task": episode.task,
                "step": t,
                "kind": kind,
                "button": step.widget not in ("", "canvas"),
                "nll": nll[t],
                "hit": bool(near) if step.widget == "canvas" else hit.widget == step.widget,
                "valid": bool(simulator.after(click) != simulator.state),
                "predicted": hit.action,
                "elsewhere": hit.widget not in ("", "canvas", step.widget),
                **_offset(simulator, step, click),
            }
        )
    return pd.DataFrame(rows)


def _offset(simulator: Simulator, step: Step, click: Click) -> dict[str, Any]:
    """Where a click was predicted and where it should have been, px (see `predict_each`)."""
    names = [button.name for button in simulator.task.buttons]
    left, top, right, bottom = (*step.click, *step.click)
    if step.widget in names:
        box = simulator.arrangement.buttons[names.index(step.widget)]
        left, top, right, bottom = box.x, box.y, box.x + box.width - 1, box.y + box.height - 1
    return {
        "widget": step.widget, "x": click.x, "y": click.y,
        "left": left, "top": top, "right": right, "bottom": bottom,
    }  # fmt: skip


def _joined(parts: Sequence[Predictions]) -> Predictions:
    clicks = np.concatenate([part.clicks for part in parts])
    return Predictions(clicks, np.concatenate([part.nll for part in parts]))
