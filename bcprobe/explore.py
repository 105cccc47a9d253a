"""A model at work on an episode, to look through frame by frame in Jupyter."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from bcprobe.activations.lens import Decision, look
from bcprobe.episodes.episode import Episode
from bcprobe.errors import InputError
from bcprobe.figures.decision import ATTENTION, Panel, plot_moment
from bcprobe.lazy import make_callable
from bcprobe.model.transformer import ClickTransformer
from bcprobe.probes.read_out import Probe, read_out

MEAN = "mean of heads"
_DPI = 110


class Explorer:
    """An episode under a model: a picture of any moment, and widgets to choose it with.

    In Jupyter it shows the widgets; where they cannot live (a notebook read elsewhere) the
    picture of the first moment stands in their place. Each moment is computed when it is
    first looked at.
    """

    def __init__(
        self, episode: Episode, model: ClickTransformer, probes: Sequence[Probe], step: int
    ) -> None:
        self.episode, self.model, self.first = episode, model, step
        self.readouts = read_out(episode, model, probes)
        self._decide = lru_cache(maxsize=16)(lambda t: look(episode, t, model))
        self.widgets = _widgets(self)

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

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """The widgets for those who can show them, a picture for those who cannot."""
        bundle = self.widgets._repr_mimebundle_(include=include, exclude=exclude)
        return {**bundle, "image/png": base64.b64encode(_png(self.picture())).decode()}


def explore(
    episode: Episode,
    model: ClickTransformer,
    probes: Sequence[Probe] = (),
    *,
    step: int | None = None,
) -> Explorer:
    """A slider over the episode's frames: click map, lens, attention, read-outs of probes.

    ``probes`` are results of `bcprobe.probes.one_task.run` or folders of direction cards; ``step``
    is where to begin (default: the first Undo, or the middle). Needs ipywidgets; raises
    `InputError` if it is missing, if the episode is empty or has no such step.
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


def _widgets(explorer: Explorer) -> Any:
    """Sliders for click and layer, a choice of head, and the picture they draw."""
    try:
        import ipywidgets
    except ImportError as error:
        raise InputError("explore needs ipywidgets: pip install 'bcprobe[notebooks]'") from error
    config = explorer.model.config
    step = ipywidgets.IntSlider(
        explorer.first, 0, len(explorer.episode) - 1, description="click", continuous_update=False
    )
    layer = ipywidgets.IntSlider(
        (config.n_layers + 1) // 2, 0, config.n_layers, description="layer", continuous_update=False
    )
    heads = [(MEAN, None), *((f"head {number + 1}", number) for number in range(config.n_heads))]
    head = ipywidgets.Dropdown(options=heads, value=None, description="attention")
    back = ipywidgets.IntSlider(
        0, 0, config.context - 1, description="frames back", continuous_update=False
    )
    image = ipywidgets.Image(value=_png(explorer.picture()), format="png")

    def draw(_: Any) -> None:
        image.value = _png(explorer.picture(step.value, layer.value, head.value, back.value))

    for control in (step, layer, head, back):
        control.observe(draw, names="value")
    rows = [ipywidgets.HBox([step, layer]), ipywidgets.HBox([head, back])]
    return ipywidgets.VBox([*rows, image])


make_callable(__name__, "bcprobe.explore:explore")
