"""Build the guest's disk image, kernel and initrd, and keep them in a cache outside the tree.

The image of a suite is named after the hash of its recipe, so a changed recipe means a new image, and the
old one goes once the new one stands. Building needs root and installs the host's tools with apt.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RECIPE: Final = Path(__file__).parent / "recipe"
SUITES: Final = ("trixie", "bookworm")
DISK_SIZE: Final = 6 << 30
"""Size of the root file system in bytes; the file is sparse."""

HOST_PACKAGES: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "zstd": "zstd",
    "xz": "xz-utils",
    "lz4": "lz4",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "setpriv": "util-linux",
}
"""The host's commands that a build and a boot need, and the package of each."""

COMPRESSIONS: Final = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x02\x21L\x18", "lz4"),
)


class ImageError(Exception):
    """The image cannot be built; the text says what is missing."""


@dataclass(frozen=True)
class Image:
    """The files of a finished image."""

    suite: str
    directory: Path

    @property
    def root(self) -> Path:
        """The raw ext4 root disk: read-only, guests write to overlays."""
        return self.directory / "root.img"

    @property
    def kernel(self) -> Path:
        """The uncompressed kernel, which QEMU enters directly (PVH)."""
        return self.directory / "vmlinux"

    @property
    def initrd(self) -> Path:
        """The initrd that mounts the root disk."""
        return self.directory / "initrd"


def cache() -> Path:
    """Return the directory of everything that guests keep on this machine."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "governor-vm"


def recipe_hash(suite: str) -> str:
    """Return a short hash of what decides the content of a suite's image."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    others = {f"packages-{other}.txt" for other in SUITES if other != suite}
    for path in sorted(RECIPE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.name not in others:
            digest.update(f"{path.relative_to(RECIPE)} {path.stat().st_mode & 0o111}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file: the second of two processes waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(suite: str = "trixie", *, force: bool = False) -> Image:
    """Return the image of a suite, building it first if this recipe has none yet (about two minutes)."""
    if suite not in SUITES:
        raise ImageError(f"unknown suite {suite!r}; there are {', '.join(SUITES)}")
    image = Image(suite, cache() / f"{suite}-{recipe_hash(suite)}")
    with locked(cache() / f"{suite}.lock"):
        if image.directory.exists() and not force:
            return image
        _build_into(image)
        _remove_others(image)
    return image


def _build_into(image: Image) -> None:
    """Build in a temporary directory beside the final one, and rename it when all is done."""
    if os.geteuid() != 0:
        raise ImageError("building an image needs root (mmdebstrap, chroot)")
    with tempfile.TemporaryDirectory(prefix=f"building-{image.suite}-", dir=cache()) as temporary:
        work = Path(temporary)
        root, result = work / "rootfs", work / "result"
        result.mkdir()
        with stage("host tools"):
            install_host_tools()
        with stage(f"bootstrap {image.suite}"):
            bootstrap(image.suite, root)
        with stage("configure"):
            configure(root)
        with stage("kernel and initrd"):
            extract_kernel(root, result / "vmlinux")
            run([RECIPE / "initrd", root, result / "initrd"])
        with stage("root disk"):
            make_disk(root, result / "root.img")
        shutil.rmtree(image.directory, ignore_errors=True)
        result.rename(image.directory)


def _remove_others(image: Image) -> None:
    """Remove the images of the same suite that older recipes made."""
    for directory in cache().glob(f"{image.suite}-*"):
        if directory != image.directory:
            shutil.rmtree(directory)


@contextlib.contextmanager
def stage(title: str) -> Iterator[None]:
    """Say what is done now, and how many seconds it took."""
    start = time.monotonic()
    print(f"image: {title} ...", flush=True)
    yield
    print(f"image: {title}: {time.monotonic() - start:.1f} s", flush=True)


def run(argv: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
    """Run a command of the build; its output goes to the terminal, a failure ends the build."""
    subprocess.run([str(arg) for arg in argv], check=True, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})


def install_host_tools() -> None:
    """Install with apt what is missing of the host's tools."""
    missing = sorted({package for command, package in HOST_PACKAGES.items() if shutil.which(command) is None})
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.append("debian-archive-keyring")
    if not missing:
        return
    print(f"image: installing {' '.join(missing)}", flush=True)
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]
    run([*apt, "update"], quiet)
    run([*apt, "install", "--no-install-recommends", *missing, "seabios"], quiet)


def mirror() -> str:
    """Return the Debian mirror that this machine's apt uses."""
    listing = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(URI)"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"^\S*(https?://\S*/debian)/dists/", listing, re.MULTILINE)
    if found is None:
        raise ImageError("apt-get indextargets names no Debian mirror: run apt-get update first")
    return found[1]


def packages(suite: str) -> list[str]:
    """Return the names of the packages in the guest of a suite."""
    text = "".join((RECIPE / name).read_text() for name in ("packages.txt", f"packages-{suite}.txt"))
    return [name for line in text.splitlines() if not line.startswith("#") for name in line.split()]


def bootstrap(suite: str, root: Path) -> None:
    """Install the suite's packages into an empty directory."""
    base = mirror()
    options = ["--quiet", "--mode=root", "--variant=minbase", "--architectures=amd64"]
    options += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    options += ["--dpkgopt=force-unsafe-io", "--dpkgopt=force-confold"]
    options += [f"--dpkgopt=path-exclude=/usr/share/{directory}/*" for directory in ("man", "locale", "doc")]
    options += [f"--include={','.join(packages(suite))}"]
    sources = [
        f"deb {base} {suite} main",
        f"deb {base} {suite}-updates main",
        f"deb {base}-security {suite}-security main",
    ]
    # INITRD=No: the guest's initrd is our own, the hook would spend half a minute on one that nobody boots.
    run(["mmdebstrap", *options, suite, root, *sources], {"INITRD": "No"})


def configure(root: Path) -> None:
    """Copy the recipe's files into the root file system and run its script on it."""
    run(["cp", "-r", "--no-preserve=ownership", "--remove-destination", f"{RECIPE / 'rootfs'}/.", root])
    run(["install", "-m", "755", RECIPE / "agent.py", root / "usr/local/sbin/guest-agent"])
    run([RECIPE / "configure", root])


def extract_kernel(root: Path, destination: Path) -> None:
    """Write the ELF kernel that is packed in the vmlinuz: emulated, unpacking it would take seconds at each boot."""
    packed = max((root / "boot").glob("vmlinuz-*")).read_bytes()
    # Documentation/arch/x86/boot.rst: setup_sects, payload_offset (from the end of the setup) and payload_length, the
    # last four bytes of which are the unpacked size.
    setup = (packed[0x1F1] + 1) * 512
    offset, length = struct.unpack_from("<II", packed, 0x248)
    payload = packed[setup + offset : setup + offset + length - 4]
    for magic, tool in COMPRESSIONS:
        if payload.startswith(magic):
            unpacked = subprocess.run([tool, "-dcq"], input=payload, capture_output=True, check=False).stdout
            if unpacked.startswith(b"\x7fELF"):
                destination.write_bytes(unpacked)
                return
    raise ImageError(f"the kernel is packed in a way that is not known here: it begins with {payload[:8].hex()}")


def make_disk(root: Path, destination: Path) -> None:
    """Make an ext4 file system with the content of a directory. No journal and no checksums: nobody keeps this disk."""
    with destination.open("wb") as file:
        file.truncate(DISK_SIZE)
    features = ["-O", "^has_journal,^metadata_csum", "-E", "root_owner=0:0"]
    run(["mke2fs", "-q", "-t", "ext4", "-F", "-m", "0", *features, "-d", root, destination])
