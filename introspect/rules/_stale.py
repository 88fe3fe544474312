"""What is said of a step that was traced before a flag was changed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from introspect.capture.record import FlagWrite
from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.history import MOST_NAMES, tell_step_flags
from introspect.records import EvidenceStep
from introspect.remedies import BELOW
from introspect.rules._code import is_own_loop, write_anew, write_recompile
from introspect.rules._groups import are_several, bare_layers, group_layers, list_groups
from introspect.rules._lists import name_read
from introspect.rules._wording import agree, count, join, place

TRACED_NAME = re.compile(r"^__(?:inference|forward)_(.+)_\d+$")
"""What TensorFlow calls the traces of a function; the group is the function's own name."""

_READ = "Flags are read when a step is traced; one that is set later acts only after the next compile."


def explain_stale(facts: Facts, current: TraceEvidence, indices: Sequence[int], frozen: bool) -> str:
    """Why the step does not do what the flags of `indices` say; `frozen` is what they say now."""
    told = facts.tell_flag_history(indices, frozen=frozen)
    if told:
        return told
    if lists := name_read(facts):
        return _explain_lists(facts, current, indices, lists, frozen)
    before = f"{_name_subject(facts, indices, frozen)} {'trainable' if frozen else 'frozen'}"
    if is_own_loop(current):
        return (
            f"{current.trace.caller} was traced{name_origin(current)} while {before}. A tf.function reads flags when it is traced; one that is "
            "set later acts only in a new trace."
        )
    if facts.flags_of_compile:
        return (
            f"tf_keras trains by the flags of the last compile, and then {before}. A flag that is set later acts only "
            "after the next compile."
        )
    return f"{current.trace.caller} goes on with a step that was traced{name_origin(current)} while {before}. {_READ}"


def _explain_lists(facts: Facts, current: TraceEvidence, indices: Sequence[int], lists: str, frozen: bool) -> str:
    """The same where the model's class says by a property of its own what trains."""
    held = f"{'held' if frozen else 'did not hold'} {agree(len(indices), 'it', 'them')}"
    return (
        f"{current.trace.caller} goes on with a step that was traced{name_origin(current)} while {lists}, which the class "
        f"overrides, {held}. Such a property is asked when a step is traced; what changes later acts only after the next "
        "compile."
    )


def name_origin(current: TraceEvidence) -> str:
    """` at finetune.py:30`, where the user's call that made the trace is known."""
    return f" at {place(current.trace.location)}" if current.trace.location is not None else ""


def show_origin(facts: Facts, current: TraceEvidence, indices: Sequence[int], frozen: bool) -> tuple[EvidenceStep, ...]:
    """What was recorded of the flags, and else the user's call that made the trace."""
    recorded = facts.flag_steps(indices, frozen=frozen)
    location = current.trace.location
    if recorded or location is None or facts.flags_of_compile:
        return recorded
    return (EvidenceStep("the step was traced by this call", location=location, trace=current.trace.id),)


def _name_subject(facts: Facts, indices: Sequence[int], frozen: bool) -> str:
    """Layers and verb; the variables where their layers' own flags say otherwise."""
    owners = [facts.tree.by_path.get(facts.capture.variables[index].layer or "") for index in indices]
    if any(owner is None or owner.trainable == frozen for owner in owners):
        return agree(len(indices), "it was", "they were")
    layers = bare_layers(facts, indices)
    return f"{layers} {'were' if are_several(layers) else 'was'}"


def warn_of_retrace(facts: Facts, current: TraceEvidence, indices: Sequence[int], frozen: bool) -> str:
    """What a batch of another signature would do; nothing where the flags of compile rule."""
    if facts.flags_of_compile or current.trace.source != "compiled":
        return ""
    lead, them = "A batch of another signature would be traced anew, and", agree(len(indices), "it", "them")
    if not frozen and not optimizers_know(facts, indices):
        return f"{lead} raise “Unknown variable”: the optimizer was built without {them}."
    return f"{lead} silently {'freeze' if frozen else 'train'} {them}."


def warn_of_renewal(facts: Facts) -> str:
    """What a step compiled again would raise, where that was tried."""
    failure = facts.capture.anew_failure
    return f"Compiled again as it is, it does not train at all: {failure}." if failure else ""


def optimizers_know(facts: Facts, indices: Sequence[int]) -> bool:
    """Whether the built optimizers, together, were built with all of these variables."""
    built = [optimizer for optimizer in facts.capture.optimizers if optimizer.built]
    known = {index for optimizer in built for index in optimizer.tracks}
    return not built or known.issuperset(indices)


def mend_stale(facts: Facts, current: TraceEvidence, indices: Sequence[int]) -> str:
    """Code that makes a step of the flags of now, in which `indices` train or do not."""
    if facts.capture.anew_failure:
        return f"# mend the step itself, which cannot be traced with the flags of now; then:\n{write_recompile(facts)}"
    if not is_own_loop(current):
        return write_recompile(facts)
    return write_anew(facts, _must_renew(facts, indices))


