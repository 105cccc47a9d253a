"""TransformerLens's own tools on a model of screens, against what they promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor
from transformer_lens import patching
from transformer_lens.tools import analysis

from bcprobe.errors import InputError
from bcprobe.model.adapter import TokenAdapter
from bcprobe.model.inputs import Inputs
from bcprobe.model.transformer import ClickTransformer

MakeModel = Callable[..., ClickTransformer]
MakeInputs = Callable[..., tuple[Tensor, Tensor]]
FRAMES, ANSWER, OTHER = 2, 7, 3
pytestmark = pytest.mark.filterwarnings("ignore")


def metric(logits: Tensor) -> Tensor:
    """By how much one patch is preferred to another at the last frame."""
    return (logits[:, -1, ANSWER] - logits[:, -1, OTHER]).mean()


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patching, "tqdm", lambda things, **options: things)


@pytest.fixture
def adapter(make_model: MakeModel) -> TokenAdapter:
    shape: dict[str, Any] = {"stem": ((80, 60, 8), (2, 3, 8), (1, 1, 32))}  # six patches
    return TokenAdapter(make_model(**shape).requires_grad_(False))


@pytest.fixture
def pair(adapter: TokenAdapter, make_inputs: MakeInputs) -> tuple[Tensor, Tensor]:
    """Tokens of two rows, clean and corrupt."""
    frames, previous = make_inputs(2, FRAMES)
    tokens = adapter.add(Inputs(frames, previous, torch.zeros(2, FRAMES, dtype=torch.long)))
    return tokens[:1], tokens[1:]


@pytest.fixture(autouse=True)
def answers(adapter: TokenAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny grid has few patches: ask for two that are there."""
    monkeypatch.setitem(globals(), "ANSWER", adapter.config.n_patches - 1)
    monkeypatch.setitem(globals(), "OTHER", 1)


def test_tokens_stand_for_rows_and_logits_are_the_models(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor], make_inputs: MakeInputs
) -> None:
    frames, previous = make_inputs(2, FRAMES)
    plain = adapter.model(frames, previous)
    both = torch.cat(pair)
    assert both.shape == (2, FRAMES * adapter.config.tokens_per_frame)
    torch.testing.assert_close(adapter(both), plain.patches, atol=1e-5, rtol=0)
    assert torch.equal(adapter.clicks(both).argmax(), plain.argmax())
    logits, cache = adapter.run_with_cache(pair[1])
    torch.testing.assert_close(logits, plain.patches[1:], atol=1e-5, rtol=0)
    assert cache["resid_post", -1].shape[0] == 1
    columns = adapter.config.grid[0]
    width, height = adapter.config.patch
    assert adapter.to_single_token((width + 1, height + 1)) == columns + 1


def test_logits_of_the_independent_head_are_chances_of_patches(
    make_model: MakeModel, make_inputs: MakeInputs
) -> None:
    model = make_model(head="independent")
    frames, previous = make_inputs(1, 2)
    adapter = TokenAdapter(model)
    tokens = adapter.add(Inputs(frames, previous, torch.zeros(1, 2, dtype=torch.long)))
    heat = model(frames, previous).heat_map()[0, 1]
    (width, height), (columns, rows) = model.config.patch, model.config.grid
    by_hand = heat.view(rows, height, columns, width).sum((1, 3)).flatten()
    torch.testing.assert_close(adapter(tokens)[0, 1].exp(), by_hand, atol=1e-6, rtol=1e-4)


