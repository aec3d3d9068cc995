"""What ssh and a board's shell say when something fails, as one line that says what to do."""

import re

from edgekit.errors import DeviceError

_LAST_LINES = 2

_CHECK_SERVER = "start the ssh server on it, or correct the port (ssh://user@host:port, or Port in ~/.ssh/config)"

# (what ssh writes, in lower case; what it means; what to do). The first that fits counts.
_CONNECTING = (
    (
        "remote host identification has changed",
        "its host key is not the one that this machine knows",
        "if the board was set up anew, forget the old key with {forget}, else somebody is in between",
    ),
    ("host key verification failed", "its host key is not known here", "connect once by hand to check it: ssh {host}"),
    ("could not resolve hostname", "no such host", "check the name; ssh {host} must work"),
    ("name or service not known", "no such host", "check the name; ssh {host} must work"),
    ("connection refused", "it refuses the connection", _CHECK_SERVER),
    (
        "too many authentication failures",
        "it was offered too many keys",
        "set IdentityFile and IdentitiesOnly for it in ~/.ssh/config",
    ),
    (
        "permission denied",
        "it does not accept this user's keys",
        "check the user name, and put your key there with ssh-copy-id {host}; edgekit asks for no password",
    ),
    ("timed out", "it does not answer", "switch it on, and check its address and the network"),
    ("no route to host", "it cannot be reached", "switch it on, and check its address and the network"),
    ("network is unreachable", "it cannot be reached", "check this machine's network"),
    ("bad configuration option", "the ssh configuration is wrong", "correct it; ssh {host} must work"),
    ("bad owner or permissions", "the ssh configuration is not private", "chmod 600 it"),
    ("can't open user config file", "the ssh configuration is missing", "correct EDGEKIT_SSH_CONFIG"),
    (
        "session open refused",
        "its ssh server allows one session per connection",
        "set MaxSessions to 10 in its sshd_config",
    ),
    ("administratively prohibited", "its ssh server forbids this", "allow sessions in its sshd_config"),
    ("connection reset by", "it breaks off the connection", _CHECK_SERVER),
    ("connection closed by", "it breaks off the connection", _CHECK_SERVER),
)

_WRITING = (
    ("no space left on device", "free some room there"),
    ("disk quota exceeded", "free some room there"),
    ("file too large", "allow larger files there (ulimit -f)"),
    ("read-only file system", "choose a writable folder"),
    ("permission denied", "choose a folder of the user that logs in"),
    ("operation not permitted", "choose a folder of the user that logs in"),
    ("not a directory", "choose a folder"),
    ("file exists", "choose a folder"),
)


def connection_failed(label: str, host: str, words: str) -> DeviceError:
    """The error for a connection that did not come about; ``words`` is what ssh wrote."""
    for said, meaning, advice in _CONNECTING:
        if said in words.lower():
            advice = advice.format(host=host, forget=_forget(words))
            return DeviceError(f"{label}: {meaning}: {advice} (ssh: {_telling(words, said)})")
    return DeviceError(f"{label}: cannot connect: {last_words(words)}; ssh {host} must work without asking anything")


def connection_lost(label: str, words: str) -> DeviceError:
    """The error for a connection that broke in the middle."""
    return DeviceError(
        f"{label}: the connection was lost ({last_words(words)}); check its power and network, and try again"
    )


def cannot_write(label: str, folder: str, words: str) -> DeviceError:
    """The error for a folder of the board that nothing can be written to; ``words`` is what its shell wrote."""
    advice = next((advice for said, advice in _WRITING if said in words.lower()), "choose another folder")
    if "folder" in advice:
        advice += ' with "folder" in the device profile'
    else:
        advice += ', or choose another folder with "folder" in the device profile'
    return DeviceError(f"{label}: cannot write to {folder}: {last_words(words)}; {advice}")


def last_words(words: str) -> str:
    """The last lines of a text, as one; decoration of ssh's warnings is left out."""
    lines = [" ".join(line.split()) for line in words.splitlines()]
    lines = [line for line in lines if re.search(r"\w", line) and not line.startswith("@")]
    return " | ".join(lines[-_LAST_LINES:])[-300:] or "it said nothing"


def _forget(words: str) -> str:
    """The command that ssh advises when a host key has changed; not every build of it does."""
    match = re.search(r"ssh-keygen -f .*", words)
    return match[0].strip() if match else "ssh-keygen -R"


def _telling(words: str, said: str) -> str:
    """The line that says it; of a changed host key, where the old one is."""
    lines = [" ".join(line.split()) for line in words.splitlines()]
    offending = [line for line in lines if line.startswith(("Offending", "No "))]
    fitting = [line for line in lines if said in line.lower()]
    return (offending or fitting or [last_words(words)])[0].removeprefix("ssh: ").strip("@ ")[:300]
