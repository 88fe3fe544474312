"""What a trial reads of a fix's text, and nothing else."""

from __future__ import annotations

import pytest

from introspect.remedies import (
    BuildOptimizer,
    Compile,
    Held,
    Hold,
    Recompile,
    RenewOptimizer,
    Retrace,
    RetraceBelow,
    SetFlag,
    read_actions,
    read_remedies,
)

READ = [
    ("introspect.recompile(model)", (Recompile(),)),
    ("introspect.recompile(model)  # after the flags are set", (Recompile(),)),
    ("model.compile(optimizer=..., loss=..., metrics=...)", (Compile(renew=True),)),
    ("model.compile(optimizer=model.optimizer, loss=...)", (Compile(renew=False),)),
    ("model.trainable = True", (SetFlag((), True),)),
    ('model.get_layer("a").get_layer("b").trainable = False', (SetFlag(("a", "b"), False),)),
    (
        "model.get_layer('a').blocks[0].parts['b c'].trainable = True",
        (SetFlag(("a", Held("blocks"), Held(0, item=True), Held("parts"), Held("b c", item=True)), True),),
    ),
    ("layer.trainable = False  # a/b", (SetFlag((), False, path="a/b"),)),
    (
        'for name in ("a", "b"):\n    model.get_layer(name).trainable = False\nintrospect.recompile(model)',
        (SetFlag(("a",), False), SetFlag(("b",), False), Recompile()),
    ),
    (
        "with model.distribute_strategy.scope():\n    optimizer = type(optimizer).from_config(optimizer.get_config())\n"
        "    optimizer.build(model.trainable_variables)",
        (RenewOptimizer(), BuildOptimizer()),
    ),
    ("# in __init__\nself.held = [a, b]", (Hold(),)),
    ("self.net = self.helper.net\nself.net_2 = self.helpers[0].net", (Hold(), Hold())),
    ("self.held = [self.helpers[0].net, self.helpers['b'].net]", (Hold(),)),
    ("self.a = a\nself.b = b", (Hold(), Hold())),
    ("self.loose = loose", (Hold(),)),
    ("train = tf.function(train.python_function)  # a new one", (Retrace(),)),
    (
        "a.inner = tf.function(a.inner.python_function)  # which the step calls\na.step = tf.function(a.step.python_function)",
        (RetraceBelow("a.inner"), Retrace()),
    ),
    (
        "optimizer = type(optimizer).from_config(optimizer.get_config())\nstep = tf.function(step.python_function)",
        (RenewOptimizer(), Retrace()),
    ),
]

NOT_READ = [
    "",
    "# prose alone",
    "Nothing, where this is meant.",
    "import os",
    "os.remove('x')",
    "introspect.recompile(other)",
    "model.compile('adam')",
    "model.compile(optimizer=..., loss='mse')",
    "model.optimizer.learning_rate = 1e-3",
    "model.get_layer('a').trainable = 1",
    "model.get_layer('a').other = False",
    "model.get_layer(f()).trainable = False",
    "model.get_layer('a', 1).trainable = False",
    "layer.trainable = False",
    "a = tf.function(b.python_function)",
    "a = b = tf.function(a.python_function)",
    "for name in names:\n    model.get_layer(name).trainable = False",
    "for name in ('a',):\n    print(name)\n    model.get_layer(name).trainable = False",
    "introspect.recompile(model)\nself.w = 1",
    "self.w = self.add_weight(shape=...)",
    "self.block = keras.layers.Dense(...)",
    "self.held = [a, f()]",
    "self.net = other.net",
    "self.net = self.helper",
    "self.held = []",
    "self.a = b",
    "model.blocks[f()].trainable = False",
    "model.blocks[True].trainable = False",
    "other.blocks.trainable = False",
    "model.blocks().trainable = False",
    "with open('x'):\n    introspect.recompile(model)",
    "with model.distribute_strategy.scope() as a, b:\n    introspect.recompile(model)",
    "optimizer.build(model.weights)",
    "layer.a = keras.layers.Dense(...)",
]


@pytest.mark.parametrize(("code", "actions"), READ)
def test_code_that_a_trial_can_do(code, actions):
    assert read_actions(code) == actions


@pytest.mark.parametrize("code", NOT_READ)
def test_other_code_is_not_done(code):
    assert read_actions(code) is None


def test_a_name_is_a_name_whatever_it_holds():
    code = "layer.trainable = False  # x']; import os; ['"
    assert read_actions(code) == (SetFlag((), False, path="x']; import os; ['"),)
    (action,) = read_actions('model.get_layer("a\\"); f(\\"").trainable = False')
    assert action == SetFlag(('a"); f("',), False)


def test_further_remedies_begin_with_or():
    fix = "# write it with ops\ny = f(h)\n# or, where it is meant, freeze:\nmodel.trainable = False\n# or, so: model.compile()"
    first, second = read_remedies(fix)
    assert first.actions is None
    assert second.actions == (SetFlag((), False),)


def test_prose_that_comes_first_is_a_change_of_code():
    prose, code = read_remedies("# give it a loss\n# or, freeze it:\nmodel.trainable = False")
    assert prose.actions is None
    assert code.actions
