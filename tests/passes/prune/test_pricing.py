import numpy as np
import onnx_ir as ir
import pytest

from edgekit.graph.cost import count_parameters
from edgekit.passes.prune import sensitivity
from edgekit.passes.prune.branches import find_branches
from edgekit.passes.prune.build import Network, build, whole
from edgekit.passes.prune.cost import CostModel
from edgekit.passes.prune.groups import find_channel_groups
from edgekit.passes.prune.loss import OutputLoss
from edgekit.passes.prune.options import Options, State, find_options
from edgekit.passes.prune.pricing import MOST_TESTS, Pricer, Table, plan
from edgekit.passes.prune.samples import halves
from edgekit.passes.prune.sensitivity import Meter, Wanted
from edgekit.progress import Silent
from tests.passes.prune.test_pruning import residual_network, samples


@pytest.fixture(scope="module")
def pricer() -> Pricer:
    built = residual_network()
    model = built.model(list(built.shapes)[-1])
    channels = find_channel_groups(model)
    network = Network(model, channels, find_branches(model, channels))
    options = find_options(channels, network.branches, 8)
    loss = OutputLoss(model)
    folds = halves(samples(model, 16), MOST_TESTS)
    meter = Meter(network, options, loss, folds, [{}, {}])
    planned = plan(network, options, meter.macs, 5)
    return Pricer(meter, CostModel(model, channels, network.branches), planned, Silent())


def hidden_and_branch(options: Options) -> tuple[int, int]:
    """A group that lies in a branch, and the branch."""
    return next((slot, parent) for slot, parent in enumerate(options.parents) if parent >= 0)


def rows(pricer: Pricer, state: State) -> np.ndarray:
    """Built on each half, and measured on the other."""
    meter = pricer.meter
    selection = meter.options.selection(state)
    return meter.rows([build(meter.network, selection, fold.fit, {}) for fold in meter.folds])


def foretold(pricer: Pricer, table: Table, state: State) -> np.ndarray:
    """By the table's sum of changes."""
    chosen = table.options.state(pricer.meter.options.selection(state))
    indices = [table.options.indices[int(slot), int(chosen[slot])] for slot in np.flatnonzero(chosen)]
    return pricer.reference + table.prices.whole + table.prices.changes[indices].sum(axis=0)


def test_the_change_of_one_option_is_that_of_the_network_built_with_it(pricer: Pricer) -> None:
    options, table = pricer.meter.options, pricer.full_table()
    assert len(table.options.choices) == len(options.choices)
    for key in options.choices:
        slot = options.slots[key[0]]
        # Of several readers the later ones are built on what the first ones give.
        if not slot.branch and len(pricer.meter.network.readers[slot.name].fitted) > 1:
            continue
        state = options.chosen(options.nothing(), *key)
        assert np.allclose(foretold(pricer, table, state), rows(pricer, state), atol=1e-4)


def test_around_a_state_its_price_and_those_one_step_away_are_exact(pricer: Pricer) -> None:
    options = pricer.meter.options
    hidden, branch = hidden_and_branch(options)
    pricer.full_table()
    state = options.chosen(options.nothing(), hidden, 2)
    other = next(slot for slot, parent in enumerate(options.parents) if slot not in (hidden, branch) and parent < 0)
    state = options.chosen(state, other, 1)
    meter = pricer.meter
    built = [build(meter.network, options.selection(state), fold.fit, {}) for fold in meter.folds]
    table = pricer.table_around(state, built, meter.rows(built))
    assert np.allclose(foretold(pricer, table, state), rows(pricer, state), atol=1e-4)
    # Nothing that comes before the branch changes, and dropping fits nothing.
    dropped = options.chosen(state, branch, 1)
    assert not dropped[hidden]
    later = [name for name in options.selection(state).kept if name != options.slots[hidden].name]
    assert later
    zeros = meter.network.dropped_weights([options.slots[branch].name])
    exact = meter.rows([type(each)({**each.weights, **zeros}, each.removed) for each in built])
    assert np.allclose(foretold(pricer, table, dropped), exact, atol=1e-4)


def test_no_change_is_kept_twice(pricer: Pricer) -> None:
    table = pricer.full_table()
    rows = dict(zip(table.options.choices, table.prices.changes, strict=True))
    assert rows and all(np.shares_memory(pricer._changes[key], row) for key, row in rows.items())
    before = {key: change.copy() for key, change in pricer._changes.items()}
    state = pricer.meter.options.chosen(pricer.meter.options.nothing(), 0, 1)
    built = [
        build(pricer.meter.network, pricer.meter.options.selection(state), each.fit, {}) for each in pricer.meter.folds
    ]
    pricer.table_around(state, built, pricer.meter.rows(built))
    assert all(np.array_equal(pricer._changes[key], change) for key, change in before.items())


def test_wide_rows_are_measured_on_fewer_samples(pricer: Pricer) -> None:
    """Two tables of float32 fit into 512 MB."""
    options = pricer.meter.options
    width = 2**29 // (2 * 4 * 64 * len(options.choices))
    assert plan(pricer.meter.network, options, lambda slot: 1, width).tests == 64


def test_a_large_network_is_measured_on_fewer_samples_then_with_fewer_choices(pricer: Pricer) -> None:
    network, options = pricer.meter.network, pricer.meter.options
    small = plan(network, options, lambda slot: 10**6, 10)
    assert small.tests == MOST_TESTS and small.note is None
    assert sum(map(len, small.choices.values())) == len(options.choices)
    large = plan(network, options, lambda slot: 2 * 10**10, 10)
    assert large.tests < MOST_TESTS and sum(map(len, large.choices.values())) == len(options.choices)
    huge = plan(network, options, lambda slot: 10**12, 10)
    assert huge.tests < large.tests and huge.note is not None
    assert 0 < sum(map(len, huge.choices.values())) < len(options.choices)


def test_what_slots_keep_in_memory_together_has_a_bound(pricer: Pricer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of every choice count."""
    meter = pricer.meter
    wanted = Wanted(pricer.plan.choices, lambda key: np.inf)
    seen: list[int] = []
    subjects = Meter._subjects

    def watched(self: Meter, *arguments):
        found = subjects(self, *arguments)
        seen.append(sum(array.nbytes for each in found for given in each.weights.values() for array in given.values()))
        return found

    monkeypatch.setattr(Meter, "_subjects", watched)
    monkeypatch.setattr(sensitivity, "_BUNDLE_BYTES", 0)
    built = [whole(meter.network) for _ in meter.folds]
    alone = meter.changes(built, pricer.reference, wanted, lambda done: None)
    slots = len([each for each in wanted.choices.values() if each])
    assert len(seen) == slots * len(meter.folds)
    # Two copies of the parameters for each session, and moments: what is left is for weights alone.
    layers = {slot: meter.network.readers[meter.options.slots[slot].name].fitted for slot in range(2)}
    least = 2 * 8 * count_parameters(meter.network.model) + sum(
        24 * layer.blocks * (layer.columns + 1) ** 2 for each in layers.values() for layer in each
    )
    two = Wanted({slot: wanted.choices[slot] for slot in layers}, wanted.limit)
    for room, bundles in ((least, 2), (least + sum(seen[:2]) + 4096, 1)):
        before = len(seen)
        monkeypatch.setattr(sensitivity, "_BUNDLE_BYTES", room)
        found = meter.changes(built, pricer.reference, two, lambda done: None)
        assert len(seen) - before == bundles * len(meter.folds)
        assert all(np.array_equal(found[key], alone[key]) for key in found)


def test_halves_judge_each_other(pricer: Pricer) -> None:
    first, second = pricer.meter.folds
    assert {id(sample) for sample in first.fit}.isdisjoint(id(sample) for sample in first.test)
    assert [id(sample) for sample in first.fit] == [id(sample) for sample in second.test]


def test_the_model_stays_as_it_is(pricer: Pricer) -> None:
    model = pricer.meter.network.model
    before = {name: value.const_value for name, value in model.graph.initializers.items()}
    pricer.table()
    assert isinstance(model, ir.Model)
    assert all(model.graph.initializers[name].const_value is tensor for name, tensor in before.items())
