"""Capturing observes only: nothing of the model, of Keras or of the random state differs before and after."""

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model  # noqa: E402
from introspect.capture.trace.guard import preserve  # noqa: E402
from introspect.errors import IntrospectError, StepError  # noqa: E402
from tests.capture import zoo  # noqa: E402
from tests.capture.observing import observe  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = (keras, tf_keras)
MOMENTS = ("built", "built with data", "fitted", "fitted with data", "fitted with other data", "frozen", "recompiled")
QUICK = ("built with data", "frozen")


def situations() -> list[Any]:
    """Every kind of model at every moment; all but a few of them take long together."""
    found = []
    for build in zoo.BUILDERS:
        for moment in MOMENTS:
            marks = () if build in (zoo.plain, zoo.adversarial) or moment in QUICK else (pytest.mark.slow,)
            found.append(pytest.param(build, moment, marks=marks, id=f"{build.__name__}-{moment}"))
    return found


def reach_moment(model: Any, data: tuple[Any, Any], moment: str) -> Any:
    """Bring the model to a moment of its life; gives back what is passed as `data=`."""
    x, y = data
    if not moment.startswith("built"):
        model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    if moment == "frozen":
        first = next(layer for layer in model.layers if layer.weights)
        first.trainable = False
        return (x, y)
    if moment == "recompiled":
        settings = getattr(model, "g", None)
        model.compile(model.g, model.d) if settings is not None else model.compile(model.optimizer, model.loss)
    if moment.endswith("other data"):
        pair = (x, tuple(y) if isinstance(y, list) else y)
        return tf.data.Dataset.from_tensor_slices(pair).batch(3, drop_remainder=True)
    return (x, y) if moment.endswith("data") else None


@pytest.mark.parametrize(("build", "moment"), situations())
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_nothing_changes(package: Any, build: zoo.Builder, moment: str) -> None:
    package.utils.set_random_seed(7)
    model, data = build(package)
    given = reach_moment(model, data, moment)
    before = observe(model)
    try:
        capture = capture_model(model, given)
    except IntrospectError as error:
        pytest.fail(f"not captured: {error}")
    after = observe(model)
    assert [name for name in before if before[name] != after[name]] == []
    assert sum(trace.current for trace in capture.traces) == 1


@pytest.mark.parametrize("build", [zoo.plain, zoo.averaged, zoo.recurrent, zoo.adversarial], ids=lambda b: b.__name__)
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_training_goes_on_to_the_bit(package: Any, build: zoo.Builder) -> None:
    def train(look: bool) -> list[bytes]:
        package.backend.clear_session()
        package.utils.set_random_seed(11)
        model, (x, y) = build(package)
        for part in (0, 1):
            if look:
                capture_model(model)
                capture_model(model, (x, y))
            model.fit(x, y, batch_size=4, epochs=1 + part, verbose=0)
        if look:
            capture_model(model, (x[:3], [part[:3] for part in y] if isinstance(y, list) else y[:3]))
        model.fit(x, y, batch_size=4, epochs=1, verbose=0)
        return [variable.numpy().tobytes() for variable in model.variables]

    assert train(look=True) == train(look=False)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_nothing_changes_when_the_step_cannot_be_traced(package: Any) -> None:
    model = package.Sequential([package.layers.Input((4,)), package.layers.Dense(3, name="d")], name="m")
    model.compile("adam", "mse")
    x, _ = zoo.arrays()
    before = observe(model)
    with pytest.raises(StepError, match="m"):
        capture_model(model, (x, zoo.arrays(outputs=(7, 5))[1]))
    assert observe(model) == before


def test_a_user_function_keeps_its_own_traces() -> None:
    @tf.function
    def double(x: Any) -> Any:
        return x * 2.0

    double(tf.zeros(3))
    with preserve(double) as kept:
        double(tf.zeros((2, 2)))
        assert len(double._function_cache) == 2
    assert len(double._function_cache) == 1
    assert len(kept) == 1
    double(tf.zeros((2, 2)))
    assert len(double._function_cache) == 2


def test_a_function_first_called_inside_is_as_never_called() -> None:
    @tf.function
    def triple(x: Any) -> Any:
        return x * 3.0

    with preserve(triple):
        assert float(triple(tf.constant(2.0))) == 6.0
    assert triple._created_variables is None
    assert len(triple._function_cache or ()) == 0
    assert float(triple(tf.constant(2.0))) == 6.0
    assert triple.experimental_get_tracing_count() == 1


COUNTED = 0
"""Written by a step below while it is traced."""


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_globals_and_closures_that_a_step_writes(package: Any) -> None:
    local = 0
    notes: list[str] = []

    class Counting(package.Sequential):  # type: ignore[misc,name-defined]
        def train_step(self, data: Any) -> Any:
            nonlocal local
            global COUNTED, NEVER_SET_BEFORE
            local += 1
            COUNTED += 1
            NEVER_SET_BEFORE = True
            notes.append("traced")
            return super().train_step(data)

    model = Counting([package.layers.Input((4,)), package.layers.Dense(1, name="out")], name="m")
    model.compile("sgd", "mse")
    assert capture_model(model).model.custom_train_step
    assert (local, COUNTED, notes, "NEVER_SET_BEFORE" in globals()) == (0, 0, [], False)
    model.fit(*zoo.arrays(), verbose=0)
    assert (local > 0, COUNTED > 0, notes != []) == (True, True, True)
    globals().update(COUNTED=0)
    globals().pop("NEVER_SET_BEFORE")
