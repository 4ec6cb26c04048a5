"""Numbers, sizes, percentages and time spans: the same answers as systemd's own parsers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.model.values import INFINITY, Share
from governor.policy import units


@pytest.mark.parametrize(
    ("text", "usec"),
    [
        ("20ms", 20_000),
        ("1min 5s", 65_000_000),
        ("1min5s", 65_000_000),
        ("90", 90_000_000),
        ("1.5h", 5_400_000_000),
        ("12.34 .56", 12_900_000),
        (".5s", 500_000),
        ("5 5", 10_000_000),
        ("5s.5", 5_500_000),
        (" infinity ", INFINITY),
        ("1M", 2_629_800_000_000),
        ("1y 3w", 33_372_000_000_000),
        ("1µs", 1),
        ("1μs", 1),
        ("0.5us", 0),
        ("0", 0),
    ],
)
def test_time_spans_are_what_systemd_analyze_timespan_says(text: str, usec: int) -> None:
    assert units.timespan(text) == usec


@pytest.mark.parametrize(
    "text", ["", "5mins", "5s foo", "12.34.56", "3.", "3.s", "-5", "infinity5", "1..5", "9" * 30, "s", "\u0661"]
)
def test_time_spans_that_systemd_refuses_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.timespan(text)


@pytest.mark.parametrize(
    ("text", "base", "value"),
    [
        ("512M", 1024, 512 << 20),
        ("512M", 1000, 512_000_000),
        ("1.5G", 1024, 3 << 29),
        ("1G 512M", 1024, 3 << 29),
        ("10.M", 1024, 10 << 20),
        ("10B", 1024, 10),
        ("1 K", 1000, 1000),
        ("0", 1024, 0),
    ],
)
def test_sizes_are_what_parse_size_says(text: str, base: int, value: int) -> None:
    assert units.size(text, base) == value


@pytest.mark.parametrize("text", ["", "M", "512MB", "512MiB", "512m", "-1", "1M 1G", "1 2", "16E", "1,5G", "0x10"])
def test_sizes_that_systemd_refuses_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.size(text, units.IEC)


@pytest.mark.parametrize(
    ("text", "parts"), [("60%", 6000), ("60.5%", 6050), ("60.25%", 6025), ("605‰", 6050), ("60.5‰", 605), ("7‱", 7)]
)
def test_percentages_have_the_places_that_systemd_keeps(text: str, parts: int) -> None:
    assert units.permyriad(text) == parts


@pytest.mark.parametrize("text", ["60", "60.123%", "%", "60.%", "6.05‰", "6.5‱", "-1%", "1e2%"])
def test_other_percentages_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.permyriad(text)


def test_a_share_ends_at_the_whole() -> None:
    assert units.share("100%") == Share(10_000)
    with pytest.raises(ValueError, match="above 100%"):
        units.share("100.01%")


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("On", True), ("T", True), ("1", True), ("off", False), ("n", False)]
)
def test_booleans_are_systemds(word: str, value: bool) -> None:
    assert units.boolean(word) is value


def test_words_that_are_no_boolean_are_refused() -> None:
    with pytest.raises(ValueError, match="neither yes nor no"):
        units.boolean("maybe")


@given(st.integers(0, INFINITY - 1))
def test_time_spans_survive_being_spelled(usec: int) -> None:
    assert units.timespan(units.spell_timespan(usec)) == usec


@given(st.integers(0, INFINITY - 1), st.sampled_from([units.IEC, units.SI]))
def test_sizes_survive_being_spelled(value: int, base: int) -> None:
    assert units.size(units.spell_size(value, base), base) == value


@given(st.integers(0, 10**9))
def test_percentages_survive_being_spelled(parts: int) -> None:
    assert units.permyriad(units.spell_permyriad(parts)) == parts


def test_spellings_read_as_a_person_would_write_them() -> None:
    assert units.spell_timespan(65_000_000) == "1min 5s"
    assert units.spell_size(536_870_912, units.IEC) == "512M"
    assert units.spell_size(20_000_000, units.SI) == "20M"
    assert units.spell_permyriad(6050) == "60.5%"
    assert units.spell_permyriad(15_000) == "150%"
