from __future__ import annotations

import contextlib
import importlib
import os
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governor.bus.library import ENVIRONMENT_VARIABLE, NAME, Message, Variant, counts_bytes, marshal, unmarshal
from governor.bus.transport import frame_size, socket_paths
from governor.bus.wire import check_message, end_of_type
from governor.model.errors import ActuationError, Unsupported

MESSAGE = Message(
    destination="a.b",
    path="/a",
    interface="a.b",
    member="C",
    signature="a(sv)asb(bas)ayt",
    body=[[["x", Variant("a{sv}", {"k": Variant("t", 3)})]], ["a"], True, [False, ["x"]], b"abc", 5],
    serial=3,
)
WELL_FORMED = marshal(MESSAGE)


def test_a_well_formed_message_passes_and_comes_back() -> None:
    check_message(WELL_FORMED)
    assert unmarshal(WELL_FORMED).member == "C"
    assert frame_size(WELL_FORMED[:16]) == len(WELL_FORMED)


class CountsCharacters:
    """The body that dbus-fast 1.84, which is Debian 12's, gave to a text."""

    def __init__(self, *, body: list[str], **_fields: object) -> None:
        [self.text] = body

    def _marshall(self, _negotiate_unix_fd: bool) -> bytes:
        return struct.pack("<I", len(self.text)) + self.text.encode() + b"\0"


def test_a_library_that_counts_characters_is_told_from_one_that_counts_bytes() -> None:
    assert all(counts_bytes(importlib.import_module(name)) for name in ("dbus_fast", "dbus_next"))
    assert not counts_bytes(SimpleNamespace(Message=CountsCharacters))


def test_a_big_endian_header_is_read() -> None:
    assert frame_size(struct.pack(">4B3I", ord("B"), 1, 0, 1, 8, 1, 5)) == 16 + 8 + 8


@settings(max_examples=2000)
@given(
    st.lists(st.tuples(st.integers(0, len(WELL_FORMED) - 1), st.integers(0, 255)), min_size=1, max_size=5),
    st.integers(0, 20),
)
def test_no_mutation_crashes_what_passes_the_check(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(WELL_FORMED[: len(WELL_FORMED) - cut])
    for position, byte in changes:
        data[position % len(data)] = byte
    with contextlib.suppress(ValueError):
        check_message(bytes(data))
        unmarshal(bytes(data))


@pytest.mark.parametrize("data", [WELL_FORMED[:-1], WELL_FORMED + b"\0", b"l", b"", WELL_FORMED[:16]])
def test_a_message_of_another_length_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"message|bytes"):
        check_message(data)


@pytest.mark.parametrize("signature", ["", "(", "()", "a", "a{s}", "a{vs}", "{ss}", "z", "a" * 40 + "s", "(s", "a{ss"])
def test_what_is_no_type_is_refused(signature: str) -> None:
    with pytest.raises(ValueError, match="signature"):
        end_of_type(signature, 0)


@pytest.mark.parametrize("signature", ["s", "a{sv}", "a(iayu)", "(bas)", "a{oa{sa{sv}}}", "aaas", "v"])
def test_what_is_one_type_is_taken_whole(signature: str) -> None:
    assert end_of_type(signature + "u", 0) == len(signature)


def test_a_mismatch_is_told_apart_from_text_that_cannot_be_sent() -> None:
    with pytest.raises(TypeError):
        marshal(Message(path="/a", member="B", signature="a{st}", body=[{"x": True}], serial=1))
    with pytest.raises(TypeError):
        marshal(Message(path="/a", member="B", signature="v", body=[Variant("t", True)], serial=1))
    with pytest.raises(ActuationError):
        marshal(Message(path="/a", member="B", signature="a{sas}", body=[{"x": ["a\0"]}], serial=1))


def test_addresses_name_sockets() -> None:
    assert socket_paths("unix:path=/run/a%20b,guid=12;unix:abstract=c") == ["/run/a b", "\0c"]
    with pytest.raises(Unsupported, match="names no Unix socket"):
        socket_paths("tcp:host=example.org,port=1")


@pytest.mark.parametrize(
    ("forced", "expected"), [("dbus_next", "dbus_next"), ("dbus_fast", "dbus_fast"), ("", "dbus_fast")]
)
def test_the_environment_forces_a_library(forced: str, expected: str) -> None:
    program = "from governor.bus.library import NAME; print(NAME)"
    environment = {**os.environ, ENVIRONMENT_VARIABLE: forced}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    )
    assert output.stdout.strip() == expected


def test_another_library_is_refused_by_name() -> None:
    environment = {**os.environ, ENVIRONMENT_VARIABLE: "os"}
    command = [sys.executable, "-c", "import governor.bus.library"]
    failed = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
    assert "must be dbus_next or dbus_fast" in failed.stderr


@pytest.mark.skipif(ENVIRONMENT_VARIABLE in os.environ, reason="this is already the run with a forced library")
@pytest.mark.timeout(600)
def test_all_of_this_holds_on_the_other_library() -> None:
    other = {"dbus_next": "dbus_fast", "dbus_fast": "dbus_next"}[NAME]
    suites = ["tests/bus", *(str(module) for module in Path("tests/service").glob("test_service_api*.py"))]
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *suites]
    run = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, ENVIRONMENT_VARIABLE: other},
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:]
    assert " passed" in run.stdout
