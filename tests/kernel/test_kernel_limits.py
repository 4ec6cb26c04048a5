from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.kernel import limits
from governor.kernel.canonical import PERIOD, QUOTA, bfq_weight, period_of, quota_in_period, weight_of_bfq
from governor.kernel.cgroup import CgroupRoot
from governor.kernel.host import format_list, parse_list
from governor.kernel.limits import Host, canonical, canonical_set, format_write, parse, read_limits
from governor.model.directives import BY_PROPERTY, Kind
from governor.model.errors import ActuationError, Unsupported
from governor.model.values import INFINITY, Share, Value

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1024**3
DISKS = {"/var": "8:0", "/": "8:0", "/srv": "259:0", "/dev/vdb": "254:16"}


def disk(path: str) -> str:
    return DISKS.get(path, path)


HOST = Host(memory_total_bytes=4 * GIB, cpus=(0, 1, 2, 3), memory_nodes=(0, 1), tasks_max=30_000, block_device=disk)
BFQ_HOST = Host(
    memory_total_bytes=4 * GIB, cpus=(0, 1), memory_nodes=(0, 1), tasks_max=30_000, bfq_only=True, block_device=disk
)

amounts = st.one_of(st.just(INFINITY), st.integers(1, INFINITY), st.integers(1, 10**7))
weights = st.integers(1, 10_000)
shares = st.integers(1, 10_000).map(Share)
devices = st.lists(st.tuples(st.sampled_from(sorted(DISKS)), amounts), max_size=6).map(tuple)
device_weights = st.lists(st.tuples(st.sampled_from(sorted(DISKS)), weights), max_size=6).map(tuple)
VALUES: dict[Kind, st.SearchStrategy[Value]] = {
    Kind.WEIGHT: weights | st.just(INFINITY),
    Kind.CPU_WEIGHT: st.integers(0, 10_000) | st.just(INFINITY),
    Kind.CPU_PERCENT: st.integers(1, 64 * 10**6) | st.just(INFINITY),
    Kind.TIMESPAN: st.integers(0, 2 * 10**6),
    Kind.BYTES: amounts | shares,
    Kind.TASKS: amounts | shares,
    Kind.CPU_SET: st.sets(st.integers(0, 1)).map(lambda numbers: tuple(sorted(numbers))),
    Kind.DEVICE_WEIGHT: device_weights,
    Kind.DEVICE_BYTES: devices,
    Kind.DEVICE_COUNT: devices,
    Kind.DEVICE_TIMESPAN: devices,
    Kind.BOOLEAN: st.booleans(),
}
filed = st.sampled_from(sorted(limits.FILES))


@st.composite
def property_and_value(draw: st.DrawFn) -> tuple[str, Value]:
    name = draw(filed)
    return name, draw(VALUES[BY_PROPERTY[name].kind])


