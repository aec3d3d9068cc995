"""Android devices, and boards with adbd, through the ``adb`` program.

client.py      the adb program: where it is, how it is run within bounds
listing.py     what ``adb devices -l`` lists, and what to do about what cannot be used
connection.py  one device: state, shell, transfers; adb's failures become DeviceErrors
session.py     the session's folder on the device
lock.py        one benchmark at a time
owner.py       whose a session or a lock is
files.py       files found by their sha256
starting.py    why a program did not start
settings.py    fixed-performance mode
executor.py    the executor
attached.py    what each attached device is
"""

from edgekit.benchmarking.executors.adb.attached import AttachedDevice, attached
from edgekit.benchmarking.executors.adb.executor import AdbExecutor, open_executor

__all__ = ["AdbExecutor", "AttachedDevice", "attached", "open_executor"]
