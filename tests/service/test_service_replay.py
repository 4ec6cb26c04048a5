"""Replays: the real engine, controllers, parser and merge over recordings."""

from __future__ import annotations

import io
import time

import pytest

from governor.model.errors import PolicyError
from governor.model.policy import Mode, Policy
from governor.model.signal import Sample
from governor.model.step import StepKind
from governor.model.values import INFINITY
from governor.policy.parse import parse_policy
from governor.service import replay as replay_module
from governor.service.playback import Playback
from governor.service.recorded_container import NotARecording
from governor.service.recording import Writer
from governor.service.replay import Replay, simulate, simulate_remotely
from tests.service.recordings import GIB, NO_LIMITS, POD, SEC, START_USEC, WALL_USEC, Load, container, header, recorded

QUOTA = "CPUQuotaPerSecUSec"
CONTROL = '[match]\nname = "web-*"\n[limits]\nCPUQuota = "250%"\n[control.cpu-throttle]\ntarget = "5%"\n'


def _policy(text: str, name: str = "50-web") -> Policy:
    return parse_policy(text, name=name, file=f"{name}.toml", default_mode=Mode.ENFORCE)


def _replay(text: str, recording: bytes) -> Replay:
    return Replay([_policy(text)], Playback(io.BytesIO(recording)))


def test_a_controller_decides_over_a_recording_as_it_would_have() -> None:
    recording = recorded({"web-1": Load(length=300), "db": Load(2, 300)}, 300)
    steps = simulate([_policy(CONTROL)], Playback(io.BytesIO(recording)))
    assert {(step.controller, step.inode) for step in steps} == {("cpu-throttle", container(1).inode)}
    assert {step.kind for step in steps} == {StepKind.DECIDED}
    quotas = [value for step in steps if isinstance(value := step.limits[QUOTA], int)]
    assert min(quotas) < 1_000_000
    assert max(quotas) > 2_000_000
    assert all("quota" in step.reason for step in steps)
    assert steps == simulate([_policy(CONTROL)], Playback(io.BytesIO(recording)))


def test_a_controller_sees_the_limits_that_it_would_have_set() -> None:
    replay = _replay(CONTROL, recorded(seconds=300))
    inode, seen, decided = container(1).inode, set(), set()
    for moment in replay.moments():
        seen.add(moment.limits[inode][QUOTA])
        decided |= {step.limits[QUOTA] for step in moment.steps}
    assert seen == decided | {2_500_000}


def test_a_policys_limits_lie_over_what_was_there_before_the_governor() -> None:
    file = io.BytesIO()
    writer = Writer(file, header())
    one = container(1)
    writer.container(one)
    writer.limits(one.inode, {**NO_LIMITS, "MemoryHigh": GIB, "TasksMax": 10})
    writer.originals(one.inode, {"MemoryHigh": INFINITY})
    writer.tick(START_USEC + SEC, Sample(time_usec=0), {})
    writer.close()
    policy = '[match]\nname = "web-*"\n[limits]\nMemoryMax = "50%"\nIOReadBandwidthMax = "/dev/vda 1M"\n'
    (moment,) = _replay(policy, file.getvalue()).moments()
    held = moment.limits[one.inode]
    assert (held["MemoryHigh"], held["TasksMax"], held["MemoryMax"]) == (INFINITY, 10, 8 * GIB)
    assert held["IOReadBandwidthMax"] == ()  # a path of another host means nothing here


@pytest.mark.parametrize(
    ("match", "meant"),
    [
        ('name = "web-*"', {"web-1"}),
        ('labels = { tier = "frontend" }', {"web-1"}),
        ('slice = "system.slice"', {"web-1"}),
        ('user = "ada"', {"pod"}),
        ('user = "ada"\nkubernetes = { namespace = "shop" }', {"pod"}),
        ('runtime = "podman"', set()),
    ],
)
def test_policies_match_as_they_would_have(match: str, meant: set[str]) -> None:
    file = io.BytesIO()
    writer = Writer(file, header())
    for one in (container(1), POD):
        writer.container(one)
    writer.tick(START_USEC + SEC, Sample(time_usec=0), {})
    writer.close()
    replay = _replay(f'[match]\n{match}\n[limits]\nMemoryMax = "1G"\n', file.getvalue())
    list(replay.moments())
    assert {replay.seen[inode].name for inode, merged in replay.merged.items() if merged.policies} == meant


def test_containers_come_and_go_and_are_renamed() -> None:
    file = io.BytesIO()
    writer = Writer(file, header())
    first, second = container(1, "early"), container(2, "late")
    load = Load(length=100)
    writer.container(first)
    for tick in range(1, 101):
        if tick == 50:
            writer.gone(first.inode)
            writer.container(second)
        if tick == 60:
            writer.container(container(2, "web-late"))
        inode = first.inode if tick < 50 else second.inode
        writer.tick(
            START_USEC + tick * SEC, Sample(time_usec=0), {inode: Sample(time_usec=0, values=load.values(tick))}
        )
    writer.close()
    replay = _replay(CONTROL, file.getvalue())
    steps = [step for moment in replay.moments() for step in moment.steps]
    assert {step.inode for step in steps} <= {second.inode}
    assert set(replay.seen) == {first.inode, second.inode}
    assert replay.merged[second.inode].policies == ("50-web",)
    assert replay.merged[first.inode].policies == ()


def test_policies_that_contradict_each_other_are_told_once() -> None:
    low = _policy('[match]\nname = "*"\n[limits]\nMemoryLow = "2G"\n', "10-low")
    high = _policy('[match]\nname = "*"\n[limits]\nMemoryMax = "1G"\n', "20-max")
    replay = Replay([low, high], Playback(io.BytesIO(recorded({"a": Load(), "b": Load()}, 3))))
    list(replay.moments())
    assert len(replay.problems) == 2
    assert {problem.position.file for problem in replay.problems} == {"10-low.toml", "20-max.toml"}


def test_over_the_bus_it_is_rows_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorded(seconds=300)
    rows, missing = simulate_remotely(CONTROL, recording)
    assert missing == ""
    when, name, controller, kind, reason = rows[0]
    assert WALL_USEC < when < WALL_USEC + 301 * SEC
    assert (name, controller, kind) == (container(1).id, "cpu-throttle", "decided")
    assert "quota" in reason
    monkeypatch.setattr(replay_module, "REMOTE_STEPS", 3)
    rows, missing = simulate_remotely(CONTROL, recording)
    assert len(rows) == 3
    assert "more than 3 steps" in missing
    monkeypatch.setattr(replay_module, "REMOTE_SEC", 0.0)
    assert "more than 0 s" in simulate_remotely(CONTROL, recording)[1]


def test_over_the_bus_what_is_wrong_is_said() -> None:
    with pytest.raises(PolicyError, match=r"<policy>:1:"):
        simulate_remotely("[match", recorded(seconds=1))
    with pytest.raises(NotARecording):
        simulate_remotely(CONTROL, b"nonsense")
    assert "cut off" in simulate_remotely(CONTROL, recorded(seconds=30)[:-100])[1]


def test_it_is_much_faster_than_real_time() -> None:
    """Ten containers, on a machine that has other work."""
    recording = recorded({f"web-{number}": Load(number, 60) for number in range(10)}, 60)
    started = time.monotonic()
    simulate([_policy(CONTROL)], Playback(io.BytesIO(recording)))
    assert time.monotonic() - started < 60 / 20
