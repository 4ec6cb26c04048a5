"""Benchmarks: what governor costs and how quickly it acts, always beside something simpler that does the same.

    python3 -m benchmarks.reaction      from a payload's exec to its limit in the kernel, beside a bare listener
    python3 -m benchmarks.idle          CPU time and memory with 20 and 200 containers, beside a C program that reads

Each starts a guest of its own (tests.vm), installs the package from dist/ (`make deb`), repeats in turns with what it
is compared with, prints a table and writes build/bench/<name>.json. Emulation makes absolute times 3 to 45 times longer
than on hardware, and whoever else uses this machine makes them vary: compare within a table, never two tables. So a
benchmark asserts nothing; docs/benchmarks.md says what was found. `report` has what they share.
"""
