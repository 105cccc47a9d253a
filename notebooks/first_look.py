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

import bcprobe as bp
from bcprobe.activations.labels import label_table

# %% tags=["parameters"]
CHECKPOINT = "dots-nano"

# %%
model = bp.load(CHECKPOINT)
model

# %% [markdown]
# Episodes come from the test split: the model has never seen these worlds. This is the first in
# which the annotator makes a mistake and takes it back.

# %%
episodes = bp.episodes("colored_dot_tracking", 12, progress=False)
episode = next(one for one in episodes if any(step.undo_next for step in one.steps))
episode

# %% [markdown]
# The world is ours, so what is true before each click is known. A wrong mark stands from the
# click after it was placed until Undo.

# %%
labels = label_table([episode])
undo = int(np.argmax(labels.undo_next))
labels[["step", "action", "phase", "position", "progress", "mistake"]][undo - 3 : undo + 3]

# %% [markdown]
# Where is the next click expected? First before an ordinary placement: left the answer, then what
# the head would answer half-way through the network (the *click lens*), then where [cls] attends.
# The cross is the annotator's click; below, the episode with its phases.

# %%
explorer = bp.explore(episode, model)
explorer.picture(step=int(np.argmax(labels.action == "place")))

# %% [markdown]
# And at the moment when a wrong mark stands: the answer has moved to the Undo button.

# %%
explorer.picture(step=undo)

# %% [markdown]
# `run_with_cache` holds every activation under TransformerLens's names. [cls] is one token a
# frame; its residual stream already sorts the clicks by what the annotator is about to do.

# %%
clicks, cache = model.run_with_cache(episode)
cls = cache["resid_post", 1][0, model.cls_positions(len(episode))].numpy()
_, _, components = np.linalg.svd(cls - cls.mean(0), full_matrices=False)
xy = (cls - cls.mean(0)) @ components[:2].T
figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
for phase, rows in labels.groupby("phase"):
    axis.scatter(*xy[rows.index].T, label=phase, s=18)
axis.set(title="[cls] after block 1, two components", xlabel="PC 1", ylabel="PC 2")
axis.legend();  # fmt: skip

# %% [markdown]
# Now by hand: play the episode, choose a layer and a head. (Where a notebook may not show a page,
# the first moment stands here as a picture.) Next: `mistake_direction.ipynb`.

# %%
explorer
