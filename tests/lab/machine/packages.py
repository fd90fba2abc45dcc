"""Debian packages, downloaded and extracted, never installed: a kernel for a guest has no business in the host's /boot.

apt gets lists and a state of its own under the cache. So it can know backports, which the host's configuration need
not, and it cannot leave the host half upgraded.
"""

import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from .places import CACHE, LabError

APT = CACHE / "apt"
SOURCES = pathlib.Path("/etc/apt")


def _host_sources():
    """The host's Debian sources as one-line entries: (options, uri, suite, components)."""
    for path in sorted(SOURCES.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = dict(re.findall(r"^(\S+):\s*(.+)$", stanza, re.MULTILINE))
            if "URIs" in fields and "debian" in fields["URIs"]:
                signed = f"[signed-by={fields['Signed-By']}]" if "Signed-By" in fields else ""
                for uri in fields["URIs"].split():
                    for suite in fields["Suites"].split():
                        yield signed, uri, suite, fields.get("Components", "main")
    for path in (SOURCES / "sources.list", *sorted(SOURCES.glob("sources.list.d/*.list"))):
        if path.exists():
            entry = r"^deb\s+(\[[^]]*\])?\s*(\S*debian\S*)\s+(\S+)\s+(.+)$"
            for options, uri, suite, components in re.findall(entry, path.read_text(), re.MULTILINE):
                yield options, uri, suite, components


def _apt(*command, cwd=None):
    environment = {**os.environ, "APT_CONFIG": str(APT / "apt.conf"), "LC_ALL": "C"}
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: {done.stderr.strip()[-500:]}")
    return done.stdout


@functools.cache
def _update():
    """Once in a process. Without a network, what was learned last time will do."""
    entries = list(_host_sources())
    if not entries:
        raise LabError("no Debian source in /etc/apt; the lab takes its kernels from one")
    options, uri, suite, _ = next(entry for entry in entries if "-" not in entry[2])
    lines = [f"deb {' '.join(entry)}" for entry in (*entries, (options, uri, f"{suite}-backports", "main"))]
    for directory in ("lists/partial", "archives/partial"):
        (APT / directory).mkdir(parents=True, exist_ok=True)
    (APT / "sources.list").write_text("\n".join(dict.fromkeys(lines)) + "\n")
    (APT / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{APT}/sources.list";\n'
        'Dir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::Lists "{APT}/lists";\n'
        f'Dir::Cache "{APT}";\n'
        # The cache may lie below a home that apt's own user cannot enter.
        'APT::Sandbox::User "root";\n'
    )
    try:
        _apt("apt-get", "update", "-q")
    except LabError:
        if not any((APT / "lists").glob("*_Packages*")):
            raise


def candidate(package, suite=None):
    """The version apt would take."""
    _update()
    shown = _apt("apt-cache", "show", "--no-all-versions", f"{package}/{suite}" if suite else package)
    return re.search(r"^Version: (.+)$", shown, re.MULTILINE)[1]


def depends(package, suite=None):
    """Names of the packages it depends on, first alternatives."""
    _update()
    shown = _apt("apt-cache", "show", "--no-all-versions", f"{package}/{suite}" if suite else package)
    found = re.search(r"^Depends: (.+)$", shown, re.MULTILINE)
    return [re.match(r"\S+", entry.strip())[0] for entry in found[1].split(",")] if found else []


def extracted(package, suite=None, into=None):
    """The directory a package was extracted into, by version; `into` merges several packages into one tree."""
    tree = into or CACHE / f"{package}_{candidate(package, suite)}"
    mark = tree / f".{package}"
    if not mark.exists():
        _update()
        tree.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=APT) as directory:
            _apt("apt-get", "download", "-q", f"{package}/{suite}" if suite else package, cwd=directory)
            (archive,) = pathlib.Path(directory).glob("*.deb")
            subprocess.run(["dpkg", "-x", archive, tree], check=True)
        mark.touch()
    return tree


def install_missing(needs):
    """Programs of the host the lab itself needs: {command: package}."""
    missing = sorted({package for command, package in needs.items() if shutil.which(command) is None})
    if not missing:
        return
    if os.geteuid() != 0:
        raise LabError(f"missing packages: {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], env=environment, check=True)
    command = ["apt-get", "install", "-qy", "--no-install-recommends", *missing]
    subprocess.run(command, env=environment, check=True)
