"""Consume a tick: journal, metrics."""
