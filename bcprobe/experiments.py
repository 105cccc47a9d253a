"""Named experiments: a function here is a whole configuration. A changed number is a new name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from bcprobe.errors import check_name
from bcprobe.model.config import ClickTransformerConfig, get_preset
from bcprobe.tasks import TRAINING_TASKS, task_list
from bcprobe.training.config import Experiment
from bcprobe.training.shards import DataConfig


def coarse_nano() -> ClickTransformerConfig:
    """`nano` with the plain pointer and a stem half as wide, as the dots checkpoints have it."""
    stem = ((8, 6, 32), (5, 5, 64), (2, 3, 128))
    return replace(get_preset("nano"), head="pointer", stem=stem)


def dots_nano() -> Experiment:
    """Colored dots in the original layout, 1.2 M parameters, pointer head."""
    return Experiment(
        name="dots-nano",
        data=DataConfig(tasks=("colored_dot_tracking",), layouts=("original",), episodes=32),
        model=coarse_nano(),
        frames=1 << 19,
        rows=4,
        row_length=32,
        lr=1.5e-3,
        warmup=1 << 13,
        action_weights=(("undo", 6.0), ("done", 2.0)),
    )


def dots_nano_independent() -> Experiment:
    """`dots_nano` with the paper's head: x and y predicted apart."""
    model = replace(coarse_nano(), head="independent")
    return replace(dots_nano(), name="dots-nano-independent", model=model)


def dots_gap() -> Experiment:
    """Colored dots at half of `dots_nano`'s frames, by the recipe of `nine_nano`.

    What `dots_graded` and `dots_two_by_two` are compared with: mistakes lie far off, and every one
    is undone.
    """
    return replace(
        nine_nano(),
        name="dots-gap",
        data=replace(dots_nano().data, personas=2, soft=True),
        model=coarse_nano(),
        frames=1 << 18,
        action_weights=dots_nano().action_weights,
        validate_every=1 << 15,
        validation_episodes=24,
    )


def dots_graded() -> Experiment:
    """`dots_gap` with mistakes from just outside the tolerance on."""
    data = replace(dots_gap().data, manner="graded")
    return replace(dots_gap(), name="dots-graded", data=data)


def dots_graded_longer() -> Experiment:
    """`dots_graded` carried on for as many frames, on new worlds: Undo comes later there.

    What it starts from is not shipped: train it first, into ``checkpoints/dots-graded``.
    """
    data = replace(dots_graded().data, seed=1)
    return replace(dots_graded(), name="dots-graded-longer", data=data, start_from="dots-graded")


def dots_two_by_two() -> Experiment:
    """`dots_gap` with mistakes that are never noticed, and right marks undone."""
    data = replace(dots_gap().data, manner="two_by_two")
    return replace(dots_gap(), name="dots-two-by-two", data=data)


def nine_nano() -> Experiment:
    """All nine tasks in the original layout, 1.3 M parameters, for a CPU with patience.

    Each world is worked by two annotators, which halves what drawing worlds costs. It learns
    their whole distributions, in which rare clicks and places weigh more; reported losses are
    never weighted. Optimizer, head and targets are those of the recipe that had learned most
    after equal frames (``benchmarks/recipes.md``).
    """
    weights = (("undo", 5.0), ("done", 2.0), ("classify", 3.0), ("commit", 2.0), ("place", 2.0))
    return Experiment(
        name="nine-nano",
        data=DataConfig(tasks=TRAINING_TASKS, episodes=36, personas=2, soft=True),
        model=get_preset("nano"),
        frames=1 << 21,
        rows=4,
        row_length=32,
        optimizer="muon",
        lr=1.5e-3,
        muon_lr=0.02,
        final_lr=0.02,
        warmup=1 << 13,
        action_weights=weights,
        validate_every=1 << 17,
        validation_episodes=36,
    )


def nine_nano_adamw() -> Experiment:
    """`nine_nano` without Muon, to compare."""
    return replace(nine_nano(), name="nine-nano-adamw", optimizer="adamw")


def nine_nano_coarse() -> Experiment:
    """`nine_nano_adamw` with the plain pointer and half the stem, to compare."""
    return replace(nine_nano_adamw(), name="nine-nano-coarse", model=coarse_nano())


def nine_nano_hard() -> Experiment:
    """`nine_nano` taught clicks and not the distributions they are drawn from, to compare."""
    data = replace(nine_nano().data, soft=False)
    return replace(nine_nano(), name="nine-nano-hard", data=data)


