"""What is said of each situation, as its reader would look for it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.tf

RETRACE = "A batch of another signature would be traced anew, and"
TOLD: dict[str, list[tuple[str, str]]] = {
    "lora_without_compile": [
        ("INT101", "1 variable of layer hid is frozen, and the training step trains it all the same: m/hid/kernel."),
        ("INT101", "enable_lora() froze the full weights afterwards"),
        ("INT103", " before they were made, by enable_lora()"),
        ("INT103", f"{RETRACE} raise “Unknown variable”"),
    ],
    "lora_recompiled": [],
    "layer_added_after_fit": [("INT103", "those of layer new"), ("INT103", "when a layer was added, or built, later")],
    "optimizer_of_another_model": [("INT201", "this one was built with those of another model")],
    "legacy_file_loaded": [("INT201", "built with none at all: so Keras 3's load_model leaves it")],
    "optimizer_reused_after_unfreezing": [
        ("INT201", "built before they were unfrozen"),
        ("INT201", "compiling again with the same instance does not change that"),
    ],
    "unfrozen_and_known_to_the_optimizer": [("INT103", f"{RETRACE} silently train them.")],
    "norm_frozen_late": [
        ("INT101", "2 variables of layer bn are frozen"),
        ("INT102", "Layer bn is frozen, and the training step goes on changing 2 variables that it keeps"),
        ("INT102", "traced at situations.py:"),
    ],
    "norm_without_weights_frozen_late": [("INT102", " while layer bn was trainable")],
    "norm_frozen_and_called_in_training": [],
    "spectral_norm_frozen": [("INT102", "SpectralNormalization rewrites its layer's kernel at each call in training")],
    "own_statistics_frozen": [
        ("INT102", "the flag stops no gradient; RunningMean assigns at situations.py:"),
        ("INT102", "if training and self.trainable:"),
    ],
    "own_statistics_frozen_late": [("INT102", "A step traced now does it too: RunningMean assigns at situations.py:")],
    "frozen_for_another_model": [("INT101", " while layer shared was trainable")],
    "discriminator_frozen_for_the_gan": [("INT101", "If that is meant for a model that contains it, as in a GAN")],
    "part_of_the_forward_pass_outside_the_tape": [
        ("INT104", "gives None: part of that way stands outside of the tape")
    ],
    "output_goes_into_a_metric_only": [("INT104", "does not reach the loss: it is only returned by the step")],
    "output_goes_into_what_the_step_returns": [("INT104", "does not reach the loss: it is only returned by the step")],
    "argmax_beside_a_sum": [
        ("INT104", "Every way from them to the loss is cut: by ArgMax"),
    ],
    "gradients_filtered_by_the_step": [
        ("INT104", "the step computes their gradients and does not apply them: dropped by a filter"),
        ("INT104", "self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))"),
    ],
    "bias_assigned_by_the_step": [
        ("INT301", "changes without a gradient, by an assign of the train step: own/enc/bias."),
        ("INT301", "The train step itself assigns a value that is made of the data."),
    ],
    "bias_of_a_derivative_alone": [
        ("INT104", "that derivative does not depend on them: what is only added falls away.")
    ],
    "constant_made_of_the_value": [("INT104", "runs layer baked, and does not read it"), ("INT104", "(.numpy())")],
    "weight_read_by_python": [
        ("INT104", "Python that runs inside the step may read it, at EagerPyFunc (situations.py:"),
        ("INT104", "tf.py_function(function, [inputs, self.w], Tout=tf.float32)"),
    ],
    "metric_on_an_output_without_loss": [("INT104", "What layer b computes from them does not reach the loss")],
    "own_loop_frozen_late": [
        ("INT101", "advance was traced at situations.py:"),
        ("INT101", "advance = tf.function(advance.python_function)"),
    ],
    "step_of_a_tf_function_frozen": [
        ("INT101", "train_step is a tf.function of your own, with a cache of its own"),
        ("INT101", "from before the flags were set, and compile leaves that trace where it is"),
        ("INT101", "take @tf.function from train_step"),
    ],
    "step_of_a_tf_function_with_a_new_optimizer": [
        ("INT203", "it does not use model.optimizer (SGD 'sgd')"),
        ("INT203", "from before the model was given this one"),
        ("INT203", "take @tf.function from train_step"),
    ],
    "own_step_of_tf_keras_frozen_after_compile": [
        ("INT101", "tf_keras trains by the flags of the last compile, and then layer hid was trainable."),
        ("INT101", "introspect.recompile(model)"),
    ],
    "own_step_of_tf_keras_unfrozen_after_fit": [
        ("INT103", "tf_keras trains by the flags of the last compile, and then layer hid was frozen."),
        ("INT103", "introspect.recompile(model)"),
    ],
    "rates_of_several_optimizers": [],
    "one_rate_of_several_is_zero": [("INT501", "2 variables of layer hid get their gradient and stand still")],
    "tied_weight_of_a_frozen_layer": [
        ("INT401", "first.trainable is False, and 1 variable of it is trainable all the same: first/kernel."),
        ("INT401", "Layer second shares it. A variable has one flag in Keras 3"),
        ("INT401", 'model.get_layer("second").trainable = False'),
    ],
    "tied_weight_of_a_frozen_layer_of_tf_keras": [
        ("INT401", "Layer second shares it. tf_keras trains a variable that any of its layers lets train.")
    ],
    "weights_property_of_tf_keras": [("INT105", "its class overrides trainable_weights, or weights.")],
    "layers_in_a_set_of_tf_keras": [("INT105", "Not seen: a set, a class attribute")],
    "bare_variable_in_an_attribute": [
        (
            "INT105",
            "is no weight of a layer: a bare variable that an attribute, a tf.Module, a function or a Lambda holds",
        )
    ],
    "own_step_that_chose_by_an_attribute": [
        ("INT103", "The optimizer was built with them, and the model's own train_step, as it was traced"),
        ("INT103", "it chose by something that Python read then"),
    ],
    "call_of_a_tf_function_frozen_and_fitted": [
        ("INT102", "call is a tf.function of your own, with a cache of its own"),
        ("INT102", "take @tf.function from call"),
    ],
    "trainable_variables_overridden": [
        (
            "INT101",
            "asks model.trainable_weights, which holds them; model.trainable_variables, which does not, is overridden.",
        ),
        ("INT101", "or override trainable_weights"),
    ],
    "part_of_a_backbone_unfrozen_late": [
        ("INT401", "base.trainable is False, and 4 variables below it are trainable all the same"),
        ("INT103", "4 of 6 trainable variables are not trained by the step, those of layer base"),
        ("INT103", "while layers base/block2 and base/block3 were frozen"),
        ("INT103", "the step trains head (2); the flags now ask for base (4 of 8) and head (2)"),
    ],
    "whole_backbone_unfrozen_late": [
        ("INT103", "24 of 26 trainable variables are not trained by the step, those of layer base"),
        ("INT103", "while layer base was frozen"),
        ("INT103", "the step trains head (2); the flags now ask for base (24) and head (2)"),
    ],
}


@pytest.mark.parametrize("name", TOLD)
def test_situation_is_told(name: str) -> None:
    from tests.rules.situations import look_at

    report = look_at(name)
    texts: dict[str, str] = {}
    for finding in report.findings:
        notes = " ".join(step.note for step in finding.evidence)
        texts[finding.rule] = f"{finding.message}\n{finding.cause}\n{finding.fix}\n{notes}"
    assert set(texts) == {rule for rule, _ in TOLD[name]}, str(report)
    for rule, phrase in TOLD[name]:
        assert phrase in texts[rule]


def test_each_situation_is_asked_for() -> None:
    from tests.rules.situations import SITUATIONS

    assert set(SITUATIONS) == set(TOLD)
