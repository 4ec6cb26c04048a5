"""What holds for every test: hypothesis judges results, never times, since machines are shared."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("governor", deadline=None)
settings.load_profile("governor")
