"""From files to samples: which are opened, what a first sample has, two streams, what is gone."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from governor.kernel.files import RETRY_USEC
from governor.model.errors import Gone, Unsupported
from governor.model.signal import CONTAINER_SIGNALS, HOST_SIGNALS, Sample
from governor.sensors import Sensors, plan, prepare
from tests.sensors import kernel_files as kernel
from tests.sensors.kernel_files import rewritten, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.kernel.cgroup import Cgroup

ALL = frozenset(signal.name for signal in CONTAINER_SIGNALS)
ALL_HOST = frozenset(signal.name for signal in HOST_SIGNALS)
SECOND = 1_000_000
START = 50 * SECOND


def descriptors() -> list[str]:
    """Return the names of the files that this process has open."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found.append(fd.readlink().name.removesuffix(" (deleted)"))
    return sorted(found)


def advanced(directory: Path, usec: int) -> None:
    """Let a container use `usec` of CPU time more."""
    text = (directory / "cpu.stat").read_text()
    used = int(text.split()[1])
    (directory / "cpu.stat").write_text(rewritten(text, usage_usec=used + usec))


def test_a_first_sample_has_gauges_only(sensors: Sensors, container: Cgroup) -> None:
    first = sensors.sample(container, ALL, START)
    assert first.time_usec == START
    assert first.get("memory.current") == 425721856
    assert first.get("memory.working_set") == 425721856 - 201326592
    assert first.get("pressure.io.some_avg10") == 0.125
    assert first.get("pids.current") == 23
    for name in ("cpu.usage", "memory.scan", "memory.oom_kills", "io.read_bytes", "pressure.io.some"):
        assert first.get(name) is None


@pytest.mark.parametrize("files", [kernel.KERNEL_6_1, kernel.KERNEL_6_12], ids=["6.1", "6.12"])
def test_a_second_sample_has_everything(
    sensors: Sensors, directory: Path, container: Cgroup, files: Mapping[str, str]
) -> None:
    write(directory, {**files, "io.stat": kernel.IO_STAT_WITH_COST})
    sensors.sample(container, ALL, START)
    (directory / "cpu.stat").write_text(rewritten(files["cpu.stat"], nr_periods=1300, usage_usec=98765432 + SECOND))
    second = sensors.sample(container, ALL, START + 2 * SECOND)
    assert second.values.keys() >= ALL
    assert second.get("cpu.usage") == pytest.approx(0.5)
    assert {key.partition("@")[0] for key in second.values} == ALL


def test_only_what_is_wanted_is_opened(sensors: Sensors, container: Cgroup) -> None:
    before = descriptors()
    wanted = frozenset({"cpu.throttled_ratio", "pressure.memory.full_avg10"})
    sample = sensors.sample(container, wanted, START)
    opened = descriptors()
    for name in before:
        opened.remove(name)
    assert opened == ["container", "cpu.stat", "memory.pressure"]
    assert "pressure.memory.full_avg10" in sample.values
    assert sensors.sample(container, frozenset(), START + 1).values == {}


def test_what_is_wanted_by_device_is_read_too() -> None:
    assert plan(frozenset({"io.read_bytes@254:0"})).files == ("io.stat",)
    assert plan(frozenset({"memory.working_set"})).files == ("memory.current", "memory.stat")
    assert plan(frozenset({"host.cpu.usage", "no.such.signal"})).files == ()


def test_two_streams_have_rates_over_their_own_intervals(sensors: Sensors, directory: Path, container: Cgroup) -> None:
    wanted = frozenset({"cpu.usage"})
    for stream in ("tick", "fast"):
        sensors.sample(container, wanted, START, stream)
    advanced(directory, 100_000)
    assert sensors.sample(container, wanted, START + 100_000, "fast").get("cpu.usage") == pytest.approx(1.0)
    assert sensors.sample(container, wanted, START + 200_000, "fast").get("cpu.usage") == pytest.approx(0.0)
    assert sensors.sample(container, wanted, START + SECOND, "tick").get("cpu.usage") == pytest.approx(0.1)
    sensors.drop_stream(container.inode, "fast")
    assert sensors.sample(container, wanted, START + 2 * SECOND, "fast").get("cpu.usage") is None
    assert sensors.sample(container, wanted, START + 2 * SECOND, "tick").get("cpu.usage") == pytest.approx(0.0)


def test_a_counter_that_went_backwards_is_absent_once(sensors: Sensors, directory: Path, container: Cgroup) -> None:
    wanted = frozenset({"cpu.usage", "cpu.user"})
    sensors.sample(container, wanted, START)
    advanced(directory, -5)
    sample = sensors.sample(container, wanted, START + SECOND)
    assert sample.get("cpu.usage") is None
    assert sample.get("cpu.user") == 0
    assert sensors.sample(container, wanted, START + 2 * SECOND).get("cpu.usage") == 0


