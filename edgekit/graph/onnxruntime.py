"""The one door to onnxruntime: imported when needed, with its telemetry off."""

import os
from typing import Any

TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1"}
"""For the environment of every process that may import onnxruntime."""


def load_onnxruntime() -> Any:
    """The ``onnxruntime`` module.

    Its telemetry writes a database into the home folder and a session file into the temporary one as soon as it is
    imported; ORT_DISABLE_TELEMETRY, set before, prevents both. Whoever sets it differently is obeyed.
    """
    for name, value in TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)
    import onnxruntime

    return onnxruntime
