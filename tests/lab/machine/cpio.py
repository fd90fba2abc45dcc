"""An archive the kernel unpacks as its first root. Written here and not by cpio(1): no staging tree, no root needed,
and every file belongs to root, which is what a staging tree is usually built for."""

import os
import stat


class Archive:
    def __init__(self, path):
        self._file = open(path, "wb")
        self._inode = 0
        self._known = set()

    def directory(self, path):
        self._add(path, stat.S_IFDIR | 0o755, b"")

    def link(self, path, to):
        self._add(path, stat.S_IFLNK | 0o777, to.encode())

    def file(self, path, source, mode=None):
        """From bytes, or from a file of the host, whose permissions it keeps."""
        if not isinstance(source, bytes):
            mode = stat.S_IMODE(os.stat(source).st_mode) if mode is None else mode
            with open(source, "rb") as file:
                source = file.read()
        self._add(path, stat.S_IFREG | (0o644 if mode is None else mode), source)

    def close(self):
        self._entry("TRAILER!!!", 0, b"")
        self._file.close()

    def _add(self, path, mode, content):
        path = path.strip("/")
        parent = path.rpartition("/")[0]
        if parent and parent not in self._known:
            self.directory(parent)
        if path not in self._known:
            self._known.add(path)
            self._entry(path, mode, content)

    def _entry(self, name, mode, content):
        # "newc": a magic number, thirteen fields of eight hex digits, name and content each padded to four bytes.
        self._inode += 1
        encoded = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        self._file.write(header + b"\0" * (-len(header) % 4))
        self._file.write(content + b"\0" * (-len(content) % 4))
