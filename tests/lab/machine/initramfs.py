"""What the guest consists of: one archive in memory, no disk."""

import lzma
import os
import pathlib
import re
import shutil
import subprocess

from . import packages
from .cpio import Archive
from .places import LAB, OUT, ROOT, TARGET, LabError

MUSL = "x86_64-unknown-linux-musl"

# In the order of what they are for: the control channel, disks, filesystems.
MODULES = ("virtio_pci", "virtio_console", "loop", "dm_mod", "nbd", "fuse", "ext4")

PEERS = ("prometheus-node-exporter", "prometheus-process-exporter")

# Programs of the host with their libraries: {command: package}.
HOST_PROGRAMS = {
    "curl": "curl", "dmsetup": "dmsetup", "mkfs.ext4": "e2fsprogs", "fsfreeze": "util-linux",
    "strace": "strace",
}  # fmt: skip
HOST_NEEDS = {
    "qemu-system-x86_64": "qemu-system-x86", "gcc": "gcc", "make": "make", "depmod": "kmod",
    "busybox": "busybox-static", **HOST_PROGRAMS,
}  # fmt: skip


def build_exporter(binary=None):
    """Our release binary, static if the target is installed: then the guest needs nothing beside it."""
    if binary is not None:
        return pathlib.Path(binary)
    environment = {**os.environ, "PATH": f"{pathlib.Path.home()}/.cargo/bin:{os.environ['PATH']}"}
    libraries = subprocess.run(
        ["rustc", "--print", "target-libdir", "--target", MUSL], env=environment, capture_output=True, text=True
    ).stdout.strip()
    target = ["--target", MUSL] if libraries and pathlib.Path(libraries).exists() else []
    command = ["cargo", "build", "-q", "--release", "--locked", *target]
    subprocess.run(command, cwd=ROOT, env={**environment, "CARGO_TARGET_DIR": str(TARGET)}, check=True)
    return TARGET / (MUSL if target else "") / "release" / "stall_exporter"


def build_tools():
    """The small programs in C, static, from the lab and from the rig of the fast tests."""
    tools = OUT / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    rig = ROOT / "tests" / "faults"
    sources = [*sorted((LAB / "guest").glob("*.c")), rig / "vfork_parent.c", rig / "sleepers.c"]
    for source in sources:
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-static", "-pthread", f"-I{rig}"]
        subprocess.run(["gcc", *flags, source, "-o", tools / source.stem], check=True)
    return [tools / source.stem for source in sources]


def libraries(program):
    """What the dynamic loader would map, loader included."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", listed)


def _add_program(archive, program, at):
    archive.file(at, program)
    for library in libraries(program):
        archive.file(library, os.path.realpath(library))


def build(kernel, exporter):
    """The archive, and its path. Seconds; so it is made anew each time and can never be stale."""
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"initramfs-{kernel.release}.cpio"
    archive = Archive(path)
    for directory in ("proc", "sys", "dev", "tmp", "run", "var", "root", "bin"):
        archive.directory(directory)
    archive.file("bin/busybox", shutil.which("busybox"))
    archive.file("init", LAB / "guest" / "init")
    for tool in build_tools():
        archive.file(f"lab/{tool.name}", tool)
    _add_program(archive, exporter, "lab/stall_exporter")
    for peer in PEERS:
        _add_program(archive, packages.extracted(peer) / "usr/bin" / peer, f"lab/{peer}")
    for program in HOST_PROGRAMS:
        found = shutil.which(program)
        if found is None:
            raise LabError(f"no {program} on this host")
        _add_program(archive, found, f"sbin/{program}")
    order = []
    for module in kernel.modules(MODULES):
        # Decompressed here: not every kernel can do it itself at this point.
        content = module.read_bytes()
        content = lzma.decompress(content) if module.suffix == ".xz" else content
        order.append(module.name.removesuffix(".xz"))
        archive.file(f"lab/modules/{order[-1]}", content)
    order.append("stall_fault.ko")
    archive.file("lab/modules/stall_fault.ko", kernel.build_fault_module())
    archive.file("lab/modules/order", "".join(f"{name}\n" for name in order).encode())
    archive.close()
    return path
