"""Patch tokens of screens, kept: the same screen is drawn and encoded once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from bcprobe.episodes.simulator import Drawn, Simulator
from bcprobe.tasks.base import State
from bcprobe.types import SCREEN_HEIGHT, SCREEN_WIDTH

#: Bytes of patch tokens kept; the screens unused for longest are forgotten.
ROOM = 256 * 1024**2
#: Screens drawn (0.5 MB each) and encoded at a time.
FEW = 64
#: What a screen shows: a world, the layout's name and the state.
Key = tuple[Drawn, str, State]


def _key(simulator: Simulator) -> Key:
    return simulator.drawn, simulator.layout.name, simulator.state


class EmbeddingCache:
    """Patch tokens of screens, found by world, layout and state.

    ``encode`` takes frames uint8 [n, 3, 360, 480] to tokens [n, patch, d_model], as a model's
    ``encoder.see`` does. All who work on the same worlds (`Simulator.again`) share it.
    """

    def __init__(
        self, encode: Callable[[Tensor], Tensor], device: torch.device, room: int = ROOM
    ) -> None:
        self.encode, self.device, self.room = encode, device, room
        self.known: OrderedDict[Key, Tensor] = OrderedDict()
        self.memory = np.empty((FEW, SCREEN_HEIGHT, SCREEN_WIDTH, 3), dtype=np.uint8)

    @torch.inference_mode()
    def embed(self, simulators: Sequence[Simulator]) -> Tensor:
        """Tokens [simulator, patch, d_model] of what each screen shows now."""
        seen = {_key(one): one for one in simulators}
        new = [key for key in seen if key not in self.known]
        for start in range(0, len(new), FEW):
            self._encode({key: seen[key] for key in new[start : start + FEW]})
        for key in seen:
            self.known.move_to_end(key)
        tokens = torch.stack([self.known[_key(one)] for one in simulators])
        while len(self.known) * tokens[0].nbytes > self.room:
            self.known.popitem(last=False)
        return tokens

    def _encode(self, seen: dict[Key, Simulator]) -> None:
        for frame, simulator in zip(self.memory, seen.values(), strict=False):
            simulator.screen(frame)
        frames = torch.from_numpy(self.memory[: len(seen)]).to(self.device).permute(0, 3, 1, 2)
        self.known.update(zip(seen, self.encode(frames).unbind(), strict=True))
