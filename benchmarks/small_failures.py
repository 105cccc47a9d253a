"""Screens of episodes in which nine-small fails on its own at T = 0: docs/small_failures.png.

python benchmarks/small_failures.py --out docs/small_failures.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from bcprobe.episodes.episode import Episode
from bcprobe.episodes.player import draw_crosshair
from bcprobe.episodes.record import replay
from bcprobe.evaluation.rollouts import rollout
from bcprobe.files import atomic_file

#: Task and number of the test world, and what is to be seen there.
CASES = (
    ("road_network_construction", 2, "roads: an edge that is there already is drawn again"),
    ("road_network_construction", 1, "roads: a node undone and put where it was"),
    ("animal_behavioral_tracking", 3, "animals: the wrong animal, unnoticed to the end"),
    ("animal_behavioral_tracking", 4, "animals: the wrong animal, undone and chosen again"),
    ("cell_lineage_tracking", 2, "lineage: a cell of another lineage, again and again"),
    ("cell_lineage_tracking", 6, "lineage: a plain link where Divide is due"),
)
WIDTH, HEIGHT, CAPTION = 240, 180, 15


def steps_shown(episode: Episode) -> list[int]:
    """The first mistake, the click after it, and the last two clicks."""
    stands = (t for t, step in enumerate(episode.steps) if step.latents.mistake)
    first = max(1, next(stands, 1))
    return [first - 1, first, len(episode) - 2, len(episode) - 1]


def draw(episodes: Sequence[Episode]) -> Image.Image:
    """A row of four screens with their clicks for each of the `CASES`."""
    row = HEIGHT + 2 * CAPTION
    picture = Image.new("RGB", (4 * WIDTH, row * len(episodes)), "white")
    pen = ImageDraw.Draw(picture)
    for number, (episode, (_, world, words)) in enumerate(zip(episodes, CASES, strict=True)):
        top = number * row
        pen.text((4, top + 1), f"{words} (test world {world})", fill="black")
        chosen = steps_shown(episode)
        for t, (simulator, step) in enumerate(replay(episode)):
            if t in chosen:
                screen = Image.fromarray(simulator.screen())
                draw_crosshair(ImageDraw.Draw(screen), step.click)
                left = chosen.index(t) * WIDTH
                small = screen.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
                picture.paste(small, (left, top + CAPTION))
                stands = step.latents.mistake_kind or "no"
                caption = f"click {t}: {step.action}; {stands} mistake stands"
                pen.text((left + 4, top + CAPTION + HEIGHT + 1), caption, fill="black")
    return picture


def write(episodes: Sequence[Episode], path: Path) -> None:
    """Write the picture as PNG of 256 colours."""
    with atomic_file(path) as temporary:
        draw(episodes).quantize(256).save(temporary, format="PNG", optimize=True)


def main() -> None:
    """Let the model work the worlds of the `CASES` and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="nine-small")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    episodes = [rollout(options.checkpoint, task, 1, first=world)[0] for task, world, _ in CASES]
    write(episodes, options.out)


if __name__ == "__main__":
    main()
