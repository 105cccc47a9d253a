"""Verbs about worlds and episodes: tasks, show, generate, stats."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bcprobe.cli.console import number, people_range, print_json, print_table, progress, verdict
from bcprobe.cli.options import (
    DEFAULT_TASK,
    Device,
    Difficulty,
    Force,
    Json,
    Layout,
    Manner,
    Seed,
    TaskNames,
    Threads,
    at_least_one,
    task_names,
)
from bcprobe.errors import InputError, check_name
from bcprobe.machine import pick_device, use_cores

if TYPE_CHECKING:
    from bcprobe.episodes.episode import Episode


def tasks(json_: Json = False) -> None:
    """List the tasks, their buttons and the layouts."""
    from bcprobe.gui.layouts import HELD_OUT_LAYOUTS, LAYOUTS
    from bcprobe.tasks import tasks as listed

    table = listed()
    document: dict[str, Any] = {
        "tasks": table.rename(columns={"task": "name"}).to_dict("records"),
        "layouts": [{"name": name, "held_out": name in HELD_OUT_LAYOUTS} for name in LAYOUTS],
    }
    if json_:
        return print_json(document)
    rows = [[t["name"], ", ".join(t["buttons"])] for t in document["tasks"]]
    print_table(["task", "buttons"], rows)
    levels = dict.fromkeys(name for t in document["tasks"] for name in t["difficulties"])
    typer.echo(f"difficulties: {', '.join(levels)}\n")
    print_table(["layout", "held out"], [[x["name"], x["held_out"]] for x in document["layouts"]])


def show(
    task: Annotated[str, typer.Argument(help="Task name.")] = DEFAULT_TASK,
    out: Annotated[Path, typer.Option(help="Where to: an .html player or a .gif.")] = Path(
        "episode.html"
    ),
    layout: Layout = "original",
    difficulty: Difficulty = "default",
    checkpoint: Annotated[
        str | None, typer.Option(help="A model that works the world instead of an annotator.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Of the model's clicks; 0 takes the likeliest.", min=0)
    ] = 0.0,
    mistake: Annotated[
        bool, typer.Option("--mistake", help="The first world from --seed on with a mistake.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    force: Force = False,
    seed: Annotated[
        int, typer.Option(help="Number of the world; of the test split for a model.", min=0)
    ] = 0,
    json_: Json = False,
) -> None:
    """Play an episode of an annotator or a model: screenshots, clicks, phases and mistakes."""
    from bcprobe.episodes import player
    from bcprobe.files import check_free

    writers = {".html": player.write_html, ".gif": player.write_gif}
    if out.suffix not in writers:
        raise InputError(f"cannot show as '{out.name}': name it .html or .gif")
    check_free(out, force=force)
    if checkpoint is None and (temperature, device, threads) != (0.0, "auto", None):
        raise InputError("--temperature, --device and --threads are for a model: add --checkpoint")
    device = pick_device(device)
    use_cores(threads)
    worked = _worked(task, checkpoint, temperature, device, layout=layout, difficulty=difficulty)
    tried = range(seed, seed + (_TRIES if mistake else 1))
    found = ((number, worked(number)) for number in tried)
    seed, episode = next((one for one in found if not mistake or mistakes_of(one[1])), (seed, None))
    if episode is None:
        raise InputError(f"no mistake in worlds {tried.start}-{tried.stop - 1}; try another --seed")
    writers[out.suffix](episode, out)
    document = {
        "out": str(out),
        "task": task,
        "seed": seed,
        "steps": len(episode),
        "score": episode.outcome.score,
        "success": episode.outcome.success,
        "worked_by": episode.origin,
        "mistakes": mistakes_of(episode),
        "undos": sum(step.undo_next for step in episode.steps),
    }
    if json_:
        return print_json(document)
    mistakes = document["mistakes"]
    typer.echo(
        f"wrote {out}: world {seed} worked by {episode.origin}, {len(episode)} clicks, "
        f"{mistakes} mistake{'s' * (mistakes != 1)}, score {episode.outcome.score:.2f}"
    )


#: Worlds looked through for a mistake.
_TRIES = 50


def mistakes_of(episode: Any) -> int:
    """Times at which a mistake comes to stand in an episode."""
    stands = [False, *(step.latents.mistake for step in episode.steps)]
    return sum(now and not before for before, now in pairwise(stands))


def _worked(
    task: str, checkpoint: str | None, temperature: float, device: str, **shown: Any
) -> Any:
    """What works a world by its number: the annotator, or a model in that of the test split."""
    from bcprobe.episodes import record

    if checkpoint is None:
        return lambda number: record.generate(task, number, **shown)
    from bcprobe.episodes.model_policy import ModelPolicy
    from bcprobe.model.checkpoint import load_checkpoint
    from bcprobe.rng import split_seed
    from bcprobe.tasks import get_task

    name, model = get_task(task).name, load_checkpoint(checkpoint, device)
    reach = model.config.reach if temperature == 0 else None
    policy = ModelPolicy(model, temperature, reach=reach)
    options = {**shown, "origin": checkpoint, "max_steps": record.MAX_STEPS}
    return lambda number: record.work(policy, name, [split_seed("test", number)], **options)[0]


def generate(
    out: Annotated[Path, typer.Option(help="Folder for episodes.parquet and steps.parquet.")],
    task: TaskNames = None,
    episodes: Annotated[int, typer.Option(help="How many of each task.")] = 100,
    layout: Layout = "original",
    difficulty: Difficulty = "default",
    manner: Manner = "usual",
    images: Annotated[
        Path | None, typer.Option(help="Your own image stack (TIFF, NPZ) for neuron_tracking.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Its instance labels, a stack of the same shape.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Register the sections of your stack first.")
    ] = False,
    minari: Annotated[
        str | None, typer.Option(help="Make a Minari dataset of that name too, with pixels.")
    ] = None,
    force: Force = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Generate annotators' episodes as Parquet (clicks and seeds, never pixels)."""
    from bcprobe.annotators.persona import MANNERS
    from bcprobe.episodes.export import check_minari, write_card, write_minari
    from bcprobe.episodes.record import generate as make
    from bcprobe.episodes.store import EPISODES_FILE, STEPS_FILE, write_episodes
    from bcprobe.files import output_folder

    count = at_least_one("--episodes", episodes)
    check_name("manner", manner, MANNERS)
    chosen = task_names(task)
    if minari is not None:
        check_minari(minari, chosen)
    files = output_folder(out, (EPISODES_FILE, STEPS_FILE, "README.md"), force=force)
    shown: dict[str, Any] = {"layout": layout, "hash_frames": True}
    shown["manner"] = manner
    if images is not None or labels is not None:
        worlds = _own_worlds(task, images, labels, register)
        made = [
            make("neuron_tracking", i % len(worlds), annotator_seed=seed + i,
                 world=worlds[i % len(worlds)], **shown)
            for i in progress(range(count), "episodes")
        ]  # fmt: skip
    else:
        wanted = [(name, seed + i) for name in chosen for i in range(count)]
        made = [make(*one, difficulty=difficulty, **shown) for one in progress(wanted, "episodes")]
    with files as folder:
        write_episodes(made, folder)
        write_card(made, folder)
        if minari is not None:
            write_minari(made, minari)
    steps = sum(len(episode) for episode in made)
    if json_:
        return print_json({"out": str(out), "episodes": len(made), "steps": steps})
    typer.echo(f"wrote {out}: {len(made)} episodes, {steps} steps")
    typer.echo(f"next: bcprobe stats --data {out}")


