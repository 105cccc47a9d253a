"""Commands that a verb's help shows, one or more for each."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "tasks": ("bcprobe tasks", "bcprobe tasks --json"),
    "show": (
        "bcprobe show colored_dot_tracking --mistake --out mistake.html",
        "bcprobe show colored_dot_tracking --checkpoint dots-nano --temperature 1 --out model.gif",
    ),
    "new-task": ("bcprobe new-task spot_counting",),
    "generate": (
        "bcprobe generate --tasks all --episodes 20 --out data",
        "bcprobe generate --images stack.tif --labels instances.tif --out data",
    ),
    "stats": ("bcprobe stats --tasks all --episodes 100", "bcprobe stats --data data --json"),
    "train": (
        "bcprobe train --experiment tiny --out runs/tiny",
        "bcprobe train --experiment dots-nano --out runs/mine --threads 2",
        "bcprobe train --task neuron_tracking --out runs/neurons --threads 2",
        "bcprobe train --experiment dots-nano --out runs/mine --resume",
    ),
    "evaluate": (
        "bcprobe evaluate --episodes 20",
        "bcprobe evaluate --checkpoint runs/mine --section teacher_forced --json",
    ),
    "probe": (
        "bcprobe probe --latent mistake --out probe",
        "bcprobe probe --latent phase --checkpoint dots-nano@65536 --json",
    ),
    "patch": (
        "bcprobe patch --task cell_lineage_tracking --lags 2 --out patching",
        "bcprobe patch --shift 40 --tokens placed --tokens cls",
        "bcprobe patch --component z --component pattern --tokens cls --json",
    ),
    "activations": (
        "bcprobe activations --out shards --task neuron_tracking --token placed",
        "bcprobe activations --out shards --format safetensors",
    ),
    "steer": ("bcprobe steer --checkpoint dots-nano --out steering",),
    "study": (
        "bcprobe study scaling --plan",
        "bcprobe study transfer --size cpu --jobs 2 --out runs/transfer",
        "bcprobe study dagger --size gpu --cluster slurm --out runs/dagger",
    ),
    "experiments": ("bcprobe experiments", "bcprobe experiments --json"),
    "figure": (
        "bcprobe figure all",
        "bcprobe figure layouts --from runs/layouts-cpu --out drawn",
    ),
    "checkpoints": ("bcprobe checkpoints",),
    "serve": (
        "bcprobe serve",
        "bcprobe serve --checkpoint dots-nano --data data --open",
        "bcprobe serve --export people",
    ),
}


def epilog(verb: str) -> str:
    """End of a verb's help: its examples, line by line."""
    return "\n".join(
        ["\b", "Examples:", *(f"  {line}" for line in EXAMPLES[verb.replace("_", "-")])]
    )