def test_what_is_no_row_is_refused_in_a_line(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor], make_inputs: MakeInputs
) -> None:
    with pytest.raises(InputError, match="screens have no text"):
        adapter.to_tokens("a prompt")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"rows \[5\] are none of the 2"):
        adapter(torch.full((1, 4), 5))
    with pytest.raises(InputError, match=r"of to_tokens; got \[4\]"):
        adapter(torch.zeros(4, dtype=torch.long))
    with pytest.raises(InputError, match="return_type 'loss'"):
        adapter(pair[0], return_type="loss")
    frames, previous = make_inputs(1, 3)
    longer = adapter.add(Inputs(frames, previous, torch.zeros(1, 3, dtype=torch.long)))
    with pytest.raises(InputError, match="differ in their number of frames"):
        adapter(torch.cat([pair[0], longer[:, : pair[0].shape[1]]]))
    with pytest.raises(InputError, match="differ in length"):
        adapter.add(Inputs(frames, previous, torch.tensor([[0, 0, -1]])))


# transformer_lens.patching


def test_a_sweep_over_layers_and_positions_equals_patches_by_hand(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    clean, corrupt = pair
    _, cache = adapter.run_with_cache(clean)
    found = patching.get_act_patch_resid_pre(adapter, corrupt, cache, metric)
    assert found.shape == (2, clean.shape[1])
    last = clean.shape[1] - 1
    for layer, position in ((0, 2), (1, last)):
        name = f"blocks.{layer}.hook_resid_pre"

        def swap(x: Tensor, hook: Any, name: str = name, at: int = position) -> Tensor:
            x[:, at] = cache[name][:, at]
            return x

        by_hand = metric(adapter.run_with_hooks(corrupt, fwd_hooks=[(name, swap)]))
        torch.testing.assert_close(found[layer, position], by_hand, atol=1e-5, rtol=0)


def test_a_sweep_over_chosen_positions_takes_a_table(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    clean, corrupt = pair
    _, cache = adapter.run_with_cache(clean)
    places = [[layer, at] for layer in range(2) for at in adapter.cls_positions(FRAMES).tolist()]
    options: dict[str, Any] = {"index_axis_names": None}
    table = pd.DataFrame(places, columns=["layer", "pos"])
    some = patching.get_act_patch_resid_pre(
        adapter, corrupt, cache, metric, index_df=table, **options
    )
    every = patching.get_act_patch_resid_pre(adapter, corrupt, cache, metric)
    torch.testing.assert_close(some, torch.stack([every[a, b] for a, b in places]))


@pytest.mark.parametrize(
    "name", ["attn_head_out", "attn_head_q", "attn_head_k", "attn_head_v", "attn_head_pattern"]
)
def test_every_sweep_over_heads_runs_and_moves_something(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor], name: str
) -> None:
    clean, corrupt = pair
    _, cache = adapter.run_with_cache(clean)
    sweep = getattr(patching, f"get_act_patch_{name}_all_pos")
    found = sweep(adapter, corrupt, cache, metric)
    assert found.shape == (2, 2)
    assert (found - metric(adapter(corrupt))).abs().max() > 1e-4


def test_patching_everything_gives_the_clean_answer(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    clean, corrupt = pair
    _, cache = adapter.run_with_cache(clean)
    result = patching.generic_activation_patch(
        adapter,
        corrupt,
        cache,
        lambda logits: logits[:, -1, ANSWER] - logits[:, -1, OTHER],
        lambda x, index, clean: clean.clone(),
        "resid_pre",
        index_axis_names=("layer",),
        reduce="none",
        baseline=True,
    )
    torch.testing.assert_close(
        result.values[:, 0], metric(adapter(clean)).expand(2), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(result.baseline[0], metric(adapter(corrupt)), atol=1e-5, rtol=0)


def test_direct_paths_reach_one_head_alone(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    corrupt = pair[1]
    (_, one), (_, other) = (adapter.run_with_cache(tokens) for tokens in pair)
    found = patching.get_act_patch_direct_path(
        adapter, corrupt, one, other, metric, src_layer=0, src_head=1, component="v", verbose=False
    )
    assert (found[0] == 0).all()
    write = (one["z", 0] - other["z", 0])[:, :, 1] @ adapter.blocks[0].attn.W_O[1]
    attn, norm = adapter.blocks[1].attn, adapter.blocks[1].ln1
    stream = other["resid_pre", 1] + write
    value = norm.normalise(stream) @ attn.W_V[0] + attn.b_V[0]

    def only_head(x: Tensor, hook: Any) -> Tensor:
        x = x.clone()
        x[:, :, 0] = value
        return x

    by_hand = adapter.run_with_hooks(corrupt, fwd_hooks=[("blocks.1.attn.hook_v", only_head)])
    torch.testing.assert_close(found[1, 0], metric(by_hand), atol=1e-4, rtol=0)


# transformer_lens.tools.analysis


def test_attribution_patching_is_the_slope_towards_the_clean_run(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    clean, corrupt = pair
    with torch.enable_grad():
        result = analysis.attribution_patch(adapter, clean, corrupt, metric)
    assert len(result.node_scores) == clean.shape[1] * (1 + 2 * (2 + 1))
    (_, one), (_, other) = (adapter.run_with_cache(tokens) for tokens in pair)
    last = clean.shape[1] - 1
    node = analysis.Node("mlp_out", position=last, layer=0)
    move = (one["mlp_out", 0] - other["mlp_out", 0])[0, last]
    found = []
    for step in (1e-3, -1e-3):

        def push(x: Tensor, hook: Any, step: float = step) -> Tensor:
            x = x.clone()
            x[0, last] += step * move
            return x

        hooks = [("blocks.0.hook_mlp_out", push)]
        found.append(metric(adapter.run_with_hooks(corrupt, fwd_hooks=hooks)))
    slope = float(found[0] - found[1]) / 2e-3
    assert result.node_scores[node] == pytest.approx(slope, abs=5e-3)


def test_edges_add_up_to_nodes_and_a_whole_circuit_recovers_all(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    clean, corrupt = pair
    with torch.enable_grad():
        nodes = analysis.attribution_patch(adapter, clean, corrupt, metric)
        edges = analysis.attribution_patch(
            adapter, clean, corrupt, metric, analysis.EdgeAttributionConfig(granularity="edge")
        )
    for node, score in nodes.node_scores.items():
        assert edges.node_scores[node] == pytest.approx(score, abs=1e-3)
    assert not adapter.cfg.use_attn_result  # as it was
    every = list(edges.edge_scores)
    whole = analysis.faithfulness(adapter, clean, corrupt, metric, every)
    assert whole.recovered == pytest.approx(1, abs=1e-3)
    none = analysis.faithfulness(adapter, clean, corrupt, metric, [])
    assert none.recovered == pytest.approx(0, abs=1e-3)


def test_direct_logit_attribution_is_the_caches(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    result = analysis.direct_logit_attribution(
        adapter, pair[0], answer_tokens=(450, 350), incorrect_tokens=(250, 10), unit="head"
    )
    _, cache = adapter.run_with_cache(pair[0])
    stack = cache.stack_head_results(incl_remainder=True, pos_slice=-1)
    wanted = cache.logit_attrs(stack, (450, 350), (250, 10), pos_slice=-1)
    torch.testing.assert_close(result.attribution, wanted)
    assert result.labels == [*adapter.all_head_labels(), "remainder"]


def test_interchange_of_a_whole_basis_at_cls_is_a_patch_and_a_placebo_is_not(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor]
) -> None:
    clean, corrupt = pair
    site, last = "blocks.0.hook_resid_post", torch.tensor([clean.shape[1] - 1])

    def logits(tokens: Tensor) -> Tensor:
        return adapter(tokens)[:, -1]

    options: dict[str, Any] = {"positions": last}
    source = analysis.collect_activations(adapter, site, clean, logits, **options)
    _, cache = adapter.run_with_cache(clean)
    torch.testing.assert_close(source, cache[site][:, -1])
    swap = analysis.SubspaceInterchange(torch.eye(32))
    found = analysis.intervened_logits(adapter, site, swap, corrupt, source, logits, **options)

    def by_hand(x: Tensor, hook: Any) -> Tensor:
        x[:, -1] = cache[site][:, -1]
        return x

    wanted = adapter.run_with_hooks(corrupt, fwd_hooks=[(site, by_hand)])[:, -1]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    one = analysis.SubspaceInterchange(analysis.random_basis(32, 1, seed=0))
    placebo = analysis.NormMatchedPlacebo(one, analysis.random_basis(32, 1, seed=1))
    moved = [
        analysis.intervened_logits(adapter, site, change, corrupt, source, logits, **options)
        for change in (one, placebo)
    ]
    assert not torch.allclose(*moved)


def test_das_learns_a_subspace_and_has_its_controls(
    adapter: TokenAdapter, make_inputs: MakeInputs
) -> None:
    frames, previous = make_inputs(4, 1)
    rows = Inputs(frames, previous, torch.zeros(4, 1, dtype=torch.long))
    site, trained = "blocks.0.hook_resid_post", adapter.model
    losses = {}
    targets = torch.tensor([0, 1, 2, 3])
    arbitrary = analysis.arbitrary_targets(["a", "b", "c", "d"], 4, seed=0)
    for name, model, labels in (
        ("das", trained, targets),
        ("arbitrary", trained, arbitrary),
        ("untrained", trained.untrained(0), targets),
    ):
        lens = TokenAdapter(model)
        tokens = lens.add(rows)

        def logits(tokens: Tensor, lens: TokenAdapter = lens) -> Tensor:
            return lens(tokens)[:, -1]

        places = torch.full((4,), tokens.shape[1] - 1)
        with torch.enable_grad():
            result = analysis.fit_das(
                lens,
                site,
                tokens,
                tokens.flip(0),
                labels,
                logits,
                rank=2,
                epochs=6,
                base_positions=places,
                source_positions=places,
            )
        basis = result.basis
        torch.testing.assert_close(basis.T @ basis, torch.eye(2), atol=1e-4, rtol=0)
        losses[name] = result.losses
    assert all(one[-1] < one[0] for one in losses.values())
    assert not any(parameter.requires_grad for parameter in trained.parameters())


def test_subspaces_of_heads_overlap_as_their_weights_do(adapter: TokenAdapter) -> None:
    result = analysis.attention_head_subspace_affinity(adapter, target_role="V", rank=4)
    assert result.scores.shape == (2, 2, 2, 2)
    bases = []
    for weight in (adapter.W_O[0, 1].T, adapter.W_V[1, 0]):
        bases.append(torch.linalg.svd(weight, full_matrices=False).U[:, :4])
    overlap = (bases[0].T @ bases[1]).square().sum()
    torch.testing.assert_close(result.scores[0, 1, 1, 0], overlap, atol=1e-4, rtol=0)
    assert (result.scores[1] == 0).all()  # only earlier to later


def test_sparse_probes_take_activations(adapter: TokenAdapter, pair: tuple[Tensor, Tensor]) -> None:
    _, cache = adapter.run_with_cache(torch.cat(pair))
    x = cache["resid_post", 0].flatten(0, 1)
    neuron = int(x.var(0).argmax())
    labels = (x[:, neuron] > x[:, neuron].median()).long()
    assert analysis.fit_sparse_probe(x, labels, k=1, seed=0).metrics.roc_auc > 0.9


@pytest.mark.parametrize("name", ["logit_lens", "JacobianLens"])
def test_what_needs_an_unembedding_says_so(
    adapter: TokenAdapter, pair: tuple[Tensor, Tensor], name: str
) -> None:
    with pytest.raises((InputError, TypeError), match=r"unembedding|TransformerBridge"):
        if name == "logit_lens":
            analysis.logit_lens(adapter, pair[0])
        else:
            analysis.JacobianLens.fit(adapter, ["text"], corpus="none")