def _own_worlds(
    task: list[str] | None, images: Path | None, labels: Path | None, register: bool
) -> tuple[Any, ...]:
    """Worlds of a user's own volume. Raises `InputError` if half of it is missing."""
    from bcprobe.tasks.volumes import volume_worlds

    if images is None or labels is None:
        raise InputError("your own volume takes both --images and --labels")
    if task_names(task, ("neuron_tracking",)) != ["neuron_tracking"]:
        raise InputError("your own volume is for --task neuron_tracking")
    return volume_worlds(images, labels, register=register)


def _chosen_of(episodes: list[Any], task: list[str] | None, difficulty: str | None) -> list[Any]:
    """The episodes of some tasks and of a difficulty. Raises `InputError` if there is none."""
    names = task_names(task) if task else None
    kept = [
        episode
        for episode in episodes
        if (names is None or episode.task in names)
        and (difficulty is None or episode.difficulty == difficulty)
    ]
    if not kept:
        raise InputError("the folder holds no episode of these tasks and difficulty")
    return kept


def stats(
    task: TaskNames = None,
    episodes: Annotated[int | None, typer.Option(help="How many of each task: 500.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of episodes to use instead.")] = None,
    difficulty: Annotated[str | None, typer.Option(help="easy, default or hard.")] = None,
    seed: Annotated[int | None, typer.Option(help="First world; default: 0.", min=0)] = None,
    details: Annotated[bool, typer.Option("--details", help="Print every quantity.")] = False,
    json_: Json = False,
) -> None:
    """Tell how annotators behave, beside the people of the paper."""
    from bcprobe.episodes.record import generate as make
    from bcprobe.episodes.store import read_episodes
    from bcprobe.evaluation.behaviour import (
        HUMAN_SOURCE,
        behaviour_dict,
        behaviour_table,
        behaviour_total,
    )

    if data is not None:
        if episodes is not None or seed is not None:
            raise InputError("--episodes and --seed are for new episodes, not for those of --data")
        made = _chosen_of(read_episodes(data), task, difficulty)
    else:
        count = at_least_one("--episodes", 500 if episodes is None else episodes)
        wanted = [(name, (seed or 0) + i) for name in task_names(task) for i in range(count)]
        made = [
            make(*one, difficulty=difficulty or "default") for one in progress(wanted, "episodes")
        ]
    people = [episode for episode in made if episode.origin == "person"]
    if people:
        return _people_stats(people, json_)
    table = behaviour_table(made)
    if json_:
        whole = {name: score.as_dict() for name, score in behaviour_total(made).items()}
        return print_json({"episodes": len(made), **whole, "tasks": behaviour_dict(table)})
    for name, rows in table.groupby("task", sort=False):
        lines = [
            [row.quantity, number(row), people_range(row), verdict(row.human_like)]
            for row in rows.itertuples()
            if details or row.quantity in _BRIEF
        ]
        print_table(["quantity", "annotator [95 %]", "people", "inside"], lines, str(name))
    if table["task"].nunique() > 1:
        lines = [[name, str(score)] for name, score in behaviour_total(made).items()]
        print_table(["quantity", "annotator [95 %]"], lines, "all tasks together")
    typer.echo(f"people: {HUMAN_SOURCE}" + ("" if details else "; --details for all quantities"))


