"""`make run`: install the package and show the main job, here if this host can, else in a guest.

python3 -m tests.vm.demo DIRECTORY_OF_THE_PACKAGE
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.vm.guest import Guest

SCRIPT: Final = Path(__file__).parent / "tools" / "demo"
CONTROLLERS: Final = {"cpu", "memory", "io", "pids"}


def main() -> int:
    """Run the demonstration; return its exit code."""
    package = newest(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
    return here(package) if can_run_here() else in_guest(package)


def newest(directory: Path) -> Path:
    """Return the package that was built last; SystemExit where there is none."""
    found = sorted(directory.glob("governor_*_all.deb"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit(f"no package in {directory}: run make deb")
    return found[-1]


def can_run_here() -> bool:
    """Tell whether systemd is PID 1 here and has the controllers that limits need."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    return (
        Path("/run/systemd/system").is_dir()
        and controllers.exists()
        and set(controllers.read_text().split()) >= CONTROLLERS
    )


def here(package: Path) -> int:
    """Install on this host and show it with what is installed here."""
    print(f"installing {package.name} on this host")
    return subprocess.run(["sudo", "sh", str(SCRIPT), str(package.resolve())], check=False).returncode


def in_guest(package: Path) -> int:
    """Do the same in a guest, because this machine has no systemd as PID 1 or lacks controllers."""
    print("no systemd with cgroup v2 controllers here: starting a Debian 13 guest (its image is built once)")
    with Guest.start("trixie", "demo") as guest:
        guest.push(package, "/root/governor.deb")
        guest.push(SCRIPT, "/root/demo")
        done = guest.run("sh", "/root/demo", "/root/governor.deb", timeout=600, check=False)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    return done.code


if __name__ == "__main__":
    sys.exit(main())
