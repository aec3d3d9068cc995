"""Linux boards over ssh, with the OpenSSH client of this machine and the user's own configuration and keys.

connection.py  one connection, used by every command
exchange.py    talking with the ssh program without ever waiting or reading for ever
scripts.py     what runs in the board's sh
tree.py        what is pushed
failures.py    what ssh says, as errors that say what to do
"""

from edgekit.benchmarking.executors.ssh.executor import SshExecutor, open_executor

__all__ = ["SshExecutor", "open_executor"]
