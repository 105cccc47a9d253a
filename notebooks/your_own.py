# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Your own probe, your own task
# Activations are plain arrays with a table of what is true, and a task is nothing but a class.
# First a probe of a label that nobody built in, then a world of your own to test it in.

# %%
from dataclasses import replace

import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bcprobe as bp
from bcprobe import annotators, bootstrap

# %% tags=["parameters"]
CHECKPOINT = "dots-nano"
EPISODES = 30
WORLDS = 12
MAX_STEPS = 200

# %% [markdown]
# Show the model episodes; get its residual stream, and a table with one row a click.

# %%
data = bp.activations(CHECKPOINT, "colored_dot_tracking", episodes=EPISODES, progress=False)
data

# %% [markdown]
# How many clicks are left until the episode ends? Any column of `data.labels`, or anything
# computed from it, can be the label. Folds are of whole worlds, always. (R2 over the folds.)

# %%
left = data.labels.groupby("episode")["step"].transform("max") - data.labels["step"]
probe = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
features = {site: data.at(site).astype(float) for site in data.sites}
features["pixels"] = data.pixels.astype(float)
folds = {"groups": data.labels["group"], "cv": GroupKFold(5)}
scores = {site: cross_val_score(probe, X, left, **folds) for site, X in features.items()}
pd.DataFrame(scores).agg(["mean", "min", "max"]).T.round(3)

# %% [markdown]
# Now a world of your own: dots in worse light than any the model has seen. Another name, other
# settings, and the annotator that knows the rest. (`bcprobe new-task NAME` writes a task from
# nothing.)

# %%
dots = bp.tasks.TASKS["colored_dot_tracking"]


class FaintDots(type(dots)):
    """Colored dots, faint and noisy."""

    name, title = "faint_dots", "Faint dot tracking"
    settings = {"default": replace(dots.settings["hard"], contrast=(0.35, 0.5), noise=14.0)}


bp.tasks.TASKS["faint_dots"] = FaintDots()
annotators.ANNOTATORS["faint_dots"] = annotators.ANNOTATORS["colored_dot_tracking"]
bp.episode("faint_dots")

# %% [markdown]
# Does the model still get through, in light it never learned in? (95 % intervals over worlds.)

# %%
rows = []
for task in ("colored_dot_tracking", "faint_dots"):
    made = bp.rollout(CHECKPOINT, task, WORLDS, max_steps=MAX_STEPS, progress=False)
    solved = bootstrap.wilson(sum(one.outcome.success for one in made), WORLDS)
    score = bootstrap.mean_score([one.outcome.score for one in made], range(WORLDS))
    rows.append({"task": task, "solved": solved, "score": score})
pd.DataFrame(rows).set_index("task").map(str)

# %% [markdown]
# And does your probe still hold? Fitted in the world it knows, tested in the new one.

# %%
faint = bp.activations(CHECKPOINT, "faint_dots", episodes=EPISODES, workers=1, progress=False)
site = max(data.sites, key=lambda name: scores[name].mean())
clicks = faint.labels.groupby("episode")["step"].transform("max") - faint.labels["step"]
moved = probe.fit(features[site], left).score(faint.at(site).astype(float), clicks)
print(f"clicks left, {site}: R2 {scores[site].mean():.3f} at home, {moved:.3f} in faint light")
