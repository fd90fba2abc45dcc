"""The text exposition, as far as the lab needs it: our own pages only."""

import re

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$", re.MULTILINE)


def parse(text):
    """Series as it stands on the page -> value."""
    return {series: float(value) for series, value in _LINE.findall(text)}
