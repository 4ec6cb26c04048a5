"""Benchmarks: what governor costs and how quickly it acts, always beside something simpler that does the same.

    python3 -m benchmarks.reaction      from a payload's exec to its limit in the kernel, beside a bare listener
    python3 -m benchmarks.idle          CPU time and memory with 20 and 200 containers, beside a C program that reads
    python3 -m benchmarks.tick          what sampling costs, beside a C program that reads and parses the same fields
    python3 -m benchmarks.contention    a service's latency and the batch work kept, beside what else people do about it
    python3 -m benchmarks.memory        cold memory given back, and what that costs

All but tick start a guest of their own (tests.vm) and install the package from dist/ (`make deb`). They repeat in turns
with what they are compared with, print a table and write build/bench/<name>.json. Emulation makes absolute times 3 to
45 times longer than on hardware, and whoever else uses this machine makes them vary: compare within a table, never two
tables. So a benchmark asserts nothing; docs/benchmarks.md says what was found. `report` has what they share.
"""
