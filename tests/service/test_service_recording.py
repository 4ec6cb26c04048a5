"""Recordings: written and read again, cut off, damaged, hostile."""

from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.model.signal import CONTAINER_SIGNALS, Sample
from governor.model.values import INFINITY
from governor.service.playback import Bounds, Frame, Playback
from governor.service.recorded_container import NotARecording
from governor.service.recording import Writer, rounded
from tests.service.recordings import (
    GIB,
    HOST,
    HOST_VALUES,
    NO_LIMITS,
    POD,
    SEC,
    START_USEC,
    WALL_USEC,
    Load,
    container,
    header,
    recorded,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.values import Value


def _frames(content: bytes, bounds: Bounds | None = None) -> tuple[list[Frame], str]:
    playback = Playback(io.BytesIO(content), bounds)
    return list(playback.frames()), playback.warning


def _lines(*lines: Any, first: Any = None) -> bytes:
    head = header().as_dict() if first is None else first
    return gzip.compress("".join(json.dumps(line) + "\n" for line in (head, *lines)).encode())


def test_what_is_written_is_read() -> None:
    file = io.BytesIO()
    writer = Writer(file, header())
    one, two = container(1, "web\x1b\udcff"), POD
    limits: Mapping[str, Value] = {
        "MemoryHigh": INFINITY,
        "IOReadBandwidthMax": (("8:0", 5),),
        "AllowedCPUs": (0, 1),
        "Freeze": False,
    }
    for found in (one, two):
        writer.container(found)
        writer.limits(found.inode, limits)
    writer.originals(two.inode, {"MemoryHigh": GIB})
    for second, value in ((1, 0.123456789), (2, 0.123456789), (3, 7.0)):
        now_usec = START_USEC + second * SEC
        sample = Sample(time_usec=now_usec, values={"cpu.usage": value, "io.reads@8:0": 3, "pids.current": second})
        writer.tick(now_usec, Sample(time_usec=now_usec, values=HOST_VALUES), {one.inode: sample, two.inode: sample})
    writer.limits(two.inode, {"MemoryHigh": GIB})
    writer.gone(one.inode)
    writer.container(replace(two, name="renamed"))
    writer.tick(START_USEC + 4 * SEC, Sample(time_usec=0), {two.inode: Sample(time_usec=0)})
    writer.close()

    frames, warning = _frames(file.getvalue())
    assert warning == ""
    assert [frame.time_usec for frame in frames] == [START_USEC + second * SEC for second in (1, 2, 3, 4)]
    first, last = frames[0], frames[3]
    assert first.host.values == pytest.approx(HOST_VALUES, rel=1e-5)
    assert {inode: one.container for inode, one in first.containers.items()} == {one.inode: one, two.inode: two}
    assert first.containers[one.inode].limits == limits
    assert first.containers[one.inode].sample.values["cpu.usage"] == 0.123457
    assert frames[2].containers[two.inode].sample.values == {"cpu.usage": 7, "io.reads@8:0": 3, "pids.current": 3}
    assert frames[2].containers[two.inode].originals == {"MemoryHigh": GIB}
    assert list(last.containers) == [two.inode]
    assert last.containers[two.inode].container.name == "renamed"
    assert last.containers[two.inode].limits == {"MemoryHigh": GIB}
    assert last.containers[two.inode].sample.values == {}
    assert last.host.values == {}


def test_the_header_has_what_the_host_had() -> None:
    found = Playback(io.BytesIO(recorded(seconds=1))).header
    assert found.host == HOST
    assert (found.started_usec, found.monotonic_usec, found.hostname) == (WALL_USEC, START_USEC, "box")
    assert found.users == {1000: "ada"}


@pytest.mark.parametrize(
    ("value", "short"),
    [(0.1234567, 0.123457), (3.0, 3), (1234567.0, 1234570), (1e300, 1e300), (float("nan"), None), (-0.0, 0)],
)
def test_six_digits(value: float, short: float | None) -> None:
    assert rounded(value) == short


def test_a_file_that_ends_anywhere_is_read_up_to_there() -> None:
    whole = recorded(seconds=60)
    all_frames, _ = _frames(whole)
    for length in range(400, len(whole) - 1, 97):
        frames, warning = _frames(whole[:length])
        assert frames == all_frames[: len(frames)]
        assert "cut off" in warning


def test_a_recorder_that_is_killed_loses_seconds_not_minutes() -> None:
    file = io.BytesIO()
    writer = Writer(file, header())
    writer.container(container(1))
    for second in range(1, 61):
        now_usec = START_USEC + second * SEC
        writer.tick(now_usec, Sample(time_usec=0), {container(1).inode: Sample(time_usec=0, values=Load().values(5))})
    frames, warning = _frames(file.getvalue())  # not closed
    assert len(frames) >= 50
    assert "cut off" in warning


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"hello, this is no gzip", "no gzip"),
        (gzip.compress(b"hello\n"), "not JSON"),
        (gzip.compress(b"[1]\n"), "not what it should be"),
        (gzip.compress(b"hello"), "no line"),
        (_lines(first={"format": "other"}), "something else"),
        (_lines(first={**header().as_dict(), "version": 2}), "version 2"),
        (_lines(first={**header().as_dict(), "started": -1}), "number"),
        (_lines(first={**header().as_dict(), "started": True}), "number"),
        (_lines(first={**header().as_dict(), "host": {}}), "number"),
        (gzip.compress(b"[" * 100_000 + b"\n"), "not JSON"),
    ],
)
def test_what_is_no_recording_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(NotARecording, match=said):
        Playback(io.BytesIO(content))


