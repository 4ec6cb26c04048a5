"""Tests on a real systemd host: a Debian virtual machine with docker, podman, containerd and its CRI, nspawn and LXC.

Development machines and CI runners usually have no systemd as PID 1 and not all cgroup v2 controllers, so what governor
does is tested in a QEMU guest. `image` builds its disk with mmdebstrap from the few files in `recipe/` (as root, two
minutes, once for a recipe) and keeps it in ~/.cache/governor-vm, outside the tree. `boot` starts it, with KVM where a
probe boot succeeds and under emulation elsewhere; the first start boots it cold, warms what is slow (`tools/warm`) and
saves a snapshot, from which all later ones start in seconds. `guest.Guest` is what tests use: it runs commands through
a small agent in the guest (`recipe/agent.py`, `channel`), copies files, and takes the guest back to its snapshot.

    pytest tests/vm                             all tests in a Debian 13 guest (systemd 257, kernel 6.12)
    pytest tests/vm --vm-suite bookworm         in a Debian 12 guest (systemd 252, kernel 6.1)
    pytest tests                                leaves this folder out
    python3 -m tests.vm up                      a guest that stays, for `run`, `push`, `pull`, `reset`, `down`

A test asks for the fixture `guest`; each module begins with a guest fresh from the snapshot. In the guest there are the
users alice (uid 1000, rootless podman, her user manager runs) and bob (uid 1001); the image `bb:1` (docker) or
`localhost/bb:1` (podman, containerd), a busybox; /var/lib/machines/m1, the same as a tree; /dev/vdb, an empty disk of
2 GiB for I/O limits or swap; no network but loopback, and containers have none by default. Emulation starts processes
45 times slower than hardware: allow generous times, and put many checks into one command.

In the Debian 12 guest podman is 4.3 (no quadlet, no pasta), and the nspawn of systemd 252 shows a second line, of a
named v1 hierarchy, in /proc/<pid>/cgroup: read the one that begins with "0::".
"""
