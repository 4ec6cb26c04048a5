"""Wiring: discovery, loop, D-Bus API, reload, sd_notify."""