ADD = {"add": 0, "container": {"inode": 5}}
KEYS = {"keys": ["cpu.usage", "memory.current"]}


@pytest.mark.parametrize(
    "line",
    [
        {"t": 0},
        {"t": -5},
        {"t": 1.5},
        {"t": 2**70},
        {"t": 5, "c": {"7": []}},
        {"t": 5, "c": {"x": []}},
        {"t": 5, "c": {"9" * 5000: []}},
        {"t": 5, "c": []},
        {"t": 5, "h": [0]},
        {"t": 5, "h": [9, 1]},
        {"t": 5, "h": [-1, 1]},
        {"t": 5, "h": [0, "1"]},
        {"t": 5, "h": [0, True]},
        {"t": 5, "h": [0, float("inf")]},
        {"t": 5, "h": [0, float("nan")]},
        {"t": 5, "h": [0, 10**400]},
        {"limits": {}, "of": 7},
        {"limits": {"MemoryHigh": -1}, "of": 0},
        {"limits": {"MemoryHigh": 2**64}, "of": 0},
        {"limits": {"MemoryHigh": "all"}, "of": 0},
        {"limits": {"IOReadBandwidthMax": [["8:0"]]}, "of": 0},
        {"limits": {"AllowedCPUs": [None]}, "of": 0},
        {"limits": [], "of": 0},
        {"add": 1},
        {"add": "1", "container": {"inode": 5}},
        {"add": 1, "container": {"inode": 0}},
        {"add": 1, "container": {"inode": 5, "name": 7}},
        {"add": 1, "container": {"inode": 5, "labels": {"a": 1}}},
        {"add": 1, "container": {"inode": 5, "pod": "x"}},
        {"add": 1, "container": {"inode": 5, "name": "x" * 100_000}},
        {"keys": "abc"},
        {"keys": [1]},
        [1],
        "text",
    ],
)
def test_a_wrong_line_ends_it_with_a_warning(line: Any) -> None:
    frames, warning = _frames(_lines(ADD, KEYS, {"t": 1}, line, {"t": 9}))
    assert len(frames) == 1
    assert "damaged" in warning


