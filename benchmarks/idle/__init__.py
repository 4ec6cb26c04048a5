"""What the daemon costs while nothing happens: CPU time and memory, beside a C program that reads the same files.

`reader.c` is built on the host and runs in the guest, `scopes.py` makes plain scopes there, `windows` measures,
`results` compares. docs/benchmarks.md says what is measured and why the containers are plain scopes.
"""