def _must_renew(facts: Facts, indices: Sequence[int]) -> bool:
    """Whether the optimizers were built without some of these that are to train."""
    wanted = [index for index in indices if facts.capture.variables[index].expected]
    return bool(wanted) and not optimizers_know(facts, wanted)


def find_kept(facts: Facts, current: TraceEvidence, index: int) -> tuple[str, ...]:
    """The tf.functions of the user's, the outermost first, whose traces from before the step write the variable.

    A step traced now tells of those that were traced within this one, which the next trace calls again.
    """
    return current.kept_writers(index) or dict(facts.capture.kept.writers).get(index, ())


def find_kept_tape(facts: Facts, current: TraceEvidence, index: int) -> tuple[str, ...]:
    """The same of a variable that is read and does not train: those that take the gradients."""
    return current.kept_tapes(index) or dict(facts.capture.kept.tapes).get(index, ())


def explain_kept(current: TraceEvidence, kept: Sequence[str], since: str) -> str:
    """Why a step traced now does as an older one did."""
    names = [_name_function(name) for name in kept]
    loop = is_own_loop(current)
    are, it = agree(len(names), "is a tf.function", "are tf.functions"), agree(len(names), "it", "them")
    return (
        f"{join(names)} {are} of your own, with {agree(len(names), 'a cache of its own', 'caches of their own')}: the step goes "
        f"on with a trace of {it} from before the {since}, and "
        f"{f'a new trace of {current.trace.caller} calls that one again' if loop else 'compile leaves that trace where it is'}."
    )


def mend_kept(facts: Facts, current: TraceEvidence, kept: Sequence[str], indices: Sequence[int] = ()) -> str:
    """Code that lets the old trace go, and a loop's optimizer that was built without those of `indices` that are to train."""
    below = facts.capture.code.below if facts.capture.code is not None else ()
    names = [_name_function(name) for name in kept]
    found = {reached: name for trace, reached in below if (name := _name_function(trace)) in names}
    if is_own_loop(current) and set(names) <= set(found.values()):
        lines = [f"{name} = tf.function({name}.python_function)  # {BELOW}" for name in found]
        return "\n".join(part for part in (*lines, write_anew(facts, _must_renew(facts, indices))) if part)
    name = names[0]
    if name == "train_step" and not is_own_loop(current):
        return "# take @tf.function from train_step, and make the model anew: Keras compiles the step itself"
    return f"# take @tf.function from {name}, or make that function anew after each change of flags or optimizer"


def _name_function(trace: str) -> str:
    return TRACED_NAME.sub(r"\1", trace)


def compare_flags(facts: Facts, current: TraceEvidence) -> EvidenceStep:
    """What the trace trains, and what the flags of now ask for, layer by layer."""
    rows = [(index, row.expected) for index, variable, row in facts.pairs if variable.role == "model"]
    trains = [index for index, _ in rows if current.updates(index)]
    wanted = [index for index, expected in rows if expected]
    return EvidenceStep(
        note=f"the step trains {_list(facts, trains)}; the flags now ask for {_list(facts, wanted)}",
        trace=current.trace.id,
    )


def _list(facts: Facts, indices: Sequence[int]) -> str:
    groups = group_layers(facts, indices)
    if not groups:
        return "nothing" if not indices else count(len(indices), "variable")
    return list_groups(groups)


def explain_step_flags(writes: Sequence[FlagWrite]) -> str:
    """Why the flags of now do not count where the step sets them itself."""
    return (
        f"The step itself sets {tell_step_flags(writes)} whenever it is traced, and goes by that, whatever the flags say "
        "before and after. Compiling again changes nothing."
    )


def mend_step_flags(facts: Facts, current: TraceEvidence, writes: Sequence[FlagWrite], trains: bool) -> str:
    """Advice that leaves the flags saying what the step does; a step of Keras' own takes them from a `call`."""
    if not (facts.capture.model.custom_train_step or is_own_loop(current)):
        return "# set flags before compile, and leave them alone in call() and in whatever else a training step runs"
    targets = list(dict.fromkeys(write.target for write in writes))
    named = join([f"{target}.trainable = {trains}" for target in targets])
    set_last = named if len(targets) <= MOST_NAMES else f".trainable = {trains} of each"
    return (
        f"# at the end of the step, leave the flags saying what it does: {set_last}\n"
        "# or, leave the flags alone there, and take gradients for lists of variables that were made once"
    )


def show_step_flags(writes: Sequence[FlagWrite]) -> tuple[EvidenceStep, ...]:
    """Where the step sets them."""
    return tuple(
        EvidenceStep(f"the step sets {write.target}.trainable to {write.value} here", location=write.location)
        for write in writes
        if write.location is not None
    )
