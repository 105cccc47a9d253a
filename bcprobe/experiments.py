"""Named experiments: a function here is a whole configuration. A changed number is a new name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bcprobe.errors import check_name
from bcprobe.model.config import ClickTransformerConfig, get_preset
from bcprobe.tasks import TRAINING_TASKS
from bcprobe.training.config import Experiment
from bcprobe.training.groups import DataConfig


def dots_nano() -> Experiment:
    """Colored dots in the original layout, 1.2 M parameters, pointer head."""
    return Experiment(
        name="dots-nano",
        data=DataConfig(tasks=("colored_dot_tracking",), layouts=("original",), episodes=32),
        model=get_preset("nano"),
        frames=1 << 19,
        rows=4,
        row_length=32,
        lr=1.5e-3,
        warmup=1 << 13,
        action_weights=(("undo", 6.0), ("done", 2.0)),
    )


def dots_nano_independent() -> Experiment:
    """`dots_nano` with the paper's head: x and y predicted apart."""
    model = replace(get_preset("nano"), head="independent")
    return replace(dots_nano(), name="dots-nano-independent", model=model)


def dots_nano_soft() -> Experiment:
    """`dots_nano`, taught the annotator's whole distribution at each frame."""
    soft = replace(dots_nano().data, soft=True)
    return replace(dots_nano(), name="dots-nano-soft", data=soft)


def nine_nano() -> Experiment:
    """All nine tasks in the original layout, 1.2 M parameters, for a CPU with patience.

    Each world is worked by two annotators, which halves what drawing worlds costs. Rare
    clicks weigh more in the loss trained on; reported losses are never weighted.
    """
    return Experiment(
        name="nine-nano",
        data=DataConfig(tasks=TRAINING_TASKS, episodes=36, personas=2),
        model=get_preset("nano"),
        frames=1 << 20,
        rows=4,
        row_length=32,
        lr=1.5e-3,
        warmup=1 << 14,
        action_weights=(("undo", 5.0), ("done", 2.0), ("classify", 3.0), ("commit", 2.0)),
        validate_every=1 << 17,
        validation_episodes=36,
    )


def nine_nano_from_dots() -> Experiment:
    """`nine_nano` from the weights of `dots_nano`; places weigh double.

    It learns in 12,000 frames what `nine_nano` takes 140,000 for, a lead that shrinks to a
    factor of 3 at 93,000 (``benchmarks/recipes.md``).
    """
    return replace(
        nine_nano_soft(),
        name="nine-nano-from-dots",
        data=replace(nine_nano().data, seed=1),
        frames=5 << 16,
        start_from="dots-nano",
    )


def nine_nano_soft() -> Experiment:
    """`nine_nano` carried on from its last weights at a fresh rate, taught whole distributions.

    Most of its loss was by then the annotators' own jitter, which drowned what was left to learn
    in noise; places, which it had not learned, weigh double.
    """
    weights = (("undo", 5.0), ("done", 2.0), ("classify", 3.0), ("commit", 2.0), ("place", 2.0))
    return replace(
        nine_nano(),
        name="nine-nano-soft",
        data=replace(nine_nano().data, seed=1, soft=True),
        frames=7 << 15,
        lr=1e-3,
        warmup=1 << 13,
        action_weights=weights,
        start_from="nine-nano",
    )


def nine_nano_long() -> Experiment:
    """`nine_nano_soft` carried on from its last weights, from a gentler rate."""
    return replace(
        nine_nano_soft(),
        name="nine-nano-long",
        data=replace(nine_nano_soft().data, seed=2),
        frames=3 << 15,
        lr=7e-4,
        start_from="nine-nano-soft",
    )


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


EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    "dots-nano": dots_nano,
    "dots-nano-independent": dots_nano_independent,
    "dots-nano-soft": dots_nano_soft,
    "nine-nano": nine_nano,
    "nine-nano-from-dots": nine_nano_from_dots,
    "nine-nano-soft": nine_nano_soft,
    "nine-nano-long": nine_nano_long,
    "tiny": tiny,
}


def get_experiment(name: str) -> Experiment:
    """The experiment of that name. Raises `InputError` with the nearest name."""
    return EXPERIMENTS[check_name("experiment", name, EXPERIMENTS)]()
