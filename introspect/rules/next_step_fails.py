"""The next training step, or the end of the next `fit`, will raise.

What it does
    Traces, in isolation, the step that the next `fit` would trace, and tells what it would raise; where XLA is to compile
    it, asks TensorFlow to lower it, and tells what that refuses; and what the end of `fit` would raise, where it hands the
    weights to the optimizer, and that of its first epoch, where it asks metrics for their results.

Why it matters
    It comes after the data has been loaded and the first batch read, or when a long training has just ended.

Cause
    The data or the model changed since the last trace, so that the step must be traced again, and that fails; or the
    averages that the optimizer keeps (`use_ema`) no longer fit the variables that train, or `MultiOptimizer` does not
    know one of them; or an optimizer has its variables still to make when the step's first call is over, as one that was
    assigned later, or where that call raised. Or XLA has no kernel for an op, cannot tell how often a loop runs at most, or
    cannot reach a resource that lives on another device: in Keras 3 `jit_compile="auto"`, the default, turns XLA on where a GPU is visible. Or replicas add up their gradients
    in a function that a `tf.cond` or a loop calls, where TensorFlow does not number that: Keras 3 calls the step there
    with `steps_per_execution`, and so does a tf.function whose first call makes an optimizer's variables among replicas.
    Or, with Keras 3, the step never updates the metrics that `compile` was given, and an epoch ends by asking for them;
    with tf_keras, it never calls a Sequential that the model holds, and `fit` ends by asking for all weights.

Fix
    Mend what the message names; after a change of flags, compile again with a new optimizer instance:
    `introspect.recompile(model)`. What XLA refuses runs without it: `compile(jit_compile=False)`. Among replicas take
    `steps_per_execution=1`, and build the optimizers of a loop of your own in the strategy's scope before it.

Example
    model.compile(keras.optimizers.SGD(use_ema=True), "mse"); model.fit(x, y)
    model.get_layer("hid").trainable = False
    model.fit(x, y)            # at its end: the averages of hid do not fit the variables of out
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.capture.record import StepFailure
from introspect.evidence.clashes import find_clash
from introspect.evidence.unfed import find_unfed
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop, write_recompile
from introspect.rules._groups import shorten
from introspect.rules._places import name_op

_XLA = 'XLA compiles the step: jit_compile=True, or in Keras 3 its default "auto" where a GPU is visible.'
_UNFED = "TensorFlow hands some values to a tf.function at each call, and not to one that is called in a branch of tf.cond or in a loop."
_NUMBERED = (
    "Replicas add up their gradients, and TensorFlow numbers that at each call of a tf.function, but not of one that is called in "
    "a branch of tf.cond or in a loop."
)
_CAUSES = {
    "xla": f"{_XLA} It does not know all ops, and none whose shapes are not fixed before the step runs.",
    "xla-open-loop": f"{_XLA} It sets aside at once what the gradient of a loop needs, and must know how often the loop runs "
    "at most.",
    "xla-elsewhere": f"{_XLA} It makes one program for one device, which reaches no variable, table or writer on another; "
    "TensorFlow keeps tables, writers and tf.Variable of int32 on the host.",
    "retrace": "The data or the model changed since the last trace, so that the step must be traced again, and that fails.",
    "late-optimizer": "The optimizer has its variables still to make, and the step's first call is over, be it one that raised; "
    "TensorFlow lets a step make variables in its first call alone.",
    "late-variables": "The step makes variables, as it did before; TensorFlow lets it make them in its first call alone.",
    "fit-end": "What the optimizer keeps (averages, with use_ema; which of several has which variable) belongs to the "
    "variables that trained when it was built; it does not fit those that train now.",
    "no-average": "With use_ema, fit ends by putting each weight's average in its place, and Keras keeps none of weights that "
    "their gradient overwrites, such as the scales of float8.",
    "eager-float8": "The layers are quantized to float8, and the step runs eagerly (run_eagerly): Keras' custom gradient of their "
    "scales works in a graph alone.",
    "eager-int8": "A layer is quantized to int8 under a policy of mixed precision, and the step runs eagerly (run_eagerly): there "
    "Keras' custom gradient comes in the type of the layer's scale, and no longer fits the values that went in.",
    "unfed-steps": f"{_NUMBERED} With steps_per_execution Keras 3 calls the step in one.",
    "unfed-first-call": f"{_NUMBERED} A first call that makes variables among replicas runs in one.",
    "unfed": _UNFED,
    "unbuilt-metrics": "compile was given metrics, and the step never updates them: Keras 3 builds them when they are updated "
    "first, and asks them for their results when an epoch of fit ends.",
    "unbuilt-layer": "The model holds a part that no step calls and that was never built, so that it has no weights yet, and "
    "tf_keras asks for all of them when fit ends.",
    "unused-optimizer": "The step does not use the optimizer that the model was compiled with, and fit asks it all the same "
    "when it ends.",
}
_SCOPE = "with model.distribute_strategy.scope():"
_FIXES = {
    "xla": "{without}",
    "xla-open-loop": "tf.while_loop(..., maximum_iterations=n), or {without}",
    "xla-elsewhere": "{without}; or make the variable where the step runs (a counter in tf.int64)",
    "retrace": "# mend what the message names, then compile again",
    "late-optimizer": "{late}",
    "late-variables": "# make them once, before the step is called for the first time",
    "fit-end": "{recompile}",
    "no-average": "model.optimizer.use_ema = False",
    "eager-float8": "model.compile(optimizer=model.optimizer, loss=..., run_eagerly=False)",
    "eager-int8": "model.compile(optimizer=model.optimizer, loss=..., run_eagerly=False)",
    "unfed-steps": f"{_SCOPE}\n    model.compile(optimizer=model.optimizer, loss=..., steps_per_execution=1)",
    "unfed-first-call": f"{_SCOPE}  # before the first call\n    {{optimizer}}.build(model.trainable_variables)",
    "unfed": "# call strategy.run, or what adds up the gradients, outside of tf.cond",
    "unbuilt-metrics": "# in {updater}, update them:\nreturn {owner}.compute_metrics(x, y, y_pred, sample_weight)\n"
    "# or, keep them out of model.metrics: @property def metrics(self) that lists your own\n"
    "# or, make the model anew, and compile it without metrics= (compile keeps those that it was given before)",
    "unbuilt-layer": "# give it an Input, build(input_shape) or call it once before fit; or take it out of the model",
    "unused-optimizer": "model.optimizer = {keras}.optimizers.SGD()  # one that keeps nothing: the step uses none",
}


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    failure = facts.capture.failure or _find_eager(facts) or _find_clash(facts) or _find_unfed(facts)
    if failure is None or failure.kind == "unknown-variable":
        return
    own_loop = facts.current is not None and is_own_loop(facts.current)
    # Under a strategy fit asks compute_metrics itself.
    own = facts.capture.model.custom_train_step and not facts.is_replicated
    updater, owner = ("train_step", "self") if own else ("compute_metrics", "super()")
    written = {
        "{updater}": updater,
        "{owner}": owner,
        "{keras}": facts.capture.model.keras,
        "{optimizer}": _name_optimizer(facts),
        "{recompile}": write_recompile(facts),
        "{late}": _build_before(facts) if own_loop else "introspect.recompile(model)",
        "{without}": f"{'tf.function' if own_loop else 'compile'}(jit_compile=False)",
    }
    fix = _FIXES[failure.kind]
    for mark, code in written.items():
        fix = fix.replace(mark, code)
    yield RULE.finding(
        variables=facts.paths_of(failure.variables),
        layers=facts.layers_of(failure.variables),
        message=f"The next {'call of the step' if own_loop else 'fit'} raises {_tell_when(failure)}: {failure.message.rstrip('.')}.",
        cause=_CAUSES[failure.kind],
        fix=fix,
        evidence=(EvidenceStep(note="raised here", location=failure.location),) if failure.location else (),
    )


def _build_before(facts: Facts) -> str:
    """Code that makes the variables of a loop's optimizer where that is allowed."""
    return f"{_name_optimizer(facts)}.build(model.trainable_variables)  # before the step is called with it"


