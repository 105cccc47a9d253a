"""The one place that edits activations: a pair of moments behind a model, edited and read again.

The screens up to the placement are read once, layer by layer only as far as they can reach an
answer, and kept as keys and values. An edit then costs the frames after it, from its layer on;
edits that begin at the same layer of the same frame run together as one batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformer_lens.tools.analysis.interchange import NormMatchedPlacebo, SubspaceInterchange

from bcprobe.errors import InputError
from bcprobe.gui.layouts import Rect
from bcprobe.interventions.pairs import Pair
from bcprobe.interventions.targets import ClickTargets, around
from bcprobe.model.attention import Attention, KeyValues, Norm, rotary_table
from bcprobe.model.transformer import ClickTransformer

#: Numbers of one layer's keys that a batch of edits may hold; more leave the processor's cache.
ROOM = 2**21
CELLS = "hook_cells"
#: Sites with a vector for each head, and how a row of them is turned to [token, head, ...].
HEADS = ("attn.hook_q", "attn.hook_k", "attn.hook_v", "attn.hook_z", "attn.hook_pattern")


@dataclass(frozen=True)
class Place:
    """Activations to edit: a hook, of one frame (by lag), at some of its tokens.

    ``tokens`` are positions in the frame; ``head`` is one head of a site that has several, None
    for all of them. At ``attn.hook_pattern`` the tokens are those that attend. `CELLS` are what
    the head reads beside the residual stream; their tokens are patches.
    """

    site: str
    lag: int
    tokens: tuple[int, ...]
    head: int | None = None

    @property
    def block(self) -> int:
        """Number of the block the site stands in; -1 for `CELLS`."""
        found = re.match(r"blocks\.(\d+)\.", self.site)
        return -1 if found is None else int(found[1])


class Change:
    """What an edit puts in the place of activations x [row, token, ..., d].

    ``own`` and ``other`` [token, ..., d] are what stands there on either side, unedited.
    """

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """The new values of rows, each with its own of the ``changes`` (all of this class)."""
        raise NotImplementedError


class Swap(Change):
    """What stands there on the other side of the pair."""

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """See `Change`."""
        return other.expand_as(x)


class Freeze(Change):
    """What stands there without any edit."""

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """See `Change`."""
        return own.expand_as(x)


@dataclass(frozen=True, eq=False)
class Put(Change):
    """Given values [token, ..., d] of all of the frame's tokens."""

    values: Tensor

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """See `Change`."""
        return torch.stack([one.values for one in changes])


@dataclass(frozen=True, eq=False)
class Add(Change):
    """A vector [d] more."""

    vector: Tensor

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """See `Change`."""
        return x + torch.stack([one.vector for one in changes])[:, None]


@dataclass(frozen=True, eq=False)
class SwapAlong(Change):
    """The other side's component in the subspace that orthonormal columns [d, rank] span."""

    basis: Tensor

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """See `Change`."""
        rows = [one.basis.mT for one in changes]  # (rank, d), ranks may differ
        basis = pad_sequence(rows, batch_first=True).mT
        return x + (other - x) @ basis @ basis.mT


@dataclass(frozen=True, eq=False)
class Placebo(Change):
    """As far as `SwapAlong` ``reference`` moves each token, but in the subspace of ``basis``."""

    basis: Tensor
    reference: Tensor

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """See `Change`."""
        rows = [
            NormMatchedPlacebo(SubspaceInterchange(one.reference), one.basis)(row, other)
            for one, row in zip(changes, x, strict=True)
        ]
        return torch.stack(rows)


@dataclass(frozen=True, eq=False)
class Erase(Change):
    """The mean [d] in place of what a projection [d, d] finds: ``x - (x - mean) @ matrix``."""

    matrix: Tensor
    mean: Tensor

    def of(self, x: Tensor, own: Tensor, other: Tensor, changes: Sequence[Any]) -> Tensor:
        """See `Change`."""
        matrix = torch.stack([one.matrix for one in changes])
        mean = torch.stack([one.mean for one in changes])[:, None]
        return x - (x - mean) @ matrix


