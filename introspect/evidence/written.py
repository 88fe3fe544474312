"""Every write of a trace, with its kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from introspect.capture.record import VariableNature
from introspect.evidence.owners import Owners
from introspect.evidence.resources import Place
from introspect.evidence.scan import GRADIENT, NOBODY, NORM, ForwardScan
from introspect.evidence.spread import NOWHERE, Spread, find_spread
from introspect.evidence.watching import may_be_watched
from introspect.evidence.writes import Branches, Dependence, WriteFact, classify_write, counts_on, is_sparse
from introspect.records import WriteKind


class Writes:
    """Answers for one trace, whose scan has run."""

    def __init__(
        self,
        variables: Sequence[VariableNature],
        tracked: frozenset[int],
        scan: ForwardScan,
        reads: dict[int, list[int]],
        forward: frozenset[int],
        branches: Branches,
    ) -> None:
        """`tracked`: variables that optimizers were built with; `reads`: nodes that read a variable, by variable index."""
        self.variables = variables
        self.tracked = tracked
        self.scan = scan
        self.reads = reads
        self.forward = forward
        self.branches = branches

    def find(self) -> dict[int, list[WriteFact]]:
        """By variable index, in the order of the program."""
        frames = self.scan.flow.frame[[node for node, _ in self.scan.writes]].tolist()
        found: dict[int, list[WriteFact]] = {}
        for (node, place), frame in zip(self.scan.writes, frames, strict=True):
            found.setdefault(place[0], []).append(self._tell(node, place, frame))
        for facts in found.values():
            if len(facts) > 1:
                facts.sort(key=lambda fact: fact.node)
        return found

    @cached_property
    def spread(self) -> Spread:
        """Looked for where a number made of gradients, and no gradient, is written to what a tape watches."""
        scan, variables = self.scan, self.variables
        numbers = (place[0] for (_, place), (tags, _, _) in scan.writes.items() if tags & (NORM | GRADIENT) == NORM)
        asked = any(variables[index].watched for index in numbers)
        return find_spread(scan) if asked else NOWHERE

    @cached_property
    def _owners(self) -> Owners:
        return Owners(self.scan, self.forward, self.spread.ports)

    @cached_property
    def _handed_on(self) -> dict[Place, int]:
        """By place, the first write of a number that counts as a gradient there."""
        found: dict[Place, int] = {}
        for node, place in sorted(self.scan.writes) if self.spread.writes else ():
            if node in self.spread.writes and self._takes(place[0]):
                found.setdefault(place, node)
        return found

    def _takes(self, index: int) -> bool:
        """Whether a number made of gradients is one for the variable: what trains, and its slots; no loss scale or loss weight."""
        variable = self.variables[index]
        return variable.watched if index in self.forward else bool(variable.shape)

    def _tell(self, node: int, place: Place, frame: int) -> WriteFact:
        branches, access = self.branches, self.scan.resources.accesses[node]
        depends = self._weigh(node, place)
        return WriteFact(
            node=node,
            place=place,
            effect=access.effect,
            kind="initial" if frame in branches.initial else self._classify(place[0], depends),
            conditional=frame in branches.initial or frame in branches.chosen,
            sparse=bool(depends.tags & GRADIENT) and is_sparse(access),
            first=access.places[0] == place,
        )

    def _weigh(self, node: int, place: Place) -> Dependence:
        scan, index, access = self.scan, place[0], self.scan.resources.accesses[node]
        tags, origin, after = scan.writes[node, place]
        first = self._handed_on.get(place, node)
        if place in self._handed_on and node in self.spread.writes:
            tags |= GRADIENT
        carries = bool(tags & GRADIENT)
        own = carries and access.places[0] == place and index in self.forward
        added = access.effect != "assign" or index in self.tracked
        owner = self._owners.find(access, origin) if own else origin
        unwatched = not (added or self.variables[index].watched)
        if owner == index and own and unwatched and not may_be_watched(scan, self.reads.get(index, ())):
            owner = NOBODY  # its gradients are those of others
        return Dependence(
            tags=tags,
            origin=origin,
            after_gradient=after or first < node,
            owner=owner,
            counts=origin == index and not carries and counts_on(scan.flow, scan.edges, access, scan.origin),
            added=added,
        )

    def _classify(self, index: int, depends: Dependence) -> WriteKind:
        return classify_write(self.variables[index], index, depends, index in self.forward)
