from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.bus.codec import decode, encode, encode_empty
from governor.bus.library import Message, Variant, marshal, unmarshal
from governor.model.directives import BY_PROPERTY, Kind
from governor.model.values import CPU_WEIGHT_IDLE, INFINITY, Share, Value

INET, INET6 = int(socket.AF_INET), int(socket.AF_INET6)

# what systemd sends and takes, written by hand from org.freedesktop.systemd1(5) and src/core/dbus-cgroup.c
ON_THE_BUS: list[tuple[str, Value, str, Any]] = [
    ("CPUWeight", 300, "t", 300),
    ("CPUWeight", CPU_WEIGHT_IDLE, "t", 0),
    ("CPUQuotaPerSecUSec", 1_500_000, "t", 1_500_000),
    ("MemoryMax", INFINITY, "t", 2**64 - 1),
    ("AllowedCPUs", (0, 1, 9), "ay", b"\x03\x02"),
    ("AllowedCPUs", (), "ay", b""),
    ("AllowedMemoryNodes", (7,), "ay", b"\x80"),
    ("IOReadBandwidthMax", (("/var", 20_000_000),), "a(st)", [["/var", 20_000_000]]),
    ("IODeviceLatencyTargetUSec", (("/dev/sda", 50_000),), "a(st)", [["/dev/sda", 50_000]]),
    ("IPAccounting", True, "b", True),
    ("IPAddressDeny", ("10.0.0.0/8",), "a(iayu)", [[INET, b"\x0a\0\0\0", 8]]),
    ("IPAddressAllow", ("::1/128",), "a(iayu)", [[INET6, b"\0" * 15 + b"\x01", 128]]),
    ("SocketBindDeny", ((INET, 6, 10, 8000),), "a(iiqq)", [[INET, 6, 10, 8000]]),
    ("RestrictNetworkInterfaces", (False, ("eth0",)), "(bas)", [False, ["eth0"]]),
    ("DevicePolicy", "closed", "s", "closed"),
    ("DeviceAllow", (("/dev/null", "rw"), ("char-pts", "")), "a(ss)", [["/dev/null", "rw"], ["char-pts", ""]]),
    ("ManagedOOMSwap", "kill", "s", "kill"),
    # 60 % of 2^32 - 1, as systemd's UINT32_SCALE_FROM_PERMYRIAD has it
    ("ManagedOOMMemoryPressureLimit", 6000, "u", 2576980377),
]


@pytest.mark.parametrize(("name", "value", "signature", "raw"), ON_THE_BUS)
def test_values_look_as_systemd_has_them(name: str, value: Value, signature: str, raw: Any) -> None:
    variant = encode(name, value)
    assert variant.signature == signature
    assert variant.value == raw
    assert decode(name, Variant(signature, raw)) == (tuple(sorted(value)) if name == "DeviceAllow" else value)  # type: ignore[arg-type]


def values_of(name: str) -> st.SearchStrategy[Any]:
    directive = BY_PROPERTY[name]
    text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
    uint64 = st.integers(0, INFINITY)
    weight = st.integers(1, 10_000)
    networks = st.one_of(
        st.ip_addresses(v=4).map(lambda ip: f"{ip}/32"),
        st.ip_addresses(v=6).map(lambda ip: f"{ip}/128"),
        st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "::/0", "fe80::/10"]),
    )
    port = st.integers(0, 65535)
    by_signature: dict[str, st.SearchStrategy[Any]] = {
        "t": weight if "weight" in directive.kind else st.integers(1, INFINITY),
        "u": st.integers(0, 10_000),
        "b": st.booleans(),
        "s": st.sampled_from(
            ["auto", "closed", "strict"] if directive.kind is Kind.DEVICE_POLICY else ["auto", "kill"]
        ),
        "ay": st.frozensets(st.integers(0, 8191), max_size=20).map(lambda cpus: tuple(sorted(cpus))),
        "a(st)": st.lists(
            st.tuples(text.map(lambda path: f"/{path}"), weight if directive.kind is Kind.DEVICE_WEIGHT else uint64),
            max_size=5,
        ).map(lambda items: tuple(sorted(items))),
        "a(ss)": st.lists(st.tuples(text, st.sampled_from(["", "r", "rw", "rwm"])), max_size=5).map(
            lambda items: tuple(sorted(items))
        ),
        "a(iayu)": st.lists(networks, max_size=5).map(lambda items: tuple(sorted(items))),
        "a(iiqq)": st.lists(
            st.tuples(st.sampled_from([0, INET, INET6]), st.sampled_from([0, 6, 17]), port, port), max_size=5
        ).map(lambda items: tuple(sorted(items))),
        "(bas)": st.tuples(st.booleans(), st.lists(text, max_size=5).map(lambda names: tuple(sorted(names)))),
    }
    return by_signature[directive.signature]


