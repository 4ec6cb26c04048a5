"""Memory that nobody uses: how much of it is given back within minutes, and what that costs whoever had it.

`cold.c` is a working set of which a part is hot; it is built on the host. `twins` runs it in docker containers,
`results` compares. docs/benchmarks.md says what is measured, and what was found.
"""
