# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Where is the mistake?
# A model that learned to annotate undoes what it did wrong. Somewhere between the pixels and the
# Undo button it must *hold* that something is wrong. Where, for how long, and what reads it?
#
# The tool is a pair of twins: one world, the same clicks, and then one placement that is right in
# one and wrong in the other. Whatever makes the difference between their answers is in the
# activations that differ, and a swap of some of them shows how much of it.

# %%
import bcprobe as bp
from bcprobe.interventions import attribution, directions, paths

# %% tags=["parameters"]
CHECKPOINT = "nine-nano-longer"
PAIRS = 8

# %%
model, task = bp.load(CHECKPOINT), "colored_dot_tracking"
pairs = bp.twins(task, n=PAIRS)
pairs[0]

# %% [markdown]
# Swap the residual stream between the twins, one group of tokens after one layer at a time. 0:
# nothing changes. 1: the answer becomes the other twin's. On colored dots the mistake is read off
# the mark and the last click, then stands in the *patch under the mark*, and only in the last
# layers moves to [cls] (the head's query) and to the patches of Undo (its key).

# %%
found = bp.patch(model, pairs, components=("resid",))
found.plot()

# %% [markdown]
# A gradient gives the same map in one pass, to first order. It orders the cells well; where a swap
# is large it is far off, so it is a guide to where to look and no measurement.

# %%
fast = attribution.attribute(model, pairs, components=("resid",))
[one.as_dict() for one in attribution.agreement(found, fast)]

# %% [markdown]
# What takes the mistake out of the placed patch? Send only what goes along one edge: from the patch
# through each head of the next block, and on to the head's query and the key of Undo.

# %%
block = min(found.layer_of("placed"), model.config.n_layers - 1)
edges = paths.trace(model, pairs, paths.route(model.config, block))
edges.pivot_table(index=["sender", "receiver"], columns="start", values="estimate", sort=False)

# %% [markdown]
# One direction may do as much as the whole vector. Fitted on other twins, moved by the same
# distance, told as a percentile among a hundred random directions of that length.

# %%
site = directions.Site("placed", found.layer_of("placed"))
train = {task: directions.gather(model, bp.twins(task, n=2 * PAIRS, seed=1))}
table = directions.compare(model, task, site, train, pairs)
table[(table["metric"] == "effect") & (table["operation"] == "swap")].set_index("kind")[
    ["start", "estimate", "lower", "upper", "percentile_norm", "percentile_covariance"]
]

# %% [markdown]
# Does it last? While the annotator checks what it did, a click passes with the mistake standing.
# What a frame leaves to later ones is its keys and values: swapped whole they carry it all.

# %%
later = bp.patch(model, bp.twins(task, n=PAIRS, lags=2), components=("memory",), lags=(0,))
kept = later.table().query("metric == 'effect' and start == 'wrong'")
kept.pivot_table(index="tokens", columns="layer", values="estimate", sort=False)
