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

from bcprobe.activations.extract import collect
from bcprobe.episodes.record import frames, generate
from bcprobe.episodes.twins import placements, twin
from bcprobe.explore import explore
from bcprobe.figures import probing
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import trained_tasks
from bcprobe.probes.protocol import run
from bcprobe.rng import split_seed

# %% tags=["parameters"]
CHECKPOINT = "dots-nano"
EPISODES = 60
UNSEEN = 40

# %%
model = load_checkpoint(CHECKPOINT)
task = trained_tasks(model.folder)[0]

# %% [markdown]
# A mistake is a fact about the world, not about the clicks: the same episode can be worked
# with one placement right or wrong. These two differ in a single click.

# %%
episode = generate(task, split_seed("test", 0))
step = placements(episode)[5]
pair = twin(episode, step)
kind, wrong = next(iter(pair.wrong.items()))
figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
for axis, one, name in zip(axes, (pair.right, wrong), ("right", f"wrong ({kind})"), strict=True):
    axis.imshow(list(frames(one))[step + 1])
    axis.plot(*one.steps[step].click, "o", color="white", markersize=22, fillstyle="none")
    axis.set(title=f"after click {step}: {name}", xticks=[], yticks=[])

# %% [markdown]
# A linear probe reads `mistake` from the residual stream at [cls], split by episode. Matched
# negatives ask the hard question: of the moments just after a placement, which ones followed
# a wrong one? Five controls say what the score is worth.

# %%
result = run("mistake", CHECKPOINT, task, episodes=EPISODES, progress=False)
result

# %%
probing.plot_layers(result.table())

# %% [markdown]
# The probe's weights are a direction in the residual stream. In episodes it has never met, the
# moments after right and after wrong placements lie apart along it (0: the mean of the
# probe's data; 1: the distance between its two sides).

# %%
unseen = [generate(task, split_seed("test", 20_000 + i)) for i in range(UNSEEN)]
features, mistaken, _ = collect(model, unseen).arrays("mistake", result.best.site, None)
unit, direction = result.direction, result.fitted
along = (features @ unit - direction.centre[0]) / direction.separation[0]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
bins = np.linspace(along.min(), along.max(), 30)
for truth, name in ((False, "right"), (True, "wrong")):
    axis.hist(along[mistaken == truth], bins, alpha=0.7, density=True, label=f"after a {name} one")
axis.set(xlabel=f"along the direction, {result.best.site}", ylabel="density")
axis.legend()
print(f"{mistaken.sum()} wrong and {(~mistaken).sum()} right placements in {UNSEEN} episodes")

# %% [markdown]
# Along one episode. The probe was fitted on the moments just after a placement, and on no
# others: there it tells right from wrong (grey: a mistake stands); elsewhere its reading need
# not mean anything. That is why the table above lists `all` negatives as well.

# %%
worked = next((e for e in unseen if any(step.undo_next for step in e.steps)), unseen[0])
explore(worked, model, [result]).picture()
