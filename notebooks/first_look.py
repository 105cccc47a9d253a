# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # A first look at a checkpoint
# An annotator traces colored dots through a volume, one click at a time. `dots-nano` was
# trained to watch the screen and predict the next click. What does it see in one decision?

# %%
import matplotlib.pyplot as plt
import numpy as np

from bcprobe.episodes.record import generate
from bcprobe.episodes.tensors import as_tensors
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.probes.latents import label_table
from bcprobe.rng import split_seed

# %% [markdown]
# The episodes come from the test split, so the model has never seen these worlds. This is the
# first in which the annotator makes a mistake.

# %%
model = load_checkpoint("dots-nano")
episodes = (generate("colored_dot_tracking", split_seed("test", i)) for i in range(99))
episode = next(e for e in episodes if any(step.undo_next for step in e.steps))
clicks, cache = model.run_with_cache(*as_tensors(episode))
labels = label_table([episode])
labels[["step", "action", "phase", "position", "progress", "mistake"]].tail()

# %% [markdown]
# Where does it expect the next click? Left, before an ordinary placement; right, before the
# annotator's Undo, when a wrong mark stands on the screen.

# %%
frames = as_tensors(episode)[0][0].permute(0, 2, 3, 1).numpy()
moments = [labels.index[labels.action == action][0] for action in ("place", "undo")]
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for axis, t in zip(axes, moments, strict=True):
    axis.imshow(frames[t])
    heat = clicks.heat_map()[0, t].numpy()
    axis.imshow(np.sqrt(heat), cmap="magma", alpha=np.clip(np.sqrt(heat / heat.max()), 0, 0.9))
    axis.plot(*episode.steps[t].click, "+", color="cyan", markersize=12)
    axis.set(
        title=f"step {t}: the annotator clicks {episode.steps[t].widget}", xticks=[], yticks=[]
    )

# %% [markdown]
# The cache holds the residual stream by TransformerLens's names; [cls] is one token a frame.

# %%
cls = cache["blocks.2.hook_resid_post"][0, model.cls_positions(len(episode))].numpy()
_, _, axes_of_variation = np.linalg.svd(cls - cls.mean(0), full_matrices=False)
xy = (cls - cls.mean(0)) @ axes_of_variation[:2].T
figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
for phase, rows in labels.groupby("phase"):
    axis.scatter(*xy[rows.index].T, label=phase, s=18)
axis.set(title="[cls] after layer 3, first two components", xlabel="PC 1", ylabel="PC 2")
axis.legend()
