"""What a rule may look at: the capture, the evidence, and what follows from both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from introspect.capture.record import Capture, CapturedVariable, FlagWrite, Probe
from introspect.evidence.collect import TraceEvidence
from introspect.evidence.flowchart import draw_flow
from introspect.evidence.gradients import sources_of
from introspect.evidence.scopes import LayerScopes
from introspect.evidence.taped import Givers
from introspect.evidence.ways import Way, WayFinder
from introspect.evidence.writes import counts, is_whole
from introspect.expectation import LayerTree
from introspect.history import FlagHistory, find_history, find_step_flags
from introspect.records import EvidenceStep, Flow, Location, VariableReport

Asking = Literal["unasked", "unanswered", "dropped", "misgiven"]
"""No tape is asked; one is, and gives none; one gives a gradient that trains nothing, or another variable, where the variable
does not train."""


@dataclass(frozen=True)
class Facts:
    """What a rule may look at.

    Attributes:
        rows: one VariableReport for each variable of the model and each untracked one, without findings yet.
        row_index: the capture's variable index of each row.
        feeds: of the functions by which data sets feed the step.
    """

    capture: Capture
    evidence: tuple[TraceEvidence, ...]
    rows: tuple[VariableReport, ...]
    row_index: tuple[int, ...]
    feeds: tuple[TraceEvidence, ...] = ()

    @cached_property
    def tree(self) -> LayerTree:
        """The layer tree."""
        return LayerTree(self.capture.layers)

    @cached_property
    def current(self) -> TraceEvidence | None:
        """Evidence of the trace that the next fit uses."""
        return next((evidence for evidence in self.evidence if evidence.trace.current), None)

    @cached_property
    def handles(self) -> dict[str, str]:
        """By layer path: Python that reaches it from the layer that holds it."""
        return dict(self.capture.handles)

    @cached_property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """By layer path, of layers that several others hold: paths of those beside its parent."""
        return dict(self.capture.shared)

    @cached_property
    def tracked(self) -> frozenset[int]:
        """Variables that an optimizer knows."""
        return frozenset(index for optimizer in self.capture.optimizers for index in optimizer.tracks)

    @cached_property
    def without_gradient(self) -> tuple[int, ...]:
        """The model's variables that the flags let train and the current trace keeps still."""
        current = self.current
        if current is None:
            return ()
        return tuple(
            index
            for index, variable, row in self.pairs
            if variable.role == "model"
            and row.expected
            and current.updates(index) is False
            and not self.moves_otherwise(current, index)
            and not self.is_count(current, index)
        )

    @cached_property
    def _finder(self) -> WayFinder | None:
        asked = self.capture.asked
        told = (asked.targets, asked.silent) if asked is not None else ()
        return WayFinder(self.current, self._losses, *told) if self.current is not None else None

    @cached_property
    def _losses(self) -> frozenset[int]:
        """Where Keras 3 notes the loss, if this step does: a train_step of one's own may not."""
        written = self.current.writes if self.current is not None else {}
        variables = enumerate(self.capture.variables)
        return frozenset(
            i for i, one in variables if one.role == "metric" and one.path == "loss/total" and i in written
        )

    @cached_property
    def _ways(self) -> dict[int, Way]:
        return {}

    def way_to_loss(self, index: int) -> Way:
        """How a variable's value goes to the loss in the current trace."""
        if self._finder is None:
            return Way("unclear")
        if index not in self._ways:
            self._ways[index] = self._weigh(index, self._finder.find(index))
        return self._ways[index]

    def _weigh(self, index: int, way: Way) -> Way:
        """An open way is none where the optimizer was given the variable, and no gradient for it."""
        if way.kind in ("open", "cut") and is_whole(self.capture.variables[index]):
            return Way("whole", path=way.path)
        if not way.open:
            return way
        handed_over = self._is_handed_over(index)
        if way.suspects and self._is_wanted(index, handed_over):
            return replace(way, kind="cut", cuts=way.suspects[-1:], touched=False)
        if not way.touched and handed_over and not self._losses and self._is_summed_before(way):
            return replace(way, kind="unrecorded")
        if not way.touched and handed_over:
            return replace(way, kind="unclear" if self._losses else "unused", ends=way.path[-1:])
        return way

    def _is_handed_over(self, index: int) -> bool:
        """Whether an optimizer has the variable; one that was built before the flags of an older step says nothing of it."""
        anew = self.capture.anew
        if anew is not None and index in anew.trains:
            return False
        frozen_then = self.flags_of_compile and self.capture.variables[index].compiled is False
        return index in self.tracked and not frozen_then

    def _is_wanted(self, index: int, handed_over: bool) -> bool:
        """Whether the step wants a gradient of the variable, as far as is known: by the flags that it was made with."""
        asked, anew = self.capture.asked, self.capture.anew
        if asked is not None and index not in asked.unsure:
            return index in asked.variables and (index not in asked.given or asked.silent is not None)
        if anew is not None:
            return index not in anew.trains
        if self.flags_of_compile:
            return self.capture.variables[index].compiled is not False
        return handed_over or self.capture.model.keras == "tf_keras"

    def may_reach_loss(self, index: int) -> bool:
        """Whether the loss is made of a variable, as far as is known; what is summed after the gradients is a metric's."""
        known = self._finder.is_differentiated_with(index) if self._finder is not None else None
        if known is not None:
            return known
        if self.capture.anew is not None and index in self.capture.anew.aside:
            return False
        way = self.way_to_loss(index)
        return way.kind != "unused" and (way.touched or bool(self._losses) or self._is_summed_before(way))

    def is_unsure_of_loss(self, index: int) -> bool:
        """Whether it is not known of a variable that goes into a sum whether that is the loss."""
        if self._finder is None or self._losses or self._finder.is_differentiated_with(index) is not None:
            return False
        return self.may_reach_loss(index) and not self.way_to_loss(index).touched

    def _is_summed_before(self, way: Way) -> bool:
        return self._finder is not None and self._finder.is_summed_before(way)

    def other_cuts(self, way: Way) -> tuple[int, ...]:
        """Nodes that cut ways beside those that `way.cuts` cut."""
        return self._finder.find_others(way) if self._finder is not None else ()

    def is_differentiated(self, way: Way) -> bool:
        """Whether the step takes the derivative of what an unused value ends in."""
        return self._finder is not None and self._finder.is_differentiated(way)

    def list_shape_readers(self, way: Way) -> list[int]:
        """Ops that use the shape of a value of which nothing else is used."""
        return [] if self._finder is None else self._finder.list_shape_readers(way)

    def list_carriers(self, way: Way) -> list[int]:
        """Nodes of the forward pass by which the value of a way comes, also beyond its end."""
        return self._finder.terrain.walk(way.path) if self._finder is not None else []

    def outermost_uncalled(self, layer: str) -> str:
        """The outermost container around a layer that the current trace does not run."""
        found = layer
        for outer in self.tree.ancestors(layer):
            if outer.parent is None or self.is_called(outer.path):
                break
            found = outer.path
        return found

    @property
    def is_replicated(self) -> bool:
        """Whether the step runs under a distribution strategy."""
        return self.capture.environment.strategy is not None

    @property
    def flags_of_compile(self) -> bool:
        """Whether the flags of the last compile rule, even in a step traced now: tf_keras, unless its train step goes its own way."""
        if self.capture.model.keras != "tf_keras":
            return False
        return not self.capture.model.custom_train_step or self._follows_compile

    @cached_property
    def _follows_compile(self) -> bool:
        """Whether the step does as the flags of compile said wherever those of now say otherwise."""
        current, changed = self.current, []
        for index, variable, row in self.pairs:
            if variable.role == "model" and variable.compiled is not None and variable.compiled != row.expected:
                changed.append((index, variable.compiled))
        return current is not None and bool(changed) and all(current.updates(i) == then for i, then in changed)

    def may_differ_from_compile(self, indices: Sequence[int]) -> bool:
        """Whether the flags of these variables' layers may have been set since the last compile: tf_keras keeps what trained then."""
        owners = {path for index in indices for path in self.capture.variables[index].owners}
        weights = [v for v in self.capture.variables if v.watched and v.compiled is not None]
        beside = [v for v in weights if owners.intersection(self._list_holders(v))]
        return not beside or any(variable.compiled != variable.expected for variable in beside)

    def own_optimizer(self, indices: Sequence[int]) -> str | None:
        """Class of the user's own optimizer that was built with all of these variables; None where there is none."""
        found = (one for one in self.capture.optimizers if one.own and set(indices) <= set(one.tracks))
        return next((one.class_name for one in found), None)

    def asks_otherwise(self, index: int) -> bool:
        """Whether Keras' own train_step, traced now, goes by another list than the flags: an overridden property."""
        model, variable = self.capture.model, self.capture.variables[index]
        return not model.custom_train_step and variable.asked is not None and variable.asked != variable.expected

    def lists_untracked(self, indices: Sequence[int]) -> bool:
        """Whether an overridden `trainable_variables` holds all of these, and Keras' own train_step asks another list."""
        rows = [self.capture.variables[index] for index in indices]
        own = self.capture.model.custom_train_step
        return not own and all(row.listed and row.asked is False for row in rows)

    @cached_property
    def put_back(self) -> tuple[int, ...]:
        """Variables that the current trace trains and then gives the value back that they had before."""
        return tuple(i for i in self.without_gradient if self.current is not None and self.current.puts_back(i))

    def how_asked(self, index: int) -> Asking | None:
        """What the step does about a gradient for the variable, as its tapes were asked; None where that is not known."""
        asked = self.capture.asked
        if asked is None or index in asked.unsure:
            return None
        if index not in asked.variables:
            return "unasked"
        if index in asked.given:
            return "misgiven" if self.list_takers(index) else "dropped"
        return "unanswered"

    @cached_property
    def mixed(self) -> dict[int, frozenset[int]]:
        """Variables that the current trace updates with gradients of others and not with their own, and whose these are.

        Known of one replica: of all where introspect made the trace, else of kernels that are only multiplied.
        """
        current, asked = self.current, self.capture.asked
        if current is None or self.is_replicated:
            return {}
        updated = [index for index, _, _ in self.pairs if current.updates(index)]
        if asked is not None and asked.answers:
            givers = Givers(current, asked.answers)
            found = {index: givers.find(index) for index in updated}
        else:
            found = {index: current.partners.get(index, frozenset()) for index in updated}
        return {index: others for index, others in found.items() if others and index not in others}

    def list_takers(self, index: int) -> list[int]:
        """Variables that are updated with this one's gradient in the place of their own."""
        return [taker for taker, givers in self.mixed.items() if index in givers]

    @cached_property
    def left_out(self) -> tuple[int, ...]:
        """Variables that only a step from before their flags were set keeps still."""
        if self.current is None or not (self.current.trace.source == "compiled" or self.flags_of_compile):
            return ()
        watched = (index for index in self.without_gradient if self.capture.variables[index].watched)
        anew = self.capture.anew
        watched = (index for index in watched if index not in self.put_back)
        if self.flags_of_compile and not self.capture.own_lists:  # lists of the user's own go by more than flags
            watched = (index for index in watched if not self.capture.variables[index].compiled)
        left = (i for i in watched if not self.asks_otherwise(i) and self.way_to_loss(i).open)
        return tuple(i for i in left if anew is None or i in anew.trains or self.step_flags([i], frozen=False))

    def written_anew(self, indices: Sequence[int]) -> bool | None:
        """Whether a step traced now writes these variables too; None where it was not asked."""
        anew = self.capture.anew
        return None if anew is None else not anew.writes.isdisjoint(indices)

    def trained_anew(self, indices: Sequence[int]) -> bool | None:
        """The same of writes with their gradient."""
        anew = self.capture.anew
        return None if anew is None else not anew.trains.isdisjoint(indices)

    def name_assigner(self, current: TraceEvidence, index: int) -> str | None:
        """The layer whose own ops make a variable smaller or larger, where no optimizer was built with it."""
        if index in self.tracked:
            return None
        nodes = (write.node for write in current.writes.get(index, ()) if write.kind == "decay")
        return next((path for node in nodes if (path := self.layer_of_node(current, node)) is not None), None)

    @cached_property
    def newer(self) -> tuple[int, ...]:
        """Variables that seem to have been made after the step was traced."""
        if self.current is None or self.current.trace.source != "compiled":
            return ()
        return tuple(i for i in self.without_gradient if self.way_to_loss(i).kind == "unread" and self._is_newer(i))

    def _is_newer(self, index: int) -> bool:
        """The optimizer was built without it, and the step runs its layer without it, or should run its layer."""
        built = [optimizer for optimizer in self.capture.optimizers if optimizer.built]
        if not built or any(index in optimizer.tracks for optimizer in built):
            return False
        layer = self.tree.by_path.get(self.capture.variables[index].layer or "")
        if layer is None:
            return False
        parent = self.tree.by_path.get(layer.parent or "")
        return self.is_called(layer.path) or (parent is not None and parent.class_name == "Sequential")

    def is_called(self, layer: str) -> bool:
        """Whether the current trace holds ops in the layer's name scope, or below it."""
        return layer in self._called

    @cached_property
    def _called(self) -> frozenset[str]:
        bodies = self.current.flow.bodies if self.current is not None else ()
        found = {self.scopes.layer_of(name) for body in bodies for name in body.names}
        return frozenset(layer.path for path in found for layer in self.tree.ancestors(path))

    @staticmethod
    def moves_otherwise(current: TraceEvidence, index: int) -> bool:
        """Whether the forward pass itself, or an average of other variables, is how it changes."""
        kinds = {write.kind for write in current.writes.get(index, ())}
        return bool(kinds & {"statistics", "average", "accumulate", "other"})

    def is_count(self, current: TraceEvidence, index: int) -> bool:
        """Whether it is a whole number that the step itself writes, be it made as a variable that trains: the step's state."""
        return index in current.moved and is_whole(self.capture.variables[index])

    def in_frozen_layer(self, index: int) -> bool:
        """Whether a layer that owns the variable is frozen by its own flag."""
        owners = self.capture.variables[index].owners
        return any(not layer.trainable for path in owners if (layer := self.tree.by_path.get(path)) is not None)

    def is_state_alone(self, index: int) -> bool:
        """Whether it is state of layers that were made with `trainable=False`, hold nothing that could train and stand in none
        that is frozen: there is nothing that their flag could have been meant to freeze but what they write themselves.
        """
        owners = [layer for path in self.capture.variables[index].owners for layer in self.tree.ancestors(path)]
        frozen = [layer.path for layer in owners if not layer.trainable]
        return bool(frozen) and self.capture.made_frozen.issuperset(frozen) and self._trainable_below.isdisjoint(frozen)

    @cached_property
    def _trainable_below(self) -> frozenset[str]:
        """Paths of layers with a variable that was made to train, in them or in their layers."""
        made = (variable for _, variable, _ in self.pairs if variable.role == "model" and variable.watched)
        return frozenset(path for variable in made for path in self._list_holders(variable))

    def is_meant_frozen(self, index: int) -> bool:
        """Whether somebody froze it: its layer, or the variable of a weight that was made to train."""
        return self.in_frozen_layer(index) or self.capture.variables[index].watched

    def is_state_by_hand(self, index: int) -> bool:
        """Whether it was made with trainable=False, nobody froze it since, and no optimizer has it: no tape watches it by itself.

        A gradient that is written to it is one that its own code takes and adds.
        """
        return not self.is_meant_frozen(index) and not any(index in one.tracks for one in self.capture.optimizers)

    def optimizer_averages(self, current: TraceEvidence, index: int) -> bool:
        """Whether the average written to it is one that an optimizer keeps, not one of the model's own."""
        variables = self.capture.variables
        owned = {slot for optimizer in self.capture.optimizers for slot in optimizer.variables}
        nodes = [write.node for write in current.writes.get(index, ()) if write.kind == "average"]
        kept = (variables[place] for place in sources_of(current, nodes) & owned)
        # iterations and the learning rate are no averages: a target network may be due by their count
        return any(one.shape == variables[index].shape and not counts(one) for one in kept)

    def layers_around(self, index: int) -> list[str]:
        """Paths of the layers that hold a variable, the one directly below the model first."""
        path = self.capture.variables[index].layer
        around = [layer.path for layer in self.tree.ancestors(path)]
        if len(around) > 1:
            return around[-2::-1]
        return around or ([path] if path is not None else [])

    def indices_below(self, path: str) -> list[int]:
        """The variables that a layer and its layers hold."""
        own = (index for index, variable, _ in self.pairs if variable.role == "model")
        return [i for i in own if any(one.path == path for one in self.tree.ancestors(self.capture.variables[i].layer))]

    @cached_property
    def weights_below(self) -> Counter[str]:
        """By layer path: how many variables it and its layers hold that were made to train."""
        weights = (i for i, one in enumerate(self.capture.variables) if one.role == "model" and one.watched)
        return Counter(path for index in weights for path in self.layers_around(index))

    @cached_property
    def expected_below(self) -> Counter[str]:
        """By layer path: how many variables it and its layers hold that the flags let train, shared ones included."""
        wanted = (variable for _, variable, row in self.pairs if variable.role == "model" and row.expected)
        return Counter(path for variable in wanted for path in self._list_holders(variable))

    def _list_holders(self, variable: CapturedVariable) -> set[str]:
        owners = variable.owners or (variable.layer,)
        return {layer.path for owner in owners for layer in self.tree.ancestors(owner)}

    def locate(self, evidence: TraceEvidence, function: str, node: str) -> Location | None:
        """The user's file and line that made an op, where that is known."""
        probe = self._probe_of(evidence)
        return None if probe is None else probe.location(function, node)

    def locate_written(self, evidence: TraceEvidence, function: str, node: str) -> Location | None:
        """The same, but None where that line is only the call of a functional model that holds the op."""
        return None if self.is_replayed(evidence, function, node) else self.locate(evidence, function, node)

    def is_in_loss(self, evidence: TraceEvidence, function: str, node: str) -> bool:
        """Whether the loss that the model was compiled with made the op."""
        probe = self._probe_of(evidence)
        return probe is not None and probe.in_loss(function, node)

    def is_replayed(self, evidence: TraceEvidence, function: str, node: str) -> bool:
        """Whether a functional model ran the op from its record, of which Keras keeps no line."""
        probe = self._probe_of(evidence)
        return probe is not None and probe.replayed(function, node)

    def _probe_of(self, evidence: TraceEvidence) -> Probe | None:
        pairs = zip(self.capture.traces, self.capture.probes, strict=False)
        return next((probe for trace, probe in pairs if trace.id == evidence.trace.id), None)

    @cached_property
    def scopes(self) -> LayerScopes:
        """Name scopes of the layers."""
        return LayerScopes(self.capture.layers, self.capture.model.keras == "keras")

    def layer_of_node(self, evidence: TraceEvidence, node: int) -> str | None:
        """The layer whose name scope holds the op, or the call of the function it stands in; a help, never a proof."""
        flow = evidence.flow
        found, frame = self.scopes.layer_of(flow.name(node)), flow.frame_of(node)
        while found is None and frame.parent >= 0:
            outer = flow.frames[frame.parent]
            found, frame = self.scopes.layer_of(flow.bodies[outer.body].name_of(frame.call)), outer
        return found

    def draw(self) -> Flow:
        """The layer-level drawing of the current trace."""
        if self.current is None or self._finder is None:
            return Flow()
        cuts = frozenset(node for index in self.without_gradient for node in self.way_to_loss(index).cuts)
        current, finder, source = (
            self.current,
            self._finder,
            [(one.path, one.name, one.parent) for one in self.capture.layers],
        )
        return current.drawn.recall((cuts, source), lambda: draw_flow(current, finder, self.scopes, cuts))

    def step_flags(self, indices: Sequence[int], frozen: bool) -> tuple[FlagWrite, ...]:
        """What the step itself sets of these variables' flags, where that decides and not what they say now."""
        return find_step_flags(self.capture, self.tree, indices, frozen)

    def flag_history(self, indices: Sequence[int], frozen: bool) -> FlagHistory | None:
        """Where the flags were written and the step was made, if `trace_flags` recorded it."""
        return find_history(self.capture, self.tree, indices, frozen)

    def tell_flag_history(self, indices: Sequence[int], frozen: bool) -> str | None:
        """The same in words."""
        history = self.flag_history(indices, frozen)
        return history.tell() if history else None

    def flag_steps(self, indices: Sequence[int], frozen: bool) -> tuple[EvidenceStep, ...]:
        """The same as evidence."""
        history = self.flag_history(indices, frozen)
        return history.list_steps() if history else ()

    @cached_property
    def pairs(self) -> tuple[tuple[int, CapturedVariable, VariableReport], ...]:
        """(index in the capture, captured variable, row) of each row."""
        variables = map(self.capture.variables.__getitem__, self.row_index)
        return tuple(zip(self.row_index, variables, self.rows, strict=True))

    def layers_of(self, indices: Sequence[int]) -> tuple[str, ...]:
        """Paths of the owning layers, each once, in order."""
        owners = (self.capture.variables[index].layer for index in indices)
        return tuple(dict.fromkeys(path for path in owners if path is not None))

    def paths_of(self, indices: Sequence[int]) -> tuple[str, ...]:
        """Paths of variables."""
        return tuple(self.capture.variables[index].path for index in indices)
