# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Your own probe, your own task
# Everything between the worlds and the figures can be had as plain arrays, and a task is
# nothing but a class. First a probe of your own, then a world of your own to ask it in.

# %%
from dataclasses import replace

import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bcprobe.activations.extract import collect
from bcprobe.activations.labels import ask
from bcprobe.annotators import ANNOTATORS
from bcprobe.annotators.colored_dot_tracking import ColoredDotPolicy
from bcprobe.bootstrap import mean_score, wilson
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import generate, work
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.rng import split_seed
from bcprobe.tasks import TASKS
from bcprobe.tasks.colored_dot_tracking import SETTINGS, ColoredDotTracking

# %% tags=["parameters"]
CHECKPOINT = "dots-nano"
EPISODES = 30
WORLDS = 12
MAX_STEPS = 200

# %% [markdown]
# Show the model episodes; get its residual stream at [cls] and a table of what is true.

# %%
model = load_checkpoint(CHECKPOINT)
worlds = [split_seed("test", 50_000 + i) for i in range(EPISODES)]
seen = collect(model, [generate("colored_dot_tracking", world) for world in worlds])
labels = seen.labels
{site: values.shape for site, values in seen.values.items()}

# %% [markdown]
# A question nobody built in: how many clicks are left until the episode ends? Any column of
# the table, or anything computed from it, can be the target. Split by episode, always. (R2 over
# the folds.)

# %%
left = labels.groupby("episode")["step"].transform("max") - labels["step"]
probe = make_pipeline(StandardScaler(), Ridge(alpha=10.0))
folds = GroupKFold(5)
scores = {
    site: cross_val_score(probe, values.astype(float), left, groups=labels["episode"], cv=folds)
    for site, values in seen.values.items()
}
pixels = cross_val_score(probe, seen.pixels.astype(float), left, groups=labels["episode"], cv=folds)
pd.DataFrame(scores | {"pixels": pixels}).agg(["mean", "min", "max"]).T.round(3)

# %% [markdown]
# Now a world of your own. Dots in worse light than any the model has seen: another name,
# other settings, and the annotator that knows the rest. (`docs/adding_a_task.md` builds one from
# nothing.)


# %%
class FaintDots(ColoredDotTracking):
    """Colored dots, faint and noisy."""

    name, title = "faint_dots", "Faint dot tracking"
    settings = {"default": replace(SETTINGS["hard"], contrast=(0.35, 0.5), noise=14.0)}


TASKS["faint_dots"], ANNOTATORS["faint_dots"] = FaintDots(), ColoredDotPolicy()
faint = [generate("faint_dots", world) for world in worlds]
faint[0]

# %% [markdown]
# Does the model still get through, in light it never learned in?

# %%
rows = []
for task in ("colored_dot_tracking", "faint_dots"):
    made = work(ModelPolicy(model), task, worlds[:WORLDS], origin="model", max_steps=MAX_STEPS)
    solved = wilson(sum(one.outcome.success for one in made), WORLDS)
    score = mean_score([one.outcome.score for one in made], range(WORLDS))
    rows.append({"task": task, "solved": solved, "score": score})
pd.DataFrame(rows).set_index("task").map(str)

# %% [markdown]
# And does your probe still hold? Fitted on the world it knows, asked in the new one; beside it
# the built-in question, `mistake` with matched negatives, among the new episodes alone.

# %%
elsewhere = collect(model, faint)
site = max(scores, key=lambda name: scores[name].mean())
clicks = elsewhere.labels.groupby("episode")["step"].transform("max") - elsewhere.labels["step"]
moved = probe.fit(seen.values[site].astype(float), left).score(elsewhere.values[site], clicks)
print(f"clicks left, {site}: R2 {scores[site].mean():.3f} at home, {moved:.3f} in faint light")
print("mistake, AUC:", ask(elsewhere.labels, "mistake").read(elsewhere.values[site]).score)
