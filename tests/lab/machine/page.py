"""The text exposition, as far as the lab needs it."""

import re

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$", re.MULTILINE)


def parse(text, wanted=""):
    """Series as it stands on the page -> value, of those that begin with one of `wanted`."""
    return {series: float(value) for series, value in _LINE.findall(text) if series.startswith(wanted)}
