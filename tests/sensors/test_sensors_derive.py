"""What each sensor makes of the kernel's numbers: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.kernel.psi import NO_PRESSURE
from governor.kernel.stat import ABSENT
from governor.model.signal import CONTAINER_SIGNALS, HOST_SIGNALS, SIGNALS, Unit
from governor.sensors import CONTAINER_SENSORS, HOST_SENSORS, cpu, host, io, memory, pids, pressure
from tests.sensors import kernel_files as kernel
from tests.sensors.kernel_files import rewritten

if TYPE_CHECKING:
    from governor.sensors.source import Sensor, Source

ALL = frozenset(SIGNALS)
counters = st.integers(min_value=ABSENT, max_value=2**64 - 1)


def source_of(sensor: Sensor, file: str, wanted: frozenset[str] = ALL) -> Source:
    return next(source for source in sensor.sources(wanted) if source.file == file)


def derived(sensor: Sensor, file: str, before: str | None, now: str, dt_sec: float = 2.0) -> dict[str, float]:
    source = source_of(sensor, file)
    return source.derive(None if before is None else source.parse(before.encode()), source.parse(now.encode()), dt_sec)


def test_every_signal_of_the_table_has_one_sensor() -> None:
    given_by = [name for sensor in CONTAINER_SENSORS for name in sensor.SIGNALS]
    assert sorted(given_by) == sorted(signal.name for signal in CONTAINER_SIGNALS)


def test_the_host_has_all_but_full_cpu_pressure_which_no_host_can_have() -> None:
    given_by = {name for sensor in HOST_SENSORS for name in sensor.SIGNALS}
    missing = {signal.name for signal in HOST_SIGNALS} - given_by
    assert missing == {f"host.pressure.cpu.full{average}" for average in ("", "_avg10", "_avg60")}


@pytest.mark.parametrize("text", [kernel.CPU_STAT_6_1, kernel.CPU_STAT_6_12])
def test_cpu(text: str) -> None:
    later = rewritten(
        text,
        usage_usec=98765432 + 3_000_000,
        user_usec=60000000 + 2_000_000,
        system_usec=38765432 + 1_000_000,
        nr_periods=1220,
        nr_throttled=305,
        throttled_usec=4567890 + 500_000,
        nr_bursts=11,
        burst_usec=12345 + 100_000,
    )
    assert derived(cpu, "cpu.stat", text, later) == pytest.approx(
        {
            "cpu.usage": 1.5,
            "cpu.user": 1.0,
            "cpu.system": 0.5,
            "cpu.throttled": 0.25,
            "cpu.burst": 0.05,
            "cpu.bursts": 2.0,
            "cpu.periods": 10.0,
            "cpu.throttled_ratio": 0.25,
        }
    )


def test_without_the_cpu_controller_there_is_only_time() -> None:
    text = kernel.CPU_STAT_WITHOUT_CONTROLLER
    assert derived(cpu, "cpu.stat", text, text) == {"cpu.usage": 0, "cpu.user": 0, "cpu.system": 0}


def test_a_ratio_of_no_periods_is_absent() -> None:
    same = derived(cpu, "cpu.stat", kernel.CPU_STAT_6_12, kernel.CPU_STAT_6_12)
    assert same["cpu.throttled"] == 0
    assert "cpu.throttled_ratio" not in same
    assert "cpu.periods" not in same


@pytest.mark.parametrize("text", [kernel.MEMORY_STAT_6_1, kernel.MEMORY_STAT_6_12])
def test_memory_stat(text: str) -> None:
    later = rewritten(
        text,
        pgscan=400200,
        pgsteal=300100,
        workingset_refault_anon=1510,
        workingset_refault_file=25020,
        workingset_activate_anon=154,
        workingset_activate_file=2510,
        pgmajfault=4331,
    )
    gauges = {
        "memory.anon": 134217728,
        "memory.file": 268435456,
        "memory.inactive_file": 201326592,
        "memory.inactive_anon": 104857600,
        "memory.zswap": 1234567,
        "memory.unreclaimable": 20971520 - 12582912 + 2097152,
    }
    assert derived(memory, "memory.stat", None, text) == gauges
    assert derived(memory, "memory.stat", text, later) == pytest.approx(
        gauges
        | {
            "memory.scan": 100,
            "memory.steal": 50,
            "memory.refault_anon": 5,
            "memory.refault_file": 10,
            "memory.activate": 7,
            "memory.major_faults": 5,
        }
    )


def test_memory_without_what_older_kernels_lack() -> None:
    text = "".join(
        line
        for line in kernel.MEMORY_STAT_6_1.splitlines(keepends=True)
        if not line.startswith(("kernel ", "zswap ", "workingset_activate_anon "))
    )
    values = derived(memory, "memory.stat", text, text)
    assert not {"memory.unreclaimable", "memory.zswap", "memory.activate"} & values.keys()
    assert values["memory.anon"] == 134217728
    assert values["memory.major_faults"] == 0


def test_the_working_set_never_is_below_nothing() -> None:
    values: dict[str, float] = {"memory.current": 10, "memory.inactive_file": 20}
    memory.add_working_set(values)
    assert values["memory.working_set"] == 0
    values = {"memory.current": 10}
    memory.add_working_set(values)
    assert "memory.working_set" not in values


def test_memory_events_are_counted_in_the_tick() -> None:
    text = kernel.MEMORY_EVENTS_6_12
    later = rewritten(text, high=125, oom_kill=2)
    assert derived(memory, "memory.events", None, text) == {}
    assert derived(memory, "memory.events", text, later) == {
        "memory.high_events": 5,
        "memory.max_events": 0,
        "memory.oom_events": 0,
        "memory.oom_kills": 1,
    }


def test_simple_gauges() -> None:
    assert derived(memory, "memory.current", None, "4096\n") == {"memory.current": 4096}
    assert derived(memory, "memory.swap.current", None, "0\n") == {"memory.swap": 0}
    assert derived(pids, "pids.current", None, "7\n") == {"pids.current": 7}
    assert derived(pids, "pids.current", None, "max\n") == {}


def test_io_by_device_and_in_all() -> None:
    later = "254:0 rbytes=10487808 wbytes=20971520 rios=164 wios=320\n8:16 rbytes=8192 wbytes=512 rios=2 wios=1\n"
    values = derived(io, "io.stat", kernel.IO_STAT, later)
    assert values == {
        "io.read_bytes@254:0": 1024,
        "io.write_bytes@254:0": 0,
        "io.reads@254:0": 2,
        "io.writes@254:0": 0,
        "io.read_bytes@8:16": 2048,
        "io.write_bytes@8:16": 256,
        "io.reads@8:16": 0.5,
        "io.writes@8:16": 0.5,
        "io.read_bytes": 3072,
        "io.write_bytes": 256,
        "io.reads": 2.5,
        "io.writes": 0.5,
    }


def test_io_of_a_device_that_came_counts_from_nothing_and_one_that_went_is_left_out() -> None:
    values = derived(
        io, "io.stat", "8:16 rbytes=4096 wbytes=0 rios=1 wios=0\n", "8:0 rbytes=10 wbytes=0 rios=1 wios=0\n"
    )
    assert values["io.read_bytes@8:0"] == values["io.read_bytes"] == 5
    assert not [name for name in values if name.endswith("@8:16")]


def test_no_io_at_all_is_none_and_not_unknown() -> None:
    assert derived(io, "io.stat", "", "") == dict.fromkeys(io.RATES, 0)
    assert derived(io, "io.stat", None, kernel.IO_STAT) == {}


def test_io_of_a_device_that_was_made_anew_is_absent_and_so_are_the_sums() -> None:
    values = derived(io, "io.stat", kernel.IO_STAT, kernel.IO_STAT.replace("rbytes=10485760", "rbytes=1"))
    assert values == {f"{name}@8:16": 0 for name in io.RATES}


def test_the_wait_for_io_cost() -> None:
    later = kernel.IO_STAT_WITH_COST.replace("cost.wait=2000000", "cost.wait=2500000")
    values = derived(io, "io.stat", kernel.IO_STAT_WITH_COST, later)
    assert values["io.wait"] == values["io.wait@254:0"] == 0.25
    assert "io.wait@8:16" not in values
    assert "io.wait" not in derived(io, "io.stat", kernel.IO_STAT, later), "io.cost was just switched on"
    assert derived(io, "io.stat", kernel.IO_STAT_WITH_COST, later, dt_sec=0.1)["io.wait"] == 1.0


@pytest.mark.parametrize("resource", ["cpu", "memory", "io"])
def test_pressure(resource: str) -> None:
    later = kernel.PRESSURE.replace("total=7500000", "total=8500000").replace("total=2500000", "total=2600000")
    name = f"pressure.{resource}"
    averages = {
        f"{name}.some_avg10": 0.125,
        f"{name}.some_avg60": 0.0325,
        f"{name}.full_avg10": 0.05,
        f"{name}.full_avg60": 0.01,
    }
    assert derived(pressure, f"{resource}.pressure", None, kernel.PRESSURE) == pytest.approx(averages)
    values = derived(pressure, f"{resource}.pressure", kernel.PRESSURE, later)
    assert values == pytest.approx(averages | {f"{name}.some": 0.5, f"{name}.full": 0.05})
    assert derived(pressure, f"{resource}.pressure", kernel.PRESSURE, later, dt_sec=0.9)[f"{name}.some"] == 1.0


def test_pressure_of_a_kernel_without_full() -> None:
    values = derived(pressure, "cpu.pressure", kernel.PRESSURE_WITHOUT_FULL, kernel.PRESSURE_WITHOUT_FULL)
    assert values.keys() == {"pressure.cpu.some", "pressure.cpu.some_avg10", "pressure.cpu.some_avg60"}


def test_only_averages_that_somebody_wants_are_parsed() -> None:
    totals = source_of(pressure, "io.pressure", frozenset({"pressure.io.full"}))
    assert totals.parse(kernel.PRESSURE.encode()) == ((7500000, 2500000), ())
    assert totals.derive(None, totals.parse(kernel.PRESSURE.encode()), 1.0) == {}


def test_the_host() -> None:
    later = kernel.PROC_STAT.replace("cpu  10000 200 3000 500000", "cpu  10150 200 3050 500100")
    values = derived(host, "stat", kernel.PROC_STAT, later)
    assert values == {"host.cpu.capacity": 2, "host.cpu.usage": pytest.approx(1.0)}
    assert derived(host, "meminfo", None, kernel.MEMINFO) == {
        "host.memory.total": 4010940 * 1024,
        "host.memory.available": 2005470 * 1024,
        "host.swap.total": 2**30,
        "host.swap.free": 2**29,
    }
    assert derived(host, "pressure/memory", None, kernel.PRESSURE)["host.pressure.memory.some_avg10"] == 0.125
    assert derived(host, "pressure/cpu", None, kernel.PRESSURE).keys() == {
        "host.pressure.cpu.some_avg10",
        "host.pressure.cpu.some_avg60",
    }


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu  1 2 x 4 5 6 7 8 9 0\n", "intr 5\n"])
def test_nonsense_of_the_host_is_absent(text: str) -> None:
    assert derived(host, "stat", text, text) == {}


STATEFUL = [
    (cpu.derive, 8),
    (memory.derive_stat, 15),
    (memory.derive_events, 4),
]


@given(st.data(), st.sampled_from(STATEFUL), st.floats(min_value=0.01, max_value=100))
def test_nothing_is_ever_negative_whatever_the_counters_do(data: st.DataObject, what: Any, dt_sec: float) -> None:
    derive, size = what
    before, now = (data.draw(st.tuples(*[counters] * size)) for _ in range(2))
    for name, value in derive(before, now, dt_sec).items():
        assert value >= 0
        assert name in SIGNALS
        if SIGNALS[name].unit is Unit.RATIO:
            assert value <= 1


devices = st.dictionaries(st.sampled_from([b"8:0", b"8:16", b"254:0"]), st.tuples(*[st.integers(0, 10)] * 4))


@given(devices, devices)
def test_io_is_never_negative_and_its_sums_are_sums(before: dict[bytes, io.Four], now: dict[bytes, io.Four]) -> None:
    values = io.derive((before, {}), (now, {}), 1.0)
    assert all(value >= 0 for value in values.values())
    for name in io.RATES:
        if name in values:
            assert values[name] == sum(value for key, value in values.items() if key.startswith(f"{name}@"))
            assert sum(key.startswith(f"{name}@") for key in values) == len(now)


@given(st.binary(max_size=200))
def test_no_text_makes_a_parser_fail(text: bytes) -> None:
    for sensor in (*CONTAINER_SENSORS, *HOST_SENSORS):
        for source in sensor.sources(ALL):
            source.derive(source.parse(text), source.parse(text), 1.0)


def test_a_pressure_that_was_not_understood_is_absent() -> None:
    names = pressure.names("", "cpu")
    assert pressure.derive(names[:2], names[2:], NO_PRESSURE, NO_PRESSURE, 1.0) == {}