@pytest.mark.parametrize("name", list(BY_PROPERTY))
@given(data=st.data())
def test_every_property_comes_back_over_the_wire(name: str, data: st.DataObject) -> None:
    value = data.draw(values_of(name))
    message = Message(path="/a", member="B", signature="v", body=[encode(name, value)], serial=1)
    [variant] = unmarshal(marshal(message)).body
    assert decode(name, variant) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CPUWeight", True),
        ("CPUWeight", "300"),
        ("CPUWeight", 1.5),
        ("CPUWeight", 10_001),
        ("IOWeight", 0),
        ("MemoryMax", -1),
        ("MemoryMax", 2**64),
        ("MemoryMax", Share(5000)),
        ("TasksMax", 0),
        ("CPUQuotaPerSecUSec", 0),
        ("IPAccounting", 1),
        ("AllowedCPUs", (-1,)),
        ("AllowedCPUs", (8192,)),
        ("AllowedCPUs", [1]),
        ("AllowedCPUs", (True,)),
        ("IODeviceWeight", (("/dev/sda", 0),)),
        ("IOReadBandwidthMax", (("relative", 1),)),
        ("IOReadBandwidthMax", (("/a\nb", 1),)),
        ("IOReadBandwidthMax", (("/a\0b", 1),)),
        ("IOReadBandwidthMax", (("/a",),)),
        ("IPAddressDeny", ("10.0.0.1/8",)),
        ("IPAddressDeny", ("any",)),
        ("SocketBindDeny", ((1, 6, 0, 0),)),
        ("SocketBindDeny", ((2, 6, 0, 65536),)),
        ("RestrictNetworkInterfaces", ("eth0",)),
        ("RestrictNetworkInterfaces", (1, ("eth0",))),
        ("DevicePolicy", "open"),
        ("DeviceAllow", (("/dev/null", "x"),)),
        ("ManagedOOMSwap", "maybe"),
        ("ManagedOOMMemoryPressureLimit", 10_001),
        ("NoSuchLimit", 1),
    ],
)
def test_what_no_limit_can_be_is_refused(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(name, value)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("CPUWeight", Variant("u", 1)),
        ("CPUWeight", Variant("s", "1")),
        ("AllowedCPUs", Variant("ay", b"\0" * 1024 + b"\x01")),
        ("IPAddressDeny", Variant("a(iayu)", [[INET, b"\0" * 16, 8]])),
        ("IPAddressDeny", Variant("a(iayu)", [[INET, b"\0" * 4, 33]])),
        ("IOReadBandwidthMax", Variant("a(st)", [["", 1]])),
    ],
)
def test_what_comes_in_is_checked_too(name: str, raw: Variant) -> None:
    with pytest.raises((TypeError, ValueError)):
        decode(name, raw)


def test_lists_are_emptied_before_they_are_set_and_scalars_are_not() -> None:
    empty = encode_empty("IOReadBandwidthMax", (("/", 1),))
    assert empty is not None
    assert (empty.signature, empty.value) == ("a(st)", [])
    interfaces = encode_empty("RestrictNetworkInterfaces", (True, ("eth0",)))
    assert interfaces is not None
    assert interfaces.value == [True, []]
    assert encode_empty("CPUWeight", 1) is None
    assert encode_empty("AllowedCPUs", (1,)) is None
