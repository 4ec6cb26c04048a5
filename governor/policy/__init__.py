"""TOML files become policies: load, parse, match, merge."""
