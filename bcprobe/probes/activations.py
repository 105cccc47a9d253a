"""Activations on disk: gathered once, read again by every probe of the same steps.

An entry is a folder of float16 safetensors shards with a Parquet index of what is true at
each step. It is named by its content: checkpoint, episodes, sites, and the code that draws
worlds and runs the model. Needs no torch unless something has to be gathered.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

import bcprobe
from bcprobe.episodes.store import episodes_hash, read_episodes, write_episodes
from bcprobe.errors import InputError
from bcprobe.files import atomic_file, atomic_folder
from bcprobe.model.config import ClickTransformerConfig, config_from_dict
from bcprobe.model.registry import checkpoint_hash, find_checkpoint, read_card
from bcprobe.probes.jobs import Job, Worlds, default_processes, run_apart, run_here, spread
from bcprobe.probes.latents import get_latent, label_table, rows_asked, targets
from bcprobe.probes.sites import PIXELS, check_sites, residual_sites, tensor_name
from bcprobe.results import read_table, write_table
from bcprobe.types import Episode

SCHEMA_VERSION = 1
MANIFEST, INDEX = "manifest.json", "index.parquet"
#: Seed of the untrained model's weights; no experiment starts from it.
UNTRAINED_SEED = 271_828
#: What decides, beside weights and seeds, which activations come out.
_CODE = ("gui", "tasks", "annotators", "episodes", "model", "types.py", "rng.py")
_DAMAGE = (OSError, ValueError, KeyError, TypeError, InputError, SafetensorError, pa.ArrowException)

Halves = NDArray[np.float16]
Source = Worlds | Sequence[Episode]


@dataclass(frozen=True, eq=False)
class Activations:
    """What a checkpoint, and an untrained model of its shape, had at [cls] of each step.

    ``labels`` is a `label_table`; ``sites`` and ``untrained`` hold float16 [step, dim] by
    site, ``pixels`` is float16 [step, 324]; the hashes name what they were made from.
    """

    labels: pd.DataFrame
    sites: dict[str, Halves]
    untrained: dict[str, Halves]
    pixels: Halves
    config: ClickTransformerConfig
    checkpoint_hash: str
    episodes_hash: str

    def dataset(
        self, site: str, latent: str, negatives: str | None = None
    ) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
        """X, y and groups for scikit-learn: the steps of a question, split by ``groups``.

        ``negatives`` is the latent's leading set if None. All three share the index, the
        row of ``labels``; columns of X are ``0`` to ``dim - 1``, float32.
        """
        if site not in self.sites:
            raise InputError(f"site '{site}' was not gathered; there are: {', '.join(self.sites)}")
        asked = get_latent(latent)
        rows = rows_asked(self.labels, asked, negatives or asked.negatives[0])
        labels = self.labels[rows]
        features = pd.DataFrame(self.sites[site][rows].astype(np.float32), index=labels.index)
        truth = pd.Series(targets(labels, asked), index=labels.index, name=latent)
        return features, truth, labels["episode"]


def collect(
    checkpoint: str | Path,
    source: Source,
    sites: Sequence[str] | None = None,
    *,
    device: str = "cpu",
    processes: int | None = None,
    seen: Callable[[int], None] = lambda count: None,
) -> Activations:
    """Activations of a checkpoint on episodes, from disk if they are there.

    ``sites`` are hook names, by default the residual stream before and after each layer.
    ``processes`` 0 gathers in this process, None takes one process per core. ``seen(n)`` is
    told of every ``n`` more episodes gathered. Raises `InputError` for unknown names.
    """
    if not _count(source):
        raise InputError("no episodes to gather activations from")
    folder = find_checkpoint(checkpoint).resolve()
    config = config_from_dict(read_card(folder)["model"])
    wanted = check_sites(sites or residual_sites(config), config)
    key = _key(folder, source)
    entries = cache_folder() / "activations" / _digest(key)[:20]
    for entry in _holders(entries, wanted):
        try:
            return _read(entry, wanted, config)
        except _DAMAGE:
            sys.stderr.write("activations on disk are damaged; gathering them again\n")
            shutil.rmtree(entry, ignore_errors=True)
    entry = entries / _digest(wanted)[:20]
    count = default_processes(device) if processes is None else processes
    with atomic_folder(entry) as temporary:
        _gather(temporary, source, Job(
            str(folder), wanted, UNTRAINED_SEED, device, str(temporary), 0, _count(source)
        ), count, seen)  # fmt: skip
        _write_manifest(temporary, wanted, key)
    return _read(entry, wanted, config)


def cache_folder() -> Path:
    """Where activations are kept: ``$BCPROBE_CACHE`` or ``~/.cache/bcprobe``."""
    return Path(os.environ.get("BCPROBE_CACHE") or Path.home() / ".cache" / "bcprobe")


def _count(source: Source) -> int:
    return source.count if isinstance(source, Worlds) else len(source)


def _key(folder: Path, source: Source) -> dict[str, Any]:
    worlds = isinstance(source, Worlds)
    return {
        "schema_version": SCHEMA_VERSION,
        "checkpoint": checkpoint_hash(folder),
        "episodes": asdict(source) if worlds else episodes_hash(source),
        "untrained_seed": UNTRAINED_SEED,
        "code": code_hash(),
    }


def code_hash() -> str:
    """SHA-256 over the sources that draw worlds, work them and run the model."""
    root = Path(bcprobe.__file__).parent
    named = [root / name for name in _CODE]
    files = [path for path in named if path.is_file()]
    files += [path for base in named for path in base.rglob("*") if path.suffix in (".py", ".png")]
    digest = hashlib.sha256()
    for path in sorted([*files, Path(__file__).with_name("gather.py")]):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _holders(entries: Path, sites: Sequence[str]) -> Iterator[Path]:
    """Entries of the right checkpoint and episodes that hold the sites, or should."""
    exact = entries / _digest(sites)[:20]
    others = sorted(path.parent for path in entries.glob(f"*/{MANIFEST}"))
    for entry in [exact, *(other for other in others if other != exact)]:
        if (entry == exact and entry.is_dir()) or (entry != exact and set(sites) <= set(_sites_in(entry))):
            yield entry


def _sites_in(entry: Path) -> list[str]:
    try:
        return list(json.loads((entry / MANIFEST).read_text())["sites"])
    except _DAMAGE:
        return []


def _gather(
    folder: Path, source: Source, job: Job, processes: int, seen: Callable[[int], None]
) -> None:
    """Fill the folder with shards and the index."""
    if isinstance(source, Worlds):
        job = Job(**{**vars(job), "worlds": source})
    else:
        write_episodes(source, folder / "given")
        job = Job(**{**vars(job), "episodes": str(folder / "given")})
    jobs = spread(job, processes)
    if processes == 0:
        run_here(jobs[0], seen)
    else:
        run_apart(jobs, seen)
    episodes = [e for part in range(len(jobs)) for e in read_episodes(folder / f"part-{part:02d}")]
    labels = label_table(episodes)
    write_table(labels, folder / INDEX, episodes_hash=episodes_hash(episodes))
    for path in [*folder.glob("part-*"), folder / "given"]:
        shutil.rmtree(path, ignore_errors=True)


def _write_manifest(folder: Path, sites: Sequence[str], key: dict[str, Any]) -> None:
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    content = {
        "key": key,
        "sites": list(sites),
        "files": {name: _file_hash(folder / name) for name in files},
    }
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(entry: Path, sites: Sequence[str], config: ClickTransformerConfig) -> Activations:
    """The entry's activations. Raises one of ``_DAMAGE`` if a byte of it is wrong."""
    manifest = json.loads((entry / MANIFEST).read_text())
    for name, digest in manifest["files"].items():
        if _file_hash(entry / name) != digest:
            raise ValueError(f"'{entry / name}' is damaged")
    shards = [entry / name for name in manifest["files"] if name.endswith(".safetensors")]
    labels = read_table(entry / INDEX)
    metadata = pq.read_schema(entry / INDEX).metadata
    models = ("trained", "untrained")
    names = [PIXELS, *(tensor_name(model, site) for model in models for site in sites)]
    arrays = _read_shards(sorted(shards), names)
    trained, untrained = ({site: arrays[tensor_name(m, site)] for site in sites} for m in models)
    return Activations(
        labels=labels,
        sites=trained,
        untrained=untrained,
        pixels=arrays[PIXELS],
        config=config,
        checkpoint_hash=manifest["key"]["checkpoint"],
        episodes_hash=metadata[b"episodes_hash"].decode(),
    )


def _read_shards(shards: Sequence[Path], names: Sequence[str]) -> dict[str, Halves]:
    parts: dict[str, list[Halves]] = {name: [] for name in names}
    for shard in shards:
        with safe_open(shard, framework="numpy") as file:
            for name in names:
                parts[name].append(file.get_tensor(name))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
