"""Compile a model again as it was compiled, with new optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from introspect.capture.framework import KerasName, list_model_variables, require_model
from introspect.capture.model import require_compiled
from introspect.capture.oddities import sets_flags
from introspect.capture.renewal.carry import assign_state, match_state, read_places, start_averages
from introspect.capture.renewal.renew import Renewal, name_optimizer
from introspect.capture.slots import is_built, open_optimizer, unwrap_optimizer
from introspect.capture.trace.tracing import has_custom_step
from introspect.capture.trace.waiting import pass_on
from introspect.capture.variables import unwrap_variable
from introspect.errors import IntrospectError, VersionError


def recompile_model(model: Any, keep_state: bool) -> None:
    """Compile again with the settings as they are; nothing of the model changes before all that can fail is done.

    Raises:
        IntrospectError: as `introspect.recompile` says.
    """
    keras = require_model(model)
    require_compiled(model, keras)
    settings = read_settings(model, keras)
    compile_model = find_compile(model, keras)
    renewal = Renewal(keep_legacy=keep_state)
    with model.distribute_strategy.scope():
        swaps = renew_optimizers(model, renewal)
        if keep_state:
            carry_optimizers(model, keras, renewal)
    started, stopping = model.train_function is not None, getattr(model, "stop_training", False)
    for name, value in swaps.items():
        if name != "optimizer":
            setattr(model, name, value)
    compile_model(model, optimizer=swaps.get("optimizer"), **settings)
    model.stop_training = stopping
    if started:
        # Inside of `fit` nobody makes the function again, and its next batch would call None.
        made = model.make_train_function()
        model.train_function = made if keras == "tf_keras" else model.train_function


def find_compile(model: Any, keras: KerasName) -> Callable[..., None]:
    """Keras' own `compile`, past one of the user's, whose arguments nobody has kept."""
    for base in type(model).__mro__:
        if base.__module__.partition(".")[0] == keras and "compile" in vars(base):
            return vars(base)["compile"]  # type: ignore[no-any-return]
    raise VersionError(f"{type(model).__name__} has no compile() of {keras}")


def read_settings(model: Any, keras: KerasName) -> dict[str, Any]:
    """What `compile` was given, optimizer aside, with what was set on the model since.

    Raises:
        IntrospectError: the model was not compiled by Keras' own `compile`.
    """
    config = getattr(getattr(model, "_compile_config", None), "config", None)
    if config is None:
        raise IntrospectError(
            f"model {model.name!r} keeps no compile settings (compiled by other means); call model.compile(...) yourself"
        )
    settings = {name: config.get(name) for name in ("loss", "loss_weights", "metrics", "weighted_metrics")}
    settings["run_eagerly"] = vars(model).get("_run_eagerly", config.get("run_eagerly"))
    settings["jit_compile"] = vars(model).get("_jit_compile", config.get("jit_compile"))
    if keras == "tf_keras":
        return settings | read_tf_settings(model, config)
    settings["jit_compile"] = False if settings["jit_compile"] is None else settings["jit_compile"]
    return settings | {"steps_per_execution": model.steps_per_execution, "auto_scale_loss": False}


def read_tf_settings(model: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Settings that tf_keras keeps in attributes of its own. Seen on tf_keras 2.19 to 2.21."""
    steps = vars(model).get("_steps_per_execution")
    automatic = bool(vars(model).get("_autotune_steps_per_execution"))
    metrics = getattr(model, "compiled_metrics", None)
    return {
        "steps_per_execution": "auto" if automatic else None if steps is None else int(steps.numpy()),
        "pss_evaluation_shards": vars(model).get("_pss_evaluation_shards", 0),
        "from_serialized": bool(getattr(metrics, "_from_serialized", False)),
    }


def renew_optimizers(model: Any, renewal: Renewal) -> dict[str, Any]:
    """New values of the model's attributes that hold optimizers, by name."""
    books = ("_self_", "_tracker")  # TensorFlow's own record of attributes
    found = {name: value for name, value in vars(model).items() if not name.startswith(books) and open_optimizer(value)}
    return {name: renewal.renew(value) for name, value in found.items()}


def carry_optimizers(model: Any, keras: KerasName, renewal: Renewal) -> None:
    """Build the new optimizers where the old ones were built, and give them the state of those."""
    inner = {id(part) for old, _ in renewal.pairs for part in open_optimizer(old)[1:]}
    for old, new in renewal.pairs:
        if id(old) not in inner and any(is_built(part) for part in open_optimizer(old)):
            build_optimizer(new, choose_tracked(model, old, renewal), keras)
    require_built(renewal.held)
    match = match_state(renewal.pairs)
    assign_state(match)
    for old, new in renewal.pairs:
        pass_on(old, new)
    if keras == "keras":
        start_averages(renewal.pairs)


def require_built(held: Sequence[tuple[Any, Any]]) -> None:
    """Refuse where an optimizer of the user's builds those that it holds in its step alone: there is nothing to carry state to.

    Raises:
        IntrospectError: one of them.
    """
    for old, new in held:
        if has_slots(old) and not has_slots(new):
            raise IntrospectError(
                f"optimizer {name_optimizer(old)} is built by the step of the one that holds it, so that its state cannot be "
                "kept; pass keep_optimizer_state=False, or compile with a new optimizer"
            )


def has_slots(optimizer: Any) -> bool:
    """Whether the optimizer knows its variables, or a legacy one keeps slots."""
    return is_built(optimizer) or bool(vars(optimizer).get("_slots"))


def choose_tracked(model: Any, old: Any, renewal: Renewal) -> list[Any]:
    """The variables to build a new optimizer for, in the order in which Keras pairs averages with them.

    A `train_step` of the user's may give an optimizer any of them, and a `call` that sets flags makes others train: then all
    that it had, and those that nobody had.
    Slots for variables that it never meets cost memory and change nothing.
    """
    trained = list(model.trainable_variables)
    if not has_custom_step(model) and old is model.optimizer and not sets_flags(model._flatten_layers()):
        return trained
    mine = list_keys(old)
    others = {key for other, _ in renewal.pairs for key in list_keys(other)} - mine
    wanted = [v for v in trained if key_of(v) in mine or key_of(v) not in others]
    kept = {key_of(v) for v in wanted}
    return wanted + [v for v in list_model_variables(model) if key_of(v) in mine - kept]


def list_keys(optimizer: Any) -> set[Any]:
    return {key for part in open_optimizer(optimizer) if is_built(part) for key in read_places(part)}


def key_of(variable: Any) -> Any:
    """Keras' key of a variable among an optimizer's."""
    return getattr(unwrap_variable(variable), "_unique_id", None)


def build_optimizer(optimizer: Any, variables: list[Any], keras: KerasName) -> None:
    """Build as the first step of `fit` would, with the names that it would give."""
    if keras == "keras":
        import keras as keras_module

        with keras_module.name_scope(optimizer.name, caller=optimizer):
            optimizer.build(variables)
        return
    import tensorflow as tf

    with tf.name_scope(unwrap_optimizer(optimizer).name):
        optimizer.build(variables)
