"""The journal exporter against a real datagram socket, and, where journalctl is, against its reader."""

from __future__ import annotations

import array
import fcntl
import io
import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.exporters import messages
from governor.exporters.journal import Journal, sentence
from governor.exporters.native import encode
from governor.model.container import Container
from governor.model.control import Notify
from governor.model.policy import Mode
from governor.model.step import Step, StepKind
from governor.model.text import printable
from governor.model.tick import Change, Outcome, Tick

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOG = Path(__file__).parents[2] / "units/governor.catalog"
WEB = Container(
    runtime="docker",
    namespace="",
    id="a" * 64,
    name="web-1",
    unit="docker-a.scope",
    cgroup="/system.slice/docker-a.scope",
    inode=7,
)
CHANGE = Change(
    container=WEB,
    property="MemoryHigh",
    old=1 << 30,
    new=1 << 29,
    source="policy:50-web",
    reason="50-web.toml:4",
    outcome=Outcome.APPLIED,
)


class Journald:
    """The receiving end: a socket like journald's."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(0.2)

    def receive(self) -> dict[str, str] | None:
        """Return the next entry's fields; None where there is none."""
        try:
            data, rights, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        except TimeoutError:
            return None
        if not data:
            descriptor = array.array("i", rights[0][2])[0]
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == seals
            with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as memory:
                data = bytes(memory)
            os.close(descriptor)
        return decode(data)

    def close(self) -> None:
        self._socket.close()


def decode(data: bytes) -> dict[str, str]:
    """Return an entry's fields, read as journald reads them."""
    fields: dict[str, str] = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = struct.unpack("<Q", rest[:8])[0]
            value, rest = rest[8 : 8 + length], rest[8 + length + 1 :]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name)
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
        data = rest
    return fields


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    receiver = Journald(tmp_path / "socket")
    yield receiver
    receiver.close()


def _tick(*changes: Change, containers: tuple[Container, ...] = (WEB,)) -> Tick:
    return Tick(started_usec=0, duration_usec=0, containers=containers, changes=changes)


def test_a_change_is_one_entry_in_words_and_fields(journald: Journald) -> None:
    journal = Journal(journald.path)
    journal.publish(_tick(CHANGE))
    entry = journald.receive()
    assert entry == {
        "MESSAGE": "web-1: MemoryHigh 1G → 512M (policy 50-web: 50-web.toml:4)",
        "MESSAGE_ID": messages.LIMIT_APPLIED.id,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "governor",
        "OBJECT_SYSTEMD_UNIT": "docker-a.scope",
        "GOVERNOR_CONTAINER": "web-1",
        "GOVERNOR_CONTAINER_KEY": WEB.key,
        "GOVERNOR_CGROUP": WEB.cgroup,
        "GOVERNOR_PROPERTY": "MemoryHigh",
        "GOVERNOR_OLD": "1G",
        "GOVERNOR_NEW": "512M",
        "GOVERNOR_OUTCOME": "applied",
        "GOVERNOR_SOURCE": "policy:50-web",
        "GOVERNOR_POLICY": "50-web",
        "GOVERNOR_REASON": "50-web.toml:4",
    }
    assert journald.receive() is None
    journal.close()


def test_a_rootless_container_is_its_users_unit(journald: Journald) -> None:
    journal = Journal(journald.path)
    journal.publish(_tick(replace(CHANGE, container=replace(WEB, user=1000), source="user:1000")))
    entry = journald.receive()
    assert entry is not None
    assert entry["OBJECT_SYSTEMD_USER_UNIT"] == "docker-a.scope"
    assert "OBJECT_SYSTEMD_UNIT" not in entry
    assert "GOVERNOR_POLICY" not in entry
    journal.close()


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_has_its_own_id_and_words(outcome: Outcome, journald: Journald) -> None:
    journal = Journal(journald.path)
    journal.publish(_tick(replace(CHANGE, outcome=outcome, detail="it is so")))
    entry = journald.receive()
    assert entry is not None
    assert entry["MESSAGE_ID"] == messages.OF_OUTCOME[outcome].id
    assert entry["MESSAGE"].endswith(": it is so")
    others = [sentence(replace(CHANGE, outcome=other)) for other in Outcome if other is not outcome]
    assert sentence(replace(CHANGE, outcome=outcome)) not in others
    journal.close()


