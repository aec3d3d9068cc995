"""The command line: one module per command with its signature and help; the work is in the modules that they import.

A new command is one module here, one name in the import below, and one in the order of ``edgekit --help`` (app.py).
"""

from edgekit.cli import benchmark, devices, export, history, inspect, targets, verify
from edgekit.cli.entry import main

__all__ = ["benchmark", "devices", "export", "history", "inspect", "main", "targets", "verify"]
