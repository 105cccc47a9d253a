"""The command line: wires the rooms together, one verb each.

Heavy imports (torch, pandas, matplotlib) stand inside the verbs that need them, so that
``bcprobe --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from bcprobe.console import number, people_range, print_json, print_table, progress, verdict
from bcprobe.errors import InputError, check_name

DEFAULT_CHECKPOINT = "dots-nano"
DEFAULT_TASK = "colored_dot_tracking"
LATENTS = ("mistake", "phase", "position", "progress", "undo_next", "mistake_kind")

app = typer.Typer(
    name="bcprobe",
    help="What does a network that learned to annotate by watching annotators represent?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Seed = Annotated[int, typer.Option(help="Seed of every draw.", min=0)]
TaskName = Annotated[str, typer.Option("--task", help="Task name; `bcprobe tasks` lists them.")]
Layout = Annotated[str, typer.Option(help="Screen layout; `bcprobe tasks --json` lists them.")]
Difficulty = Annotated[str, typer.Option(help="easy, default or hard.")]
CheckpointName = Annotated[
    str, typer.Option("--checkpoint", help="Checkpoint name, folder or hub id; NAME@FRAMES a step.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for tables, figures and cards.")]


def _count(name: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{name} is {value}; it must be 1 or more")
    return value


@app.command()
def tasks(json_: Json = False, seed: Seed = 0) -> None:
    """List the tasks, their buttons and the layouts."""
    from bcprobe.gui.layouts import HELD_OUT_LAYOUTS, LAYOUTS
    from bcprobe.tasks import TASKS

    document: dict[str, Any] = {
        "tasks": [
            {
                "name": task.name,
                "title": task.title,
                "buttons": [button.name for button in task.buttons],
                "difficulties": list(task.settings),
            }
            for task in TASKS.values()
        ],
        "layouts": [{"name": name, "held_out": name in HELD_OUT_LAYOUTS} for name in LAYOUTS],
    }
    if json_:
        return print_json(document)
    rows = [
        [t["name"], t["title"], " ".join(t["buttons"]), " ".join(t["difficulties"])]
        for t in document["tasks"]
    ]
    print_table(["task", "title", "buttons", "difficulties"], rows)
    print_table(["layout", "held out"], [[x["name"], x["held_out"]] for x in document["layouts"]])


@app.command()
def show(
    task: Annotated[str, typer.Argument(help="Task name.")] = DEFAULT_TASK,
    out: Annotated[Path, typer.Option(help="Where to: an .html player or a .gif.")] = Path(
        "episode.html"
    ),
    layout: Layout = "original",
    difficulty: Difficulty = "default",
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Play one annotator's episode: screenshots, clicks, phases and mistakes."""
    from bcprobe.episodes import player, record

    writers = {".html": player.write_html, ".gif": player.write_gif}
    if out.suffix not in writers:
        raise InputError(f"cannot show as '{out.name}': name it .html or .gif")
    episode = record.generate(task, seed, layout=layout, difficulty=difficulty)
    writers[out.suffix](episode, out)
    document = {
        "out": str(out),
        "task": task,
        "seed": seed,
        "steps": len(episode),
        "score": episode.outcome.score,
        "success": episode.outcome.success,
        "mistakes": sum(step.undo_next for step in episode.steps),
    }
    if json_:
        return print_json(document)
    typer.echo(f"{out}: {len(episode)} clicks, score {episode.outcome.score:.2f}")


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="Folder for episodes.parquet and steps.parquet.")],
    task: TaskName = DEFAULT_TASK,
    episodes: Annotated[int, typer.Option(help="How many.")] = 100,
    layout: Layout = "original",
    difficulty: Difficulty = "default",
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Generate annotators' episodes as Parquet (clicks and seeds, never pixels)."""
    from bcprobe.episodes.record import generate as make
    from bcprobe.episodes.store import write_episodes

    made = [
        make(task, seed + i, layout=layout, difficulty=difficulty, hash_frames=True)
        for i in progress(range(_count("--episodes", episodes)), "episodes")
    ]
    write_episodes(made, out)
    steps = sum(len(episode) for episode in made)
    if json_:
        return print_json({"out": str(out), "episodes": len(made), "steps": steps})
    typer.echo(f"{out}: {len(made)} episodes, {steps} steps")


