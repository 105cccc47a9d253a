"""What the models' process is asked (`bcprobe.serve.worker`): looks, clicks, trips, comparisons.

It holds models and the worlds they work. A request carries all that it needs, so that nothing is
lost with the process.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from bcprobe.activations.lens import look as take_apart
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.player import coarse, packed
from bcprobe.episodes.record import MAX_STEPS
from bcprobe.episodes.simulator import Simulator
from bcprobe.rng import generator
from bcprobe.serve.compare import ANNOTATORS, annotator, result
from bcprobe.serve.mind import Job, Steer, WatchedRun, model_of
from bcprobe.serve.readout import Readout, find_readout, fitting, keep_readout
from bcprobe.serve.tracks import Tracks
from bcprobe.types import PLACING, Click

#: Runs held at a time; looks that a trip may take until the model places.
MOST_RUNS, MOST_LOOKS = 48, 60
#: Clicks of a comparison between two requests that it lets pass.
FEW = 4


def settle() -> None:
    """Give way to clicks: one thread, and a low place in the queue for the processor."""
    torch.set_num_threads(1)
    os.nice(5)


def know(checkpoint: str) -> dict[str, Any]:
    """What a page asks of a model: its shape, and the read-out if there is one already."""
    config = model_of(checkpoint).config
    known = find_readout(checkpoint)
    return {
        "layers": config.n_layers,
        "heads": config.n_heads,
        "context": config.context,
        "grid": list(config.grid),
        "readout": None if known is None else known.about(),
    }


def fit(checkpoint: str) -> bool | None:
    """A little more of the fit of a checkpoint's read-out; None until it is kept."""
    if checkpoint not in _FITTING:
        _FITTING[checkpoint] = fitting(checkpoint)
    found = next(_FITTING[checkpoint])
    if found is None:
        return None
    del _FITTING[checkpoint]
    keep_readout(checkpoint, found)
    return True


_FITTING: dict[str, Iterator[Readout | None]] = {}


_TRACKS = Tracks()
_RUNS: OrderedDict[str, WatchedRun] = OrderedDict()


def _run(job: Job) -> WatchedRun:
    """The run of a session, brought to where the job says."""
    clicks, steers = [Click(*click) for click in job["clicks"]], job["steers"]
    run = _RUNS.pop(job["id"], None)
    if run is None or not (run.relook(clicks, steers) or run.goes_on(clicks, steers)):
        world = (job["task"], job["world_seed"], job["layout"], job["difficulty"])
        run = WatchedRun(job, _TRACKS.open(job["id"], *world).simulator)
    first = len(clicks) + 1 - run.model.config.reach if not run.steers else 0
    run.go_to(clicks, steers, first)
    _RUNS[job["id"]] = run
    while len(_RUNS) > MOST_RUNS:
        _RUNS.popitem(last=False)
    return run


def look(job: Job) -> dict[str, Any]:
    """What the model holds before the present screen."""
    return _run(job).seen()


def step(job: Job, temperature: float, seed: int, steer: Steer) -> dict[str, Any]:
    """The model's click, what it held before it, and what it holds after it, steered by ``steer``.

    ``next`` is None once the world is finished.
    """
    run = _run(job)
    click, reading = run.draw(temperature, seed), run.reading()
    return {"clicks": [[*click, "model", reading]], "next": _after(run, click, steer)}


def click(job: Job, made: Sequence[int], steer: Steer) -> dict[str, Any]:
    """The same for a click that a person makes in the model's place."""
    run = _run(job)
    at, reading = Click(*made), run.reading()
    return {"clicks": [[*at, "pointer", reading]], "next": _after(run, at, steer)}


def _after(run: WatchedRun, click: Click, steer: Steer) -> dict[str, Any] | None:
    run.simulator.click(click)
    if run.simulator.done:
        return None
    run.look(steer)
    return run.seen()


def trip(job: Job, distance: float, seed: int, steer: Steer) -> dict[str, Any]:
    """Let the model work up to its next placement, and put that ``distance`` px off.

    Where it names a class instead, another class is named. The model goes by its likeliest clicks.
    ``tripped`` says in words what was done, or why it could not be.
    """
    run = _run(job)
    clicks: list[list[Any]] = []
    for _ in range(MOST_LOOKS):
        assert run.choice is not None
        wanted, reading = run.choice, run.reading()
        hit = run.simulator.hit(wanted)
        if hit.action == "done":
            return {"clicks": clicks, "next": run.seen(), "tripped": "It wants to finish first"}
        if hit.action in PLACING and run.simulator.after(wanted) != run.simulator.state:
            wrong = _wrong(run.simulator, wanted, distance, seed)
            words = tripped(run.simulator, wanted, wrong)
            clicks.append([*wrong, "trip", reading | {"trip": words}])
            return {"clicks": clicks, "next": _after(run, wrong, steer), "tripped": words}
        clicks.append([*wanted, "model", reading])
        _after(run, wanted, steer)
    return {"clicks": clicks, "next": run.seen(), "tripped": "It did not come to a placement"}


