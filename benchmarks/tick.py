"""python3 -m benchmarks.tick: what sampling containers costs, beside a C program that reads and parses the same.

Both read 1,000 synthetic cgroups on tmpfs: reading costs least there, so that the parsing shows, and every file is new
each time. They take turns. Where cgroups can be made, both read real ones too, with the files that these have.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import report
from governor.controllers import BY_NAME
from governor.kernel.cgroup import CgroupRoot
from governor.kernel.psi import parse as parse_pressure
from governor.kernel.stat import FlatFile
from governor.model.errors import Unsupported
from governor.model.signal import CONTAINER_SIGNALS
from governor.model.values import USEC_PER_SEC
from governor.sensors import Sensors, plan
from tests.sensors.kernel_files import KERNEL_6_12

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.kernel.cgroup import Cgroup
    from governor.sensors.source import Source

SOURCE: Final = Path(__file__).with_suffix(".c")
PROGRAM: Final = report.ROOT / "build" / "bench" / "tick"
SPARE_DESCRIPTORS: Final = 100
WARM_UP: Final = 2
AIM: Final = 5.0
"""How many times what C takes it may take."""


@dataclass
class Case:
    """One row: which files, which signals, and the µs a container of every round."""

    files: str
    signals: str
    wanted: frozenset[str]
    contents: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)


def main() -> int:
    """Measure, print the table and write build/bench/tick.json; return the exit code."""
    arguments = _parser().parse_args()
    _compile()
    _allow_descriptors(arguments.cgroups)
    cases = [*_synthetic(arguments.cgroups, arguments.repeats), *_real(arguments.cgroups, arguments.repeats)]
    parameters = {"cgroups": arguments.cgroups, "repeats": arguments.repeats, "aim": AIM}
    path = report.save("tick", parameters, [_values(case) for case in cases])
    head = ("files", "signals", "contents", "governor, µs a container", "C", "ratio")
    text = report.table(head, map(_row, cases))
    report.show(f"Sampling {arguments.cgroups} containers (aim: {AIM:.0f} times C)", path, text, as_json=arguments.json)
    return 0


def _selections() -> dict[str, frozenset[str]]:
    """Return which signals are sampled, by what they are called: all, the controllers', the 100 ms loops'."""
    every = frozenset(signal.name for signal in CONTAINER_SIGNALS)
    used = frozenset(name for kind in BY_NAME.values() for name in kind.signals)
    quick = frozenset(name for kind in BY_NAME.values() if kind.interval_usec < USEC_PER_SEC for name in kind.signals)
    found = {"all": every, "the controllers'": used & every, "the fast controllers'": quick & every}
    return {words: wanted for words, wanted in found.items() if wanted}


def _synthetic(cgroups: int, repeats: int) -> list[Case]:
    """Return the rows of cgroups that are directories on tmpfs."""
    with _directories(_tmpfs(), cgroups) as root:
        cases = [
            Case("synthetic", words, wanted, contents)
            for words, wanted in _selections().items()
            for contents in ("changing", "unchanged")
        ]
        _measure(root, cgroups, repeats, cases, lambda generation: _write(root, cgroups, generation))
    return cases


def _real(cgroups: int, repeats: int) -> list[Case]:
    """Return the rows of real cgroups without processes; none, said in words, where they cannot be made."""
    try:
        parent = Path(CgroupRoot.find().path)
        with _directories(parent, cgroups) as root:
            present = [file for file in KERNEL_6_12 if (root / "0" / file).exists()]
            report.say(f"real cgroups have: {' '.join(sorted(present))}")
            cases = [Case("real", words, wanted, "idle") for words, wanted in _selections().items()]
            _measure(root, cgroups, repeats, cases, lambda _: None)
    except (OSError, Unsupported) as error:
        report.say(f"no real cgroups: {error}")
        return []
    return cases


def _measure(root: Path, cgroups: int, repeats: int, cases: list[Case], renew: Callable[[int], None]) -> None:
    """Let both take turns `repeats` times, after WARM_UP turns that open files and have nothing to compare with."""
    renew(0)
    opened = [CgroupRoot(str(root)).open(f"/{index}") for index in range(cgroups)]
    sensors = Sensors()
    generation = itertools.count(1)
    with contextlib.ExitStack() as stack:
        stack.callback(sensors.close)
        for case in cases:
            report.say(f"{case.files} cgroups, {case.signals} signals, {case.contents}")
            program = stack.enter_context(_program(root, cgroups, case.wanted))
            for turn in range(repeats + WARM_UP):
                if case.contents == "changing":
                    renew(next(generation))
                ours = _sample_all(sensors, opened, case)
                theirs = _ask(program) / cgroups / 1000
                if turn >= WARM_UP:
                    case.ours.append(ours)
                    case.theirs.append(theirs)
    for cgroup in opened:
        cgroup.close()


def _sample_all(sensors: Sensors, cgroups: list[Cgroup], case: Case) -> float:
    """Return the µs of CPU time a container of one round, as the daemon's loop makes it."""
    stream = f"{case.signals} {case.contents}"
    now_usec = time.monotonic_ns() // 1000
    started = time.thread_time()
    for cgroup in cgroups:
        sensors.sample(cgroup, case.wanted, now_usec, stream)
    return (time.thread_time() - started) * USEC_PER_SEC / len(cgroups)