def test_what_is_tried_each_tick_is_said_once(journald: Journald) -> None:
    journal = Journal(journald.path)
    failed = replace(CHANGE, outcome=Outcome.FAILED, detail="EBUSY")
    for _ in range(3):
        journal.publish(_tick(failed))
    assert journald.receive() is not None
    assert journald.receive() is None
    journal.publish(_tick(replace(failed, detail="EIO")))
    assert journald.receive() is not None
    journal.publish(_tick(CHANGE))
    journal.publish(_tick(CHANGE))
    assert [journald.receive() is not None for _ in range(3)] == [True, True, False]
    journal.publish(_tick(replace(failed, detail="EIO")))
    assert journald.receive() is not None
    journal.close()


def test_nothing_is_remembered_of_containers_that_are_gone(journald: Journald) -> None:
    journal = Journal(journald.path)
    failed = replace(CHANGE, outcome=Outcome.FAILED)
    journal.publish(_tick(failed, containers=()))
    journal.publish(_tick(failed, containers=()))
    assert [journald.receive() is not None for _ in range(3)] == [True, True, False]
    journal.close()


def test_hostile_names_neither_forge_fields_nor_steer_terminals(journald: Journald) -> None:
    name = "evil\nMESSAGE=forged\x1b[2J\u202e\x9b" + "x" * 65536
    journal = Journal(journald.path)
    journal.publish(_tick(replace(CHANGE, container=replace(WEB, name=name), reason=name, detail=name)))
    entry = journald.receive()
    assert entry is not None
    assert entry["MESSAGE"].startswith("evil\\x0aMESSAGE=forged\\x1b[2J\\u202e\\x9b")
    assert all(value.isprintable() for value in entry.values())
    assert max(map(len, entry.values())) <= 4000
    journal.close()


def test_a_large_entry_travels_as_a_sealed_memfd(journald: Journald) -> None:
    journal = Journal(journald.path)
    text = "\n".join(f"{line}: {'x' * 3000}" for line in range(200))
    journal.log(messages.POLICY_REFUSED, text, GOVERNOR_FILE="a.toml")
    entry = journald.receive()
    assert entry is not None
    assert entry["MESSAGE"] == text
    assert entry["GOVERNOR_FILE"] == "a.toml"
    assert entry["PRIORITY"] == "3"
    journal.close()


def test_a_full_queue_never_waits_and_the_loss_is_reported(journald: Journald) -> None:
    journal = Journal(journald.path)
    started = time.monotonic()
    for _ in range(5000):
        journal.publish(_tick(CHANGE))
    assert time.monotonic() - started < 10
    lost = journal.lost
    assert lost > 0
    kept = 0
    while journald.receive() is not None:
        kept += 1
    assert kept + lost == 5000
    journal.publish(_tick(CHANGE))
    report, entry = journald.receive(), journald.receive()
    assert report is not None
    assert report["MESSAGE"].startswith(f"{lost} messages were lost")
    assert report["MESSAGE_ID"] == messages.MESSAGES_LOST.id
    assert entry is not None
    assert journal.lost == 0
    journal.close()


def test_without_a_journal_each_line_goes_to_the_fallback_with_its_priority(tmp_path: Path) -> None:
    stream = io.StringIO()
    journal = Journal(str(tmp_path / "none"), stream)
    journal.publish(_tick(CHANGE))
    journal.log(messages.POLICY_REFUSED, "a.toml:1:1: wrong\n  x = \x1b[1m", priority=messages.Priority.CRITICAL)
    assert stream.getvalue() == f"<6>{sentence(CHANGE)}\n<2>a.toml:1:1: wrong\n<2>  x = \\x1b[1m\n"
    assert journal.lost == 0
    journal.close()


def test_a_restart_of_journald_costs_nothing(tmp_path: Path) -> None:
    stream = io.StringIO()
    first = Journald(tmp_path / "socket")
    journal = Journal(first.path, stream)
    journal.publish(_tick(CHANGE))
    first.close()
    (tmp_path / "socket").unlink()
    journal.publish(_tick(CHANGE))
    assert stream.getvalue().count("\n") == 1
    second = Journald(tmp_path / "socket")
    journal.publish(_tick(CHANGE))
    assert second.receive() is not None
    second.close()
    journal.close()


def test_values_unknown_and_lists_are_spelled() -> None:
    assert "MemoryHigh ? → 512M" in sentence(replace(CHANGE, old=None))
    devices = replace(CHANGE, property="IOReadBandwidthMax", old=(), new=(("/dev/vda", 20_000_000),))
    assert "/dev/vda 20M" in sentence(devices)
    said = replace(CHANGE, reason="policy 50-web sets it")
    assert sentence(said).count("50-web") == 1


