"""Containers, started one after the other, each with what the kernel wrote down about it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.reaction import trace
from benchmarks.reaction.contenders import NAMES, Contenders
from benchmarks.report import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.reaction.trace import Limit
    from tests.vm.governed import Governed

IMAGES: Final = {"docker": "bb:1", "podman": "localhost/bb:1"}
SCOPES: Final = {"docker": "system.slice/docker-", "podman": "machine.slice/libpod-"}

# $1 runtime, $2 image, $3 path and name of the scope up to the id, $4 the limit's file. One command, since each costs
# time; a second's rest, during which nothing runs but what reacts; more rest where the limit has not come by then.
START: Final = rf"""
{trace.CLEAR}
id=$($1 run -d --network none --label bench=yes "$2" sleep 100000) || code=$?
file="/sys/fs/cgroup/$3$id.scope/$4"
for rest in 1 1 2; do
    sleep $rest
    [ "$(cat "$file")" = "$5" ] && break
    [ -n "$code" ] && break
done
jq -n --arg code "${{code:-0}}" --arg value "$(cat "$file")" --rawfile trace {trace.DIRECTORY}/trace \
    '{{code: $code, value: $value, trace: $trace}}'
[ "$1" = podman ] && at_once="-t 0"
"$1" rm -f $at_once "$id" >/dev/null 2>&1
"""


@dataclass(frozen=True)
class Run:
    """One container: from exec and from the making of its scope to its limit, in ms.

    `from_exec_ms` is negative where the limit was there before the payload ran. None where it did not come within 4 s.
    `kept` says whether the file still has the limit in the end, `started` whether the container started at all.
    """

    contender: str
    runtime: str
    round: int
    from_exec_ms: float | None
    from_scope_ms: float | None
    kept: bool
    started: bool


def rounds(made: Governed, limit: Limit, count: int) -> Iterator[Run]:
    """Yield `count` runs of each contender with each runtime, in turns; every second round goes the other way round."""
    trace.prepare(made.guest, limit)
    contenders = Contenders(made, limit)
    for number in range(count):
        for name in NAMES if number % 2 == 0 else reversed(NAMES):
            say(f"round {number + 1} of {count}: {name}")
            contenders.take_turns(name)
            for runtime in IMAGES:
                yield _run(made, limit, name, runtime, number)


def _run(made: Governed, limit: Limit, name: str, runtime: str, number: int) -> Run:
    words = (runtime, IMAGES[runtime], SCOPES[runtime], limit.file, limit.text)
    said = json.loads(made.guest.sh(START, *words, timeout=180).stdout)
    times = trace.times(said["trace"], limit)
    return Run(
        contender=name,
        runtime=runtime,
        round=number,
        from_exec_ms=_between_ms(times.executed, times.limited),
        from_scope_ms=_between_ms(times.scope, times.limited),
        kept=said["value"] == limit.text,
        started=said["code"] == "0",
    )


def _between_ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1e3, 3)


def as_rows(runs: list[Run]) -> list[dict[str, object]]:
    """Return the runs as JSON has them."""
    return [asdict(run) for run in runs]
