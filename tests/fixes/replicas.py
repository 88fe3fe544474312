"""Run by a test in a process of its own: `recompile` under MirroredStrategy."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import introspect
from tests.fixes.steps import make_model, same, train, values


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    models = [make_mirrored(), make_mirrored()]
    for model in models:
        train(model, 4)
    introspect.recompile(models[1])
    assert [v.device for v in models[1].optimizer.variables[2].value.values] == [
        v.device for v in models[0].optimizer.variables[2].value.values
    ]
    for model in models:
        train(model, 4)
    models[1].get_layer("d1").trainable = False
    (finding,) = [f for f in introspect.inspect(models[1], try_fixes=True).findings if f.rule == "INT101"]
    assert finding.verified, finding.fix_result
    assert "in model.distribute_strategy.scope():" in finding.fix.splitlines()[1]
    models[1].get_layer("d1").trainable = True
    print("the same" if same(values(models[0].variables), values(models[1].variables)) else "different")


def make_mirrored() -> Any:
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = make_model()
        model.compile(keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9), "mse")
    return model


if __name__ == "__main__":
    main()
