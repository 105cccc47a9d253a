"""Teacher-forced evaluation: the annotator clicks, the model is asked what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bcprobe.annotators import get_annotator
from bcprobe.annotators.persona import draw_persona
from bcprobe.episodes.clickers import AnnotatorClicker
from bcprobe.episodes.record import open_world, replay
from bcprobe.episodes.simulator import Simulator, rollout
from bcprobe.evaluation.metrics import PLACE_RADIUS, kinds, row, share
from bcprobe.model.transformer import ClickTransformer
from bcprobe.results import mean_score
from bcprobe.rng import generator
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click, Episode

#: Frames composed, held (0.5 MB each) and answered at a time; longer episodes are held whole
#: and answered in pieces.
TAPE = 128
HISTORIES = ("full", "one", "window", "scrambled")


@dataclass(frozen=True, eq=False)
class Tape:
    """Frames of several episodes in a row, with the clicks that led to and follow them.

    ``frames`` uint8 [frame, 360, 480, 3]; ``previous`` int64 [frame, 2] in px, (-1, -1) for
    none; ``targets`` int64 [frame, 2]; ``segments`` int64 [frame], the episode's number.
    """

    frames: NDArray[np.uint8]
    previous: NDArray[np.int64]
    targets: NDArray[np.int64]
    segments: NDArray[np.int64]


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
    them).
    """

    def __init__(
        self,
        model: ClickTransformer,
        history: str = "full",
        rng: np.random.Generator | None = None,
    ) -> None:
        if history not in HISTORIES:
            raise ValueError(f"history '{history}' is none of {HISTORIES}")
        self.model, self.history = model.eval(), history
        self.rng = generator("scrambled history") if rng is None else rng

    def predict(self, tape: Tape) -> Answers:
        """Predictions for every frame, in pieces that reach back as far as the layers do."""
        if self.history in ("window", "scrambled"):
            return _joined([self._in_window(tape, t) for t in range(len(tape.frames))])
        alone = self.history == "one"
        segments = np.arange(len(tape.frames)) if alone else tape.segments
        config = self.model.config
        reach = 0 if alone else config.n_layers * (config.context - 1)
        return _joined(
            [
                self._pass(tape, segments, np.arange(max(0, start - reach), end), end - start)
                for start, end in _pieces(len(tape.frames))
            ]
        )

    def _in_window(self, tape: Tape, t: int) -> Answers:
        """Prediction for frame ``t`` from its own window alone."""
        first = int(np.argmax(tape.segments == tape.segments[t]))
        past = np.arange(max(first, t - self.model.config.context + 1), t)
        if self.history == "scrambled":
            past = self.rng.permutation(past)
        return self._pass(tape, tape.segments, np.append(past, t), 1)

    @torch.inference_mode()
    def _pass(
        self, tape: Tape, segments: NDArray[np.int64], frames: NDArray[np.int64], last: int
    ) -> Answers:
        """Predictions for the ``last`` of the frames, seen in the order given."""
        device = self.model.device
        seen = torch.from_numpy(tape.frames[frames]).to(device).permute(0, 3, 1, 2)
        parts = (tape.previous[frames], tape.targets[frames], segments[frames])
        previous, targets, segment = (torch.from_numpy(part).to(device)[None] for part in parts)
        clicks = self.model(seen[None], previous, segment)
        nll = -clicks.click_log_prob(targets)[0, -last:]
        best = clicks.argmax()[0, -last:]
        return Answers(best.cpu().numpy(), nll.double().cpu().numpy())


