"""How a command starts and ends: signals, one line per error, the exit code."""

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any, NoReturn

import typer

from edgekit.cli.app import app
from edgekit.errors import EdgekitError, UsageError

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's base of wrong usage; typer ships click inside itself since 0.26 and does not re-export it."""

_VALIDATOR = "Value error, "
"""What typer's choices begin with since then: the name of an exception, which says nothing to a user."""

_ISSUES = "https://github.com/edgekit/edgekit/issues"
_INTERRUPTED = 130
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with a code of ``edgekit.errors``; every error is one line on stderr."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    # Operators are rounded side by side already; numpy reads this when it is first imported, which is later than here.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime writes to the home folder otherwise
    for number in _ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup's, and a shell's for what runs in the background
            signal.signal(number, _terminate)
    if not debug:
        sys.excepthook = partial(_report_bug, arguments)
    try:
        # Calling the app itself would put typer's own excepthook in place of ours.
        command = typer.main.get_command(app)
        code = command.main([a for a in arguments if a != "--debug"], prog_name="edgekit", standalone_mode=False)
        sys.stdout.flush()
        if code == _INTERRUPTED:  # typer makes this exit code of a KeyboardInterrupt
            raise KeyboardInterrupt
    except _ClickError as error:
        told = error.format_message().replace(_VALIDATOR, "")  # type: ignore[attr-defined]
        code = _fail(told, UsageError.exit_code, arguments)
    except EdgekitError as error:
        if debug:
            traceback.print_exc()
        code = _fail(str(error), error.exit_code, arguments, error.document)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted; no file is half-written", _INTERRUPTED, arguments)
    except BrokenPipeError:
        code = _close_streams()
    sys.exit(code or 0)


def _close_streams() -> int:
    """Keep Python from flushing at exit into a pipe whose reader left, or onto a full disk."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return 0


def _report_bug(arguments: Sequence[str], kind: type[BaseException], error: BaseException, trace: object) -> None:
    """The excepthook: what edgekit did not foresee is one line too; Python then exits with code 1."""
    what = f"{kind.__name__}: {error}"
    _fail(f"a bug in edgekit: {what}; please report it at {_ISSUES} (--debug shows the traceback)", 1, arguments)


def _fail(message: str, code: int, arguments: Sequence[str], document: Mapping[str, Any] | None = None) -> int:
    """Tell of the error on stderr, and with --json in one document on stdout: in ``document`` if there is one."""
    message = " ".join(message.split())
    if "--json" in arguments:
        import json

        try:
            error = {"message": message, "exit_code": code}
            typer.echo(json.dumps({"schema": 1} | dict(document or {}) | {"error": error}))
        except OSError:  # what cannot be written is the error itself
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    typer.echo(f"edgekit: error: {message}", err=True)
    return code


def _terminate(number: int, frame: FrameType | None) -> None:
    """A cancelled release build gets SIGTERM, a closed terminal SIGHUP: clean up as after Ctrl-C.

    Once: a second signal, which CI systems send soon, would end the clean-up half-way and leave a device as it was for
    measuring. What cleans up has time limits of its own, and the programs that it runs inherit that they are ignored.
    """
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
