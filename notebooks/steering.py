# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # Steering a live episode
# A probe shows that a mistake can be *read* from the residual stream. Is what it reads *used*?
# Push [cls] along the mistake direction while the model works, and watch the Undo button.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from bcprobe.bootstrap import mean_score, wilson
from bcprobe.episodes.model_policy import ModelPolicy
from bcprobe.episodes.record import work
from bcprobe.interventions.cls_edits import Bench, Steered, add, make_twins, random_directions
from bcprobe.model.checkpoint import load_checkpoint
from bcprobe.model.registry import trained_tasks
from bcprobe.probes.protocol import run
from bcprobe.rng import split_seed

# %% tags=["parameters"]
CHECKPOINT = "dots-nano"
EPISODES = 60
PAIRS = 40
WORLDS = 12
MAX_STEPS = 200

# %% [markdown]
# The direction, from episodes that are not used again below.

# %%
model = load_checkpoint(CHECKPOINT)
task = trained_tasks(model.folder)[0]
result = run("mistake", CHECKPOINT, task, episodes=EPISODES, progress=False)
site, scale = result.best.site, float(result.fitted.separation[0])
unit = torch.from_numpy(result.direction).float()
(chance,) = random_directions(1, len(unit))
print(f"{task}: {site}, AUC {result.best.score}; dose 1 is {scale:.2f} along the direction")

# %% [markdown]
# Pairs of episodes that differ in one placement, right or wrong. On the screen after it, add
# so many doses of the direction to [cls]; how likely is Undo now? A random direction of the
# same length shows what any push would do: where the two lines move alike, the model does not
# act on what the probe reads, however well it reads it.

# %%
bench = Bench(model, make_twins(task, [split_seed("test", 30_000 + i) for i in range(PAIRS)],
                                model.config.context), task)  # fmt: skip
doses = np.arange(-4, 5, 2)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for axis, side, start in zip(axes, (0, 1), ("right", "wrong"), strict=True):
    for vector, name, colour in ((unit, "mistake direction", "C0"), (chance, "random", "0.5")):
        looks = [bench.look(side, site, add(vector, dose * scale)) for dose in doses]
        undo = [mean_score(bench.p_undo(heat), range(len(heat))) for heat in looks]
        axis.plot(doses, [p.estimate for p in undo], "o-", color=colour, label=name)
        axis.fill_between(doses, [p.lower for p in undo], [p.upper for p in undo],
                          color=colour, alpha=0.2)  # fmt: skip
    axis.set(title=f"after a {start} placement", xlabel="dose", ylabel="P(Undo)", ylim=(0, 1))
axes[0].legend();  # fmt: skip

# %% [markdown]
# Now live: the model works whole worlds alone, pushed at every screen. Does it undo more, does
# it still finish?

# %%
worlds = [split_seed("test", 40_000 + i) for i in range(WORLDS)]
made, rows = {}, []
for dose in (-2, 0, 2):
    policy = ModelPolicy(Steered(model, site, add(unit, dose * scale)), temperature=1.0)
    made[dose] = work(policy, task, worlds, origin=f"dose {dose}", max_steps=MAX_STEPS)
    undos = [sum(step.undo_next for step in one.steps) / len(one) for one in made[dose]]
    solved = wilson(sum(one.outcome.success for one in made[dose]), WORLDS)
    clicks = mean_score([len(one) for one in made[dose]], range(WORLDS))
    shares = mean_score(undos, range(WORLDS))
    rows.append(
        {"dose": dose, "solved": solved, "undos, share of clicks": shares, "clicks": clicks}
    )
pd.DataFrame(rows).set_index("dose").map(str)

# %% [markdown]
# One of those worlds, worked with the strongest push towards "something is wrong", and without.

# %%
made[2][0]

# %%
made[0][0]
