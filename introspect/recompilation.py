"""`introspect.recompile`: compile a model again after its flags changed, and go on where the optimizer was."""

from __future__ import annotations

from typing import Any


def recompile(model: Any, keep_optimizer_state: bool = True) -> None:
    """Compile a model again with the settings it was compiled with, so that the step reads the flags as they are now.

    The optimizer is made anew with the same settings, for a built one takes no new variables; `model.optimizer` is
    another object afterwards. Loss, metrics, `jit_compile`, `steps_per_execution`, `run_eagerly` stay. It may be called
    by a callback inside of `fit`, at the beginning or end of an epoch.

    Args:
        model: a compiled Keras 3 or tf_keras model, its flags set.
        keep_optimizer_state: carry over the slots of the variables that go on training, iterations, learning rate
            and schedule, loss scale, averages and accumulated gradients, so that these variables go on to the bit, and
            what `tf.train.Checkpoint.restore` still keeps for an optimizer that has no slots yet.
            Variables that join begin with fresh slots at the iteration reached, where Adam's bias correction has
            faded: their first steps are up to three times as long as those of a new optimizer.

    Raises:
        IntrospectError: the model was never compiled; or an optimizer cannot be made anew from its own settings, or
            keeps its state in a way that cannot be told. Nothing was changed then.
    """
    from introspect.capture.renewal.rebuild import recompile_model

    recompile_model(model, keep_optimizer_state)
