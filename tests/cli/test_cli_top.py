"""governorctl top: its rows and lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.cli.output import columns, safe
from governor.cli.top_layout import chosen, details, fit, heading, lines, table_columns
from governor.cli.top_rows import Held, Histories, Row, held_of, ordered, row_of, sparkline
from governor.model.signal import Sample
from governor.model.values import INFINITY
from tests.cli.fake_governor import HOSTILE
from tests.service.recordings import GIB, MIB, container

Capture = pytest.CaptureFixture[str]
VALUES = {
    "cpu.usage": 1.25,
    "cpu.throttled_ratio": 0.5,
    "memory.current": 200 * MIB,
    "memory.working_set": 100 * MIB,
    "io.read_bytes": 3 * MIB,
    "io.write_bytes": MIB,
    "pressure.cpu.some": 0.3,
    "pressure.memory.some": 0.02,
    "pressure.io.some": 0.0,
}
LIMITS = {"MemoryHigh": 512 * MIB, "MemoryMax": GIB, "CPUQuotaPerSecUSec": INFINITY}
HELD = (Held("MemoryHigh=512M", "policy:50-web"), Held("CPUQuota=150%", "control:cpu-throttle"))


def row(number: int = 1, name: str = "", /, **values: float) -> Row:
    sample = Sample(time_usec=1, values={**VALUES, **values})
    return row_of(container(number, name), sample, LIMITS, HELD)


def busy(number: int, name: str, cpu: float, read: float = 3 * MIB) -> Row:
    return row(number, name, **{"cpu.usage": cpu, "io.read_bytes": read})


def test_a_row_has_what_was_read_and_the_lower_limit() -> None:
    found = row().as_dict()
    assert (found["cpu_cores"], found["memory_working_set_bytes"], found["io_bytes_per_sec"]) == (
        1.25,
        100 * MIB,
        4 * MIB,
    )
    assert found["memory_limit_bytes"] == 512 * MIB
    assert found["pressure"] == {"cpu": 0.3, "memory": 0.02, "io": 0.0}
    assert found["limits"][1] == {"limit": "CPUQuota=150%", "source": "control:cpu-throttle"}
    nothing = row_of(container(1), Sample(time_usec=1), {})
    assert (nothing.cpu, nothing.memory, nothing.io, nothing.worst, nothing.memory_limit) == (None,) * 5


def test_the_order_is_by_what_is_asked_for_and_then_by_name() -> None:
    rows = [
        busy(1, "b", 1),
        busy(2, "a", 1),
        busy(3, "c", 2, read=0),
        row_of(container(4, "d"), Sample(time_usec=1), {}),
    ]
    assert [one.name for one in ordered(rows, "cpu")] == ["c", "a", "b", "d"]
    assert [one.name for one in ordered(rows, "cpu", turned=True)] == ["d", "b", "a", "c"]
    assert [one.name for one in ordered(rows, "name")] == ["a", "b", "c", "d"]
    assert [one.name for one in ordered(rows, "io")] == ["a", "b", "c", "d"]
    for by in ("memory", "pressure", "throttled"):
        assert ordered(rows, by)[-1].name == "d"


def test_a_sparkline_ends_with_the_newest() -> None:
    assert sparkline([0, 1, 2, 4, 8], 5, 1) == " ▁▂▄█".replace("▁", "▂").replace("▂▂▄", "▂▃▅")
    assert sparkline([1, 2], 4, 8) == "  ▂▃"
    assert sparkline([9] * 20, 3, 1) == "███"
    assert sparkline([0.01], 2, 1) == " ▁"
    assert sparkline([1], 2, 1, ascii_only=True) == " #"
    assert sparkline([], 3, 1) == "   "


def test_histories_are_of_those_that_are_there() -> None:
    histories = Histories()
    for usage in (0.1, 0.2):
        one = busy(1, "a", usage)
        histories.add(one)
    assert one.cpu_past == (0.1, 0.2)
    assert one.pressure_past == (0.3, 0.3)
    histories.keep([])
    fresh = row(1)
    histories.add(fresh)
    assert fresh.cpu_past == (1.25,)


@pytest.mark.parametrize("width", [20, 40, 80, 81, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = [row(1, HOSTILE), row(2, "容器" * 30), row(3, "plain")]
    found = lines(rows, table_columns(), width)
    assert len(found) == 4
    for line in found:
        assert columns(line) <= width
        assert line.isprintable()


def test_80_columns_have_room_for_what_matters() -> None:
    titles = [column.title for column, _ in chosen(table_columns(), 80)]
    assert titles == ["NAME", "RUNTIME", "CPU", "", "MEM", "LIMIT", "IO/s", "PSI:C", "M", "I", "", "THR"]
    header, line = lines([row(1, "web-1")], table_columns(), 80)
    assert header.split() == ["NAME", "RUNTIME", "CPU", "MEM", "LIMIT", "IO/s", "PSI:C", "M", "I", "THR"]
    assert line.split() == ["web-1", "docker", "1.25", "100M", "512M", "4.0M", "30", "2", "0", "50"]
    wide = lines([row(1, "web-1")], table_columns(), 190)[1]
    assert "MemoryHigh=512M (policy:50-web), CPUQuota=150% (control:cpu-throttle)" in wide


@given(st.text(max_size=40), st.integers(0, 30), st.booleans())
def test_what_is_fitted_has_the_width(text: str, width: int, left: bool) -> None:
    assert columns(fit(safe(text), width, left=left)) == width


def test_details_say_who_set_what_and_what_is_left_out() -> None:
    assert details(row(1, "web-1"), 80, 6) == [
        "web-1: limits",
        "  MemoryHigh=512M  set by policy:50-web",
        "  CPUQuota=150%  set by control:cpu-throttle",
    ]
    assert details(row(1, "web-1"), 80, 2)[1].startswith("  … 2 more")
    assert details(row_of(container(1, "x"), Sample(time_usec=1), {}), 80, 2) == ["x: no limit is set"]


def test_the_heading_is_about_the_host() -> None:
    host = Sample(time_usec=1, values={"host.cpu.usage": 3.5, "host.cpu.capacity": 8, "host.memory.total": 16 * GIB})
    found = heading(host, 3, "cpu", 100)
    assert found.startswith("3 containers  CPU 3.50 of 8  memory - of 16G  PSI -/-/- %  by cpu")
    assert len(heading(host, 3, "cpu", 20)) == 20


def test_what_explain_tells_becomes_words() -> None:
    answer: list[dict[str, Any]] = [
        {"Property": "MemoryHigh", "Value": 512 * MIB, "Source": "policy:50-web"},
        {"Property": "MemoryMax", "Source": "policy:50-web"},
    ]
    assert held_of(answer) == (Held("MemoryHigh=512M", "policy:50-web"),)
