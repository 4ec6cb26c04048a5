"""Globs: what fnmatch says, in a time that a hostile name cannot stretch."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.policy.globs import any_matches, complaint, is_literal

SMALL = st.text(st.sampled_from("ab*?[]!-"), max_size=12)


@given(SMALL, st.text(st.sampled_from("abc\n"), max_size=12))
def test_it_matches_what_fnmatch_matches(pattern: str, text: str) -> None:
    assert any_matches([pattern], text) is fnmatchcase(text, pattern)


def test_case_and_the_whole_name_count() -> None:
    assert any_matches(["web-*"], "web-1")
    assert any_matches(["db", "web-?"], "web-1")
    assert not any_matches(["web"], "web-1")
    assert not any_matches(["Web-*"], "web-1")
    assert not any_matches([], "")
    assert any_matches(["*/postgres:*"], "registry/team/postgres:16")


@pytest.mark.parametrize(
    "pattern", ["web-*", "*a*a*a*a*a*b", "a*" * 20 + "b", "?" * 64 + "*b", "*[ab]*[ab]*c", "*aaaab"]
)
def test_a_name_of_64_kib_is_quick(pattern: str) -> None:
    started = time.process_time()
    assert not any_matches([pattern], "a" * 65_536)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("pattern", ["web-[ab", "[", "[]", "[!]", "a[b", "[a]["])
def test_a_bracket_that_is_never_closed_is_told(pattern: str) -> None:
    assert "never closed" in complaint(pattern)


def test_other_bad_globs_are_told() -> None:
    assert "downwards" in complaint("[z-a]")
    assert "4096" in complaint("a" * 5000)


@pytest.mark.parametrize("pattern", ["a", "*", "[[]", "[]]", "[!a-z]*", "[a-]", "é?", "]"])
def test_good_globs_are_left_alone(pattern: str) -> None:
    assert complaint(pattern) == ""


def test_a_literal_has_no_special_characters() -> None:
    assert is_literal("dev-disk.service")
    assert not any(is_literal(pattern) for pattern in ("a*", "a?", "[a]"))
