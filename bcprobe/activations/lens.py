"""One decision taken apart: the click after each layer, what each head adds, where [cls] looks.

Values are NumPy arrays. Only the frames that the decision can depend on are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bcprobe.activations.sites import residual_sites
from bcprobe.episodes.episode import Episode
from bcprobe.episodes.record import frames, replay
from bcprobe.errors import InputError
from bcprobe.model.attention import EPS
from bcprobe.model.config import ClickTransformerConfig
from bcprobe.model.transformer import Block, ClickTransformer
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH, Click

Floats = NDArray[np.float32]
_KEPT = ("hook_resid_pre", "attn.hook_pattern", "attn.hook_z", "hook_mlp_out", "hook_resid_post")


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each part of the model adds to each cell's logit, directly.

    The head reads the last residual stream r of [cls] through the final norm,
    ``x = w * (r - mean(r)) / s + b`` with ``s = sqrt(var(r) + eps)``, and gives cell p the logit
    ``u_p . x + c_p``. The pointer has ``u_p = W_q' k_p / sqrt(d)`` and ``c_p = b_q . k_p /
    sqrt(d)``, with k_p the cell's key; the independent head takes the mean of its weights and
    biases over the cell's columns and rows. With s (the norm's scale) and k_p held at their
    values the logit is linear in r, and r is a sum: [cls] as embedded, each head's z through
    its rows of W_O, each layer's b_O, each layer's MLP. A part v of r thus adds ``u_p . (w *
    (v - mean(v)) / s)``. Logits matter up to a constant over the cells, so every part is
    centred: its mean over the cells is taken off.

    ``start`` [row, column] is what the embedding adds, ``heads`` [layer, head, row, column],
    ``mlps`` [layer, row, column], ``biases`` [row, column] all b_O, the norm's b and c_p;
    together they are ``logits`` [row, column], the centred logits whose softmax is the
    pointer's choice of a cell (of a patch, for the fine pointer). What a head does through other
    tokens, other layers, the keys,
    or the place inside the cell is not counted.
    """

    start: Floats
    heads: Floats
    mlps: Floats
    biases: Floats
    logits: Floats

    def at(self, click: tuple[int, int]) -> Attribution:
        """The same for the cell of a click alone: without the last two dimensions."""
        rows, columns = self.logits.shape
        row, column = click[1] * rows // SCREEN_HEIGHT, click[0] * columns // SCREEN_WIDTH
        return Attribution(*(part[..., row, column] for part in vars(self).values()))


@dataclass(frozen=True, eq=False)
class Decision:
    """A model before one click of an episode.

    ``click`` is the episode's, ``choice`` the model's likeliest (px). ``steps`` numbers the
    frames attended to, the oldest first and the one decided on last; ``screens`` uint8 [frame,
    360, 480, 3] shows them. ``heat`` [site, 360, 480] is the click lens: the probability of
    each pixel, read from the residual stream before the first block and after each (``sites``);
    the last is the model's answer. ``attention`` [layer, head, frame, row, column] is the
    weight that [cls] gives to each patch, ``elsewhere`` [layer, head, frame] that to the
    frame's other tokens (previous click, registers, [cls]); both together sum to 1 over a head.
    """

    step: int
    click: Click
    choice: Click
    steps: tuple[int, ...]
    screens: NDArray[np.uint8]
    sites: tuple[str, ...]
    heat: Floats
    attention: Floats
    elsewhere: Floats
    attribution: Attribution


def look(episode: Episode, step: int, model: ClickTransformer) -> Decision:
    """What the model does before click ``step`` of an episode.

    The frames before are stepped through once, at most ``config.reach``; the last is looked at with
    hooks. Raises `InputError` if the episode has no such step.
    """
    if not 0 <= step < len(episode):
        raise InputError(f"step {step} is outside the episode's 0-{len(episode) - 1}")
    first = max(0, step + 1 - model.config.reach)
    shown = enumerate(islice(replay(episode), step + 1))
    screens = np.stack([simulator.screen() for t, (simulator, _) in shown if t >= first])
    made = [(-1, -1), *(one.click for one in episode.steps)]
    kept = _run(model, screens, np.array(made[first : step + 1]))
    heat, choice = _answers(model, kept)
    attention, elsewhere = _attention(kept, model.config)
    count = attention.shape[2]
    return Decision(
        step=step,
        click=episode.steps[step].click,
        choice=choice,
        steps=tuple(range(step + 1 - count, step + 1)),
        screens=screens[-count:],
        sites=residual_sites(model.config),
        heat=heat,
        attention=attention,
        elsewhere=elsewhere,
        attribution=attribute(model, kept),
    )


