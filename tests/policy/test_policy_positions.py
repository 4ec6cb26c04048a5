"""Places of keys and values in every form that TOML has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.policy.positions import Path, Positions, Span

TEXT = '''\
# a comment with [brackets] and "quotes"
top = 1 # = 2
"quoted.key" = 'single # no comment'
dotted . "in ner".last = """
two lines [ { # still a string
"" quotes \\""" end""""
date = 1979-05-27 07:32:00
[table]   # header
list = [ "one", # comment with ]
  'two',
\t[ 3, { deep = "x" } ],
]
inline = { a = 1, b.c = "}", d = [ ] }
long = \'\'\'
' '' ]\'\'\'
[ table . "sub table" ]
key = true
[[array]]
name = "first"
[[array]]
name = "second"
[array.below]
x = -1.5e3
'''


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("top",), (2, 1, 3), (2, 7, 1)),
        (("quoted.key",), (3, 1, 12), (3, 16, 21)),
        (("dotted",), (4, 1, 6), (4, 1, 6)),
        (("dotted", "in ner", "last"), (4, 19, 4), (4, 26, 3)),
        (("date",), (7, 1, 4), (7, 8, 19)),
        (("table",), (8, 2, 5), (8, 2, 5)),
        (("table", "list", 0), (9, 1, 4), (9, 10, 5)),
        (("table", "list", 1), (9, 1, 4), (10, 3, 5)),
        (("table", "list", 2, 1, "deep"), (11, 9, 4), (11, 16, 3)),
        (("table", "inline", "b", "c"), (13, 21, 1), (13, 25, 3)),
        (("table", "inline", "d"), (13, 30, 1), (13, 34, 3)),
        (("table", "long"), (14, 1, 4), (14, 8, 3)),
        (("table", "sub table", "key"), (17, 1, 3), (17, 7, 4)),
        (("array", 0, "name"), (19, 1, 4), (19, 8, 7)),
        (("array", 1, "name"), (21, 1, 4), (21, 8, 8)),
        (("array", 1, "below", "x"), (23, 1, 1), (23, 5, 6)),
    ],
)
def test_keys_and_values_are_found(path: Path, key: tuple[int, int, int], value: tuple[int, int, int]) -> None:
    positions = Positions.of(TEXT)
    assert positions.key(path) == Span(*key)
    assert positions.value(path) == Span(*value)


def test_what_is_not_there_is_placed_with_what_is_around_it() -> None:
    positions = Positions.of(TEXT)
    assert positions.key(("table", "missing")) == Span(8, 2, 5)
    assert positions.value(("table", "list", 9)) == positions.value(("table", "list"))
    assert positions.key(("nowhere", "at", "all")) == Span(1, 1, 1)
    assert Positions.of("").key(("a",)) == Span(1, 1, 1)


def test_a_width_ends_with_its_line() -> None:
    assert Positions.of("a = [\n1,\n2]\n").value(("a",)) == Span(1, 5, 1)


@pytest.mark.parametrize(
    "text", ["[", "a", "a =", "a = [1", "a = {b", '"', "[a]b\n", "=", "a = ,", '"\\q" = 1', "a.=1"]
)
def test_what_is_no_toml_does_not_raise(text: str) -> None:
    assert Positions.of(text).key(("a",)).line == 1


def test_nesting_without_end_is_left_out() -> None:
    positions = Positions.of("a = 1\nb = " + "[" * 5000 + "\n")
    assert positions.key(("a",)) == Span(1, 1, 1)
    assert positions.value(("b", 0, 0)) == Span(2, 1, 1)


def test_a_long_dotted_key_takes_no_more_room_than_a_short_one() -> None:
    positions = Positions.of(".".join("k" * 100_000) + " = 1\nafter = 2\n")
    assert positions.key(("after",)) == Span(2, 1, 5)
    assert max(len(path) for path in positions.keys) <= 16


@given(st.text(st.sampled_from("ab=.,[]{}\"'#\\\n \t1é"), max_size=60))
def test_any_text_gives_places_inside_it(text: str) -> None:
    positions = Positions.of(text)
    lines = text.split("\n")
    for path in [*positions.keys, *positions.values, ("none",)]:
        for span in (positions.key(path), positions.value(path)):
            assert 1 <= span.line <= len(lines)
            assert 1 <= span.column <= len(lines[span.line - 1]) + 1
            assert span.width >= 1
