"""Each kind of weight gets what its layer needs."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pipeline.explanations.randomise_weights import randomise_weights


def test_kernels_are_of_the_size_that_keeps_values_and_the_rest_does_nothing() -> None:
    shapes = {
        "kernel": (200, 300),
        "conv/kernel": (3, 3, 40, 50),
        "depthwise_kernel": (3, 3, 2000, 1),
        "gamma": (5,),
        "moving_variance": (5,),
        "moving_mean": (5,),
        "bias": (5,),
    }
    variables = [tf.Variable(tf.fill(shape, 7.0), name=name) for name, shape in shapes.items()]
    counter = tf.Variable([3, 4], name="seed_generator_state")
    randomise_weights([*variables, counter], seed=0)
    found = dict(zip(shapes, (variable.numpy() for variable in variables), strict=True))
    for name, inputs in (("kernel", 200), ("conv/kernel", 360), ("depthwise_kernel", 9)):
        assert abs(found[name].var() * inputs / 2 - 1) < 0.05
    assert (found["gamma"] == 1).all() and (found["moving_variance"] == 1).all()
    assert (found["moving_mean"] == 0).all() and (found["bias"] == 0).all()
    np.testing.assert_array_equal(counter, [3, 4])
