"""One program run to its end: how long it took, and what of the machine it used.

A program runs in a process group of its own. What outlives its time limit is killed with everything
that it started, and reported so.
"""

import dataclasses
import os
import pathlib
import signal
import subprocess
import threading
import time


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a run took. CPU and memory are those of the program and what it has waited for."""

    started_at_ns: int
    wall_s: float
    cpu_s: float
    rss_peak_bytes: int
    output: str


class Failed(Exception):
    """A contestant did not do its work; the message says how."""


def run(
    command: list[str], environment: dict[str, str], work: pathlib.Path, limit_s: float
) -> Usage:
    """Runs a command in `work`, and keeps what it says in files there.

    Raises `Failed` when it does not end well within its limit.
    """
    out, err = work / "stdout", work / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        started_at_ns = time.time_ns()
        started = time.monotonic()
        program = subprocess.Popen(
            command,
            cwd=work,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    too_long = threading.Event()

    def kill_late() -> None:
        too_long.set()
        kill_group(program.pid)

    timer = threading.Timer(limit_s, kill_late)
    timer.start()
    try:
        # Not `Popen.wait`: only `wait4` says what the program and its children used.
        _, status, used = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        kill_group(program.pid)
        raise
    finally:
        timer.cancel()
    wall_s = time.monotonic() - started
    if too_long.is_set():
        raise Failed(f"killed after its limit of {limit_s:g} s")
    if program.returncode != 0:
        raise Failed(f"ended with {program.returncode}: {tail(err) or tail(out)}")
    return Usage(
        started_at_ns=started_at_ns,
        wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime,
        # Linux counts it in KiB.
        rss_peak_bytes=used.ru_maxrss * 1024,
        output=out.read_text(errors="replace"),
    )


def kill_group(pid: int) -> None:
    """Kills a process and what it started, where anything of it is left."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def tail(file: pathlib.Path, characters_max: int = 600) -> str:
    """Returns the end of what a program wrote."""
    return file.read_text(errors="replace").strip()[-characters_max:]
