# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---
# %% [markdown]
# # For users of TransformerLens
# A `ClickTransformer` looks at screens and predicts the next click. Inside it is a transformer
# like any other, and TransformerLens's names hold: `run_with_cache`, `cache["resid_post", -1]`,
# `stack_head_results`, `patching`. Positions of the residual stream run over frames and, within a
# frame, over its tokens: patches row by row, the previous click, registers, and last [cls], from
# which the click is read.

# %%
import matplotlib.pyplot as plt
from transformer_lens import patching

import bcprobe as bp

# %% tags=["parameters"]
CHECKPOINT = "nine-nano-longer"

# %%
model = bp.load(CHECKPOINT)
pair = bp.twins("colored_dot_tracking", n=1)[0]
clicks, cache = model.run_with_cache(pair.wrong)
print(model.cfg.n_layers, model.cfg.n_heads, model.W_Q.shape, cache["resid_post", -1].shape)
model

# %% [markdown]
# `pair` is one moment twice: the same clicks in the same world, but the last mark is right on one
# side and wrong on the other. We look at the screen just after the wrong mark. Will the model
# press Undo?
#
# **Click lens.** What a logit lens is to words: the final norm and the head, applied to the stream
# before each layer. The cross is the Undo button.

# %%
undo = pair.button("Undo")
x, y = undo.x + undo.width // 2, undo.y + undo.height // 2
read = cache.logit_lens()
figure, axes = plt.subplots(1, len(read), figsize=(2.1 * len(read), 1.9), layout="constrained")
for axis, (label, answer) in zip(axes, read.items(), strict=True):
    axis.imshow(answer.heat_map()[0, -1].sqrt(), cmap="magma")
    axis.plot(x, y, "+", color="cyan")
    axis.set(title=label, xticks=[], yticks=[])

# %% [markdown]
# **Head attribution.** The pointer compares [cls] with the key of each patch, so a click has a
# direction: its patch's key, through the query weights. `logit_attrs` takes clicks in px where a
# language model has tokens. Here: what each head adds to "the patch of Undo, rather than the patch
# of the mark just placed". (A patch of this model is 80 x 90 px: it may hold more than one button.)

# %%
stack = cache.stack_head_results(pos_slice=-1)
parts = cache.logit_attrs(stack, (x, y), pair.placed[1], pos_slice=-1)
figure, axis = plt.subplots(figsize=(3.6, 2.8), layout="constrained")
limit = parts.abs().max()
by_head = parts.view(model.cfg.n_layers, model.cfg.n_heads)
image = axis.imshow(by_head, cmap="RdBu", vmin=-limit, vmax=limit)
axis.set(title="Undo rather than the mark", xlabel="head", ylabel="layer")
figure.colorbar(image, label="logit");  # fmt: skip

# %% [markdown]
# **Attention.** `attention_picture` gives [head, query, key] between the tokens of one frame, or of
# two, which is what `circuitsvis.attention.attention_heads(picture, model.config.token_names)`
# draws. Below, where [cls] of the head that adds most looks: on the frame itself and on the one
# before.

# %%
layer, head = divmod(int(parts.argmax()), model.cfg.n_heads)
figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
for axis, seen in zip(axes, (-2, -1), strict=True):
    weights = cache.attention_picture(layer, -1, seen)[head, -1, : model.config.n_patches]
    axis.imshow(model.inputs(pair.wrong).frames[0, seen].permute(1, 2, 0))
    grid = weights.view(model.config.grid[::-1]).numpy()
    axis.imshow(grid, cmap="spring", alpha=0.7 * grid / grid.max(), extent=(0, 480, 360, 0))
    share = f"{weights.sum():.0%} on its patches"
    axis.set(title=f"L{layer}H{head}, frame {seen}: {share}", xticks=[], yticks=[])

# %% [markdown]
# **Patching.** TransformerLens's sweeps pass tokens in and take logits out. `TokenAdapter` gives
# them both: a row of tokens stands for a row of screens, logits are [row, frame, patch]. Both sides
# are cut to the last frames, as many as the window holds. Where does the stream carry the mistake?

# %%
adapter = bp.TokenAdapter(model)
window = slice(-model.config.context, None)
right, wrong = (adapter.to_tokens(side, window) for side in (pair.right, pair.wrong))
_, of_wrong = adapter.run_with_cache(wrong)
target = adapter.to_single_token((x, y))
found = patching.get_act_patch_resid_pre(
    adapter, right, of_wrong, lambda logits: logits[0, -1, target]
)
gained = found - adapter(right)[0, -1, target]

# %% [markdown]
# Each row is a layer. Patches of the last frame are numbered row by row; the two tokens after them
# are the previous click and [cls]. Blue: with this token's stream taken over from the wrong side,
# the model, which otherwise sees a right mark, is more likely to press Undo. The patch of the mark
# carries the mistake through the early layers, [cls] has it at the end.

# %%
last = gained.view(model.cfg.n_layers, -1, model.config.tokens_per_frame)[:, -1]
figure, axis = plt.subplots(figsize=(8, 2.4), layout="constrained")
image = axis.imshow(last, cmap="RdBu", vmin=-last.abs().max(), vmax=last.abs().max())
axis.set(title="stream before a layer, last frame", xlabel="token", ylabel="layer")
figure.colorbar(image, label="log-probability of Undo's patch");  # fmt: skip

# %% [markdown]
# Where to go on: `transformer_lens.tools.analysis` (attribution patching, interchange with placebo
# controls, DAS) runs on the same adapter, see *From TransformerLens* in the documentation. Over
# many pairs, with intervals, and at tokens by name: `bp.patch(model)`.
