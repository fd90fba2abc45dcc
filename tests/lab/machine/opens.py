"""What a program opens, by the word of strace, against the table that `stall_exporter sources` prints."""

import re

# Calls that name a path, and those of law 2 that name none.
CALLS = "trace=%file,socket,ioctl,execve"
CONFIG = "/tmp/stall.toml"
CGROUPS = "/sys/fs/cgroup"
# Opened once, to open the rows below them.
ROOTS = ("/proc", "/sys", CGROUPS)

# Where it begins to act by itself: it opens its configuration. What comes before is the loader's.
FROM = {"ours": "open.*stall\\.toml"}


def under(program):
    return f"/sbin/strace -f -qq -y -e signal=none -e {CALLS} -o /tmp/strace.{program}"


def calls(story, program):
    """Each call once, numbers as N: `openat /proc/N/status O_RDONLY`. Reduced in the guest: a trace has megabytes."""
    return story.run(
        f"sed -n '/{FROM.get(program, 'execve')}/,$p' /tmp/strace.{program} | grep -v resumed"
        " | sed -E 's/^[0-9]+ +//; s/ = [^=]*$//; s/0x[0-9a-f]+/N/g; s/[0-9]+/N/g' | sort -u | head -n 3000",
        120,
    ).splitlines()


def _path(call):
    """(path, whether it is asked for as a directory), or None for a call without one."""
    found = re.match(r"\w+\((?:AT_FDCWD(?:<[^>]*>)?|N<([^>]*)>), \"([^\"]*)\"|\w+\(\"([^\"]*)\"", call)
    if not found:
        return None
    base, relative, absolute = found.groups()
    path = absolute if relative is None else relative if relative.startswith("/") or not base else f"{base}/{relative}"
    path = re.sub(r"/\.?$", "", path)
    # A kept descriptor of a file is asked for its own attributes with an empty path.
    return path, "O_DIRECTORY" in call or "stat" in call.split("(")[0]


def _pattern(row):
    path = re.escape(row.split(" (")[0].replace("PID", "N").replace("TID", "N"))
    path = path.replace(r"\[N/task/\]", "(N/task/)?")
    # `{cpu,io}` is one of them; the device of a `dm-N` is a number.
    path = re.sub(r"\\\{([^}]*)\\\}", lambda names: f"({names[1].replace(',', '|')})", path)
    if path == "CGROUP/":
        return CGROUPS + "(/.+)?", True
    return path.replace("CGROUP", CGROUPS + "(/.+)?"), False


def rows(sources):
    """(pattern, for directories only) of what a process that serves or its probe may open."""
    found = []
    for line in sources.splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if len(cells) > 3 and cells[2] in ("front", "probe"):
            pattern, directory = _pattern(cells[0])
            found.append((re.compile(pattern), directory))
    return found


def trespasses(sources, called):
    """The calls that law 2 forbids."""
    table = rows(sources)
    wrong = []
    for call in called:
        name = call.split("(")[0]
        if name == "socket":
            allowed = re.match(r"socket\(AF_INETN?, SOCK_STREAM", call)
        elif name in ("ioctl", "execve", "execveat"):
            allowed = False
        elif (path := _path(call)) is None:
            allowed = False
        else:
            opened, directory = path
            allowed = opened in (CONFIG, *ROOTS) or any(
                pattern.fullmatch(opened) and (directory or not only) for pattern, only in table
            )
        if not allowed:
            wrong.append(call)
    return wrong
