"""slowhttptest in its four modes."""

import re
import shutil
import subprocess
from functools import partial

from wire import Failed

SECONDS = 15
COLOURS = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
# It connects from the address of a trusted proxy, which has no connection limit.
COMMON = ["-c", "1000", "-r", "500", "-i", "1", "-p", "3", "-l", str(SECONDS)]
MODES = {
    "slow headers": ["-H", "-u", "/auth/check"],
    "slow bodies": ["-B", "-s", "8192", "-u", "/auth/signin"],
    "ranges": ["-R", "-u", "/auth/signin"],
    "slow reading": ["-X", "-k", "10", "-w", "10", "-y", "20", "-n", "5", "-z", "32", "-u", "/auth/signin"],
}


def mode(name):
    """The attack in this mode. The tool itself probes whether the server still responds."""
    return partial(attack, mode=MODES[name])


def attack(target, mode):
    tool = shutil.which("slowhttptest")
    if not tool:
        raise Failed("slowhttptest is missing; install Debian's package slowhttptest")
    *flags, path = mode
    command = [tool, *COMMON, *flags, f"http://127.0.0.1:{target.port}{path}"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=4 * SECONDS)
    output = COLOURS.sub("", ended.stdout + ended.stderr)
    status = re.search(r"Exit status:\s*(.*)", output)
    available = re.findall(r"service available:\s*(\w+)", output)
    if not status or not available or set(available) != {"YES"}:
        raise Failed(f"slowhttptest found the server unavailable: {output[-600:]!r}")
    return f"1000 connections, it ended with {status[1].strip()!r}"
