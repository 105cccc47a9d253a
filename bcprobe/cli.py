"""The command line: wires the rooms together, one verb each.

Heavy imports (torch, pandas, matplotlib) stand inside the verbs that need them, so that
``bcprobe --help`` answers at once.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

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


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1, allow_nan=False) + "\n")


def _print_table(columns: list[str], rows: list[list[Any]], title: str = "") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*[str(cell) for cell in row])
    Console().print(table)


def _count(name: str, value: int) -> int:
    if value < 1:
        raise InputError(f"{name} is {value}; it must be 1 or more")
    return value


@app.command()
def tasks(json_: Json = False, seed: Seed = 0) -> None:
    """List the tasks, their buttons and the layouts."""
    from bcprobe.gui.layouts import HELD_OUT_LAYOUTS, LAYOUTS
    from bcprobe.tasks import TASKS

    document = {
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
        return _print_json(document)
    rows = [
        [t["name"], t["title"], " ".join(t["buttons"]), " ".join(t["difficulties"])]
        for t in document["tasks"]
    ]
    _print_table(["task", "title", "buttons", "difficulties"], rows)
    _print_table(["layout", "held out"], [[x["name"], x["held_out"]] for x in document["layouts"]])


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
        return _print_json(document)
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
        for i in _progress(range(_count("--episodes", episodes)), "episodes")
    ]
    write_episodes(made, out)
    steps = sum(len(episode) for episode in made)
    if json_:
        return _print_json({"out": str(out), "episodes": len(made), "steps": steps})
    typer.echo(f"{out}: {len(made)} episodes, {steps} steps")


def _progress(items: Any, label: str) -> Any:
    from rich.console import Console
    from rich.progress import track

    return track(items, label, console=Console(stderr=True), transient=True)


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
