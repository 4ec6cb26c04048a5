from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from governor.kernel.stat import ABSENT, FlatFile, number
from tests.sensors.kernel_files import MEMINFO, MEMORY_EVENTS_6_12, MEMORY_STAT_6_1, MEMORY_STAT_6_12

names = st.from_regex(r"[a-z][a-z_.]{0,20}", fullmatch=True)
tables = st.dictionaries(names, st.integers(0, 2**64 - 1), max_size=30)


def text_of(table: dict[str, int]) -> bytes:
    return "".join(f"{name} {value}\n" for name, value in table.items()).encode()


@given(st.lists(tables, min_size=1, max_size=5), st.lists(names, min_size=1, max_size=10, unique=True))
def test_every_file_comes_back_whatever_layout_the_last_one_had(files: list[dict[str, int]], fields: list[str]) -> None:
    parse = FlatFile(fields)
    for table in files * 2:
        assert parse(text_of(table)) == tuple(table.get(name, ABSENT) for name in fields)


@given(tables, st.data())
def test_fields_that_nobody_wants_are_absent(table: dict[str, int], data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from([*table, "other"])))
    parse = FlatFile(tuple(table), wanted)
    for _ in range(2):
        assert parse(text_of(table)) == tuple(v if name in wanted else ABSENT for name, v in table.items())
    assert set(parse.fields) == wanted & table.keys()


@given(st.binary(max_size=100))
def test_what_is_no_flat_file_is_absent(text: bytes) -> None:
    parse = FlatFile(("anon", "file"))
    assert all(value >= ABSENT or text for value in parse(text))
    assert parse(b"anon 1\nfile 2\n") == (1, 2)


def test_real_files() -> None:
    parse = FlatFile(("anon", "pgscan", "zswpwb"))
    assert parse(MEMORY_STAT_6_12.encode()) == (134217728, 400000, 1)
    assert parse(MEMORY_STAT_6_1.encode()) == (134217728, 400000, ABSENT)
    assert parse(MEMORY_STAT_6_12.encode()) == (134217728, 400000, 1)
    assert FlatFile(("high", "oom_kill"))(MEMORY_EVENTS_6_12.encode()) == (120, 1)
    assert FlatFile(("MemTotal:", "SwapFree:"))(MEMINFO.encode()) == (4010940, 524288)
    assert parse(b"anon lots\npgscan 1\nzswpwb 2\n") == (ABSENT, ABSENT, ABSENT)
    assert parse(b"") == (ABSENT, ABSENT, ABSENT)


def test_a_number_alone() -> None:
    assert number(b"4096\n") == (4096,)
    assert number(b"max\n") == (ABSENT,)
    assert number(b"") == (ABSENT,)