#: What `stats` prints of a task unless asked for more.
_BRIEF = ("steps", "place", "undo", "mistake_rate", "delayed_undo_share", "success")


def _people_stats(people: list[Episode], json_: bool) -> None:
    """Print how people worked beside virtual annotators on the same worlds, and the paper's."""
    from bcprobe.episodes.record import generate as make
    from bcprobe.evaluation.behaviour import (
        HUMAN_SOURCE,
        HUMAN_WAITS,
        behaviour_dict,
        behaviour_table,
    )

    virtual = [
        make(one.task, one.world_seed, layout=one.layout, difficulty=one.difficulty)
        for one in progress(people, "annotators on the same worlds")
    ]
    table, beside = behaviour_table(people), behaviour_table(virtual)
    if json_:
        return print_json(
            {
                "episodes": len(people),
                "tasks": behaviour_dict(table),
                "annotators": behaviour_dict(beside),
                "paper_waits": HUMAN_WAITS,
            }
        )
    known = {(row.task, row.quantity): number(row) for row in beside.itertuples()}
    for name, rows in table.groupby("task", sort=False):
        lines = [
            [
                row.quantity,
                number(row),
                known.get((name, row.quantity), ""),
                f"{HUMAN_WAITS[row.quantity]:.0f}"
                if row.quantity in HUMAN_WAITS
                else people_range(row),
            ]
            for row in rows.itertuples()
        ]
        columns = ["quantity", "people here [95 %]", "annotator [95 %]", "paper's people"]
        print_table(columns, lines, str(name))
    typer.echo(f"paper's people: {HUMAN_SOURCE}")