@app.command()
def stats(
    task: TaskName = DEFAULT_TASK,
    episodes: Annotated[int, typer.Option(help="How many.")] = 500,
    data: Annotated[Path | None, typer.Option(help="Folder of episodes to use instead.")] = None,
    difficulty: Difficulty = "default",
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Tell how annotators behave, beside the people of the paper."""
    from bcprobe.episodes.record import generate as make
    from bcprobe.episodes.store import read_episodes
    from bcprobe.evaluation.behaviour import HUMAN_SOURCE, behaviour_dict, behaviour_table

    if data is not None:
        made = read_episodes(data)
    else:
        count = range(_count("--episodes", episodes))
        made = [make(task, seed + i, difficulty=difficulty) for i in progress(count, "episodes")]
    table = behaviour_table(made)
    if json_:
        return print_json({"episodes": len(made), "tasks": behaviour_dict(table)})
    for name, rows in table.groupby("task", sort=False):
        lines = [
            [row.quantity, number(row), people_range(row), verdict(row.human_like)]
            for row in rows.itertuples()
        ]
        print_table(["quantity", "annotator [95 %]", "people", "inside"], lines, str(name))
    typer.echo(f"people: {HUMAN_SOURCE}")


@app.command()
def train(
    experiment: Annotated[str, typer.Option(help="Name of an experiment.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    frames: Annotated[int | None, typer.Option(help="Length of the run; default: its own.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    resume: Annotated[bool, typer.Option(help="Go on with a run that was stopped.")] = False,
    workers: Annotated[int, typer.Option(help="Processes that make episodes.")] = 1,
    threads: Annotated[int | None, typer.Option(help="CPU threads of the model.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data and weights.", min=0)] = None,
    json_: Json = False,
) -> None:
    """Train a named experiment on episodes made on the fly."""
    import os

    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch: huge pages, a third faster
    from dataclasses import replace

    from bcprobe.experiments import get_experiment
    from bcprobe.training.loop import train as run

    plan = get_experiment(experiment)
    if seed is not None:
        plan = replace(plan, model_seed=seed, data=replace(plan.data, seed=seed))
    folder = run(
        plan,
        out,
        resume=resume,
        frames=frames,
        device=device,
        workers=_count("--workers", workers),
        threads=threads,
    )
    if json_:
        return print_json({"out": str(folder), "experiment": experiment})
    typer.echo(f"{folder}: trained")


@app.command()
def evaluate(
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskName = DEFAULT_TASK,
    episodes: Annotated[int, typer.Option(help="Test worlds.")] = 20,
    temperature: Annotated[list[float] | None, typer.Option(help="May be repeated.")] = None,
    section: Annotated[
        list[str] | None,
        typer.Option(help="teacher_forced, closed_loop, forced_mistakes, copycat; default: all."),
    ] = None,
    layout: Layout = "original",
    out: Out = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Measure a checkpoint on unseen worlds: teacher-forced, closed loop, forced mistakes."""
    from bcprobe.evaluation.suite import SECTIONS
    from bcprobe.evaluation.suite import evaluate as run
    from bcprobe.results import write_table

    found = run(
        checkpoint,
        [task],
        episodes,
        temperature or (0.0, 0.5, 1.0),
        seed,
        layout=layout,
        sections=section or list(SECTIONS),
    )
    if out is not None:
        write_table(found.table(), out / "evaluation.parquet")
    if json_:
        return print_json(found.as_dict())
    keys = ["section", "policy", "temperature", "kind", "metric"]
    for name, rows in found.table().groupby("section", sort=False):
        names = [key for key in keys[1:] if key in rows and rows[key].notna().any()]
        lines = [
            [*("" if row[n] != row[n] else row[n] for n in names), number(row), row["n"]]
            for _, row in rows.iterrows()
        ]
        print_table([*names, "estimate [95 %]", "n"], lines, str(name))


@app.command()
def probe(
    latent: Annotated[str, typer.Option(help=", ".join(LATENTS))] = "mistake",
    checkpoint: CheckpointName = DEFAULT_CHECKPOINT,
    task: TaskName = DEFAULT_TASK,
    site: Annotated[
        list[str] | None, typer.Option(help="Hook name, may be repeated; default: every layer.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Test episodes.")] = 200,
    layout: Layout = "original",
    out: Out = None,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Read a latent from the residual stream, layer by layer, with controls."""
    check_name("latent", latent, LATENTS)
    from bcprobe.probes.run import run

    found = run(
        latent,
        checkpoint,
        task,
        sites=site or None,
        episodes=_count("--episodes", episodes),
        seed=seed,
        layout=layout,
    )
    if out is not None:
        from bcprobe.figures import probe_layers, style

        found.write(out, lambda table, *where: style.save(probe_layers.plot(table), *where))
    if json_:
        return print_json(found.as_dict())
    title = f"{latent} ({found.metric}), {checkpoint}, {task}, {episodes} episodes"
    rows = [
        [row.kind, row.negatives, _short(row.site), number(row), row.n]
        for row in found.table().itertuples()
    ]
    print_table(["probe", "negatives", "site", f"{found.metric} [95 %]", "n"], rows, title)
    if out is not None:
        typer.echo(f"{out}: table, plot and direction card")


def _short(site: str) -> str:
    """Site as a table shows it: ``0.resid_pre`` for ``blocks.0.hook_resid_pre``."""
    return site.replace("blocks.", "").replace("hook_", "")


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="Figure name, or all.")] = "all",
    out: Annotated[Path, typer.Option(help="Folder of tables and figures.")] = Path("figures"),
    recompute: Annotated[bool, typer.Option(help="Make the tables anew first.")] = False,
    seed: Seed = 0,
    json_: Json = False,
) -> None:
    """Redraw figures (PDF and PNG) from the tables they were saved with."""
    from bcprobe.figures import FIGURES, redraw

    names = list(FIGURES) if name == "all" else [check_name("figure", name, FIGURES)]
    if recompute:
        from bcprobe.results import write_table
        from bcprobe.tables import TABLES

        for one in progress(names, "tables"):
            write_table(TABLES[one](), out / f"{one}.parquet")
    files = [str(path) for one in progress(names, "figures") for path in redraw(one, out)]
    if json_:
        return print_json({"figures": names, "files": files})
    typer.echo("\n".join(files))


@app.command()
def checkpoints(json_: Json = False, seed: Seed = 0) -> None:
    """List the checkpoints at hand and their saved steps."""
    from bcprobe.model.registry import checkpoint_folder, list_checkpoints, list_steps, read_card

    folder = checkpoint_folder()
    found = [
        {
            "name": name,
            "head": read_card(folder / name)["model"]["head"],
            "frames": read_card(folder / name)["metadata"].get("frames"),
            "steps": list_steps(folder / name),
        }
        for name in list_checkpoints()
    ]
    if json_:
        return print_json({"folder": str(folder), "checkpoints": found})
    rows = [[c["name"], c["head"], c["frames"], " ".join(map(str, c["steps"]))] for c in found]
    print_table(["checkpoint", "head", "frames", "saved steps (NAME@FRAMES)"], rows)


def main() -> None:
    """Run the command line. Bad input is one line and exit code 2; ctrl-C is 130."""
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    try:
        app(arguments, standalone_mode=True)
    except InputError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"bcprobe: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("bcprobe: interrupted\n")
        raise SystemExit(130) from None