class FakeKernel:
    """Files that take writes as the kernel does: keyed lines are merged, everything else is replaced."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {"cpu.max": "max 100000\n", "cpu.max.burst": "0\n", "cpu.weight": "100\n"}

    def write(self, file: str, text: str) -> None:
        if file in ("io.max", "io.latency", "io.weight", "io.bfq.weight"):
            self._write_keyed(file, text)
        elif file == "cpu.idle":
            self.files["cpu.weight"] = "0\n" if text == "1" else "100\n"
        else:
            assert not (file == "cpu.weight" and self.files["cpu.weight"] == "0\n"), "EINVAL: the group is idle"
            self.files[file] = f"{text.strip()}\n"
            quota, burst = self.files["cpu.max"].split()[0], int(self.files["cpu.max.burst"])
            assert quota == "max" or int(quota) >= max(burst, 1000), "EINVAL: burst above quota, or quota below 1 ms"

    def _write_keyed(self, file: str, text: str) -> None:
        device, *words = text.split()
        lines = dict(line.split(" ", 1) for line in self.files.get(file, "").splitlines())
        if file == "io.max":
            pairs = dict(pair.split("=") for pair in lines.get(device, "rbps=max wbps=max riops=max wiops=max").split())
            words = ["=".join(pair) for pair in (pairs | dict(word.split("=") for word in words)).items()]
        lines[device] = " ".join(words)
        self.files[file] = "".join(
            f"{name} {rest}\n" for name, rest in lines.items() if rest not in ("default", "target=max")
        )


@given(property_and_value())
def test_canonical_is_idempotent(pair: tuple[str, Value]) -> None:
    name, value = pair
    for host in (HOST, BFQ_HOST):
        once = canonical(name, value, host)
        assert canonical(name, once, host) == once


@given(property_and_value(), property_and_value(), st.booleans())
def test_what_is_written_reads_back_as_the_canonical_value(
    before: tuple[str, Value], pair: tuple[str, Value], bfq: bool
) -> None:
    host = BFQ_HOST if bfq else HOST
    kernel = FakeKernel()
    name, value = pair
    for prior, wanted in ((before[0], before[1]), (name, value)):
        current = {
            each: held
            for each, file in limits.FILES.items()
            if (held := parse(each, kernel.files.get(file, ""))) is not None
        }
        expected = canonical(prior, wanted, host)
        for file, text in format_write(prior, expected, current, bfq=bfq):
            kernel.write(file, text)
    file = limits.FILES[name]
    found = parse(name, kernel.files.get(file, ""))
    if bfq and file == "io.weight":
        return  # read back by read_limits(), which knows the other file: tested below
    if name in (QUOTA, PERIOD, "CPUBurstUSec") and before[0] in (QUOTA, PERIOD, "CPUBurstUSec"):
        assert found is not None  # they bound each other; the fake kernel has checked that it would take both
    else:
        assert found == expected


@given(st.integers(1, 64 * 10**6), st.integers(1, 2 * 10**6) | st.just(INFINITY))
def test_a_quota_and_its_period_are_what_cpu_max_says(quota: int, period: int) -> None:
    wanted = canonical_set({QUOTA: quota, PERIOD: period, "CPUBurstUSec": 10**9}, HOST)
    assert canonical_set(wanted, HOST) == wanted
    actual = period_of(quota, period)
    text = f"{quota_in_period(quota, actual)} {actual}"
    assert (parse(QUOTA, text), parse(PERIOD, text)) == (wanted[QUOTA], wanted[PERIOD])
    assert canonical(QUOTA, wanted[QUOTA], HOST, period_usec=period) == wanted[QUOTA]
    assert wanted["CPUBurstUSec"] == quota_in_period(quota, actual)
    assert 1_000 <= actual <= 1_000_000


@given(st.sets(st.integers(0, 4096)))
def test_lists_come_back(numbers: set[int]) -> None:
    expected = tuple(sorted(numbers))
    assert parse_list(format_list(expected)) == expected


@given(weights)
def test_a_bfq_weight_is_reached_by_its_lowest_weight(weight: int) -> None:
    lowest = weight_of_bfq(bfq_weight(weight))
    assert lowest <= weight
    assert bfq_weight(lowest) == bfq_weight(weight)
    assert lowest == 1 or bfq_weight(lowest - 1) < bfq_weight(weight)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MemoryHigh", 512 * 1024**2 + 1, 512 * 1024**2),
        ("MemoryMax", INFINITY, INFINITY),
        ("MemoryMax", 2**63, INFINITY),
        ("MemoryHigh", Share(5000), 2 * GIB),
        ("MemorySwapMax", 0, 0),
        ("CPUQuotaPerSecUSec", 500_000, 500_000),
        ("CPUQuotaPerSecUSec", 123_456, 123_450),
        ("CPUQuotaPerSecUSec", 5_000, 5_000),
        ("CPUQuotaPerSecUSec", 100, 1_000),
        ("CPUQuotaPerSecUSec", 1_001, 1_001),
        ("CPUQuotaPerSecUSec", INFINITY, INFINITY),
        ("CPUQuotaPeriodUSec", INFINITY, 100_000),
        ("CPUQuotaPeriodUSec", 10, 1_000),
        ("CPUQuotaPeriodUSec", 10**7, 1_000_000),
        ("CPUWeight", INFINITY, 100),
        ("CPUWeight", 0, 0),
        ("TasksMax", 4_194_304, 4_194_304),
        ("TasksMax", 4_194_305, INFINITY),
        ("TasksMax", Share(1000), 3_000),
        ("AllowedCPUs", (2, 3, 4, 99), (2, 3)),
        ("AllowedCPUs", (), ()),
        ("AllowedMemoryNodes", (1, 2), (1,)),
        ("IOReadBandwidthMax", (("/srv", 5), ("/var", INFINITY), ("/dev/vdb", 0)), (("259:0", 5),)),
        ("IOReadBandwidthMax", (("/var", 5), ("/", 7)), (("8:0", 7),)),
        ("IOReadIOPSMax", (("/var", 2**32 - 1),), ()),
        ("IPAddressAllow", ("10.0.0.0/8", "10.0.0.0/8", "::1/128"), ("10.0.0.0/8", "::1/128")),
        ("RestrictNetworkInterfaces", (True, ("lo", "eth0", "lo")), (True, ("eth0", "lo"))),
        ("IPAccounting", True, True),
        ("DevicePolicy", "closed", "closed"),
    ],
)
def test_canonical_values(name: str, value: Value, expected: Value) -> None:
    assert canonical(name, value, HOST) == expected


def test_cpus_none_of_which_exists_are_refused_rather_than_read_as_all() -> None:
    with pytest.raises(ActuationError, match="none of 64, 65"):
        canonical("AllowedCPUs", (64, 65), HOST)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("CPUQuotaPerSecUSec", "max 100000\n", INFINITY),
        ("CPUQuotaPerSecUSec", "50000 100000\n", 500_000),
        ("CPUQuotaPerSecUSec", "10000 30000\n", 333_334),
        ("CPUQuotaPeriodUSec", "max 100000\n", 100_000),
        ("CPUWeight", "0\n", 0),
        ("MemoryHigh", "536870912\n", 536_870_912),
        ("AllowedCPUs", "\n", ()),
        ("AllowedCPUs", "0-2,4\n", (0, 1, 2, 4)),
        ("IOWeight", "default 100\n8:0 200\n", 100),
        ("IODeviceWeight", "default 100\n8:0 200\n", (("8:0", 200),)),
        ("IOWriteBandwidthMax", "8:0 rbps=max wbps=2097152 riops=max wiops=max\n", (("8:0", 2_097_152),)),
        ("IOReadBandwidthMax", "8:0 rbps=max wbps=2097152 riops=max wiops=max\n", ()),
        ("IODeviceLatencyTargetUSec", "8:0 target=75000\n", (("8:0", 75_000),)),
        ("TasksMax", "garbage", None),
        ("CPUQuotaPerSecUSec", "50000 0\n", None),
    ],
)
def test_the_kernels_formats(name: str, text: str, expected: Value | None) -> None:
    assert parse(name, text) == expected


def test_writes_for_cgroups_without_a_unit() -> None:
    held: dict[str, Value] = {"CPUQuotaPerSecUSec": 500_000, "CPUQuotaPeriodUSec": 100_000, "CPUBurstUSec": 50_000}
    assert format_write("CPUQuotaPerSecUSec", 250_000, held) == [
        ("cpu.max.burst", "25000"),
        ("cpu.max", "25000 100000"),
    ]
    assert format_write("CPUQuotaPerSecUSec", INFINITY, held) == [("cpu.max", "max 100000")]
    assert format_write("CPUQuotaPeriodUSec", 50_000, held) == [("cpu.max.burst", "25000"), ("cpu.max", "25000 50000")]
    assert format_write("CPUBurstUSec", 99_000, held) == [("cpu.max.burst", "50000")]
    assert format_write("CPUWeight", 0, {}) == [("cpu.idle", "1")]
    assert format_write("CPUWeight", 50, {"CPUWeight": 0}) == [("cpu.idle", "0"), ("cpu.weight", "50")]
    assert format_write("AllowedCPUs", (), {}) == [("cpuset.cpus", "\n")]
    assert format_write("IOReadBandwidthMax", (("8:0", 5),), {"IOReadBandwidthMax": (("8:16", 9),)}) == [
        ("io.max", "8:16 rbps=max"),
        ("io.max", "8:0 rbps=5"),
    ]
    assert format_write("IODeviceWeight", (), {"IODeviceWeight": (("8:0", 9),)}) == [("io.weight", "8:0 default")]
    assert format_write("IOWeight", 10_000, {}, bfq=True) == [("io.bfq.weight", "1000")]


@pytest.mark.parametrize("name", ["IPAddressDeny", "DeviceAllow", "ManagedOOMSwap", "StartupCPUWeight"])
def test_what_has_no_file_is_unsupported(name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        format_write(name, (), {})


def test_every_property_with_a_file_is_in_the_table_of_directives() -> None:
    assert set(limits.FILES) <= set(BY_PROPERTY)
    missing = {name for name, directive in BY_PROPERTY.items() if directive.controller not in ("bpf", "oomd")}
    assert {name for name in missing - set(limits.FILES) if not name.startswith("Startup")} == set()


@pytest.mark.parametrize(
    ("weight", "idle", "value"), [("0\n", "1\n", 0), ("1\n", "1\n", 0), ("1\n", "0\n", 1), ("1\n", None, 1)]
)
def test_an_idle_weight_is_told_from_the_least(plain_root: Path, weight: str, idle: str | None, value: int) -> None:
    """Linux 6.12 shows a weight of 1 for an idle cgroup, as it does for one with the least weight."""
    (plain_root / "cpu.weight").write_text(weight)
    if idle is not None:
        (plain_root / "cpu.idle").write_text(idle)
    with CgroupRoot(str(plain_root)).open("/") as cgroup:
        assert read_limits(cgroup, HOST, ("CPUWeight",)) == {"CPUWeight": value}


def test_only_what_is_there_is_read(plain_root: Path) -> None:
    directory = plain_root / "c"
    directory.mkdir()
    for file, text in {
        "cgroup.procs": "",
        "memory.high": "max\n",
        "cpu.max": "20000 100000\n",
        "io.bfq.weight": "default 1000\n8:0 110\n",
        "pids.max": "garbage\n",
    }.items():
        (directory / file).write_text(text)
    with CgroupRoot(str(plain_root)).open("/c") as cgroup:
        assert read_limits(cgroup, HOST) == {
            "MemoryHigh": INFINITY,
            "CPUQuotaPerSecUSec": 200_000,
            "CPUQuotaPeriodUSec": 100_000,
            "IOWeight": 10_000,
            "IODeviceWeight": (("8:0", 210),),
        }
        assert read_limits(cgroup, HOST, ("MemoryHigh", "MemoryMax", "IPAccounting")) == {"MemoryHigh": INFINITY}


def test_a_real_cgroup_without_controllers_has_no_limits(live_cgroup: Path) -> None:
    with CgroupRoot(str(live_cgroup.parent)).open(f"/{live_cgroup.name}") as cgroup:
        enabled = (live_cgroup / "cgroup.controllers").read_text().split()
        found = read_limits(cgroup, HOST)
    # the freezer is the kernel's core: every cgroup but the root has it
    assert {BY_PROPERTY[name].controller for name in found} <= {"core", *enabled}
    assert found["Freeze"] is False
