"""How long a container runs without its limit: see docs/benchmarks.md for what is measured and by which rule.

`trace` lets the guest's kernel write down when the payload was exec'd and when the limit arrived, `contenders` are the
daemon and the bare listeners (`bare.py`, which runs in the guest), `runs` starts containers in turns, `results` counts.
"""
