"""Runs in the guest: starts a pod with one container through containerd's CRI, as a kubelet would.

crictl is not in Debian and its .proto files are not either, so the few messages are encoded by hand; the numbers are
the fields' numbers in runtime/v1/api.proto. Prints a JSON object with the ids.
"""

import argparse
import json
import uuid

import grpc

SOCKET = "unix:///run/containerd/containerd.sock"
TIMEOUT = 120.0
OWN_NAMESPACE, NODE_NAMESPACE = 1, 2


def varint(number: int) -> bytes:
    """Encode a number, seven bits a byte."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


def text(field: int, value: str | bytes) -> bytes:
    """Encode a string or a message that is already encoded."""
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def integer(field: int, value: int) -> bytes:
    """Encode an integer."""
    return varint(field << 3) + varint(value)


def mapping(field: int, values: dict[str, str]) -> bytes:
    """Encode a map of strings."""
    return b"".join(text(field, text(1, key) + text(2, value)) for key, value in values.items())


def first_string(message: bytes) -> str:
    """Return field 1 of an answer, which is the id in all that are read here (and always comes first)."""
    size = message[1]
    return message[2 : 2 + size].decode()


class Runtime:
    """containerd's CRI."""

    def __init__(self) -> None:
        """Connect at the first call."""
        self._channel = grpc.insecure_channel(SOCKET)

    def call(self, method: str, message: bytes) -> bytes:
        """Call a method of the runtime service with an encoded message and return the encoded answer."""
        answer: bytes = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")(message, timeout=TIMEOUT)
        return answer


def pod_message(arguments: argparse.Namespace, uid: str, namespaces: bytes) -> bytes:
    """Return the encoded PodSandboxConfig."""
    unit = uid.replace("-", "_")
    level = "" if arguments.qos == "guaranteed" else f"{arguments.qos}-"
    metadata = text(1, arguments.name) + text(2, uid) + text(3, arguments.namespace)
    labels = {
        "io.kubernetes.pod.name": arguments.name,
        "io.kubernetes.pod.namespace": arguments.namespace,
        "io.kubernetes.pod.uid": uid,
        **arguments.label,
    }
    linux = text(1, f"kubepods-{level}pod{unit}.slice") + text(2, text(1, namespaces))
    return text(1, metadata) + text(3, f"/var/log/pods/{uid}") + mapping(6, labels) + text(8, linux)


def container_message(arguments: argparse.Namespace, uid: str, namespaces: bytes) -> bytes:
    """Return the encoded ContainerConfig."""
    labels = {
        "io.kubernetes.container.name": arguments.container,
        "io.kubernetes.pod.name": arguments.name,
        "io.kubernetes.pod.namespace": arguments.namespace,
        "io.kubernetes.pod.uid": uid,
        **arguments.label,
    }
    resources = integer(1, 100_000) + integer(2, arguments.cpu_quota) + integer(3, 512) + integer(4, arguments.memory)
    command = b"".join(text(3, part) for part in arguments.command)
    head = text(1, text(1, arguments.container)) + text(2, text(1, arguments.image)) + command
    linux = text(1, resources) + text(2, text(3, namespaces))
    return head + mapping(9, labels) + text(11, f"{arguments.container}.log") + text(15, linux)


def start(runtime: Runtime, arguments: argparse.Namespace) -> dict[str, str]:
    """Start the pod and its container, and return their ids."""
    uid = str(uuid.uuid4())
    # There is no CNI plugin in the guest: the pod uses the node's network. Each container sees its own processes only.
    namespaces = integer(1, NODE_NAMESPACE) + integer(2, OWN_NAMESPACE)
    pod = pod_message(arguments, uid, namespaces)
    sandbox = first_string(runtime.call("RunPodSandbox", text(1, pod)))
    config = container_message(arguments, uid, namespaces)
    container = first_string(runtime.call("CreateContainer", text(1, sandbox) + text(2, config) + text(3, pod)))
    runtime.call("StartContainer", text(1, container))
    return {"sandbox": sandbox, "container": container, "uid": uid}


def label(argument: str) -> tuple[str, str]:
    """Split KEY=VALUE."""
    key, _, value = argument.partition("=")
    return key, value


def main() -> None:
    """Parse the command line and print the ids."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="demo", help="the pod's name")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--container", default="main", help="the container's name")
    parser.add_argument("--image", default="localhost/bb:1")
    parser.add_argument("--qos", choices=("burstable", "besteffort", "guaranteed"), default="burstable")
    parser.add_argument("--label", type=label, action="append", default=[])
    parser.add_argument("--cpu-quota", type=int, default=0, help="µs in 100 ms, 0 for no limit")
    parser.add_argument("--memory", type=int, default=0, help="bytes, 0 for no limit")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    arguments.label = dict(arguments.label)
    print(json.dumps(start(Runtime(), arguments)))


if __name__ == "__main__":
    main()
