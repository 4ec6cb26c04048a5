"""What several wishes come to: examples, and what must hold whatever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from governor.engine.combine import Wish, combine
from governor.model.control import Control
from governor.model.policy import Mode, Setting
from governor.model.values import INFINITY
from tests.engine.planted import GIB, HIGH, Script

if TYPE_CHECKING:
    from governor.model.values import Value

QUOTA = "CPUQuotaPerSecUSec"
_FLOORS = ("MemoryMin", "MemoryLow")
_CAPS = ("MemoryHigh", "MemoryMax", QUOTA, "CPUWeight")


def wish(controller: str, limits: dict[str, Value], mode: Mode = Mode.ENFORCE, **bounds: dict[str, Value]) -> Wish:
    return Wish(
        controller=controller,
        control=Control.of(Script(**bounds), mode=mode),  # type: ignore[arg-type]
        limits=limits,
        reason=f"{controller} wants it",
        since_usec=1,
        until_usec=2,
    )


def static(value: Value, source: str = "policy:base") -> Setting:
    return Setting(value=value, source=source, reason="")


def test_a_cap_beats_a_raise_and_a_floor_a_lower_floor() -> None:
    found = combine({}, {}, [wish("a", {HIGH: 2 * GIB, "MemoryLow": 1}), wish("b", {HIGH: GIB, "MemoryLow": 2})])
    assert (found.settings[HIGH].value, found.settings["MemoryLow"].value) == (GIB, 2)
    assert found.settings[HIGH].overrides == (f"control:a={2 * GIB}",)
    assert found.settings["MemoryLow"].overrides == ("control:a=1",)


def test_three_wishes_name_every_loser() -> None:
    found = combine({}, {}, [wish(name, {"CPUWeight": weight}) for name, weight in (("a", 3), ("b", 1), ("c", 2))])
    assert found.settings["CPUWeight"].source == "control:b"
    assert set(found.settings["CPUWeight"].overrides) == {"control:a=3", "control:c=2"}


def test_a_protection_beats_a_cap_and_says_so() -> None:
    for settings, base in (({"MemoryLow": static(2 * GIB)}, {}), ({}, {"MemoryMin": 2 * GIB})):
        setting = combine(settings, base, [wish("a", {HIGH: GIB})]).settings[HIGH]
        assert setting.value == 2 * GIB
        assert f"control:a={GIB} (below {'policy:base' if settings else 'MemoryMin'})" in setting.overrides
    own = combine({}, {}, [wish("a", {HIGH: GIB}), wish("b", {"MemoryMin": 3 * GIB})])
    assert own.settings[HIGH].value == 3 * GIB


def test_an_unlimited_protection_protects_from_nothing() -> None:
    assert combine({}, {"MemoryMin": INFINITY}, [wish("a", {HIGH: GIB})]).settings[HIGH].value == GIB


def test_bounds_of_the_policy_hold_and_its_floor_beats_its_cap() -> None:
    limits: dict[str, Value] = {QUOTA: 10_000_000}
    assert combine({}, {}, [wish("a", limits, max={QUOTA: 2_000_000})]).settings[QUOTA].value == 2_000_000
    both = wish("a", limits, max={QUOTA: 1}, min={QUOTA: 500_000})
    assert combine({}, {}, [both]).settings[QUOTA].value == 500_000


def test_memory_max_is_never_raised_above_what_it_was() -> None:
    base: dict[str, Value] = {"MemoryMax": GIB}
    for wishes in (
        [wish("a", {"MemoryMax": 2 * GIB})],
        [wish("a", {"MemoryMax": 2 * GIB}, min={"MemoryMax": 3 * GIB})],
        [wish("a", {"MemoryMax": GIB // 2}), wish("b", {"MemoryLow": 2 * GIB})],
    ):
        assert combine({}, base, wishes).settings["MemoryMax"].value == GIB


def test_devices_that_are_capped_more_tightly_win() -> None:
    reads = "IOReadBandwidthMax"
    loose, tight = (("8:0", 20),), (("8:0", 10),)
    found = combine({}, {}, [wish("a", {reads: loose}), wish("b", {reads: tight})])
    assert found.settings[reads].value == tight


def test_what_observes_is_kept_apart() -> None:
    found = combine({}, {}, [wish("a", {HIGH: GIB}, Mode.OBSERVE), wish("b", {HIGH: 2 * GIB})])
    assert (found.settings[HIGH].value, found.observed[HIGH].value) == (2 * GIB, GIB)
    assert found.settings[HIGH].overrides == ()


def test_the_policys_own_limit_is_named_where_feedback_lies_over_it() -> None:
    found = combine({HIGH: static(4 * GIB)}, {}, [wish("a", {HIGH: GIB})])
    assert found.settings[HIGH].overrides == (f"policy:base={4 * GIB}",)
    assert found.settings[HIGH].source == "control:a"


_values = st.one_of(st.integers(0, 16), st.just(INFINITY))
_bounds = st.dictionaries(st.sampled_from((*_FLOORS, *_CAPS)), _values, max_size=3)
_wishes = st.builds(
    wish, st.sampled_from("abcd"), _bounds, st.sampled_from(Mode), min=_bounds, max=_bounds
)  # small numbers meet often


@given(_bounds, _bounds, st.lists(_wishes, max_size=4))
def test_whatever_is_wished_for(base: dict[str, Value], fixed: dict[str, Value], wishes: list[Wish]) -> None:
    settings = {name: static(value) for name, value in fixed.items()}
    found = combine(settings, base, wishes)
    enforced = [one for one in wishes if one.control.mode is Mode.ENFORCE]
    assert found.settings.keys() == {name for one in enforced for name in one.limits}
    for name, setting in found.settings.items():
        assert isinstance(setting.value, int)
        assert setting.mode is Mode.ENFORCE
        _check_bounds(name, setting.value, base, enforced)
        losers = {one.source for one in enforced if name in one.limits} - {setting.source}
        assert losers <= {text.partition("=")[0] for text in setting.overrides}
    _check_floors({**base, **fixed, **{name: one.value for name, one in found.settings.items()}}, found.settings, base)


def _check_bounds(name: str, value: int, base: dict[str, Value], wishes: list[Wish]) -> None:
    """One of the wishes asked for it, as its bounds allow, or a protection or the base stands in the way."""
    if name == "MemoryMax" and isinstance(base.get(name), int):
        assert value <= base[name]  # type: ignore[operator]
    if name not in ("MemoryMax", "MemoryHigh"):
        allowed = set()
        for one in wishes:
            if name in one.limits:
                high = one.control.settings.max.get(name, INFINITY)
                low = one.control.settings.min.get(name, 0)
                allowed.add(max(min(one.limits[name], high), low))
        assert value == (max(allowed) if name in _FLOORS else min(allowed))


def _check_floors(values: dict[str, Value], settings: object, base: dict[str, Value]) -> None:
    """A cap of feedback's is below a protection only where the host itself had it so."""
    assert isinstance(settings, dict)
    for cap in ("MemoryHigh", "MemoryMax"):
        for floor in _FLOORS:
            protected, capped = values.get(floor), values.get(cap)
            if cap not in settings or not isinstance(protected, int) or protected == INFINITY:
                continue
            assert isinstance(capped, int)
            assert capped >= protected or (cap == "MemoryMax" and capped == base.get("MemoryMax"))


@given(st.lists(_wishes, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_wishes_decides_nothing(wishes: list[Wish], random: object) -> None:
    shuffled = list(wishes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found, other = combine({}, {}, wishes), combine({}, {}, shuffled)
    for one, two in ((found.settings, other.settings), (found.observed, other.observed)):
        assert {name: setting.value for name, setting in one.items()} == {n: s.value for n, s in two.items()}