def _wrong(simulator: Simulator, wanted: Click, distance: float, seed: int) -> Click:
    """A click in place of a right one."""
    rng = generator("trip", seed, len(simulator.history))
    if simulator.hit(wanted).action == "classify":
        rects = zip(simulator.arrangement.buttons, simulator.task.buttons, strict=True)
        others = [
            Click(rect.x + rect.width // 2, rect.y + rect.height // 2)
            for rect, button in rects
            if button.action == "classify" and not rect.contains(*wanted)
        ]
        return others[int(rng.integers(len(others)))]
    angles = rng.uniform(0, 2 * np.pi) + np.arange(24) * 2 * np.pi / 24
    canvas = simulator.arrangement.canvas
    shifted = [
        Click(round(wanted.x + distance * np.cos(a)), round(wanted.y + distance * np.sin(a)))
        for a in angles
    ]
    inside = [one for one in shifted if canvas.contains(*one)] or [wanted]

    def mistaken(one: Click) -> bool:
        after = simulator.after(one)
        return simulator.task.latents(simulator.world, after).mistake

    return next((one for one in inside if mistaken(one)), inside[0])


def tripped(simulator: Simulator, wanted: Click, made: Click) -> str:
    """What was done in place of the click that a model wanted, in words."""
    hit = simulator.hit(made)
    if hit.action == "classify":
        labels = {button.name: button.label for button in simulator.task.buttons}
        return f"named {labels[hit.widget]} instead"
    return f"placed {np.hypot(made.x - wanted.x, made.y - wanted.y):.0f} px off"


def readings(job: Job, first: int, last: int) -> list[dict[str, Any]]:
    """What the model holds before the clicks ``first`` to ``last`` of a session."""
    clicks = [Click(*click) for click in job["clicks"]]
    run = _before(job, first)
    found = []
    for number in range(first, last + 1):
        found.append(run.reading())
        if job["sources"][number] == "trip" and run.choice is not None:
            found[-1]["trip"] = tripped(run.simulator, run.choice, clicks[number])
        if number < last:
            run.go_to(clicks[: number + 1], job["steers"])
    return found


def seen(job: Job, number: int) -> dict[str, Any]:
    """What the model saw before click ``number`` of a session, steered as it was then."""
    return _before(job, number).seen()


def _before(job: Job, number: int) -> WatchedRun:
    """A run of its own that has looked at the screen before click ``number``."""
    clicks = [Click(*click) for click in job["clicks"]]
    world = (job["task"], job["world_seed"], job["layout"], job["difficulty"])
    run = WatchedRun(job, _TRACKS.open(("read", job["id"]), *world).simulator)
    run.go_to(clicks[:number], job["steers"], number + 1 - run.model.config.reach)
    return run


def decide(job: Job, number: int) -> dict[str, Any]:
    """The model before click ``number``, unsteered, taken apart: click lens and attention.

    ``lens`` holds the click map after each layer; ``attention`` [layer, head] the weight of [cls]
    on each patch of the present frame and ``back`` of the frame before, as bytes.
    """
    clicks = [Click(*one) for one in job["clicks"]]
    world = (job["task"], job["world_seed"], job["layout"], job["difficulty"])
    track = _TRACKS.open(("taken apart", job["id"]), *world)
    for one in (*clicks[:number], clicks[number] if number < len(clicks) else Click(0, 0)):
        track.click(one)
    task, seed, layout, difficulty = world
    outcome = track.simulator.task.score(track.simulator.world, track.simulator.state)
    steps = tuple(track.steps)
    episode = Episode(task, layout, difficulty, seed, seed, {}, "model", steps, outcome, "")
    found = take_apart(episode, number, model_of(job["checkpoint"]))
    weights = found.attention  # [layer, head, frame, row, column]
    return {
        "lens": [packed(coarse(heat)) for heat in found.heat],
        "sites": list(found.sites),
        "attention": [[packed(head[-1]) for head in layer] for layer in weights],
    }


_COMPARING: dict[str, Iterator[list[dict[str, Any]] | None]] = {}


def compare_on(job: Job) -> list[dict[str, Any]] | None:
    """A little more of the comparison on a world; None until its rows are there."""
    key = str([job[name] for name in ("task", "world_seed", "layout", "difficulty", "checkpoint")])
    if key not in _COMPARING:
        _COMPARING[key] = _comparing(job)
    rows = next(_COMPARING[key])
    if rows is not None:
        del _COMPARING[key]
    return rows


def _comparing(job: Job) -> Iterator[list[dict[str, Any]] | None]:
    task, seed, layout, difficulty = (
        job[name] for name in ("task", "world_seed", "layout", "difficulty")
    )
    rows = []
    for number in range(ANNOTATORS):
        rows.append(annotator(task, seed, layout, difficulty, number))
        yield None
    model = model_of(job["checkpoint"])
    policy = ModelPolicy(model, reach=model.config.reach)
    simulator = _TRACKS.open("compared", task, seed, layout, difficulty).simulator
    policy.start([simulator])
    while not simulator.done and len(simulator.history) < MAX_STEPS:
        simulator.click(policy.act([0])[0])
        if len(simulator.history) % FEW == 0:
            yield None
    steps = tuple(simulator.history)
    outcome = simulator.task.score(simulator.world, simulator.state)
    episode = Episode(task, layout, difficulty, seed, seed, {}, "model", steps, outcome, "")
    yield [*rows, result(episode, job["checkpoint"])]