def test_what_a_newer_version_says_besides_is_left_out() -> None:
    lines = ({"keys": ["cpu.usage", "later.signal"]}, ADD, {"weather": "fine"}, {"limits": {"Later": 1}, "of": 0})
    frames, warning = _frames(_lines(*lines, {"t": 1, "c": {"0": [0, 1, 1, 2]}, "mood": 3}))
    assert warning == ""
    assert frames[0].containers[5].sample.values == {"cpu.usage": 1}
    assert frames[0].containers[5].limits == {}


def test_bombs_are_refused() -> None:
    bomb = gzip.compress(json.dumps(header().as_dict()).encode() + b"\n" + b" " * 50_000_000)
    assert len(bomb) < 100_000
    small = Bounds(unpacked_bytes=20_000_000, line_bytes=1_000_000)
    frames, warning = _frames(bomb, small)
    assert frames == []
    assert "larger" in warning
    many = _lines(*({"add": number, "container": {"inode": number + 1}} for number in range(50)), {"t": 1})
    assert "too many containers" in _frames(many, Bounds(containers=10))[1]
    keys = [signal.name for signal in CONTAINER_SIGNALS]
    full = {"t": 1, "c": {"0": [number for index in range(len(keys)) for number in (index, 1)]}}
    assert "too many values" in _frames(_lines(ADD, {"keys": keys}, full), Bounds(values=10))[1]
    assert "too many signals" in _frames(_lines({"keys": keys}), Bounds(keys=10))[1]


def test_what_is_gone_makes_room() -> None:
    lines: list[Any] = [KEYS]
    for turn in range(20):
        lines += [{"add": turn, "container": {"inode": 5}}, {"t": turn + 1, "c": {str(turn): [0, 1]}}, {"gone": turn}]
    frames, warning = _frames(_lines(*lines), Bounds(values=5, containers=2))
    assert (len(frames), warning) == (20, "")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_whatever_is_damaged_nothing_but_words_come_of_it(seed: int, count: int) -> None:
    rng, content = random.Random(seed), bytearray(_PLAIN)
    for _ in range(count):
        content[rng.randrange(len(content))] = rng.choice(b'0123456789{}[]",:-.etnl\x00\xff\n')
    packed = zlib.compress(bytes(content), wbits=31) if rng.random() < 0.8 else bytes(content)
    try:
        frames, _ = _frames(packed)
    except NotARecording:
        return
    for frame in frames:
        assert all(
            isinstance(value, float) for one in frame.containers.values() for value in one.sample.values.values()
        )


_PLAIN = gzip.decompress(recorded(seconds=5, limits={**NO_LIMITS, "IOReadBandwidthMax": (("8:0", 5),)}))


_numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(0, 2**60).map(float)
_samples = st.dictionaries(st.sampled_from([signal.name for signal in CONTAINER_SIGNALS]), _numbers, max_size=5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_samples, min_size=2, max_size=2), min_size=1, max_size=6))
def test_any_samples_come_back_to_six_digits(ticks: list[list[dict[str, float]]]) -> None:
    file = io.BytesIO()
    writer = Writer(file, header())
    made = [container(1), container(2)]
    for one in made:
        writer.container(one)
    for second, values in enumerate(ticks, 1):
        samples = {one.inode: Sample(time_usec=0, values=v) for one, v in zip(made, values, strict=True)}
        writer.tick(START_USEC + second * SEC, Sample(time_usec=0), samples)
    writer.close()
    frames, warning = _frames(file.getvalue())
    if any(abs(value) >= 2**62 and rounded(value) is not None for tick in ticks for v in tick for value in v.values()):
        return  # no counter of the kernel's, as a rate or size, is that large: such a line is refused
    assert warning == ""
    for frame, values in zip(frames, ticks, strict=True):
        for one, written in zip(made, values, strict=True):
            expected = {name: rounded(value) for name, value in written.items() if rounded(value) is not None}
            assert frame.containers[one.inode].sample.values == expected


def test_a_recording_is_small() -> None:
    """Measured: 183 bytes a container and tick where all of 60 signals are random, 15 where only its CPU is."""
    assert size_of(20, 30, busy=True) / (20 * 30) < 260
    assert size_of(20, 30, busy=False) / (20 * 30) < 40
