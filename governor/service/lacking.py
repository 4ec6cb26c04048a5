"""What this host's systemd cannot enforce, because it was built without it: refused in words, not tried for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from governor.model.errors import ActuationError, Gone, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.bus.systemd import Systemd

BPF_FRAMEWORK: Final = "BPF_FRAMEWORK"
"""systemd's build option for programs that it loads with libbpf (meson_options.txt, bpf-framework)."""

NEEDS: Final = dict.fromkeys(("SocketBindAllow", "SocketBindDeny", "RestrictNetworkInterfaces"), BPF_FRAMEWORK)
"""Property → what systemd must have been built with. It takes them all the same, and only logs that nothing holds."""


async def lacking(systemd: Systemd) -> dict[str, str]:
    """Return why each property cannot be enforced that this systemd cannot enforce; nothing where it does not tell."""
    try:
        built = await systemd.build_features()
    except (ActuationError, Unsupported, Gone):
        return {}
    return {name: words(feature) for name, feature in NEEDS.items() if f"-{feature}" in built}


def words(feature: str) -> str:
    """Return what the absence of a build option means."""
    return f"this systemd was built without it (systemctl --version says -{feature})"


def named(lacking_properties: Mapping[str, str]) -> str:
    """Return the properties' names for a sentence."""
    return ", ".join(f"{name}=" for name in sorted(lacking_properties or NEEDS))
