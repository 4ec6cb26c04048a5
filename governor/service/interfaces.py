"""The interfaces of org.governor1 as tables: what is dispatched, checked and introspected is the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAME = "org.governor1"
ROOT_PATH = "/org/governor1"
CONTAINER_ROOT = f"{ROOT_PATH}/container"
_DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    '"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)
_EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument: its name and complete type."""

    name: str
    signature: str


@dataclass(frozen=True, slots=True)
class Method:
    """One method."""

    name: str
    takes: tuple[Arg, ...] = ()
    returns: tuple[Arg, ...] = ()

    @property
    def in_signature(self) -> str:
        """The signature that a call must have."""
        return "".join(arg.signature for arg in self.takes)

    @property
    def out_signature(self) -> str:
        """The signature of its reply."""
        return "".join(arg.signature for arg in self.returns)


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One signal."""

    name: str
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Property:
    """One property, read-only; `emits` is what PropertiesChanged tells of it: true, invalidates, const or false."""

    name: str
    signature: str
    emits: str


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface."""

    name: str
    methods: tuple[Method, ...] = ()
    signals: tuple[SignalSpec, ...] = ()
    properties: tuple[Property, ...] = ()

    def method(self, member: str) -> Method | None:
        """Return the method called `member`, or None."""
        return next((method for method in self.methods if method.name == member), None)


MANAGER = Interface(
    "org.governor1.Manager",
    (
        Method("ListContainers", (), (Arg("containers", "a(sssso)"),)),
        Method("GetContainer", (Arg("id_name_or_unit", "s"),), (Arg("path", "o"),)),
        Method("ListPolicies", (), (Arg("policies", "a(sss)"),)),
        Method("Reload"),
        Method("Explain", (Arg("container", "s"),), (Arg("limits", "aa{sv}"),)),
        Method("SetLimits", (Arg("container", "s"), Arg("properties", "a(sv)"), Arg("lease_usec", "t"))),
        Method("Release", (Arg("container", "s"),)),
        Method("SetMode", (Arg("mode", "s"),)),
        Method("Doctor", (), (Arg("features", "a(sbs)"),)),
        Method(
            "Simulate", (Arg("policy", "s"), Arg("recording", "ay")), (Arg("steps", "a(tssss)"), Arg("missing", "s"))
        ),
    ),
    (
        SignalSpec("ContainerAdded", (Arg("id", "s"), Arg("path", "o"))),
        SignalSpec("ContainerRemoved", (Arg("id", "s"), Arg("path", "o"))),
        SignalSpec("LimitsChanged", (Arg("path", "o"), Arg("limits", "a{sv}"))),
        SignalSpec("KillNotice", (Arg("id", "s"), Arg("path", "o"), Arg("grace_usec", "t"))),
    ),
    (
        Property("Version", "s", "const"),
        Property("Mode", "s", "true"),
        Property("NContainers", "u", "true"),
        Property("Features", "as", "false"),
        Property("LastTickUSec", "t", "false"),
    ),
)

CONTAINER = Interface(
    "org.governor1.Container",
    properties=(
        Property("Id", "s", "const"),
        Property("Name", "s", "invalidates"),
        Property("Runtime", "s", "const"),
        Property("Unit", "s", "const"),
        Property("CGroup", "s", "const"),
        Property("Image", "s", "invalidates"),
        Property("Labels", "a{ss}", "invalidates"),
        Property("Policies", "as", "invalidates"),
        Property("Limits", "a{sv}", "true"),
        Property("Originals", "a{sv}", "invalidates"),
    ),
)

PROPERTIES = Interface(
    "org.freedesktop.DBus.Properties",
    (
        Method("Get", (Arg("interface", "s"), Arg("property", "s")), (Arg("value", "v"),)),
        Method("GetAll", (Arg("interface", "s"),), (Arg("properties", "a{sv}"),)),
        Method("Set", (Arg("interface", "s"), Arg("property", "s"), Arg("value", "v"))),
    ),
    (
        SignalSpec(
            "PropertiesChanged",
            (Arg("interface", "s"), Arg("changed_properties", "a{sv}"), Arg("invalidated_properties", "as")),
        ),
    ),
)

INTROSPECTABLE = Interface("org.freedesktop.DBus.Introspectable", (Method("Introspect", (), (Arg("xml", "s"),)),))

PEER = Interface("org.freedesktop.DBus.Peer", (Method("Ping"), Method("GetMachineId", (), (Arg("machine_id", "s"),))))

OBJECT_MANAGER = Interface(
    "org.freedesktop.DBus.ObjectManager",
    (Method("GetManagedObjects", (), (Arg("objects", "a{oa{sa{sv}}}"),)),),
    (
        SignalSpec("InterfacesAdded", (Arg("object", "o"), Arg("interfaces", "a{sa{sv}}"))),
        SignalSpec("InterfacesRemoved", (Arg("object", "o"), Arg("interfaces", "as"))),
    ),
)


def introspection(interfaces: Iterable[Interface], children: Iterable[str]) -> str:
    """Return the XML of an object with these interfaces and child nodes (D-Bus Specification, Introspection)."""
    lines = [_DOCTYPE + "<node>"]
    for interface in interfaces:
        lines += _interface_lines(interface)
    lines += [f" <node name={quoteattr(child)}/>" for child in children]
    return "\n".join([*lines, "</node>\n"])


def _interface_lines(interface: Interface) -> list[str]:
    lines = [f" <interface name={quoteattr(interface.name)}>"]
    for method in interface.methods:
        lines.append(f"  <method name={quoteattr(method.name)}>")
        lines += _arg_lines(method.takes, ' direction="in"') + _arg_lines(method.returns, ' direction="out"')
        lines.append("  </method>")
    for signal in interface.signals:
        lines += [f"  <signal name={quoteattr(signal.name)}>", *_arg_lines(signal.args, ""), "  </signal>"]
    for prop in interface.properties:
        lines += [
            f'  <property name={quoteattr(prop.name)} type={quoteattr(prop.signature)} access="read">',
            f'   <annotation name="{_EMITS}" value="{prop.emits}"/>',
            "  </property>",
        ]
    return [*lines, " </interface>"]


def _arg_lines(args: Sequence[Arg], direction: str) -> list[str]:
    return [f"   <arg name={quoteattr(arg.name)} type={quoteattr(arg.signature)}{direction}/>" for arg in args]
