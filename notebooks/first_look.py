# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # A first look at a checkpoint
# A network watched annotators at work, screen by screen, and learned to predict their next
# click. What does it see in one decision?

# %%
import matplotlib.pyplot as plt
import numpy as np

from bcprobe.activations.labels import label_table
from bcprobe.activations.lens import look
from bcprobe.episodes.record import generate
from bcprobe.explore import explore
from bcprobe.figures.decision import mark, overlay
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import trained_tasks
from bcprobe.rng import split_seed

# %% tags=["parameters"]
CHECKPOINT = "dots-nano"

# %%
model = load_checkpoint(CHECKPOINT)
model

# %% [markdown]
# Episodes come from the test split, so the model has never seen these worlds. This is the
# first in which the annotator makes a mistake and takes it back.

# %%
task = trained_tasks(model.folder)[0]
episodes = (generate(task, split_seed("test", i)) for i in range(99))
episode = next(e for e in episodes if any(step.undo_next for step in e.steps))
episode

# %% [markdown]
# What is true at each click is known: the world is ours.

# %%
labels = label_table([episode])
undo = int(np.argmax(labels.undo_next))
labels[["step", "action", "phase", "position", "progress", "mistake"]][undo - 3 : undo + 3]

# %% [markdown]
# Where is the next click expected? Left, before an ordinary placement; right, before the Undo,
# when a wrong mark stands on the screen. The cross is the annotator's click.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for axis, t in zip(axes, (int(np.argmax(labels.action == "place")), undo), strict=True):
    decision = look(episode, t, model)
    mark(axis, overlay(decision.screens[-1], decision.heat[-1]), decision.click)
    axis.set_title(f"click {t}: the annotator clicks {episode.steps[t].widget}")

# %% [markdown]
# `run_with_cache` holds every activation under TransformerLens's names. [cls] is one token a
# frame; its residual stream already sorts the clicks by what the annotator is about.

# %%
_, cache = model.run_with_cache(*episode.as_tensors())
layer = (model.config.n_layers + 1) // 2
site = f"blocks.{layer - 1}.hook_resid_post"
cls = cache[site][0, model.cls_positions(len(episode))].numpy()
_, _, axes_of_variation = np.linalg.svd(cls - cls.mean(0), full_matrices=False)
xy = (cls - cls.mean(0)) @ axes_of_variation[:2].T
figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
for phase, rows in labels.groupby("phase"):
    axis.scatter(*xy[rows.index].T, label=phase, s=18)
axis.set(title=f"[cls] after layer {layer}, two components", xlabel="PC 1", ylabel="PC 2")
axis.legend();  # fmt: skip

# %% [markdown]
# The rest is for your own hands: drag the slider through the episode, choose a layer and a
# head. (Where widgets cannot live, the first moment stands here as a picture.)

# %%
explore(episode, model)
