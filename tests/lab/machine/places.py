"""Where things are. What is downloaded outlives a clean build; what is built or found does not."""

import os
import pathlib

LAB = pathlib.Path(__file__).resolve().parents[1]
ROOT = LAB.parents[1]

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "stall_exporter-lab"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
OUT = TARGET / "lab"
RESULTS = OUT / "results"


class LabError(Exception):
    """The lab could not do its work. This says nothing about the exporter."""
