"""A Debian kernel to boot: image, modules and the headers that our module is built against, all merely extracted."""

import re
import shutil
import subprocess

from . import packages
from .places import CACHE, LAB, OUT, LabError

# Name on the command line -> suite; None is the host's own release. 6.1 takes exec_update_lock for /proc/PID/stat and
# trylocks rtnl in sysfs; 6.12 is the newest kernel whose quota still stops a task inside a mutex.
SUITES = {"6.1": None, "6.12": "bookworm-backports"}


class Kernel:
    def __init__(self, name):
        if name not in SUITES:
            raise LabError(f"no kernel {name}; there are {', '.join(SUITES)}")
        self.name = name
        suite = SUITES[name]
        (image,) = (p for p in packages.depends("linux-image-cloud-amd64", suite) if p.startswith("linux-image-"))
        self.release = image.removeprefix("linux-image-")
        self.tree = CACHE / f"linux_{packages.candidate(image, suite)}"
        packages.extracted(image, suite, self.tree)
        self.image = self.tree / "boot" / f"vmlinuz-{self.release}"
        self._modules = self._module_table()
        self._headers = self._extract_headers(suite)

    def _module_table(self):
        # A merged /usr is what later packages have and what depmod of some hosts wants; both layouts are taken.
        base = self.tree / "usr" if (self.tree / "usr/lib/modules").exists() else self.tree
        self.module_directory = base / "lib" / "modules" / self.release
        table = self.module_directory / "modules.dep"
        if not table.exists():
            subprocess.run(["depmod", "-b", base, self.release], check=True)
        return dict(line.split(":", 1) for line in table.read_text().splitlines())

    def modules(self, names):
        """Paths of modules and all they need, in an order in which they can be loaded. Built-in ones are left out."""
        by_name = {re.sub(r"\.ko.*", "", path.rsplit("/", 1)[-1]).replace("-", "_"): path for path in self._modules}
        builtin = (self.module_directory / "modules.builtin").read_text()
        order = []
        for name in names:
            if name in by_name:
                path = by_name[name]
                order += [*reversed(self._modules[path].split()), path]
            elif f"/{name}.ko" not in builtin.replace("-", "_"):
                raise LabError(f"kernel {self.release} has no module {name}")
        return [self.module_directory / path for path in dict.fromkeys(order)]

    def _extract_headers(self, suite):
        headers = f"linux-headers-{self.release}"
        needed = [p for p in packages.depends(headers, suite) if p.startswith(("linux-headers-", "linux-kbuild-"))]
        for package in (headers, *needed):
            packages.extracted(package, suite, self.tree)
        directory = self.tree / "usr" / "src" / headers
        # The one absolute path in them: the per-flavour Makefile includes the common one under /usr/src.
        makefile = directory / "Makefile"
        text = makefile.read_text()
        if "include /usr/src/" in text:
            makefile.unlink()
            makefile.write_text(text.replace("include /usr/src/", f"include {self.tree}/usr/src/"))
        return directory

    def build_fault_module(self):
        """Our module for this kernel. Built in a copy: kbuild leaves a dozen files beside its sources."""
        work = OUT / "fault" / self.release
        shutil.copytree(LAB / "fault", work, dirs_exist_ok=True)
        # Without type information for BPF, for which newer kernels want pahole.
        command = ["make", "-s", "-C", self._headers, f"M={work}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
        return work / "stall_fault.ko"
