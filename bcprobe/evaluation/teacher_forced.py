"""Teacher-forced evaluation: the annotator clicks, the model is asked what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.annotators import get_annotator
from bcprobe.annotators.persona import draw_persona
from bcprobe.bootstrap import mean_score
from bcprobe.episodes.clickers import AnnotatorClicker
from bcprobe.episodes.embedding_cache import Sight
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import open_world, replay
from bcprobe.episodes.simulator import Simulator, rollout
from bcprobe.evaluation.metrics import kinds, row, share
from bcprobe.model.transformer import ClickTransformer
from bcprobe.rng import generator
from bcprobe.types import PLACE_TOLERANCE, SCREEN_HEIGHT, SCREEN_WIDTH, Click

#: Frames held and answered at a time; longer episodes are held whole and answered in pieces.
TAPE = 128
HISTORIES = ("full", "one", "window", "scrambled")


@dataclass(frozen=True, eq=False)
class Tape:
    """Screens of several episodes in a row, with the clicks that led to and follow them.

    ``simulators`` [frame] stand before each click; ``previous`` int64 [frame, 2] in px,
    (-1, -1) for none; ``targets`` int64 [frame, 2]; ``segments`` int64 [frame], the episode's
    number.
    """

    simulators: Sequence[Simulator]
    previous: NDArray[np.int64]
    targets: NDArray[np.int64]
    segments: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.simulators)


@dataclass(frozen=True, eq=False)
class Answers:
    """What was predicted: most probable ``clicks`` int64 [frame, 2] and ``nll`` [frame].

    ``nll`` is the negative log-probability of the target in nats, nan if there is none.
    """

    clicks: NDArray[np.int64]
    nll: NDArray[np.float64]


class Predictor(Protocol):
    """Anything that says what click follows each frame of a tape."""

    def predict(self, tape: Tape) -> Answers:
        """Predictions for every frame."""
        ...


class RepeatPredictor:
    """Says that the last click comes again; the middle of the screen comes first."""

    def predict(self, tape: Tape) -> Answers:
        """The clicks that led to the frames."""
        middle = np.array([SCREEN_WIDTH // 2, SCREEN_HEIGHT // 2])
        clicks = np.where(tape.previous < 0, middle, tape.previous)
        return Answers(clicks, np.full(len(clicks), np.nan))


class ModelPredictor:
    """A ClickTransformer, with its whole context or with a damaged one.

    ``history``: ``full``; ``one``, the present frame alone; ``window``, the last ``context``
    frames and nothing that deeper layers carry over from earlier ones; ``scrambled``, the
    same frames, those before the present one in random order (with the clicks that led to
    them). ``sight`` is shared with others who look at the same worlds.
    """

    def __init__(
        self,
        model: ClickTransformer,
        history: str = "full",
        rng: np.random.Generator | None = None,
        sight: Sight | None = None,
    ) -> None:
        if history not in HISTORIES:
            raise ValueError(f"history '{history}' is none of {HISTORIES}")
        self.model, self.history = model.eval(), history
        self.rng = generator("scrambled history") if rng is None else rng
        self.sight = sight or Sight(model.encoder.see, model.device)

    def predict(self, tape: Tape) -> Answers:
        """Predictions for every frame, a piece of the tape at a time."""
        frames = np.arange(len(tape))
        if self.history == "full":
            reach = self.model.config.reach - 1
            return _joined(
                [
                    self._pass(tape, frames[None, max(0, start - reach) : end], end - start)
                    for start, end in _pieces(len(tape), TAPE)
                ]
            )
        width = 1 if self.history == "one" else self.model.config.context
        windows = np.stack([self._window(tape, int(t), width) for t in frames])
        return _joined(
            [
                self._pass(tape, windows[start:end], 1)
                for start, end in _pieces(len(tape), max(1, TAPE // width))
            ]
        )

    def _window(self, tape: Tape, t: int, width: int) -> NDArray[np.int64]:
        """Frames int64 [width] that lead to frame ``t``, -1 before an episode's first one."""
        first = int(np.argmax(tape.segments == tape.segments[t]))
        past = np.arange(max(first, t - width + 1), t)
        if self.history == "scrambled":
            past = self.rng.permutation(past)
        return np.concatenate([np.full(width - 1 - len(past), -1), past, [t]])

    @torch.inference_mode()
    def _pass(self, tape: Tape, frames: NDArray[np.int64], last: int) -> Answers:
        """Predictions for the ``last`` frames of each row of ``frames`` [row, frame].

        -1 stands for no frame: a frame of no episode is put there, which no other sees.
        """
        shown, place = np.unique(frames.clip(0), return_inverse=True)
        tokens = self.sight.look([tape.simulators[t] for t in shown])
        segments = np.where(frames < 0, -2, tape.segments[frames])
        parts = (tape.previous[frames], tape.targets[frames], segments)
        previous, targets, segment = (self._on_device(part) for part in parts)
        seen = tokens[self._on_device(place.reshape(frames.shape))]  # (row, frame, patch, d)
        clicks = self.model(seen, previous, segment)
        nll = -clicks.click_log_prob(targets)[:, -last:].flatten()
        best = clicks.argmax()[:, -last:].flatten(0, 1)
        return Answers(best.cpu().numpy(), nll.double().cpu().numpy())

    def _on_device(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self.model.device)


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
    within 5 px), ``valid`` (it would change the state), ``predicted`` (action it would be).
    ``opened`` are the episodes' worlds where they are open already.
    """
    opened = [_open(episode) for episode in episodes] if opened is None else opened
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in predictors}
    for numbers in _groups(episodes):
        tape = _tape([episodes[number] for number in numbers], [opened[n] for n in numbers])
        own = [_entropy(episodes[n], opened[n], annotator) for n in numbers]
        ends = np.cumsum([0, *(len(episodes[number]) for number in numbers)])
        for name, predictor in predictors.items():
            answers = predictor.predict(tape)
            for number, entropy, start, end in zip(numbers, own, ends, ends[1:], strict=False):
                clicks, nll = answers.clicks[start:end], answers.nll[start:end]
                table = _judge(episodes[number], tape.simulators[start:end], clicks, nll)
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
    rng = generator("annotator", episode.task, episode.annotator_seed)
    clicker = AnnotatorClicker([draw_persona(get_annotator(episode.task).habits, rng)], [rng])
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


def _groups(episodes: Sequence[Episode]) -> Iterator[list[int]]:
    """Numbers of the episodes in their order, as many at a time as fill a tape."""
    group: list[int] = []
    length = 0
    for number, episode in enumerate(episodes):
        if group and length + len(episode) > TAPE:
            yield group
            group, length = [], 0
        group.append(number)
        length += len(episode)
    if group:
        yield group


def _tape(episodes: Sequence[Episode], opened: Sequence[Simulator]) -> Tape:
    simulators: list[Simulator] = []
    for episode, world in zip(episodes, opened, strict=True):
        simulators += [world.again(now.state) for now, _ in replay(episode, world.world)]
    clicks = [[step.click for step in episode.steps] for episode in episodes]
    previous = [click for own in clicks for click in [Click(-1, -1), *own][: len(own)]]
    targets = [click for own in clicks for click in own]
    lengths = [len(episode) for episode in episodes]
    return Tape(
        simulators,
        np.array(previous, dtype=np.int64).reshape(-1, 2),
        np.array(targets, dtype=np.int64).reshape(-1, 2),
        np.repeat(np.arange(len(episodes)), lengths),
    )


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
            }
        )
    return pd.DataFrame(rows)


def _joined(parts: Sequence[Answers]) -> Answers:
    clicks = np.concatenate([part.clicks for part in parts])
    return Answers(clicks, np.concatenate([part.nll for part in parts]))
