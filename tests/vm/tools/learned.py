"""Write what right-size would have learned in a day of a workload's small, even use: run in the guest.

Usage: learned.py FILE WORKLOAD
"""

import json
import sys
import time
from pathlib import Path

from governor.controllers.right_size import RightSize
from governor.model.control import Member
from governor.model.signal import Sample

DAY_SEC = 24 * 3600
STEP_SEC = 60
controller = RightSize()
state = controller.start()
for second in range(0, DAY_SEC + STEP_SEC, STEP_SEC):
    values = {"cpu.usage": 0.1, "memory.working_set": 20.0 * 2**20, "memory.oom_kills": 0.0}
    member = Member(inode=1, name="learned", sample=Sample(time_usec=second * 1_000_000, values=values))
    state, _ = controller.step(state, member, STEP_SEC)
known = {"controllers": {"right-size": controller.dump(state)}, "seen": int(time.time())}
with Path(sys.argv[1]).open("w") as file:
    json.dump({"format": 1, "workloads": {sys.argv[2]: known}}, file)