def test_catalog_explains_each_message_and_no_other() -> None:
    ids = re.findall(r"^-- ([0-9a-f]{32})$", CATALOG.read_text(), re.MULTILINE)
    known = [message.id for message in messages.MESSAGES.values()]
    assert sorted(ids) == sorted(known)
    assert len(set(ids)) == len(ids)
    assert set(messages.OF_OUTCOME) == set(Outcome)
    fields = set(re.findall(r"@([A-Z_]+)@", CATALOG.read_text()))
    assert fields <= {
        "GOVERNOR_PROPERTY",
        "GOVERNOR_CONTAINER",
        "GOVERNOR_OLD",
        "GOVERNOR_NEW",
        "GOVERNOR_REASON",
        "GOVERNOR_DETAIL",
    }


def test_journalctl_reads_the_catalog(tmp_path: Path) -> None:
    if shutil.which("journalctl") is None:
        pytest.skip("journalctl is not installed: the catalog was only compared with the table")
    for part in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
        (tmp_path / part).mkdir(parents=True)
    shutil.copy(CATALOG, tmp_path / "usr/lib/systemd/catalog")
    root = f"--root={tmp_path}"
    subprocess.run(["journalctl", root, "--update-catalog"], check=True, timeout=30)
    listed = subprocess.run(
        ["journalctl", root, "--list-catalog"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    for message in messages.MESSAGES.values():
        assert message.id in listed


@given(st.dictionaries(st.from_regex(r"[A-Z]{1,8}", fullmatch=True), st.text()))
def test_encoding_is_what_journald_decodes(fields: dict[str, str]) -> None:
    clean = {name: value.encode("utf-8", "replace").decode() for name, value in fields.items()}
    assert decode(encode(clean)) == clean


@given(st.text(st.characters(), max_size=300), st.integers(1, 80))
def test_printable_is_printable_and_short(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    if text.isprintable() and len(text) <= limit:
        assert shown == text


def test_a_step_of_feedback_is_one_entry_in_words_and_fields(journald: Journald) -> None:
    step = Step(
        kind=StepKind.DECIDED,
        time_usec=1,
        controller="cpu-throttle",
        inode=WEB.inode,
        reason="throttled in 42% of periods\nMESSAGE=forged",
        source="policy:50-web",
        mode=Mode.OBSERVE,
        limits={"CPUQuotaPerSecUSec": 750_000, "MemoryHigh": None},
    )
    tick = Tick(started_usec=0, duration_usec=0, containers=(WEB,), steps=((WEB, step),))
    journal = Journal(journald.path)
    journal.publish(tick)
    journal.close()
    entry = journald.receive()
    assert entry is not None
    assert entry["MESSAGE"].startswith(
        "web-1: cpu-throttle: decided: CPUQuota 75%, MemoryHigh given back: throttled in 42%"
    )
    assert entry["MESSAGE"].endswith("(observe: not written)")
    assert "\n" not in entry["MESSAGE"]
    assert (entry["GOVERNOR_CONTROLLER"], entry["GOVERNOR_STEP"], entry["GOVERNOR_POLICY"]) == (
        "cpu-throttle",
        "decided",
        "50-web",
    )
    assert entry["MESSAGE_ID"] == messages.FEEDBACK_DECIDED.id
    assert entry["OBJECT_SYSTEMD_UNIT"] == WEB.unit


@pytest.mark.parametrize("kind", StepKind)
def test_every_kind_of_step_has_a_message_of_its_own(kind: StepKind) -> None:
    assert messages.OF_STEP[kind] in messages.MESSAGES.values()
    assert [messages.OF_STEP[one] for one in StepKind].count(messages.OF_STEP[kind]) == 1


def test_a_notice_before_a_kill_is_a_warning(journald: Journald) -> None:
    step = Step(
        kind=StepKind.DECIDED,
        time_usec=1,
        controller="pressure-kill",
        inode=WEB.inode,
        reason="waits for memory",
        mode=Mode.ENFORCE,
        act=Notify(grace_usec=1),
    )
    journal = Journal(journald.path)
    journal.publish(Tick(started_usec=0, duration_usec=0, containers=(WEB,), steps=((WEB, step),)))
    journal.close()
    entry = journald.receive()
    assert entry is not None
    assert (entry["MESSAGE_ID"], entry["PRIORITY"]) == (messages.FEEDBACK_NOTICE.id, "4")
