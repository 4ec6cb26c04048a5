"""governorctl: a client of the D-Bus API."""