SWAP, FREEZE = Swap(), Freeze()


@dataclass(frozen=True, eq=False)
class Edit:
    """Changes at places, made in order. ``history``: the frames before are the other side's."""

    parts: tuple[tuple[Place, Change], ...]
    history: bool = False

    @property
    def start(self) -> tuple[int, int]:
        """Lag and block from which on anything can differ."""
        if self.history or not self.parts:
            return 0, 0
        live = [place for place, change in self.parts if change is not FREEZE] or [
            place for place, _ in self.parts
        ]
        lag = min(place.lag for place in live)
        blocks = [place.block for place in live if place.block >= 0]
        return lag, min(blocks, default=-1)


def swap(*places: Place) -> Edit:
    """The edit that takes all of the places from the other side."""
    return Edit(tuple((place, SWAP) for place in places))


class Bench:
    """A pair behind a model: both sides' frames read once, then edited as often as one likes.

    ``sites`` are the hooks whose activations are kept, for edits that swap or freeze them.
    """

    def __init__(self, model: ClickTransformer, pair: Pair, sites: Iterable[str] = ()) -> None:
        self.model, self.pair, self.config = model, pair, model.config
        self.sites = [site for site in dict.fromkeys(sites) if site != CELLS]
        with torch.no_grad():  # and not inference mode: gradients may be asked for later
            self._read_history()
            self._read_after()

    def _read_history(self) -> None:
        """Keys and values of each layer over the frames up to the placement: [side, frame, ...]."""
        config, reach = self.config, self.config.reach - 1
        sides = []
        for side in (0,) if self.pair.shared else (0, 1):
            rings = [KeyValues() for _ in range(config.n_layers)]
            shown = list(self.pair.history(side, reach))
            if shown:
                tokens, _ = self.embed(*zip(*shown, strict=True))
                for number in range(len(shown)):
                    ago = len(shown) - number  # 1: the last before the placement
                    blocks = config.n_layers - -(-ago // (config.context - 1)) + 1
                    self._pass(tokens[None, number], number, rings[:blocks])
            sides.append(rings)
            self.frames = len(shown)
        self.history: list[tuple[Tensor | None, Tensor | None]] = []
        for layer in zip(*sides, strict=True):
            if layer[0].k is None or layer[0].v is None:
                self.history.append((None, None))
            else:
                ks, vs = (torch.cat([getattr(one, n) for one in layer]) for n in ("k", "v"))
                self.history.append((_both(ks), _both(vs)))

    def _read_after(self) -> None:
        """Both sides' frames after the placement, unedited, with the kept sites."""
        sides = [self.embed(*zip(*self.pair.after(side), strict=True)) for side in (0, 1)]
        self.tokens, self.cells = (torch.stack(part) for part in zip(*sides, strict=True))
        self.kept: dict[tuple[str, int], Tensor] = {}
        self.before: list[list[tuple[Tensor | None, Tensor | None]]] = []
        self.into: list[list[Tensor]] = []
        self.final: list[Tensor] = []
        rings = [KeyValues() for _ in self.history]
        for ring, (k, v) in zip(rings, self.history, strict=True):
            ring.k, ring.v = k, v
        for lag in range(self.lags):
            self.before.append([(ring.k, ring.v) for ring in rings])
            residuals: list[Tensor] = []
            hooks = [(site, self._keep(lag)) for site in self.sites]
            with self.model.hooks(fwd_hooks=hooks):
                x = self._pass(self.tokens[:, lag], self.frames + lag, rings, residuals=residuals)
            self.into.append(residuals)
            self.final.append(x)
            self.kept[CELLS, lag] = self.cells[:, lag]

    @property
    def lags(self) -> int:
        """Frames after the placement."""
        return self.pair.lags

    def embed(self, screens: Sequence[Any], previous: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Tokens [frame, token, d] of screens and the clicks that led to them, and their cells."""
        device = self.model.device
        pixels = torch.from_numpy(np.stack(screens)).to(device).permute(0, 3, 1, 2)
        clicks = torch.tensor([tuple(click) for click in previous], device=device)
        tokens, cells = self.model.encoder(pixels[None], clicks[None])
        return tokens[0], cells[0]

    def _keep(self, lag: int) -> Callable[..., None]:
        def hook(x: Tensor, hook: Any) -> None:
            self.kept[hook.name, lag] = x.detach().clone()

        return hook

    def _pass(
        self,
        x: Tensor,
        number: int,
        rings: Sequence[KeyValues],
        first: int = 0,
        residuals: list[Tensor] | None = None,
    ) -> Tensor:
        """One frame [row, token, d] through the blocks from ``first`` on that have a ring."""
        table = rotary_table(torch.tensor([number], device=x.device), self.config.d_head)
        blocks = list(self.model.blocks)[first : first + len(rings)]
        for block, ring in zip(blocks, rings, strict=True):
            if residuals is not None:
                residuals.append(x)

            def attend(
                attention: Attention, h: Tensor, norm: Norm, ring: KeyValues = ring
            ) -> Tensor:
                return attention.step(h, norm, table, ring)

            x = block(x, attend)
        return x

    def plain(self, targets: ClickTargets) -> Tensor:
        """Log-probabilities [side, lag, target] of the unedited model."""
        with torch.no_grad():
            found = [targets.log_probs(x, self.cells[:, lag]) for lag, x in enumerate(self.final)]
        return torch.stack(found, dim=1)

    def heat_map(self, side: int, lag: int) -> Tensor:
        """Click map [360, 480] of the unedited model."""
        with torch.inference_mode():
            x, cells = self.final[lag][side : side + 1], self.cells[side : side + 1, lag]
            return self.model.read(x, cells[:, None]).heat_map()[0, 0]

    def gradients(
        self, side: int, targets: ClickTargets, metric: Callable[[Tensor, int], Tensor]
    ) -> list[dict[tuple[str, int], Tensor]]:
        """Gradients [token, ..., d] of each answer's metric at the kept sites, by (site, lag).

        One dictionary for each lag that answers; ``metric(log_probs, lag)`` is a number of an
        answer's log-probabilities [target]. A site that an answer cannot depend on is left out.
        """
        seen: dict[tuple[str, int], Tensor] = {}
        rings = [KeyValues() for _ in self.history]
        for ring, (k, v) in zip(rings, self.history, strict=True):
            if k is not None and v is not None:
                ring.k, ring.v = _row(k, side), _row(v, side)
        found = []
        with torch.enable_grad():
            for lag in range(self.lags):
                x = _row(self.tokens[:, lag], side).detach().requires_grad_()
                cells = _row(self.cells[:, lag], side).detach().requires_grad_()
                seen[CELLS, lag] = cells
                hooks = [(site, _holding(seen, lag)) for site in self.sites]
                with self.model.hooks(fwd_hooks=hooks):
                    x = self._pass(x, self.frames + lag, rings)
                answer = metric(targets.log_probs(x, cells)[0], lag)
                gradients = torch.autograd.grad(
                    answer, list(seen.values()), retain_graph=True, allow_unused=True
                )
                pairs = zip(seen, gradients, strict=True)
                found.append({key: value[0] for key, value in pairs if value is not None})
        return found

    def run(
        self,
        side: int,
        edits: Sequence[Edit],
        targets: ClickTargets,
        keep: Sequence[tuple[str, int]] = (),
        *,
        learn: bool = False,
    ) -> tuple[Tensor, list[dict[tuple[str, int], Tensor]]]:
        """Log-probabilities [edit, lag, target] of a side (0 right, 1 wrong) under each edit.

        Answers before an edit's first frame are the unedited model's. Second, for each edit, the
        activations [token, ..., d] found at the (site, lag) of ``keep`` under it. With ``learn``
        the answers have gradients by what the changes hold.
        """
        for edit in edits:
            self._check(edit)
        plain = self.plain(targets)[side]
        found = plain.expand(len(edits), -1, -1).clone()
        kept: list[dict[tuple[str, int], Tensor]] = [{} for _ in edits]
        with torch.enable_grad() if learn else torch.inference_mode():
            for rows in self._batches(edits):
                own = [edits[row] for row in rows]
                answers, seen = self._run(side, own, targets, keep)
                lag = own[0].start[0]
                found[rows, lag:] = answers.to(found.dtype)
                for number, row in enumerate(rows):
                    kept[row] = {key: values[number] for key, values in seen.items()}
        return found, kept

    def _check(self, edit: Edit) -> None:
        for place, change in edit.parts:
            if not 0 <= place.lag < self.lags:
                raise InputError(
                    f"{self.pair!r} has {self.lags} frames after the placement; no lag {place.lag}"
                )
            reads = isinstance(change, Swap | Freeze | SwapAlong | Placebo)
            if reads and (place.site, place.lag) not in self.kept:
                raise InputError(f"site '{place.site}' is not kept; name it in `sites`")

    def _batches(self, edits: Sequence[Edit]) -> list[list[int]]:
        """Edits that begin at the same frame and layer, as many as fit into the cache."""
        config = self.config
        most = max(1, ROOM // (config.context * config.tokens_per_frame * config.d_model))
        alike: dict[Any, list[int]] = {}
        for row, edit in enumerate(edits):
            pattern = any(place.site.endswith("hook_pattern") for place, _ in edit.parts)
            alike.setdefault((*edit.start, edit.history, pattern), []).append(row)
        return [
            rows[first : first + most]
            for rows in alike.values()
            for first in range(0, len(rows), most)
        ]

    def _run(
        self,
        side: int,
        edits: Sequence[Edit],
        targets: ClickTargets,
        keep: Sequence[tuple[str, int]],
    ) -> tuple[Tensor, dict[tuple[str, int], Tensor]]:
        """Answers [edit, lag from the first edited one on, target], and what is kept."""
        (first, block), count = edits[0].start, len(edits)
        only_cells = block < 0
        block = self.config.n_layers if only_cells else block
        seen: dict[tuple[str, int], Tensor] = {}
        past = side if not edits[0].history else 1 - side
        rings = [KeyValues() for _ in self.before[first][block:]]
        for ring, (k, v) in zip(rings, self.before[first][block:], strict=True):
            if k is not None and v is not None:
                ring.k, ring.v = (_row(x, past).expand(count, *x.shape[1:]) for x in (k, v))
        answers = []
        for lag in range(first, self.lags):
            if only_cells:
                x = _row(self.final[lag], side).expand(count, -1, -1)
            else:
                x = _row(self.into[lag][block], side).expand(count, -1, -1)
                hooks: list[tuple[str, Callable[..., Any]]] = [
                    (site, self._hook(side, edits, lag)) for site in _sites_at(edits, lag)
                ]
                kept = [
                    site for site, at in keep if at == lag and Place(site, 0, ()).block >= block
                ]
                hooks += [(site, _noting(seen, lag)) for site in kept]
                with self.model.hooks(fwd_hooks=hooks):
                    x = self._pass(x, self.frames + lag, rings, block)
            cells = self._edit(_row(self.cells[:, lag], side), CELLS, side, edits, lag)
            answers.append(targets.log_probs(x, cells))
        return torch.stack(answers, dim=1), seen

    def _hook(self, side: int, edits: Sequence[Edit], lag: int) -> Callable[..., Tensor]:
        def hook(x: Tensor, hook: Any) -> Tensor:
            return self._edit(x, hook.name, side, edits, lag)

        return hook

    def _edit(self, x: Tensor, site: str, side: int, edits: Sequence[Edit], lag: int) -> Tensor:
        """Activations [edit, ...] of a site at a lag after each edit's changes."""
        parts = [
            (row, place, change)
            for row, edit in enumerate(edits)
            for place, change in edit.parts
            if place.site == site and place.lag == lag
        ]
        if not parts:
            return x
        x = x.expand(len(edits), *x.shape[1:]).clone()
        kept = self.kept.get((site, lag))
        own, other = (x[0], x[0]) if kept is None else (kept[side], kept[1 - side])
        if site.endswith("hook_pattern"):  # (.., head, query, key) to (.., query, head, key)
            x, own, other = x.transpose(1, 2), own.transpose(0, 1), other.transpose(0, 1)
        for run in _runs(parts):
            rows = torch.tensor([row for row, _, _ in run], device=x.device)
            changes = [change for _, _, change in run]
            mask = torch.stack([self._mask(place, x.shape[1:]) for _, place, _ in run])
            new = changes[0].of(x[rows], own, other, changes)
            x[rows] = torch.where(mask, new, x[rows])
        return x.transpose(1, 2) if site.endswith("hook_pattern") else x

    def _mask(self, place: Place, shape: torch.Size) -> Tensor:
        """Which of a row's values [token, ..., d] a place holds; the last size is 1."""
        mask = torch.zeros(*shape[:-1], 1, dtype=torch.bool, device=self.model.device)
        tokens = torch.tensor(place.tokens, dtype=torch.long, device=mask.device)
        if place.head is None:
            mask[tokens] = True
        else:
            mask[tokens, place.head] = True
        return mask


def _sites_at(edits: Sequence[Edit], lag: int) -> list[str]:
    """Hooks that some of the edits change at a lag."""
    places = [place for edit in edits for place, _ in edit.parts]
    return list(dict.fromkeys(p.site for p in places if p.lag == lag and p.site != CELLS))


def _noting(seen: dict[tuple[str, int], Tensor], lag: int) -> Callable[..., None]:
    def note(values: Tensor, hook: Any) -> None:
        seen[hook.name, lag] = values.clone()

    return note


def _holding(seen: dict[tuple[str, int], Tensor], lag: int) -> Callable[..., None]:
    def hold(values: Tensor, hook: Any) -> None:
        seen[hook.name, lag] = values

    return hold


def _runs(
    parts: Sequence[tuple[int, Place, Change]],
) -> list[list[tuple[int, Place, Change]]]:
    """Parts to be made together: of one kind of change, each edit at most once, order kept."""
    runs: list[list[tuple[int, Place, Change]]] = []
    made: dict[int, int] = {}
    for part in parts:
        at = made.get(part[0], -1) + 1
        while at < len(runs) and type(runs[at][0][2]) is not type(part[2]):
            at += 1
        if at == len(runs):
            runs.append([])
        runs[at].append(part)
        made[part[0]] = at
    return runs


def _both(x: Tensor) -> Tensor:
    """Rows of both sides, of those that share one or have their own."""
    return x.expand(2, *x.shape[1:])


def _row(x: Tensor, side: int) -> Tensor:
    return x[side : side + 1]


def foil(bench: Bench, lag: int, buttons: Sequence[Rect]) -> Rect:
    """The likeliest click but Undo where nothing is wrong: a button, or a place on the canvas."""
    heat = bench.heat_map(0, lag)
    canvas = bench.pair.opened(0).arrangement.canvas
    shown = heat[canvas.y : canvas.y + canvas.height, canvas.x : canvas.x + canvas.width]
    peak = int(shown.argmax())
    place = around(canvas.x + peak % canvas.width, canvas.y + peak // canvas.width)
    found = [
        (float(heat[r.y : r.y + r.height, r.x : r.x + r.width].sum()), i, r)
        for i, r in enumerate((*buttons, place))
    ]
    return max(found)[2]
