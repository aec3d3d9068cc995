"""The command line: one module per command with its signature and help; the work is in the modules that they import.

A new command is one module here and one name in the import below; the order there is the order of ``edgekit --help``.
"""

from edgekit.cli import export, inspect, targets
from edgekit.cli.entry import main

__all__ = ["export", "inspect", "main", "targets"]
