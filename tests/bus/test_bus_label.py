from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.bus.label import escape_label, unescape_label, unit_of, unit_path

NAMES = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=40)


def sd_bus_path_encode(prefix: str, name: str) -> str:
    """systemd's own escaping, from libsystemd (sd_bus_path_encode(3))."""
    library = ctypes.CDLL("libsystemd.so.0")
    path = ctypes.c_char_p()
    assert library.sd_bus_path_encode(prefix.encode(), name.encode(), ctypes.byref(path)) >= 0
    assert path.value is not None
    return path.value.decode()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("", "_"),
        ("docker-0a.scope", "docker_2d0a_2escope"),
        ("0a", "_30a"),
        ("_", "_5f"),
        ("é", "_c3_a9"),
        ("../x", "_2e_2e_2fx"),
    ],
)
def test_known_labels(name: str, label: str) -> None:
    assert escape_label(name) == label
    assert unescape_label(label) == name


@given(NAMES)
def test_escaping_is_systemds_own(name: str) -> None:
    assert f"/a/{escape_label(name)}" == sd_bus_path_encode("/a", name)


@given(st.text(max_size=60))
def test_every_name_comes_back_and_makes_one_label(name: str) -> None:
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    label = escape_label(name)
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
    assert unescape_label(label).encode("utf-8", "surrogateescape") == name.encode("utf-8", "surrogateescape")


def test_an_invalid_escape_is_taken_literally() -> None:
    assert unescape_label("a_zz_2") == "a_zz_2"


def test_units_have_paths_and_back() -> None:
    assert unit_path("a-b.scope") == "/org/freedesktop/systemd1/unit/a_2db_2escope"
    assert unit_of(unit_path("a-b.scope")) == "a-b.scope"
    assert unit_of("/org/freedesktop/systemd1/job/1") == ""
