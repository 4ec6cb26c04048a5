"""Every directive in systemd's spelling, there and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.model.directives import BY_NAME, BY_PROPERTY, Kind
from governor.model.values import INFINITY, Share, Value
from governor.policy.kinds import SPELLINGS
from governor.policy.spelling import example, items, parse_item, parse_value, spell, spell_line

ANY = ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("CPUWeight", 300, 300),
        ("CPUWeight", "300", 300),
        ("CPUWeight", "idle", 0),
        ("IOWeight", 10000, 10000),
        ("CPUQuota", "150%", 1_500_000),
        ("CPUQuota", "1500‰", 1_500_000),
        ("CPUQuota", "infinity", INFINITY),
        ("CPUQuotaPeriodSec", "20ms", 20_000),
        ("CPUQuotaPeriodSec", 1, 1_000_000),
        ("CPUBurst", "1min 5s", 65_000_000),
        ("MemoryMax", "512M", 536_870_912),
        ("MemoryMax", 4096, 4096),
        ("MemoryMax", "infinity", INFINITY),
        ("MemoryMax", "50%", Share(5000)),
        ("MemoryMin", "0%", Share(0)),
        ("MemorySwapMax", 0, 0),
        ("TasksMax", 4096, 4096),
        ("TasksMax", "12.5%", Share(1250)),
        ("AllowedCPUs", "0-3,8", (0, 1, 2, 3, 8)),
        ("AllowedCPUs", "0 2 4", (0, 2, 4)),
        ("AllowedCPUs", [3, "0-1"], (0, 1, 3)),
        ("AllowedCPUs", 2, (2,)),
        ("AllowedCPUs", "", ()),
        ("IOReadBandwidthMax", "/var 20M", (("/var", 20_000_000),)),
        ("IOReadBandwidthMax", ["/var 20M", '"/my disk" infinity'], (("/my disk", INFINITY), ("/var", 20_000_000))),
        ("IOReadIOPSMax", "/dev/sda 1K", (("/dev/sda", 1000),)),
        ("IODeviceWeight", "/dev/sda 200", (("/dev/sda", 200),)),
        ("IODeviceLatencyTargetSec", "/dev/sda 25ms", (("/dev/sda", 25_000),)),
        ("IOReadBandwidthMax", [], ()),
        ("IPAddressDeny", "any", ANY),
        ("IPAddressAllow", "localhost", ("127.0.0.0/8", "::1/128")),
        ("IPAddressAllow", "link-local", ("169.254.0.0/16", "fe80::/64")),
        ("IPAddressAllow", ["multicast"], ("224.0.0.0/4", "ff00::/8")),
        ("IPAddressAllow", "10.1.2.3/8 192.0.2.1 2001:DB8::1/32", ("10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32")),
        ("IPAddressAllow", "10.0.0.0/8 10.1.0.0/16 any", ANY),
        ("IPAddressAllow", "0.0.0.0/0 ::1 ::ffff:0:0/96", ("0.0.0.0/0", "::1/128", "::ffff:0:0/96")),
        ("IPAddressAllow", "10.0.0.0/9 10.128.0.0/9", ("10.0.0.0/9", "10.128.0.0/9")),
        ("SocketBindAllow", "ipv4:tcp:1024-65535", ((2, 6, 64512, 1024),)),
        ("SocketBindAllow", ["any", "tcp", 6667], ((0, 0, 0, 0), (0, 0, 1, 6667), (0, 6, 0, 0))),
        ("SocketBindAllow", "ipv6:udp", ((10, 17, 0, 0),)),
        ("SocketBindDeny", "ipv4:any", ((2, 0, 0, 0),)),
        ("RestrictNetworkInterfaces", "eth1 eth0", (True, ("eth0", "eth1"))),
        ("RestrictNetworkInterfaces", ["~eth0", "~eth1"], (False, ("eth0", "eth1"))),
        ("RestrictNetworkInterfaces", "", (False, ())),
        ("DevicePolicy", "closed", "closed"),
        ("DeviceAllow", ["/dev/null wr", "char-pts"], (("/dev/null", "rw"), ("char-pts", "rwm"))),
        ("DeviceAllow", "block-* r", (("block-*", "r"),)),
        ("ManagedOOMSwap", "kill", "kill"),
        ("ManagedOOMMemoryPressureLimit", "60%", 6000),
        ("ManagedOOMMemoryPressureLimit", "100%", 10_000),
        ("ManagedOOMMemoryPressureLimit", "0.01%", 1),
        ("IPAccounting", True, True),
        ("IPAccounting", "no", False),
    ],
)
def test_values_are_what_systemd_would_put_on_the_bus(name: str, raw: Any, value: Value) -> None:
    assert parse_value(BY_NAME[name], raw) == value


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("CPUWeight", 0, "out of range"),
        ("CPUWeight", 10001, "out of range"),
        ("IOWeight", "idle", "not a plain number"),
        ("CPUWeight", True, "a boolean"),
        ("CPUWeight", 3.5, "a float"),
        ("CPUQuota", "150.5%", "whole percents in a drop-in"),
        ("CPUQuota", "0%", "no CPU time"),
        ("CPUQuota", 150, "a whole number"),
        ("CPUQuota", "", "not a percentage"),
        ("MemoryMax", 0, "nothing at all"),
        ("MemoryHigh", "0%", "nothing at all"),
        ("MemoryHigh", "101%", "above 100%"),
        ("MemoryHigh", "512MB", "not a size"),
        ("MemoryHigh", -1, "not a size"),
        ("TasksMax", 0, "nothing at all"),
        ("TasksMax", "1K", "not a plain number"),
        pytest.param("TasksMax", 16**5000, "not a plain number", id="huge"),
        ("AllowedCPUs", "3-1", "upwards"),
        ("AllowedCPUs", "0-8192", "upwards"),
        ("AllowedCPUs", "a", "numbers and ranges"),
        ("IOReadBandwidthMax", "var 20M", "absolute"),
        ("IOReadBandwidthMax", "/var/../etc 20M", "'/../'"),
        ("IOReadBandwidthMax", "/var/ 20M", "slash at its end"),
        ("IOReadBandwidthMax", "/var", "not a device and a value"),
        ("IOReadBandwidthMax", "/var 0", "nothing at all"),
        ("IOReadBandwidthMax", "/a\x00b 5", "no file can have"),
        ("IOReadBandwidthMax", ["/var 1M", "/var 2M"], "2 times"),
        ("IOReadBandwidthMax", 20, "a whole number"),
        ("IODeviceWeight", "/dev/sda 0", "out of range"),
        ("IPAddressAllow", "10.0.0.0/255.0.0.0", "not an address"),
        ("IPAddressAllow", "10.0.0.0/33", "not an address"),
        ("IPAddressAllow", "fe80::1%eth0", "not an address"),
        ("IPAddressAllow", "example.org", "not an address"),
        ("SocketBindAllow", "tcp:ipv4", "not a family"),
        ("SocketBindAllow", "0", "1 to 65535"),
        ("SocketBindAllow", "80-79", "upwards"),
        ("SocketBindAllow", "tcp:80:90", "out of order"),
        ("SocketBindAllow", [str(port) for port in range(1, 130)], "129 rules"),
        ("RestrictNetworkInterfaces", ["eth0", "~eth1"], "mixes"),
        ("RestrictNetworkInterfaces", "much-too-long-name", "network interface"),
        ("RestrictNetworkInterfaces", "1", "network interface"),
        ("DevicePolicy", "open", "auto, closed or strict"),
        ("DeviceAllow", "/etc/passwd r", "below /dev/"),
        ("DeviceAllow", "/dev/../etc r", "'/../'"),
        ("DeviceAllow", "/dev/null x", "r, w and m"),
        ("ManagedOOMMemoryPressureLimit", "60", "not a percentage"),
        ("IPAccounting", 2, "neither yes nor no"),
        ("AllowedCPUs", [["0"]], "an array"),
        ("IPAddressAllow", ["any"] * 5000, "at most 4096"),
    ],
)
def test_what_systemd_refuses_is_refused_with_the_reason(name: str, raw: Any, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_value(BY_NAME[name], raw)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("name", BY_NAME)
def test_each_error_says_what_is_accepted_and_its_example_is_accepted(name: str) -> None:
    directive = BY_NAME[name]
    with pytest.raises(ValueError, match="it takes ") as caught:
        parse_item(directive, {"a": 1})
    assert str(caught.value).endswith(f"as in {example(directive)}")
    written = SPELLINGS[directive.kind].example
    value = parse_value(directive, written)
    assert parse_value(directive, spell(directive.property, value)) == value


def test_items_know_their_place_in_a_list() -> None:
    assert items(BY_NAME["DeviceAllow"], ["a", "b"]) == [((0,), "a"), ((1,), "b")]
    assert items(BY_NAME["CPUWeight"], [1]) == [((), [1])]


def test_values_that_only_the_bus_has_can_be_shown() -> None:
    assert spell("CPUWeight", INFINITY) == "[not set]"
    assert spell("CPUQuotaPeriodUSec", INFINITY) == "infinity"
    assert spell_line("IPAddressAllow", (*ANY, "10.0.0.0/8")) == "any 10.0.0.0/8"
    assert spell_line("CPUQuotaPerSecUSec", 333_333) == "33.33%"


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=8)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
BLANK_PATHS = PATHS.map(lambda path: f'"{path.replace(chr(34), "q")} x"')
SIZES = st.builds(lambda number, suffix: f"{number}{suffix}", st.integers(1, 9999), st.sampled_from("KMGT"))
SHARES = st.decimals(min_value="0.01", max_value=100, places=2).map(lambda percent: f"{percent}%")
SPANS = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(0, 10**6), st.sampled_from(["us", "ms", "s", "min"])
)
WEIGHTS = st.integers(1, 10_000)
PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda pair: f"{min(pair)}-{max(pair)}")
RULES = st.builds(
    lambda *parts: ":".join(part for part in parts if part) or "any",
    st.sampled_from(["", "ipv4", "ipv6"]),
    st.sampled_from(["", "tcp", "udp"]),
    PORTS | st.just(""),
)
NETWORKS = (
    st.sampled_from(["any", "localhost", "link-local", "multicast"])
    | st.ip_addresses().map(str)
    | st.builds(lambda address, prefix: f"{address}/{prefix}", st.ip_addresses(), st.integers(0, 32))
)
LIMITS = SIZES | SHARES | st.just("infinity") | st.integers(1, 2**63)


def _pairs(paths: st.SearchStrategy[str], rest: st.SearchStrategy[Any]) -> st.SearchStrategy[list[str]]:
    pair = st.builds(lambda path, value: f"{path} {value}", paths, rest)
    return st.lists(pair, max_size=4, unique_by=lambda text: text.rpartition(" ")[0].strip("'\""))


WRITTEN: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.WEIGHT: WEIGHTS,
    Kind.CPU_WEIGHT: WEIGHTS | st.just("idle"),
    Kind.CPU_PERCENT: st.integers(1, 10**6).map(lambda percent: f"{percent}%") | st.just("infinity"),
    Kind.TIMESPAN: SPANS | st.integers(0, 10**6),
    Kind.BYTES: LIMITS,
    Kind.TASKS: SHARES | st.integers(1, 2**63) | st.just("infinity"),
    Kind.BOOLEAN: st.booleans() | st.sampled_from(["yes", "Off", "1"]),
    Kind.CPU_SET: st.lists(st.integers(0, 8191), max_size=20),
    Kind.DEVICE_WEIGHT: _pairs(PATHS.filter(lambda path: path[1] not in "\"'"), WEIGHTS),
    Kind.DEVICE_BYTES: _pairs(BLANK_PATHS, SIZES | st.just("infinity")),
    Kind.DEVICE_COUNT: _pairs(PATHS, st.integers(1, 2**63)),
    Kind.DEVICE_TIMESPAN: _pairs(PATHS, SPANS),
    Kind.NETWORKS: st.lists(NETWORKS, max_size=6),
    Kind.SOCKET_BIND: st.lists(RULES | st.integers(1, 65535), max_size=10),
    Kind.INTERFACES: st.builds(
        lambda sign, names: sign + " ".join(names),
        st.sampled_from(["", "~"]),
        st.lists(
            st.from_regex(r"[a-z][a-z0-9.@-]{0,13}", fullmatch=True).filter(lambda n: n not in ("all", "default"))
        ),
    ),
    Kind.DEVICE_POLICY: st.sampled_from(["auto", "closed", "strict"]),
    Kind.DEVICE_ALLOW: st.lists(
        st.builds(
            lambda node, access: f"{node} {access}".strip(),
            PATHS.map(lambda path: f"/dev{path}") | NAMES.map(lambda name: f"char-{name}"),
            st.sampled_from(["", "r", "wm", "mwr"]),
        ),
        max_size=4,
        unique_by=lambda text: text.partition(" ")[0],
    ),
    Kind.OOM_MODE: st.sampled_from(["auto", "kill"]),
    Kind.PERMYRIAD: SHARES,
}


@given(st.data())
def test_what_is_spelled_parses_to_the_same_value(data: st.DataObject) -> None:
    directive = BY_PROPERTY[data.draw(st.sampled_from(sorted(BY_PROPERTY)))]
    value = parse_value(directive, data.draw(WRITTEN[directive.kind]))
    assert parse_value(directive, spell(directive.property, value)) == value


@given(st.sampled_from(sorted(BY_NAME)), st.text() | st.integers() | st.floats() | st.lists(st.text(max_size=8)))
def test_whatever_is_accepted_can_be_spelled_and_read_again(name: str, raw: Any) -> None:
    directive = BY_NAME[name]
    try:
        value = parse_value(directive, raw)
    except ValueError:
        return
    assert parse_value(directive, spell(directive.property, value)) == value
