"""What systemd is told about the service (sd_notify(3)); without a NOTIFY_SOCKET nothing is sent."""

from __future__ import annotations

import os
import time

import sdnotify

from governor.model.text import printable

STATUS_LIMIT = 200


class Notifier:
    """One line each to the service manager."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self.watchdog_sec = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        """How often the watchdog wants to hear from us at the latest; 0 where it does not."""

    def ready(self, status: str) -> None:
        """Say that start-up or a reload has ended."""
        self._notifier.notify(f"READY=1\nSTATUS={_ascii(status)}")

    def reloading(self) -> None:
        """Say that a reload begins; Type=notify-reload waits for MONOTONIC_USEC in the same datagram."""
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service ends."""
        self._notifier.notify("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._notifier.notify(f"STATUS={_ascii(text)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._notifier.notify("WATCHDOG=1")


def _ascii(text: str) -> str:
    """Return `text` as sdnotify can send it: it drops what is not latin-1 without a word."""
    return printable(text, STATUS_LIMIT).encode("ascii", "backslashreplace").decode("ascii")
