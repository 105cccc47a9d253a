"""A model at work on an episode, to play and look into in Jupyter."""

from __future__ import annotations

import base64
import html
import io
import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from bcprobe.activations.lens import Decision, along, look
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.player import coarse, packed, page, page_data
from bcprobe.errors import InputError
from bcprobe.figures.decision import ATTENTION, Panel, plot_moment
from bcprobe.gui.layouts import button_rect
from bcprobe.lazy import make_callable
from bcprobe.model.transformer import ClickTransformer
from bcprobe.palette import COLOURS
from bcprobe.probes.read_out import Probe, read_out
from bcprobe.tasks import get_task

MEAN = "mean of heads"
_DPI = 110
#: Bytes of screens in the page, px that a cell of its click maps is wide, and its height in px.
SCREENS, CELL, HEIGHT = 450_000, 6, 840


class Explorer:
    """An episode under a model, to play and to look into at every click.

    In Jupyter it shows the player of `bcprobe serve`: screen, click map, click lens, attention,
    time line with P(Undo) and the read-outs of probes. Where a page within the page is not allowed
    (a notebook read elsewhere) the picture of the first moment stands in its place.
    """

    def __init__(
        self, episode: Episode, model: ClickTransformer, probes: Sequence[Probe], step: int
    ) -> None:
        self.episode, self.model, self.first = episode, model, step
        self.readouts = read_out(episode, model, probes)
        self._decide = lru_cache(maxsize=16)(lambda t: look(episode, t, model))
        self._page = ""

    def decision(self, step: int) -> Decision:
        """The model before a click; see `bcprobe.activations.lens.look`."""
        return self._decide(step)

    def picture(
        self,
        step: int | None = None,
        layer: int | None = None,
        head: int | None = None,
        back: int = 0,
    ) -> Figure:
        """One moment: the answer, the lens after ``layer`` layers, and that layer's attention.

        Defaults: the first moment, half of the layers, the mean of the layer's heads, on the
        screen ``back`` frames ago (0: the present one; at most as many as there are in view).
        """
        step = self.first if step is None else step
        layer = (self.model.config.n_layers + 1) // 2 if layer is None else layer
        decision = self.decision(step)
        then = max(-1 - back, -len(decision.steps))
        screen, weights = decision.screens[-1], decision.attention[max(layer, 1) - 1, :, then]
        own = weights.mean(0) if head is None else weights[head]
        who = f"layer {max(layer, 1)}, {MEAN if head is None else f'head {head + 1}'}"
        panels = [
            Panel(
                f"click {step}: {_name(self.episode, step)}",
                screen,
                decision.heat[-1],
            ),
            Panel(f"lens after layer {layer}", screen, decision.heat[layer]),
            Panel(
                f"attention at {decision.steps[then]}: {who}",
                decision.screens[then],
                own,
                ATTENTION,
            ),
        ]
        return plot_moment(panels, self.episode, step, self.readouts)

    def page(self) -> str:
        """The player as a self-contained HTML page; made once, in one pass of the model."""
        if not self._page:
            self._page = page(self._data())
        return self._page

    def _data(self) -> dict[str, Any]:
        """What the page shows; see `bcprobe.episodes.player.page_data`."""
        data = page_data(self.episode, SCREENS)
        data |= {"first": self.first, "within": True, "moments": [], "reads": self._reads()}
        for step, (lens, attention) in enumerate(along(self.episode, self.model)):
            moment = {
                "lens": [packed(coarse(heat, CELL)) for heat in lens],
                "attention": [[packed(head) for head in layer] for layer in attention],
            }
            data["moments"].append(moment)
            own = [round(float(values[step]), 4) for values in self.readouts.values()]
            data["steps"][step]["reads"] = [self._undo(lens[-1]), *own]
        return data

    def _undo(self, heat: NDArray[np.floating[Any]]) -> float | None:
        """P(Undo) of a click map [360, 480]; None where the task has no such button."""
        buttons = get_task(self.episode.task).buttons
        if "Undo" not in [button.name for button in buttons]:
            return None
        rect = button_rect(self.episode.layout, buttons, "Undo")
        box = heat[rect.y : rect.y + rect.height, rect.x : rect.x + rect.width]
        return round(float(box.sum()), 4)

    def _reads(self) -> list[dict[str, Any]]:
        """Name, range and colour of each curve over the episode."""
        found = [{"name": "P(Undo)", "low": 0.0, "high": 1.0, "colour": "var(--ink)"}]
        colours = itertools.cycle(("vermillion", "orange", "purple", "green"))
        for (name, values), colour in zip(self.readouts.items(), colours, strict=False):
            low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
            found.append({"name": name, "low": low, "high": high, "colour": COLOURS[colour]})
        return found

    def _repr_html_(self) -> str:
        """The page within the notebook's, over the picture for those who may not show it."""
        image = base64.b64encode(_png(self.picture())).decode()
        return (
            f'<div style="position:relative;min-height:{HEIGHT}px">'
            '<img alt="the first moment" style="max-width:100%" '
            f'src="data:image/png;base64,{image}">'
            '<iframe title="player of the episode" sandbox="allow-scripts" '
            'style="position:absolute;inset:0;width:100%;height:100%;border:0" '
            f'srcdoc="{html.escape(self.page())}"></iframe></div>'
        )


def explore(
    episode: Episode,
    model: ClickTransformer,
    probes: Sequence[Probe] = (),
    *,
    step: int | None = None,
) -> Explorer:
    """A player of the episode under a model: click map, lens, attention, read-outs of probes.

    ``probes`` are results of `bcprobe.probes.one_task.run` or folders of direction cards; ``step``
    is where to begin (default: the first Undo, or the middle). Raises `InputError` if the episode
    is empty or has no such step.
    """
    if not len(episode):
        raise InputError("the episode has no click to look at")
    undo = next((t for t, one in enumerate(episode.steps) if one.undo_next), len(episode) // 2)
    step = undo if step is None else step
    if not 0 <= step < len(episode):
        raise InputError(f"step {step} is outside the episode's 0-{len(episode) - 1}")
    return Explorer(episode, model, probes, step)


def _name(episode: Episode, step: int) -> str:
    one = episode.steps[step]
    return one.widget or one.action


def _png(figure: Figure) -> bytes:
    """The figure in 256 colours: a third of the size."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


make_callable(__name__, "bcprobe.explore:explore")