def along(episode: Episode, model: ClickTransformer) -> Iterator[tuple[Floats, Floats]]:
    """Before each click the click lens [site, 360, 480] and where [cls] attends on the screen.

    The attention [layer, head, row, column] is that on the present screen's patches. One pass over
    the episode; `look` tells more of one decision.
    """
    made = [(-1, -1), *(step.click for step in episode.steps)]
    with torch.inference_mode():
        cache = model.start_cache()
        for screen, previous in zip(frames(episode), made, strict=False):
            pixels = torch.from_numpy(screen.copy()).permute(2, 0, 1)[None].to(model.device)
            click = torch.tensor([previous], device=model.device)
            kept = _step(model, model.encoder.see(pixels), click, cache)
            yield _answers(model, kept)[0], _attention(kept, model.config)[0][:, :, -1]


def _answers(model: ClickTransformer, kept: dict[str, Tensor]) -> tuple[Floats, Click]:
    """Click maps [site, 360, 480] read from every site, and the likeliest click of the last."""
    with torch.inference_mode():
        residuals = torch.cat([kept[site] for site in residual_sites(model.config)])
        clicks = model.read(residuals, kept["hook_cells"].expand(len(residuals), -1, -1, -1, -1))
        choice = clicks.argmax()[-1, 0].tolist()
        return clicks.heat_map()[:, 0].cpu().numpy(), Click(*choice)


def attribute(model: ClickTransformer, kept: dict[str, Tensor]) -> Attribution:
    """Direct parts of the logits at the last frame; see `Attribution`.

    ``kept`` holds that frame's activations by hook name: [1, token, d] of ``resid_pre`` and
    ``mlp_out`` of every block and ``resid_post`` of the last, [1, token, head, d_head] of
    ``attn.hook_z``.
    """
    config, cls = model.config, model.config.cls_index
    final = kept[f"blocks.{config.n_layers - 1}.hook_resid_post"][0]
    with torch.inference_mode():
        normed = model.ln_final(final)
        readers, constants = model.head.readers(normed[: config.n_patches])
        scale = (final[cls].var(correction=0) + EPS).sqrt()

        def logits(part: Tensor) -> Tensor:
            """What parts [..., d] of the residual stream add to [..., cell]."""
            centred = part - part.mean(-1, keepdim=True)
            return _centred((model.ln_final.w * centred / scale) @ readers.T)

        heads, mlps, biases = [], [], _centred(readers @ model.ln_final.b + constants)
        for number, block in enumerate(cast(Iterable[Block], model.blocks)):
            z = kept[f"blocks.{number}.attn.hook_z"][0, cls]  # (head, d_head)
            heads.append(logits(torch.einsum("hk,hkd->hd", z, block.attn.W_O)))
            mlps.append(logits(kept[f"blocks.{number}.hook_mlp_out"][0, cls]))
            biases = biases + logits(block.attn.b_O)
        start = logits(kept["blocks.0.hook_resid_pre"][0, cls])
        whole = _centred(readers @ normed[cls] + constants)
        parts = (start, torch.stack(heads), torch.stack(mlps), biases, whole)
        grid = config.grid[::-1]
        return Attribution(*(part.unflatten(-1, grid).cpu().numpy() for part in parts))


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(-1, keepdim=True)


def _run(
    model: ClickTransformer, screens: NDArray[np.uint8], previous: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Activations of the last frame by hook name."""
    with torch.inference_mode():
        pixels = torch.from_numpy(screens).permute(0, 3, 1, 2).to(model.device)
        patches = model.encoder.see(pixels)[:, None]  # (frame, 1, patch, d)
        clicks = torch.from_numpy(previous)[:, None].to(model.device)
        cache = model.start_cache()
        for tokens, click in zip(patches[:-1], clicks[:-1], strict=True):
            model.step(tokens, click, cache)
        return _step(model, patches[-1], clicks[-1], cache)


def _step(model: ClickTransformer, patches: Tensor, click: Tensor, cache: Any) -> dict[str, Tensor]:
    """Look at one more frame. Returns its activations by hook name."""
    kept: dict[str, Tensor] = {}

    def keep(x: Tensor, hook: Any) -> None:
        kept[hook.name] = x

    layers = range(model.config.n_layers)
    names = [f"blocks.{layer}.{name}" for layer in layers for name in _KEPT]
    with model.hooks(fwd_hooks=[(name, keep) for name in (*names, "hook_cells")]):
        model.step(patches, click, cache)
    return kept


def _attention(kept: dict[str, Tensor], config: ClickTransformerConfig) -> tuple[Floats, Floats]:
    """Weights of [cls]: [layer, head, frame, row, column] on patches, [layer, head, frame] else."""
    names = (f"blocks.{layer}.attn.hook_pattern" for layer in range(config.n_layers))
    weights = torch.stack([kept[name][0, :, config.cls_index] for name in names])
    weights = weights.unflatten(-1, (-1, config.tokens_per_frame)).cpu()
    patches = weights[..., : config.n_patches].unflatten(-1, config.grid[::-1])
    return patches.numpy(), weights[..., config.n_patches :].sum(-1).numpy()