def _name_optimizer(facts: Facts) -> str:
    """Python for the optimizer, as the user's loop names it."""
    code = facts.capture.code
    return (code.optimizer if code is not None else None) or "optimizer"


def _find_eager(facts: Facts) -> StepFailure | None:
    """A float8 layer through which a gradient goes in an eager step, trained or frozen: a tape asks all that it has seen."""
    current, own = facts.current, facts.capture.model.custom_train_step
    if current is None or current.trace.source != "eager" or not facts.capture.eager_error:
        return None
    overwritten = [index for index, one in enumerate(facts.capture.variables) if one.overwrite]
    scales = tuple(i for i in overwritten if current.updates(i) or (not own and facts.way_to_loss(i).open))
    return StepFailure("eager-float8", facts.capture.eager_error, scales) if scales else None


def _find_clash(facts: Facts) -> StepFailure | None:
    """An int8 layer behind an op that multiplies its gradient with values, or takes it for a slope."""
    current = facts.current
    if current is None:
        return None
    for path, error in facts.capture.eager_clashes:
        nodes = [node for node in range(current.flow.nodes) if facts.layer_of_node(current, node) == path]
        node = find_clash(current, nodes, [i for i, one in enumerate(facts.capture.variables) if one.watched])
        if node >= 0:
            named = f"the gradient of layer {shorten(facts, path)} does not fit {name_op(facts, current, node)}"
            return StepFailure("eager-int8", f"{error.partition(':')[0]}: {named}")
    return None


def _find_unfed(facts: Facts) -> StepFailure | None:
    """A sum among replicas that stands in a branch. An eager step has none: Python goes one way."""
    current = facts.current
    node = -1 if current is None or current.trace.source == "eager" else find_unfed(current)
    if current is None or node < 0:
        return None
    said = f"InvalidArgumentError: You must feed a value for placeholder tensor, to {name_op(facts, current, node)}"
    if any(write.kind == "initial" for writes in current.writes.values() for write in writes):
        return StepFailure("unfed-first-call", said)
    several = not is_own_loop(current) and facts.capture.model.steps_per_execution > 1
    return StepFailure("unfed-steps" if several else "unfed", said)


def _tell_when(failure: StepFailure) -> str:
    if failure.kind.startswith("eager-"):
        return "in its backward pass"
    if failure.kind.startswith("unfed"):
        return "when it runs"
    if failure.kind == "unbuilt-metrics":
        return "at the end of its first epoch"
    if failure.at_end:
        return "at its end"
    return "when XLA compiles the step" if failure.by_xla else "when the step is traced for this data"


RULE = Rule("INT202", "next-step-fails", "error", "proven", __doc__ or "", check)
