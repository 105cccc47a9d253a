"""Named random generators from one seed.

Every draw in the package comes from a generator made here, so that worlds, annotators
and training data are the same in every process and on every machine.
"""

from __future__ import annotations

import hashlib

import numpy as np

from bcprobe.errors import InputError, check_name, whole

#: Worlds of a split.
WORLDS = 1 << 40
#: The largest seed: tables keep 63 bits.
MOST_SEED = (1 << 63) - 1
#: World seeds of a split start here; the ranges never meet.
SPLITS = {"train": 0, "validation": WORLDS, "test": 2 * WORLDS}


def generator(*key: int | str) -> np.random.Generator:
    """Generator for a key such as ``("world", "colored_dot_tracking", 3)``.

    Equal keys give equal streams; different keys give independent ones. Whole numbers of NumPy
    count as Python's. Raises `InputError` for parts that are neither whole numbers nor text.
    """
    parts = [part if isinstance(part, str) else check_seed(part, "seed", None) for part in key]
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    words = np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words.tolist())))


def check_seed(seed: object, name: str = "seed", most: int | None = MOST_SEED) -> int:
    """A seed as a plain Python integer, which every draw depends on.

    Raises `InputError` if it is no whole number or, with ``most``, not 0 to ``most``.
    """
    plain = whole(name, seed)
    if most is not None and plain < 0:
        raise InputError(f"{name} {plain} is negative; use 0 or more")
    if most is not None and plain > most:
        raise InputError(f"{name} {plain} is too large; use {most} or less")
    return plain


def split_seed(split: str, index: int) -> int:
    """World seed number ``index`` of a split (``train``, ``validation``, ``test``).

    Splits share no seed. Raises `InputError` for an unknown split, or a number out of range.
    """
    check_name("split", split, SPLITS)
    return SPLITS[split] + check_seed(index, "world number", WORLDS - 1)


def split_seeds(split: str, count: int, first: int = 0) -> list[int]:
    """World seeds ``first``, ``first + 1``... of a split. Raises as `split_seed`."""
    first = check_seed(first, "first", WORLDS - 1)
    return [split_seed(split, first + number) for number in range(count)]