def nine_nano_unweighted() -> Experiment:
    """`nine_nano` with every kind of click counting alike, to compare."""
    return replace(nine_nano(), name="nine-nano-unweighted", action_weights=())


def nine_nano_easy_first() -> Experiment:
    """`nine_nano` with easy worlds at first, about 16,384 frames of them, to compare."""
    return replace(nine_nano(), name="nine-nano-easy-first", data=replace(nine_nano().data, easy=7))


def nine_nano_long() -> Experiment:
    """`nine_nano` carried on from its checkpoint, on new worlds; Undo and Divide weigh more."""
    weights = {**dict(nine_nano().action_weights), "undo": 8.0, "select": 3.0}
    return replace(
        nine_nano(),
        name="nine-nano-long",
        data=replace(nine_nano().data, seed=1),
        start_from="nine-nano",
        frames=7 << 18,
        lr=1e-3,
        muon_lr=0.01,
        action_weights=tuple(weights.items()),
    )


def nine_nano_longer() -> Experiment:
    """`nine_nano_long` carried on at half its rate; Divide weighs more still.

    What it starts from is not shipped: train it first, into ``checkpoints/nine-nano-long``.
    """
    weights = {**dict(nine_nano_long().action_weights), "select": 10.0}
    return replace(
        nine_nano_long(),
        name="nine-nano-longer",
        data=replace(nine_nano().data, seed=2),
        start_from="nine-nano-long",
        frames=1 << 21,
        lr=5e-4,
        muon_lr=0.005,
        warmup=1 << 16,
        action_weights=tuple(weights.items()),
    )


def nine_small() -> Experiment:
    """All nine tasks, 6.1 M parameters and 128 tokens a frame, for a GPU with many cores beside it.

    Four annotators a world: what a core makes in a second is a third more than of two. ``frames``
    is where the shipped run ended: its rate fell so as to end after nine minutes of clock.
    """
    weights = {**dict(nine_nano_long().action_weights), "select": 6.0}
    return replace(
        nine_nano(),
        name="nine-small",
        data=replace(nine_nano().data, episodes=108, personas=4),
        model=get_preset("small"),
        frames=5_143_552,
        rows=16,
        row_length=64,
        warmup=1 << 17,
        action_weights=tuple(weights.items()),
        first_save=1 << 17,
        validate_every=1 << 21,
        validation_episodes=36,
    )


def nine_base() -> Experiment:
    """`nine_small` with 27 M parameters and twice the context."""
    return replace(nine_small(), name="nine-base", model=get_preset("base"))


def tiny() -> Experiment:
    """A few seconds of one core, to try the machinery with; learns next to nothing."""
    return Experiment(
        name="tiny",
        data=DataConfig(difficulty="easy", episodes=3),
        model=ClickTransformerConfig(
            d_model=32, n_layers=2, n_heads=2, stem=((40, 30, 16), (2, 3, 32)), context=3
        ),
        frames=512,
        rows=2,
        row_length=8,
        warmup=64,
        first_save=2,
        validate_every=256,
        validation_episodes=2,
    )


def nano_of(tasks: Sequence[str]) -> Experiment:
    """`nine_nano` with tasks of your own choice: 262,144 frames for each, 524,288 at least.

    Raises `InputError` with the nearest name for a task that there is not.
    """
    chosen = task_list(tasks)
    return replace(
        nine_nano(),
        name="nano-of-tasks",
        data=replace(nine_nano().data, tasks=chosen),
        frames=max(2, len(chosen)) << 18,
    )


EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    "dots-nano": dots_nano,
    "dots-nano-independent": dots_nano_independent,
    "dots-gap": dots_gap,
    "dots-graded": dots_graded,
    "dots-graded-longer": dots_graded_longer,
    "dots-two-by-two": dots_two_by_two,
    "nine-nano": nine_nano,
    "nine-nano-adamw": nine_nano_adamw,
    "nine-nano-coarse": nine_nano_coarse,
    "nine-nano-hard": nine_nano_hard,
    "nine-nano-unweighted": nine_nano_unweighted,
    "nine-nano-easy-first": nine_nano_easy_first,
    "nine-nano-long": nine_nano_long,
    "nine-nano-longer": nine_nano_longer,
    "nine-small": nine_small,
    "nine-base": nine_base,
    "tiny": tiny,
}


def get_experiment(name: str) -> Experiment:
    """The experiment of that name. Raises `InputError` with the nearest name."""
    return EXPERIMENTS[check_name("experiment", name, EXPERIMENTS)]()
