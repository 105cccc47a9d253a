"""Named random generators from one seed.

Every draw in the package comes from a generator made here, so that worlds, annotators
and training data are the same in every process and on every machine.
"""

from __future__ import annotations

import hashlib

import numpy as np

#: World seeds of a split start here; the ranges never meet (2**40 worlds each).
SPLITS = {"train": 0, "validation": 1 << 40, "test": 2 << 40}


def generator(*key: int | str) -> np.random.Generator:
    """Generator for a key such as ``("world", "colored_dot_tracking", 3)``.

    Equal keys give equal streams; different keys give independent ones.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words.tolist())))


def split_seed(split: str, index: int) -> int:
    """World seed number ``index`` of a split; splits share no seed."""
    return SPLITS[split] + index
