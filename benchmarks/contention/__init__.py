"""A service with a fixed rate of requests beside batch work that wants all CPUs, all memory or the whole disk.

`contend.c` is both sides and the board between them; it is built on the host and runs in two docker containers of the
guest. `stage` sets the guest up, `ways` are what may be done about the contention, `turns` measures, `results`
compares, `plot` draws. docs/benchmarks.md says what is measured, and what was found.
"""
