"""governorctl record and simulate, from the kernel's files to the picture."""

from __future__ import annotations

import gzip
import importlib
import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from governor.cli.exits import Exit
from governor.cli.main import main
from governor.kernel.cgroup import CgroupRoot
from governor.model.values import INFINITY
from governor.service.playback import Frame, Playback
from tests.cli.live_host import MIB, FakeLive, Tree, command, wait_for
from tests.service.recordings import Load, recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
CONTROL = '[match]\nname = "web-*"\n[limits]\nCPUQuota = "250%"\n[control.cpu-throttle]\ntarget = "5%"\n'


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    found = Tree(tmp_path / "cgroup")
    for number in (1, 2):
        found.make(number)
    monkeypatch.setattr(CgroupRoot, "find", classmethod(lambda cls, _path="": cls(str(found.path))))
    return found


@pytest.fixture
def live(system_bus: str) -> Iterator[FakeLive]:
    service = FakeLive(system_bus)
    service.names = {1: "web-1", 2: "db"}
    yield service
    service.stop()


def _frames(path: Path) -> tuple[Playback, list[Frame]]:
    with path.open("rb") as file:
        playback = Playback(file)
        return playback, list(playback.frames())


@pytest.mark.usefixtures("live", "tree")
def test_a_recording_has_containers_signals_and_limits(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "a.rec"
    assert main(["record", str(path), "--interval", "100ms", "--for", "500ms", "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    playback, frames = _frames(path)
    assert playback.warning == ""
    assert (told["ticks"], told["bytes"]) == (len(frames), path.stat().st_size)
    assert len(frames) == 5
    assert path.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))
    one = next(one for one in frames[-1].containers.values() if one.container.name == "web-1")
    assert one.container.labels == {"tier": "frontend"}
    assert (one.container.slice, one.container.unit[:9]) == ("system.slice", "docker-00")
    assert one.sample.values["memory.current"] == pytest.approx(100 * MIB, rel=1e-5)
    assert one.sample.values["cpu.usage"] == 0
    assert one.limits["CPUQuotaPerSecUSec"] == 2_000_000
    assert one.limits["MemoryHigh"] == 512 * MIB
    assert one.originals == {"MemoryHigh": INFINITY}
    assert frames[-1].host.values["host.cpu.capacity"] > 0


@pytest.mark.usefixtures("live", "tree")
def test_only_the_containers_that_are_asked_for(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "a.rec"
    line = ["record", str(path), "--interval", "100ms", "--for", "100ms"]
    assert main([*line, "--container", "db"]) == Exit.OK
    _, frames = _frames(path)
    assert [one.container.name for one in frames[0].containers.values()] == ["db"]
    assert main([*line, "--container", "nobody"]) == Exit.NOT_FOUND
    assert "nobody" in capsys.readouterr().err
    assert _frames(path)[1]  # what was there before is still there


def test_containers_come_and_go_and_ctrl_c_leaves_a_whole_file(live: FakeLive, tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    process = subprocess.Popen(command(tree, "record", str(path), "--interval", "100ms"), stdout=subprocess.PIPE)
    wait_for(lambda: any(call.member == "GetManagedObjects" for call in live.calls))
    time.sleep(0.5)
    tree.make(3)
    tree.work(1, 40_000)
    live.names = {1: "web-1", 3: "late\x1b[31m"}
    wait_for(lambda: _signalled(live) and sum(call.member == "GetManagedObjects" for call in live.calls) > 1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stdout is not None
    assert b"ticks" in process.stdout.read()
    process.stdout.close()
    playback, frames = _frames(path)
    assert playback.warning == ""
    names = [{one.container.name for one in frame.containers.values()} for frame in frames]
    assert names[0] == {"web-1", "db"}
    assert names[-1] == {"web-1", "late\x1b[31m"}
    assert any(one.sample.values.get("cpu.usage", 0) > 0 for frame in frames for one in frame.containers.values())


def _signalled(live: FakeLive) -> bool:
    """Tell of a change, as the daemon would."""
    live.tell("ContainerAdded")
    return True


@pytest.mark.usefixtures("tree", "system_bus")
def test_without_a_daemon_nothing_is_recorded(tmp_path: Path, capsys: Capture) -> None:
    assert main(["record", str(tmp_path / "a.rec"), "--for", "1s"]) == Exit.NOT_RUNNING
    assert "systemctl start governor" in capsys.readouterr().err
    assert list(tmp_path.glob("*rec*")) == []


@pytest.mark.usefixtures("live", "tree")
@pytest.mark.parametrize("words", [["--interval", "soon"], ["--interval", "1ms"], ["--for", "infinity"]])
def test_a_wrong_time_is_a_usage_error(tmp_path: Path, words: list[str], capsys: Capture) -> None:
    assert main(["record", str(tmp_path / "a.rec"), *words]) == Exit.USAGE
    assert words[0] in capsys.readouterr().err


@pytest.mark.usefixtures("live", "tree")
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: Capture) -> None:
    assert main(["record", str(tmp_path / "no" / "a.rec"), "--for", "1s"]) == Exit.FAILURE
    assert "No such file" in capsys.readouterr().err


# -- simulate


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "day.rec"
    path.write_bytes(recorded({"web-1": Load(length=200), "db": Load(2, 200)}, 200))
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "50-web.toml"
    path.write_text(CONTROL)
    return path


def test_each_decision_is_told_with_its_reason(recording: Path, policy: Path, capsys: Capture) -> None:
    assert main(["simulate", "--policy", str(policy), str(recording)]) == Exit.OK
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if "decided" in line)
    assert "web-1" in line
    assert "cpu-throttle" in line
    assert "CPUQuota=" in line
    assert "throttled" in line
    assert "200 ticks, 199 s, 2 containers, 1 without a policy" in text


def test_json_has_every_step(recording: Path, policy: Path, capsys: Capture) -> None:
    assert main(["simulate", "--policy", str(policy), str(recording), "--json", "--container", "web-1"]) == Exit.OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["ticks"] == 200
    assert [one["name"] for one in found["containers"]] == ["web-1"]
    assert found["containers"][0]["controls"] == ["cpu-throttle"]
    step = found["steps"][0]
    assert (step["step"], step["controller"]) == ("decided", "cpu-throttle")
    assert step["time_usec"] > 1_700_000_000_000_000
    assert isinstance(step["limits"]["CPUQuotaPerSecUSec"], int)


def test_a_directory_of_policies(recording: Path, policy: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "90-off.toml").write_text('[match]\nname = "db"\n[limits]\nMemoryMax = "1G"\n')
    assert policy.parent == tmp_path
    assert main(["simulate", "--policies", str(tmp_path), str(recording)]) == Exit.OK
    text = capsys.readouterr().out
    assert "MemoryMax=1G" in text
    assert "0 without a policy" in text


def test_a_wrong_policy_is_shown_with_carets(recording: Path, policy: Path, capsys: Capture) -> None:
    policy.write_text(CONTROL.replace("cpu-throttle", "cpu-throtle"))
    assert main(["simulate", "--policy", str(policy), str(recording)]) == Exit.FAILURE
    message = capsys.readouterr().err
    assert f"{policy}:5:" in message
    assert "^~~" in message


def test_what_is_no_recording_is_told(recording: Path, policy: Path, capsys: Capture) -> None:
    line = ["simulate", "--policy", str(policy), str(recording)]
    for content in (b"", b"hello", gzip.compress(b"hello\n"), gzip.compress(b'{"format":"x"}\n')):
        recording.write_bytes(content)
        assert main(line) == Exit.FAILURE
        assert "is no recording" in capsys.readouterr().err
    recording.unlink()
    assert main(line) == Exit.FAILURE
    assert "No such file" in capsys.readouterr().err
    assert main(["simulate", str(recording)]) == Exit.USAGE


def test_a_recording_that_was_cut_off_is_used_as_far_as_it_goes(recording: Path, policy: Path, capsys: Capture) -> None:
    recording.write_bytes(recording.read_bytes()[:-2000])
    assert main(["simulate", "--policy", str(policy), str(recording)]) == Exit.OK
    captured = capsys.readouterr()
    assert "cut off" in captured.err
    assert "decided" in captured.out


def test_the_container_is_found_by_its_name(recording: Path, policy: Path, capsys: Capture) -> None:
    line = ["simulate", "--policy", str(policy), str(recording), "--container"]
    assert main([*line, "db"]) == Exit.OK
    assert "1 containers, 1 without a policy" in capsys.readouterr().out
    assert main([*line, "nobody"]) == Exit.NOT_FOUND


def test_a_hostile_recording_cannot_steer_a_terminal(tmp_path: Path, policy: Path, capsys: Capture) -> None:
    path = tmp_path / "evil.rec"
    path.write_bytes(recorded({"web-\x1b[2J\u202e$x_1$": Load(length=200)}, 200))
    assert main(["simulate", "--policy", str(policy), str(path)]) == Exit.OK
    assert all(character.isprintable() or character == "\n" for character in capsys.readouterr().out)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_a_plot(recording: Path, policy: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plot.{suffix}"
    assert main(["simulate", "--policy", str(policy), str(recording), "--plot", str(path)]) == Exit.OK
    content = path.read_bytes()
    assert content.startswith({"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix])
    if suffix == "svg":
        assert b"CPUQuota" in content or b"<use" in content  # text may be drawn as glyphs


def test_a_plot_without_matplotlib_says_what_to_install(
    recording: Path, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr("governor.cli.plot.importlib.import_module", without)
    line = ["simulate", "--policy", str(policy), str(recording), "--plot"]
    assert main([*line, str(tmp_path / "a.svg")]) == Exit.FAILURE
    assert "apt install python3-matplotlib" in capsys.readouterr().err
    assert main([*line, str(tmp_path / "a.doc")]) == Exit.FAILURE
    assert ".svg" in capsys.readouterr().err
    assert not (tmp_path / "a.svg").exists()
