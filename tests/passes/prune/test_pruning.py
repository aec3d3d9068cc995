import numpy as np
import onnx_ir as ir
import pytest

from edgekit.errors import DataError, GateError, ModelError, UsageError
from edgekit.graph.cost import count_macs, count_parameters
from edgekit.graph.queries import shape_of
from edgekit.graph.storage import to_bytes
from edgekit.passes.prune import Budget, ImportanceName, Pruner, PruningScheme, prune
from edgekit.passes.prune.network import activations
from tests.passes.prune.networks import Builder

Samples = list[dict[str, np.ndarray]]

SCHEME = PruningScheme(channel_multiple=4)


def residual_network(*, batch: int = 1) -> Builder:
    """Two inverted residual blocks, of which the second hardly does anything."""
    build = Builder(batch, 3, 8, 8)
    stem = build.relu(build.conv("x", 16, 3))
    for scale in (1.0, 0.05):
        hidden = build.relu(build.conv(build.relu(build.conv(stem, 32)), 32, 3, group=32))
        branch = build.op("Mul", build.conv(hidden, 16), build.constant(np.float32(scale)))
        stem = build.op("Add", stem, branch)
    build.head(stem)
    return build


def samples(model: ir.Model, count: int, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    shapes = {value.name or "": shape_of(value) for value in model.graph.inputs}
    return [{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(count)]


def outputs(model: ir.Model, data: Samples) -> np.ndarray:
    names = [value.name or "" for value in model.graph.outputs]
    return np.concatenate(
        [np.concatenate([each.reshape(-1) for each in row]) for row in activations(model, names, data)]
    )


@pytest.fixture(scope="module")
def model() -> ir.Model:
    build = residual_network()
    return build.model(list(build.shapes)[-1])


@pytest.fixture(scope="module")
def pruner(model: ir.Model) -> Pruner:
    return Pruner(model, samples(model, 16), SCHEME)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_removes_the_share_that_is_asked_for(pruner: Pruner, model: ir.Model, ratio: float) -> None:
    pruned = pruner.prune(ratio)
    report = pruned.report
    assert count_macs(pruned.model) == report.macs_after <= (1 - ratio) * report.macs_before
    assert count_parameters(pruned.model) == report.parameters_after < report.parameters_before
    assert report.macs_before == count_macs(model)
    assert report.macs_after == pruner.costs.macs(pruned.selection.kept, pruned.selection.dropped)
    assert [shape_of(value) for value in pruned.model.graph.outputs] == [
        shape_of(value) for value in model.graph.outputs
    ]
    assert all(group.after % 4 == 0 for group in report.groups)
    assert any(group.after < group.before for group in report.groups)


def test_the_branch_that_does_nothing_goes_first(model: ir.Model) -> None:
    pruned = prune(model, samples(model, 16), 0.3, PruningScheme(channel_multiple=32))
    assert not pruned.selection.kept and len(pruned.selection.dropped) == 1
    (gone,) = [group for group in pruned.report.groups if group.dropped]
    assert (gone.before, gone.after) == (32, 0)
    (branch,) = pruned.report.branches
    assert branch.loss is not None and branch.loss < 0.01
    data = samples(model, 8, seed=1)
    before, after = outputs(model, data), outputs(pruned.model, data)
    assert np.square(after - before).mean() < 0.05 * before.var()


def test_the_loss_that_is_told_is_that_of_unseen_samples(pruner: Pruner, model: ir.Model) -> None:
    pruned = pruner.prune(0.4)
    data = samples(model, 200, seed=2)
    before, after = (outputs(each, data).reshape(200, -1) for each in (model, pruned.model))
    p = np.exp(before) / np.exp(before).sum(axis=1, keepdims=True)
    q = np.exp(after) / np.exp(after).sum(axis=1, keepdims=True)
    unseen = float((p * np.log(p / q)).sum(axis=1).mean())
    assert pruned.report.loss_name == "KL (nats)"
    assert pruned.report.loss is not None
    assert unseen / 3 < pruned.report.loss < unseen * 3


def test_compensation_and_measured_choices_beat_the_same_share_everywhere(pruner: Pruner, model: ir.Model) -> None:
    data = samples(model, 32, seed=3)
    before = outputs(model, data)
    measured, blind = pruner.prune(0.3), prune(model, None, 0.3, SCHEME)
    errors = [np.square(outputs(each.model, data) - before).mean() for each in (measured, blind)]
    assert errors[0] < errors[1] / 3


def test_the_same_twice_gives_the_same_bytes(pruner: Pruner, model: ir.Model) -> None:
    again = prune(model, samples(model, 16), 0.3, SCHEME)
    assert to_bytes(again.model) == to_bytes(pruner.prune(0.3).model)


@pytest.mark.parametrize("importance", [name for name in ImportanceName if name is not ImportanceName.TAYLOR])
def test_every_importance_prunes_with_and_without_samples(model: ir.Model, importance: ImportanceName) -> None:
    scheme = PruningScheme(channel_multiple=8, importance=importance)
    for data in (samples(model, 4), None):
        report = prune(model, data, 0.2, scheme).report
        assert report.macs_after <= 0.8 * report.macs_before
        assert (report.loss is None) == (data is None)


@pytest.mark.parametrize("count", [0, 3])
def test_what_needs_samples_falls_back_and_says_so(model: ir.Model, count: int) -> None:
    data = samples(model, count) or None
    report = prune(model, data, 0.2, SCHEME).report
    assert report.importance == "l2" and report.compensation == "none"
    assert "fell back" in report.notes[0]
    with pytest.raises(DataError, match=r"obs.*needs calibration samples"):
        prune(model, data, 0.2, PruningScheme(strict=True))
    by_norm = prune(model, data, 0.2, PruningScheme(channel_multiple=4, importance=ImportanceName.L2, strict=True))
    assert by_norm.report.macs_after == report.macs_after


@pytest.mark.parametrize("ratio", [-0.1, 0.0, 1.0, 25.0, float("nan")])
def test_a_share_is_between_nothing_and_everything(pruner: Pruner, ratio: float) -> None:
    with pytest.raises(UsageError, match="above 0 and below 1"):
        pruner.prune(ratio)


def test_a_budget_out_of_reach_says_what_is_in_reach_and_why(pruner: Pruner) -> None:
    with pytest.raises(
        GateError, match=r"--prune 0.99: at most \d+.* % of the MACs can be removed.*stays whole"
    ) as error:
        pruner.prune(0.99)
    most = float(str(error.value).split("at most ")[1].split(" %")[0]) / 100
    report = pruner.prune(most - 1e-3).report
    assert 1 - report.macs_after / report.macs_before >= most - 1e-3
    with pytest.raises(GateError):
        pruner.prune(most + 2e-3)


def test_other_budgets_are_spent_the_same_way(pruner: Pruner) -> None:
    whole = pruner.costs.parameters({})
    pruned = pruner.prune(Budget(pruner.costs.parameters, 0.7 * whole, "parameters", "--max-bytes 1kB"))
    assert pruned.report.parameters_after <= 0.7 * whole
    with pytest.raises(GateError, match=r"--max-bytes 1kB: at least .* parameters of .* are left"):
        pruner.prune(Budget(pruner.costs.parameters, 10, "parameters", "--max-bytes 1kB"))


def test_a_budget_that_is_met_already_changes_nothing(pruner: Pruner, model: ir.Model) -> None:
    pruned = pruner.prune(Budget(pruner.costs.macs, pruner.costs.macs({}), "MACs", "--max-macs"))
    assert not pruned.selection.kept and not pruned.selection.dropped
    data = samples(model, 1)
    assert np.array_equal(outputs(pruned.model, data), outputs(model, data))


def test_several_inputs_outputs_and_a_batch() -> None:
    build = residual_network(batch=3)
    scores = list(build.shapes)[-1]
    features = build.conv(build.relu(build.conv("x", 24, 3)), 6)
    model = build.model(scores, features)
    pruned = prune(model, samples(model, 8), 0.3, SCHEME)
    assert pruned.report.loss_name == "relative squared error"
    assert pruned.report.macs_after <= 0.7 * pruned.report.macs_before
    assert [shape_of(value) for value in pruned.model.graph.outputs] == [(3, 5), (3, 6, 8, 8)]


def test_what_no_moments_exist_for_is_still_pruned_by_measurement() -> None:
    build = Builder(1, 3, 8, 8)
    inner = build.relu(build.conv("x", 32, 3))
    model = build.model(build.conv_transpose(inner, 4))
    pruned = prune(model, samples(model, 8), 0.4, SCHEME)
    (group,) = pruned.report.groups
    assert group.after < 32 and group.loss is not None


def test_attention_heads_and_their_widths() -> None:
    build = Builder(1, 6, 16)
    x = build.op("Add", "x", build.attention("x", 4, 8))
    model = build.model(build.linear(build.op("ReduceMean", x, build.ints(1), keepdims=0), 3))
    pruned = prune(model, samples(model, 8), 0.2, PruningScheme(channel_multiple=8))
    assert pruned.report.macs_after <= 0.8 * pruned.report.macs_before


def test_concatenated_channels_share_their_consumers() -> None:
    build = Builder(1, 3, 8, 8)
    x = build.relu(build.conv("x", 16, 3))
    for _ in range(2):
        x = build.op("Concat", x, build.relu(build.conv(x, 16, 3)), axis=1)
    model = build.model(build.head(x))
    pruned = prune(model, samples(model, 32), 0.4, SCHEME)
    data = samples(model, 16, seed=1)
    before, after = outputs(model, data), outputs(pruned.model, data)
    blind = outputs(prune(model, None, 0.4, SCHEME).model, data)
    assert np.square(after - before).mean() < np.square(blind - before).mean() / 2


def detector() -> ir.Model:
    """Boxes in pixels and scores of classes in one output, each from layers of its own."""
    build = Builder(1, 3, 8, 8)
    stem = build.relu(build.conv("x", 16, 3))
    boxes, scores = (build.conv(build.relu(build.conv(stem, 32, 3)), count) for count in (4, 6))
    boxes = build.op("Mul", boxes, build.constant(np.float32(100)))
    return build.model(build.op("Concat", boxes, build.op("Sigmoid", scores), axis=1))


def test_the_scores_of_a_detector_are_kept_as_well_as_its_boxes() -> None:
    model = detector()
    data, fresh = samples(model, 24), samples(model, 24, seed=1)
    pruned = prune(model, data, 0.3, SCHEME)
    wanted, given = (outputs(each, fresh).reshape(-1, 10, 64)[:, 4:] for each in (model, pruned.model))
    assert np.square(wanted - given).mean() < 0.1 * wanted.var()
    heads = [group for group in pruned.report.groups if group.before == 32]
    assert min(group.after for group in heads) >= 16


def segmentation() -> Builder:
    """Class numbers alone, as phones are often given them."""
    build = Builder(1, 3, 8, 8)
    stem = build.relu(build.conv("x", 16, 3))
    scores = build.conv(build.relu(build.conv(stem, 24, 3)), 5, 1)
    build.op("ArgMax", scores, axis=1, keepdims=0)
    return build


def test_class_numbers_are_pruned_by_the_scores_behind_them() -> None:
    build = segmentation()
    *_, scores, classes = build.shapes
    model, shown = build.model(classes), build.model(classes, scores)
    pruned, wanted = (Pruner(each, samples(each, 24), SCHEME).prune(0.4) for each in (model, shown))
    assert [value.name for value in pruned.model.graph.outputs] == [classes]
    assert pruned.report.loss == wanted.report.loss and wanted.report.loss is not None and wanted.report.loss > 1e-3
    assert [(group.before, group.after) for group in pruned.report.groups] == [
        (group.before, group.after) for group in wanted.report.groups
    ]
    data = samples(model, 8, seed=9)
    assert np.mean(outputs(pruned.model, data) == outputs(model, data)) > 0.6


def test_what_gives_no_numbers_at_all_is_refused() -> None:
    build = Builder(1, 3, 8, 8)
    model = build.model(build.op("Shape", build.conv("x", 16)))
    with pytest.raises(ModelError, match=r'no floats, nor are scores found behind its outputs "Shape\d+" \(INT64\)'):
        Pruner(model, samples(model, 8), SCHEME)