def predict(
    predictor: Predictor, episodes: Sequence[Episode], *, annotator: bool = True
) -> pd.DataFrame:
    """Predictions for every click of the episodes, one a row.

    Columns: ``task``, ``episode`` (its number), ``step``, ``kind`` (see `metrics.kinds`),
    ``button`` (the click pressed one), ``nll``, ``annotator_nll`` (of the annotator's own
    distribution; nan for episodes of another origin, or if ``annotator`` is false),
    ``hit`` (the most probable click falls on the same widget; for clicks on the canvas,
    within 5 px), ``valid`` (it would change the state), ``predicted`` (action it would be).
    """
    tables = []
    first = 0
    room = max([TAPE, *map(len, episodes)])
    memory = np.empty((room, SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)
    for group in _groups(episodes):
        tape, simulators = _record(group, memory)
        answers = predictor.predict(tape)
        ends = np.cumsum([0, *map(len, group)])
        for number, episode in enumerate(group):
            part = slice(int(ends[number]), int(ends[number + 1]))
            table = _judge(episode, simulators[number], answers.clicks[part], answers.nll[part])
            own = annotator_nll(episode) if annotator else np.full(len(episode), np.nan)
            tables.append(table.assign(episode=first + number, annotator_nll=own))
        first += len(group)
    return pd.concat(tables, ignore_index=True)


def annotator_nll(episode: Episode) -> NDArray[np.float64]:
    """Negative log-probability, nats, that the annotator itself gave to each of its clicks.

    Its mean is the annotator's entropy, measured on the very clicks that a model's loss is
    measured on. nan for episodes that the annotator did not work.
    """
    if episode.origin != "annotator":
        return np.full(len(episode), np.nan)
    names = (episode.task, episode.world_seed, episode.layout, episode.difficulty)
    simulator = open_world(*names)
    rng = generator("annotator", episode.task, episode.annotator_seed)
    clicker = AnnotatorClicker([draw_persona(get_annotator(episode.task).habits, rng)], [rng])
    found: list[float] = []

    def look(_: int, simulator: Simulator) -> None:
        click = episode.steps[len(simulator.history)].click
        found.append(-clicker.annotators[0].distribution(simulator.state).log_prob(*click))

    rollout(clicker, [simulator], len(episode), look)
    same = [a.click == b.click for a, b in zip(simulator.history, episode.steps, strict=True)]
    return np.where(same, found, np.nan)


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


def _pieces(count: int) -> list[tuple[int, int]]:
    return [(start, min(count, start + TAPE)) for start in range(0, count, TAPE)]


def _groups(episodes: Sequence[Episode]) -> Iterator[list[Episode]]:
    """Episodes in their order, as many at a time as fill a tape."""
    group: list[Episode] = []
    for episode in episodes:
        if group and sum(map(len, group)) + len(episode) > TAPE:
            yield group
            group = []
        group.append(episode)
    if group:
        yield group


def _record(
    group: Sequence[Episode], memory: NDArray[np.uint8]
) -> tuple[Tape, list[list[Simulator]]]:
    """The tape of some episodes, and a simulator stopped before each of their clicks.

    The frames are composed into ``memory`` [room, 360, 480, 3].
    """
    count = sum(map(len, group))
    free = iter(memory[:count])
    simulators: list[list[Simulator]] = []
    for episode in group:
        stops = []
        for simulator, _ in replay(episode):
            simulator.screen(next(free))
            stops.append(_stopped(simulator))
        simulators.append(stops)
    clicks = [[step.click for step in episode.steps] for episode in group]
    previous = [click for own in clicks for click in [Click(-1, -1), *own][: len(own)]]
    targets = [click for own in clicks for click in own]
    segments = np.repeat(np.arange(len(group)), [len(episode) for episode in group])
    shape = (count, 2)
    return Tape(
        memory[:count],
        np.array(previous, dtype=np.int64).reshape(shape),
        np.array(targets, dtype=np.int64).reshape(shape),
        segments,
    ), simulators


def _stopped(simulator: Simulator) -> Simulator:
    layout = simulator.layout.name
    return Simulator(simulator.task, simulator.world, layout, simulator.state)


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
        near = np.hypot(click.x - step.click.x, click.y - step.click.y) <= PLACE_RADIUS
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
