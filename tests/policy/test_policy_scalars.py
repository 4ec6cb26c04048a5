"""Values of keys that are no directives: what each shape takes, how it is spelled, and where its bounds are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.model.values import INFINITY
from governor.policy.keys import Key, Shape
from governor.policy.scalars import SCALARS, parse, spell

MIB = 1024 * 1024


def key(shape: Shape, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()) -> Key:
    return Key(name="it", shape=shape, summary="", example="EXAMPLE", low=low, high=high, choices=choices)


@pytest.mark.parametrize(
    ("shape", "raw", "value"),
    [
        (Shape.RATIO, 0.05, 0.05),
        (Shape.RATIO, 1, 1.0),
        (Shape.RATIO, "5%", 0.05),
        (Shape.RATIO, "0.01%", 0.0001),
        (Shape.RATIO, "150%", 1.5),
        (Shape.RATIO, "5‰", 0.005),
        (Shape.TIMESPAN, "1min 5s", 65_000_000),
        (Shape.TIMESPAN, 2, 2_000_000),
        (Shape.TIMESPAN, "infinity", INFINITY),
        (Shape.BYTES, "64M", 64 * MIB),
        (Shape.BYTES, 4096, 4096),
        (Shape.COUNT, 0, 0),
        (Shape.COUNT, -3, -3),
        (Shape.COUNT, INFINITY - 1, INFINITY - 1),
        (Shape.BOOLEAN, True, True),
        (Shape.BOOLEAN, "no", False),
    ],
)
def test_a_value_is_read_to_the_unit_that_its_shape_says(shape: Shape, raw: Any, value: Any) -> None:
    found = parse(key(shape), raw)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("shape", "raw", "reason"),
    [
        (Shape.RATIO, True, "is a boolean"),
        (Shape.RATIO, "0.05", "is not a percentage"),
        (Shape.RATIO, "-5%", "is not a percentage"),
        (Shape.RATIO, float("nan"), "is no finite number"),
        (Shape.RATIO, float("inf"), "is no finite number"),
        (Shape.RATIO, 10**400, "is more than 64 bits hold"),
        (Shape.RATIO, -(10**400), "is more than 64 bits hold"),
        (Shape.RATIO, [0.5], "is an array"),
        (Shape.TIMESPAN, 1.5, "is a float"),
        (Shape.TIMESPAN, True, "is a boolean"),
        (Shape.TIMESPAN, -1, "is not a time span"),
        (Shape.BYTES, "50%", "is not a size"),
        (Shape.BYTES, "infinity", "is not a size"),
        (Shape.BYTES, -1, "is not a size"),
        (Shape.BYTES, 1.0, "is a float"),
        (Shape.COUNT, "3", "is a string"),
        (Shape.COUNT, 3.0, "is a float"),
        (Shape.COUNT, True, "is a boolean"),
        (Shape.COUNT, INFINITY, "is more than 64 bits hold"),
        (Shape.COUNT, -INFINITY, "is more than 64 bits hold"),
        (Shape.BOOLEAN, 1, "is a whole number"),
        (Shape.BOOLEAN, "maybe", "is neither yes nor no"),
    ],
)
def test_what_is_not_taken_is_told_with_what_is(shape: Shape, raw: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^it: ") as caught:
        parse(key(shape), raw)
    assert f" {reason}; it takes {SCALARS[shape].accepted}, as in EXAMPLE" in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "low", "high", "inside", "outside", "words"),
    [
        (Shape.RATIO, 0.01, 0.5, [0.01, 0.5, "1%", "50%"], [0.0099, "50.01%", 0], " of 0.01 to 0.5"),
        (Shape.RATIO, 0.0, None, [0, 5.0], [-0.1], " of at least 0"),
        (Shape.TIMESPAN, None, 60_000_000, [0, 60], ["60001ms", "infinity"], " of at most 1min"),
        (Shape.TIMESPAN, 1_000_000, None, ["1s", "infinity"], ["999999us"], " of at least 1s"),
        (Shape.BYTES, MIB, 1024 * MIB, ["1M", "1G", MIB], [MIB - 1, "1025M"], " of 1M to 1G"),
        (Shape.TIMESPAN, 1e6, 86_400e6, [1, "1d"], ["86401s"], " of 1s to 1d"),
        (Shape.COUNT, 1.0, None, [1], [0], " of at least 1"),
        (Shape.COUNT, 0, 10_000, [0, 10_000], [-1, 10_001], " of 0 to 10000"),
    ],
)
def test_both_bounds_are_inclusive_and_are_told(
    shape: Shape, low: float | None, high: float | None, inside: list[Any], outside: list[Any], words: str
) -> None:
    bounded = key(shape, low, high)
    for raw in inside:
        parse(bounded, raw)
    for raw in outside:
        with pytest.raises(ValueError, match="is out of range") as caught:
            parse(bounded, raw)
        assert SCALARS[shape].accepted + words + ", as in" in str(caught.value)


def test_a_choice_is_one_of_its_words() -> None:
    tone = key(Shape.CHOICE, choices=("low", "high"))
    assert parse(tone, "high") == "high"
    for raw, message in (
        ("hihg", 'it: "hihg" is not "low" or "high"; did you mean "high"?'),
        ("x", 'it: "x" is not "low" or "high"'),
        (3, 'it: 3 is not "low" or "high"'),
        (["low"], 'it: […] is not "low" or "high"'),
    ):
        with pytest.raises(ValueError) as caught:
            parse(tone, raw)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shape", "value", "text"),
    [
        (Shape.RATIO, 0.05, "0.05"),
        (Shape.RATIO, 2.0, "2"),
        (Shape.TIMESPAN, 90_000_000, '"1min 30s"'),
        (Shape.BYTES, 64 * MIB, '"64M"'),
        (Shape.COUNT, 3, "3"),
        (Shape.BOOLEAN, False, "false"),
        (Shape.CHOICE, "low", '"low"'),
    ],
)
def test_a_value_is_spelled_as_in_toml(shape: Shape, value: Any, text: str) -> None:
    assert spell(key(shape), value) == text


@given(st.sampled_from([Shape.TIMESPAN, Shape.BYTES]), st.integers(0, 2**53))
def test_what_is_spelled_is_read_again(shape: Shape, value: int) -> None:
    assert parse(key(shape), spell(key(shape), value).strip('"')) == value
