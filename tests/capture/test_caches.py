"""Stand-ins for the caches of functools answer as these do, and leave them alone."""

from __future__ import annotations

import functools
import random
from typing import Any

import pytest

from introspect.capture.trace.caches import StandIn, read_entries, stand_in
from introspect.capture.trace.detach import COPY_MARK
from introspect.capture.trace.snapshot import take_snapshot


class Owner:
    """Stands for a model."""


def make(**settings: Any) -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    def work(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, tuple(kwargs.items())))
        return [len(calls)]

    return functools.lru_cache(**settings)(work), calls


SETTINGS = (
    {"maxsize": None},
    {"maxsize": 2},
    {"maxsize": 0},
    {"maxsize": 3, "typed": True},
    {"maxsize": None, "typed": True},
)
ASKED: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...] = (
    ((), {}),
    ((1,), {}),
    ((1.0,), {}),
    (("a",), {}),
    ((1, 2), {}),
    ((1,), {"b": 2}),
    ((), {"a": 1, "b": 2}),
    ((), {"b": 2, "a": 1}),
    ((True,), {}),
)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_as_the_cache_itself(settings: dict[str, Any], seed: int) -> None:
    """After the same questions, the same further ones run the function at the same places."""
    draw = random.Random(seed)
    cache, calls = make(**settings)
    twin, further = make(**settings)
    for args, kwargs in draw.choices(ASKED, k=20):
        assert cache(*args, **kwargs) == twin(*args, **kwargs)
    stand, before = StandIn(twin), twin.cache_info()
    for args, kwargs in draw.choices(ASKED, k=40):
        assert stand(*args, **kwargs) == cache(*args, **kwargs)
    assert further == calls
    assert twin.cache_info() == before


def test_a_copy_is_taken_for_its_original() -> None:
    cache, calls = make(maxsize=None)
    original, copy = Owner(), Owner()
    vars(copy)[COPY_MARK] = original
    found = cache(original, part=original)
    assert StandIn(cache)(copy, part=copy) is found
    assert len(calls) == 1


def test_entries_come_the_oldest_first() -> None:
    cache, _ = make(maxsize=2)
    for number in (1, 2, 1, 3):
        cache(number)
    assert list(read_entries(cache)[0]) == [1, 3]


def test_all_places_are_put_back() -> None:
    """Attributes, containers, closures and members of classes."""
    cache, _ = make()
    local, _ = make()

    class Holder(Owner):
        member = cache
        shown = property(cache)
        static = staticmethod(cache)

        def ask(self) -> Any:
            return local()

    holder = Holder()
    vars(holder).update(one=cache, several=[cache], named={"a": cache})
    cell = Holder.ask.__closure__[0]  # type: ignore[index]
    snapshot = take_snapshot([holder])
    before = dict(vars(Holder))
    with stand_in(snapshot):
        stands = (holder.one, holder.several[0], holder.named["a"], Holder.static, vars(Holder)["shown"].fget)  # type: ignore[attr-defined]
        assert {type(stand) for stand in (*stands, cell.cell_contents)} == {StandIn}
        assert len({id(stand) for stand in stands}) == 1
        assert holder.shown == holder.member()
        assert holder.ask() == [1]
    assert dict(vars(Holder)) == before
    assert vars(holder) == {"one": cache, "several": [cache], "named": {"a": cache}}
    assert cell.cell_contents is local
    assert cache.cache_info().misses == local.cache_info().misses == 0
