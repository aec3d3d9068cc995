"""What runs in a board's ``sh``: POSIX, with the programs that busybox and coreutils both have."""

import shlex
from collections.abc import Iterable, Sequence

NOT_THE_SAME = 70
NOT_EXECUTABLE = 71
NO_SUCH_FILE = 72
IN_USE = 73
NO_SUCH_PROGRAM = 127

_IN_ENGLISH = "export LC_ALL=C"
"""What the programs of the script say is looked at; the programs that are measured keep the user's language."""


# What tells a process from a later one with its number, also after the board was started anew.
_PROCESS = r"""
started() { sed 's/.*) //' /proc/"$1"/stat 2>/dev/null | cut -d ' ' -f 20; }
boot() { cat /proc/sys/kernel/random/boot_id 2>/dev/null; }"""


def session_script(base: str, session: str) -> str:
    """Makes ``base/session`` and says ``ok PATH`` or ``no WORDS``; when stdin ends, nothing of the session is left.

    Then programs that still run are killed and the folder is removed, however the connection ended: this script stays
    on the board. Folders of boards that lost their power meanwhile go after a week.
    """
    return f"""
{_IN_ENGLISH}
umask 077
base={base}
why=$(mkdir -p "$base" 2>&1 && mkdir "$base"/{session} "$base"/{session}/.running 2>&1) || {{
  say "no $base: $(echo $why)"; exit 0; }}
base=$(cd "$base" && pwd) || exit 0
session="$base"/{session}
trap '' HUP INT PIPE TERM
{_PROCESS}
echo "$$ $(started $$) $(boot)" >"$session"/.session
find "$base" -maxdepth 1 -name 'session.????????????????' -mtime +7 -exec rm -rf {{}} \\; >/dev/null 2>&1
say "ok $session"
while read -r line; do :; done
for group in "$session"/.running/*; do
  group=${{group##*/}}
  kill -9 -"$group" || kill -9 "$group"
done >/dev/null 2>&1
case "$(readlink "$base"/lock 2>/dev/null)" in "{session} "*) rm -f "$base"/lock ;; esac
rm -rf "$session"
"""


def lock_script(session: str, who: str) -> str:
    """Takes the lock of the board for ``session``; when another one has it, says whose it is and ends with IN_USE.

    The lock is a symbolic link, made in one step, whose text is the session's name and its user. Its session is over
    when the script of :func:`session_script` is: that one removes it, unless the board lost its power.
    """
    base, _, name = session.rpartition("/")
    return f"""
{_IN_ENGLISH}
{_PROCESS}
base={shlex.quote(base)}
lock="$base"/lock
for attempt in 1 2 3; do
  ln -s {shlex.quote(f"{name} {who}")}" since $(date +%Y-%m-%dT%H:%M:%S%z)" "$lock" 2>/dev/null && exit 0
  held=$(readlink "$lock" 2>/dev/null)
  case "$held" in "") continue ;; {name}" "*) exit 0 ;; esac
  pid= begun= boot=
  {{ read -r pid begun boot <"$base/${{held%% *}}"/.session; }} 2>/dev/null
  [ -n "$pid" ] && [ "$begun $boot" = "$(started "$pid") $(boot)" ] && break
  [ "$(readlink "$lock" 2>/dev/null)" = "$held" ] && rm -f "$lock"
done
[ -n "$held" ] || exit 0
echo "${{held#* }}"
exit {IN_USE}
"""


def default_base() -> str:
    """The folder of boards whose profile names none, as the shell writes it."""
    return '"${XDG_CACHE_HOME:-$HOME/.cache}/edgekit"'


def given_base(folder: str) -> str:
    """The folder of a profile, as the shell writes it."""
    if folder.startswith("~/"):
        return '"$HOME"/' + shlex.quote(folder.removeprefix("~/"))
    return shlex.quote(folder)


def run_script(session: str, command: Sequence[str]) -> str:
    """Runs ``command`` in ``session`` without input; its process group is killed when it ends or stdin does."""
    words = shlex.join(command)
    return f"""
cd {shlex.quote(session)} || exit
exec 3<&0
if command -v setsid >/dev/null 2>&1
then setsid sh -c 'exec "$@"' sh {words} </dev/null 3<&- &
else {words} </dev/null 3<&- &
fi
program=$!
: >.running/$program
{{ while read -r line; do :; done; kill -9 -$program || kill -9 $program; }} <&3 >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait $program
code=$?
exec 2>/dev/null
kill $watch
kill -9 -$program
rm -f .running/$program
exit $code
"""


def hash_script(paths: Iterable[tuple[str, bool]]) -> str:
    """Prints the sha256 of each path on a line, or ``absent``, also for one that should be executable and is not."""
    return "\n".join(
        f"{{ {'[ -x ' + shlex.quote(path) + ' ] && ' if executable else ''}"
        f"sha256sum <{shlex.quote(path)} || echo absent; }} 2>/dev/null"
        for path, executable in paths
    )


def receive_script(path: str, sha256: str, executable: bool, temporary: str) -> str:
    """Writes stdin to ``path`` if it has that hash; there is never a part of it under that name."""
    folder = path.rpartition("/")[0]
    test = '[ -x "$path" ] || exit ' + str(NOT_EXECUTABLE) if executable else ":"
    return f"""
{_IN_ENGLISH}
umask 077
path={shlex.quote(path)}
part={shlex.quote(folder)}/{temporary}
mkdir -p {shlex.quote(folder)} || exit 1
trap 'rm -f "$part"' EXIT
cat >"$part" || exit 1
sum=$(sha256sum <"$part") || exit
[ "${{sum%% *}}" = {sha256} ] || exit {NOT_THE_SAME}
chmod {"700" if executable else "600"} "$part" && mv -f "$part" "$path" || exit 1
{test}
"""


def send_script(session: str, path: str) -> str:
    """Writes a file to stdout, after a line with its size and hash."""
    return f"""
{_IN_ENGLISH}
cd {shlex.quote(session)} || exit
path={shlex.quote(path)}
[ -f "$path" ] || exit {NO_SUCH_FILE}
sum=$(sha256sum <"$path") || exit
echo "${{sum%% *}}"
cat "$path"
"""