@contextlib.contextmanager
def _program(root: Path, cgroups: int, wanted: frozenset[str]) -> Iterator[subprocess.Popen[bytes]]:
    argv = [str(PROGRAM), str(root), str(cgroups), *map(_described, plan(wanted).sources)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        yield program
        program.kill()


def _described(source: Source) -> str:
    """Return how the C program is told of one file and the fields in it."""
    if isinstance(source.parse, FlatFile):
        lines = [line.split()[0] for line in KERNEL_6_12[source.file].splitlines()]
        return f"{source.file}:flat:{','.join(sorted(source.parse.fields, key=lines.index))}"
    if source.file.endswith(".pressure"):
        return f"{source.file}:pressure" + (":averages" if source.parse is parse_pressure else "")
    return f"{source.file}:io" if source.file == "io.stat" else f"{source.file}:number"


def _ask(program: subprocess.Popen[bytes]) -> int:
    """Let the C program make one round and return its nanoseconds."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(b"\n")
    program.stdin.flush()
    return int(program.stdout.readline().split()[0])


@contextlib.contextmanager
def _directories(parent: Path, count: int) -> Iterator[Path]:
    """Yield a directory below `parent` with `count` numbered ones in it, removed afterwards: they may be cgroups."""
    root = parent / f"governor-tick-{os.getpid()}"
    root.mkdir()
    try:
        for index in range(count):
            (root / str(index)).mkdir()
        yield root
    finally:
        for directory in [*root.iterdir(), root]:
            if directory.is_dir():
                with contextlib.suppress(OSError):
                    directory.rmdir()
        shutil.rmtree(root, ignore_errors=True)


def _write(root: Path, cgroups: int, generation: int) -> None:
    """Give every file of every directory new numbers."""
    files = [(name, _later(text, 4096 * generation)) for name, text in KERNEL_6_12.items()]
    for index in range(cgroups):
        for name, text in files:
            (root / str(index) / name).write_bytes(text)


def _later(text: str, more: int) -> bytes:
    """Return `text` with `more` added to each of its whole numbers; names, devices and averages stay."""
    lines = []
    for line in text.splitlines():
        words = [_raised(word, more) for word in line.split()]
        lines.append(" ".join(words))
    return ("\n".join(lines) + "\n").encode()


def _raised(word: str, more: int) -> str:
    name, equals, number = word.rpartition("=")
    return f"{name}{equals}{int(number) + more}" if number.isdecimal() else word


def _tmpfs() -> Path:
    return Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())


def _compile() -> None:
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-o", str(PROGRAM), str(SOURCE)], check=True)


def _allow_descriptors(cgroups: int) -> None:
    """Raise the soft limit of open files to what is needed; end in words where that is not allowed."""
    needed = cgroups * (len(KERNEL_6_12) + 2) + SPARE_DESCRIPTORS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        sys.exit(
            f"{cgroups} cgroups need {needed} open files, allowed are {hard}: raise `ulimit -Hn` or lower --cgroups"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _values(case: Case) -> dict[str, object]:
    ours, theirs = report.median(case.ours), report.median(case.theirs)
    return {
        "files": case.files,
        "signals": case.signals,
        "contents": case.contents,
        "read": plan(case.wanted).files,
        "governor_usec": ours,
        "c_usec": theirs,
        "ratio": report.ratio(ours, theirs),
        "governor_rounds_usec": case.ours,
        "c_rounds_usec": case.theirs,
    }


def _row(case: Case) -> tuple[str, ...]:
    ours, theirs = report.median(case.ours), report.median(case.theirs)
    signals = f"{case.signals} ({len(case.wanted)})"
    ratio = report.number(report.ratio(ours, theirs), 2)
    return (case.files, signals, case.contents, report.number(ours), report.number(theirs), ratio)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.tick", description=__doc__)
    parser.add_argument("--cgroups", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--repeats", type=int, default=15, help="rounds that count (default: 15)")
    parser.add_argument("--json", action="store_true", help="print build/bench/tick.json instead of the table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
