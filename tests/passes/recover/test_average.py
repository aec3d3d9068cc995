import numpy as np
import pytest

from edgekit.passes.recover.training import Average

tf = pytest.importorskip("tensorflow")


def test_it_is_the_mean_of_late_values() -> None:
    variable = tf.Variable([0.0, 100.0])
    average = Average(tf, [variable])
    average.reset()
    step = tf.function(lambda: (variable.assign_add([1.0, 0.0]), average.update()))
    for _ in range(200):
        step()
    average.swap()
    # About the last tenth of the steps count: the mean of 1 .. 200 would be 100, the last is 200.
    assert 170 < float(variable[0]) < 195
    assert float(variable[1]) == pytest.approx(100.0, rel=1e-6)


def test_swapping_twice_changes_nothing() -> None:
    variables = [tf.Variable([3.0]), tf.Variable([[1.0, 2.0]])]
    average = Average(tf, variables)
    average.reset()
    variables[0].assign([13.0])
    average.update()
    average.swap()
    assert 3.0 < float(variables[0][0]) < 13.0
    average.swap()
    assert [variable.numpy().tolist() for variable in variables] == [[13.0], [[1.0, 2.0]]]


def test_it_forgets_what_was_before() -> None:
    variable = tf.Variable(np.float32(0))
    average = Average(tf, [variable])
    for _ in range(50):
        average.update()
    variable.assign(8.0)
    average.reset()
    average.update()
    average.swap()
    assert float(variable) == 8.0
