"""The cache keeps what was used last, within its weight."""

from __future__ import annotations

import pytest
from introspect_tb.cache import Cache


def test_what_was_used_last_is_kept() -> None:
    cache: Cache[str] = Cache(6, len)
    made: list[str] = []

    def get(text: str) -> str:
        def make() -> str:
            made.append(text)
            return text

        return cache.get(text, make)

    for text in ("aa", "bb", "cc", "aa", "dd", "aa", "bb"):
        assert get(text) == text
    assert made == ["aa", "bb", "cc", "dd", "bb"]


def test_a_value_heavier_than_the_limit_is_made_each_time() -> None:
    cache: Cache[str] = Cache(3, len)
    cache.get("x", lambda: "ab")
    assert cache.get("big", lambda: "abcdef") == "abcdef"
    assert cache.get("big", lambda: "again!") == "again!"
    assert cache.get("x", lambda: "other") == "ab"


def test_a_failure_is_not_kept() -> None:
    cache: Cache[str] = Cache(3, len)
    with pytest.raises(ZeroDivisionError):
        cache.get("x", lambda: str(1 / 0))
    assert cache.get("x", lambda: "ok") == "ok"
