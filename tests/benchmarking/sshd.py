"""A real OpenSSH server on loopback with its own keys, port and configuration: what a board on the network is."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
_KEYS: dict[str, tuple[bytes, bytes]] = {}
_PRIVILEGE_SEPARATION = Path("/run/sshd")


class Server:
    """Serves the user who runs the tests. ``host`` is an alias in ``config``, the ssh configuration of the tests."""

    host = "board"

    def __init__(self, folder: Path) -> None:
        if _SSHD is None or shutil.which("ssh-keygen") is None or shutil.which("ssh") is None:
            pytest.skip("needs openssh-server and openssh-client")
        self.folder = folder
        self.config = folder / "config"
        self.known_hosts = folder / "known_hosts"
        self.log = folder / "sshd.log"
        self.home = folder / "home"
        self.port = _free_port()
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None
        self.home.mkdir()
        for name in ("host_key", "user_key", "other_key"):
            self.make_key(name)
        self.authorize("user_key")
        self._write_configuration()
        self.trust("host_key")

    def make_key(self, name: str) -> None:
        path = self.folder / name
        if name not in _KEYS:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
            _KEYS[name] = (path.read_bytes(), path.with_suffix(".pub").read_bytes())
        for each, content in zip((path, path.with_suffix(".pub")), _KEYS[name], strict=True):
            each.write_bytes(content)
            each.chmod(0o600)

    def authorize(self, name: str, options: str = "") -> None:
        """Let the key in; ``options`` as in authorized_keys, like ``command="..."``."""
        key = (self.folder / name).with_suffix(".pub").read_text()
        (self.folder / "authorized_keys").write_text(f"{options} {key}".lstrip())

    def trust(self, name: str | None) -> None:
        key = "" if name is None else (self.folder / name).with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}" if key else "")

    def start(self) -> None:
        if os.getuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        command = [str(_SSHD), "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """No new connections; those that are there stay."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()

    def close(self) -> None:
        """The end: nothing that a failed test has left goes on."""
        if self._process is not None:
            self.drop_connections()
            self.stop()

    def drop_connections(self) -> None:
        """Kill the processes that serve connections: no farewell is sent."""
        self._signal_connections(signal.SIGKILL)

    def freeze_connections(self) -> None:
        """Stop them, as when a board loses its power: nothing comes any more."""
        self._signal_connections(signal.SIGSTOP)

    def _signal_connections(self, number: signal.Signals) -> None:
        assert self._process is not None
        for child in _descendants(self._process.pid):
            if _name(child).startswith("sshd"):
                os.kill(child, number)

    def _write_configuration(self) -> None:
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"PidFile none\nMaxStartups 100\nSetEnv HOME={self.home} XDG_CACHE_HOME={self.home}/cache\n"
        )
        self.config.write_text(
            f"Host {self.host}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.user}\n"
            f"Host *\n  IdentityFile {self.folder}/user_key\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n"
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _descendants(pid: int) -> list[int]:
    """The processes below one; those that end meanwhile are left out."""
    children = [int(each) for each in _read(Path(f"/proc/{pid}/task/{pid}/children")).split()]
    return children + [below for child in children for below in _descendants(child)]


def _name(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/comm")).strip()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
