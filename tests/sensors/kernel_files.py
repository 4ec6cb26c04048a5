"""The files of a container's cgroup as kernels 6.1 and 6.12 write them, and of /proc; with the numbers to be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CPU_STAT_6_1: Final = """usage_usec 98765432
user_usec 60000000
system_usec 38765432
nr_periods 1200
nr_throttled 300
throttled_usec 4567890
nr_bursts 7
burst_usec 12345
"""
CPU_STAT_6_12: Final = """usage_usec 98765432
user_usec 60000000
system_usec 38765432
nice_usec 0
core_sched.force_idle_usec 0
nr_periods 1200
nr_throttled 300
throttled_usec 4567890
nr_bursts 7
burst_usec 12345
"""
CPU_STAT_WITHOUT_CONTROLLER: Final = "usage_usec 98765432\nuser_usec 60000000\nsystem_usec 38765432\n"

_MEMORY_HEAD: Final = """anon 134217728
file 268435456
kernel 20971520
kernel_stack 1048576
pagetables 4194304
sec_pagetables 0
percpu 34560
sock 8192
vmalloc 65536
shmem 4096
zswap 1234567
zswapped 3456789
file_mapped 33554432
file_dirty 12288
file_writeback 0
swapcached 1024
anon_thp 4194304
file_thp 0
shmem_thp 0
inactive_anon 104857600
active_anon 29360128
inactive_file 201326592
active_file 67108864
unevictable 2097152
slab_reclaimable 12582912
slab_unreclaimable 3145728
slab 15728640
workingset_refault_anon 1500
workingset_refault_file 25000
workingset_activate_anon 150
workingset_activate_file 2500
workingset_restore_anon 15
workingset_restore_file 250
workingset_nodereclaim 3
"""
MEMORY_STAT_6_1: Final = f"""{_MEMORY_HEAD}pgscan 400000
pgsteal 300000
pgscan_kswapd 250000
pgscan_direct 150000
pgsteal_kswapd 200000
pgsteal_direct 100000
pgfault 9876543
pgmajfault 4321
pgrefill 77777
pgactivate 66666
pgdeactivate 55555
pglazyfree 44
pglazyfreed 33
zswpin 222
zswpout 333
thp_fault_alloc 12
thp_collapse_alloc 3
"""
MEMORY_STAT_6_12: Final = f"""{_MEMORY_HEAD}pgdemote_kswapd 0
pgdemote_direct 0
pgdemote_khugepaged 0
pgscan 400000
pgsteal 300000
pgscan_kswapd 250000
pgscan_direct 150000
pgscan_khugepaged 0
pgsteal_kswapd 200000
pgsteal_direct 100000
pgsteal_khugepaged 0
pgfault 9876543
pgmajfault 4321
pgrefill 77777
pgactivate 66666
pgdeactivate 55555
pglazyfree 44
pglazyfreed 33
swpin_zero 5
swpout_zero 6
zswpin 222
zswpout 333
zswpwb 1
thp_fault_alloc 12
thp_collapse_alloc 3
thp_swpout 0
thp_swpout_fallback 0
"""
MEMORY_EVENTS_6_1: Final = "low 0\nhigh 120\nmax 40\noom 2\noom_kill 1\noom_group_kill 0\n"
MEMORY_EVENTS_6_12: Final = MEMORY_EVENTS_6_1

IO_STAT: Final = """254:0 rbytes=10485760 wbytes=20971520 rios=160 wios=320 dbytes=0 dios=0
8:16 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0
"""
IO_STAT_WITH_COST: Final = """254:0 rbytes=10485760 wbytes=20971520 rios=160 wios=320 dbytes=0 dios=0 \
cost.usage=123456 cost.wait=2000000 cost.indebt=0 cost.indelay=0
8:16 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0
"""

PRESSURE: Final = """some avg10=12.50 avg60=3.25 avg300=0.75 total=7500000
full avg10=5.00 avg60=1.00 avg300=0.25 total=2500000
"""
IDLE_PRESSURE: Final = """some avg10=0.00 avg60=0.00 avg300=0.00 total=0
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
"""
PRESSURE_WITHOUT_FULL: Final = "some avg10=12.50 avg60=3.25 avg300=0.75 total=7500000\n"

_SHARED: Final[Mapping[str, str]] = {
    "cgroup.procs": "4711\n",
    "memory.current": "425721856\n",
    "memory.swap.current": "8388608\n",
    "io.stat": IO_STAT,
    "pids.current": "23\n",
    "cpu.pressure": PRESSURE,
    "memory.pressure": PRESSURE,
    "io.pressure": PRESSURE,
}
KERNEL_6_1: Final[Mapping[str, str]] = {
    **_SHARED,
    "cpu.stat": CPU_STAT_6_1,
    "memory.stat": MEMORY_STAT_6_1,
    "memory.events": MEMORY_EVENTS_6_1,
}
KERNEL_6_12: Final[Mapping[str, str]] = {
    **_SHARED,
    "cpu.stat": CPU_STAT_6_12,
    "memory.stat": MEMORY_STAT_6_12,
    "memory.events": MEMORY_EVENTS_6_12,
}

PROC_STAT: Final = """cpu  10000 200 3000 500000 4000 50 60 70 800 0
cpu0 5000 100 1500 250000 2000 25 30 35 400 0
cpu1 5000 100 1500 250000 2000 25 30 35 400 0
intr 123456 0 0 9
ctxt 987654
btime 1700000000
processes 4242
procs_running 2
procs_blocked 0
softirq 3333 0 1 2
"""
MEMINFO: Final = """MemTotal:        4010940 kB
MemFree:          123456 kB
MemAvailable:    2005470 kB
Buffers:           34567 kB
Cached:          1234567 kB
SwapCached:            0 kB
SwapTotal:       1048576 kB
SwapFree:         524288 kB
Dirty:                12 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
"""


def rewritten(text: str, **fields: float) -> str:
    """Return the text of a flat or nested keyed file in which each field of `fields` has another number."""
    for name, value in fields.items():
        lines = (_line(line, name, value) for line in text.splitlines(keepends=True))
        text = "".join(lines)
    return text


def _line(line: str, name: str, value: float) -> str:
    if line.startswith(f"{name} "):
        return f"{name} {value}\n"
    words = [f"{name}={value}" if word.startswith(f"{name}=") else word for word in line.split()]
    return " ".join(words) + "\n"


def write(directory: Path, files: Mapping[str, str]) -> Path:
    """Make `directory` and the files in it."""
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory
