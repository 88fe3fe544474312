"""Attributes that are others for a while are as before, also after an error."""

from __future__ import annotations

import pytest

from introspect.capture.trace.replaced import replaced


class Base:
    inherited = 1


class Owner(Base):
    own: int | None = None

    @staticmethod
    def call() -> str:
        return "real"


CHANGES = [(Owner, "own", 2), (Owner, "inherited", 3), (Owner, "call", len)]


def fail_inside() -> None:
    with replaced(CHANGES):
        raise KeyError


def test_each_attribute_is_put_back() -> None:
    before = dict(vars(Owner))
    with replaced(CHANGES):
        assert (Owner.own, Owner.inherited, Owner.call) == (2, 3, len)
    assert dict(vars(Owner)) == before
    assert Owner.inherited == 1


def test_so_it_is_after_an_error() -> None:
    before = dict(vars(Owner))
    with pytest.raises(KeyError):
        fail_inside()
    assert dict(vars(Owner)) == before


def test_a_name_that_is_set_twice_is_as_at_first() -> None:
    with replaced([(Owner, "own", 2), (Owner, "own", 3)]):
        assert Owner.own == 3
    assert Owner.own is None


def test_what_was_set_is_put_back_where_a_later_one_cannot_be() -> None:
    with pytest.raises(TypeError), replaced([(Owner, "own", 2), (int, "own", 2)]):
        pass
    assert Owner.own is None