def test_a_clock_that_stands_still_gives_no_rates(sensors: Sensors, container: Cgroup) -> None:
    sensors.sample(container, ALL, START)
    assert sensors.sample(container, ALL, START).get("cpu.usage") is None
    assert sensors.sample(container, ALL, START + SECOND).get("cpu.usage") == 0


def test_rates_go_on_when_more_is_wanted(sensors: Sensors, directory: Path, container: Cgroup) -> None:
    sensors.sample(container, frozenset({"cpu.usage"}), START)
    advanced(directory, SECOND)
    more = sensors.sample(container, frozenset({"cpu.usage", "cpu.user", "pids.current"}), START + SECOND)
    assert more.get("cpu.usage") == pytest.approx(1.0)
    assert more.get("cpu.user") is None, "it was not read before"
    assert more.get("pids.current") == 23


def test_a_controller_that_is_off_is_absent_and_seen_when_it_comes(
    sensors: Sensors, directory: Path, container: Cgroup
) -> None:
    text = (directory / "memory.current").read_text()
    (directory / "memory.current").unlink()
    wanted = frozenset({"memory.current", "memory.working_set", "pids.current"})
    assert sensors.sample(container, wanted, START).values.keys() == {"memory.inactive_file", "pids.current"}
    (directory / "memory.current").write_text(text)
    assert sensors.sample(container, wanted, START + SECOND).get("memory.current") is None
    later = sensors.sample(container, wanted, START + RETRY_USEC)
    assert later.get("memory.current") == 425721856
    assert later.get("memory.working_set") is not None


def test_a_container_that_is_gone_is_forgotten(sensors: Sensors, directory: Path, container: Cgroup) -> None:
    before = descriptors()
    sensors.sample(container, frozenset({"pids.current"}), START)
    shutil.rmtree(directory)
    with pytest.raises(Gone):
        sensors.sample(container, ALL, START + SECOND)
    assert descriptors() == before
    container.close()
    with pytest.raises(Gone):
        sensors.sample(container, ALL, START + SECOND)


def test_forgetting_closes_every_file(sensors: Sensors, container: Cgroup) -> None:
    before = descriptors()
    sensors.sample(container, ALL, START)
    assert len(descriptors()) == len(before) + 1 + len(plan(ALL).files)
    sensors.forget(container.inode)
    sensors.forget(container.inode)
    assert descriptors() == before


def test_files_are_opened_in_a_worker_and_adopted(sensors: Sensors, container: Cgroup) -> None:
    ready = []
    own = container.duplicate()
    worker = threading.Thread(target=lambda: ready.append(prepare(own, ALL, START)))
    worker.start()
    worker.join()
    opened = descriptors()
    sensors.adopt(container.inode, ready[0])
    assert sensors.sample(container, ALL, START).get("pids.current") == 23
    assert descriptors() == opened
    sensors.adopt(container.inode, prepare(container.duplicate(), ALL, START))
    assert descriptors() == opened


def test_preparing_what_is_gone_leaves_nothing_open(directory: Path, container: Cgroup) -> None:
    before = descriptors()
    shutil.rmtree(directory)
    with pytest.raises(Gone):
        prepare(container.duplicate(), ALL, START)
    assert descriptors() == before


def test_the_host_below_another_root(tmp_path: Path) -> None:
    files = {"stat": kernel.PROC_STAT, "meminfo": kernel.MEMINFO}
    pressures = {f"pressure/{resource}": kernel.PRESSURE for resource in ("cpu", "memory", "io")}
    sensors = Sensors(str(write(tmp_path / "proc", files | pressures)))
    assert sensors.host(ALL_HOST, START).get("host.cpu.capacity") == 2
    sample = sensors.host(ALL_HOST, START + SECOND)
    undefined = {f"host.pressure.cpu.full{average}" for average in ("", "_avg10", "_avg60")}
    assert sample.values.keys() == ALL_HOST - undefined
    assert sample.get("host.cpu.usage") == 0
    sensors.close()


def test_this_host(sensors: Sensors) -> None:
    sensors.host(ALL_HOST, START)
    sample: Sample = sensors.host(ALL_HOST, START + SECOND)
    assert sample.get("host.cpu.capacity") == len(os.sched_getaffinity(0))
    available, total = sample.get("host.memory.available"), sample.get("host.memory.total")
    assert available is not None
    assert total is not None
    assert 0 < available <= total


def test_a_host_without_proc_is_unsupported_in_words(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="cannot read"):
        Sensors(str(tmp_path / "absent")).host(ALL_HOST, START)
