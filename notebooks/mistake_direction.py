# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Finding the mistake direction
# An annotator puts a mark in the wrong place and, a click later, takes it back. Does a network
# that learned to predict those clicks know that something is wrong, and where is it written?

# %%
import matplotlib.pyplot as plt
import numpy as np

import bcprobe as bp

# %% tags=["parameters"]
CHECKPOINT = "dots-nano"
EPISODES = 60
UNSEEN = 40

# %% [markdown]
# A mistake is a fact about the world, not about the clicks: the same episode can be worked with
# its last placement right or wrong. These two screens differ in a single click.

# %%
model = bp.load(CHECKPOINT)
pair = bp.twins("colored_dot_tracking", n=1)[0]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
for axis, side, name in zip(axes, (pair.right, pair.wrong), ("right", "wrong"), strict=True):
    inputs = model.inputs(side)
    axis.imshow(inputs.frames[0, -1].permute(1, 2, 0))
    axis.plot(*inputs.previous[0, -1], "o", color="white", markersize=22, fillstyle="none")
    axis.set(title=f"after a {name} placement", xticks=[], yticks=[])

# %% [markdown]
# A linear probe predicts `mistake` from the residual stream at [cls], in folds of whole worlds.
# *Errable* negatives ask the hard question: of the moments just after a placement at which one can
# err, which ones followed a wrong one? The controls say what the score is worth, and two of them
# are strong: `click_history` (trees over the last clicks, which see neither screen nor model) and
# `p_undo` (the model's own probability of Undo, nothing fitted).

# %%
data = bp.activations(CHECKPOINT, "colored_dot_tracking", episodes=EPISODES, progress=False)
result = bp.probe(data, "mistake")
result

# %%
result.plot()

# %% [markdown]
# The probe's weights are a direction in the residual stream. In worlds it has never met, the
# moments after right and after wrong placements lie apart along it (0: the mean of the probe's
# data; 1: the distance between its two sides).

# %%
unseen = bp.activations(
    CHECKPOINT, "colored_dot_tracking", episodes=UNSEEN, seed=20_000, progress=False
)
X, mistaken, _ = unseen.arrays("mistake", result.best.site, layer=None)
along = (X @ result.direction - result.fitted.centre[0]) / result.fitted.separation[0]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
bins = np.linspace(along.min(), along.max(), 30)
for truth, name in ((False, "right"), (True, "wrong")):
    axis.hist(along[mistaken == truth], bins, alpha=0.7, density=True, label=f"after a {name} one")
axis.set(xlabel=f"along the direction, {result.best.site}", ylabel="density")
axis.legend()
print(f"{mistaken.sum()} wrong and {(~mistaken).sum()} right placements in {UNSEEN} episodes")

# %% [markdown]
# Along one episode. The probe was fitted on the moments just after a placement, and on no others:
# there it tells right from wrong (grey: a mistake stands); elsewhere its value need not mean
# anything. That is why tables list `all` negatives as well.

# %%
episodes = bp.episodes("colored_dot_tracking", 12, first=30_000, progress=False)
worked = next((one for one in episodes if any(s.undo_next for s in one.steps)), episodes[0])
bp.explore(worked, model, [result]).picture()

# %% [markdown]
# That a mistake can be *read* here does not say that the model *uses* it: see
# `where_is_the_mistake.ipynb`.
