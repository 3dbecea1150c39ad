"""Outages: Google does not respond, or the disk is full."""

import os
import resource
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from apart import apart
from crowd import address
from server import post_token
from wire import Failed, ask_once

WAITING_SIGNINS = 200
EXTRA_SIGNINS = 200
# The default of --tokeninfo-timeout, and some time for the machine.
DEADLINE_SECONDS = 5 + 2
DISK_SIGNINS = 20


def google_hangs(server, google):
    """Every sign-in must get 503 in time, including those beyond the queue."""
    google.hang()
    try:
        return apart(hopeless_signins)(server, google)
    finally:
        google.resume()


def hopeless_signins(target):
    outcomes = []

    def sign_in(index):
        start = time.monotonic()
        try:
            status = post_token(target, source=address(index), timeout=4 * DEADLINE_SECONDS).status
        except Failed as failure:
            status = str(failure)
        outcomes.append((status, time.monotonic() - start))

    threads = [threading.Thread(target=sign_in, args=[i]) for i in range(WAITING_SIGNINS + EXTRA_SIGNINS)]
    for thread in threads[:WAITING_SIGNINS]:
        thread.start()
    time.sleep(2)
    at_once = list(outcomes)
    for thread in threads[WAITING_SIGNINS:]:
        thread.start()
    for thread in threads:
        thread.join()
    if at_once:
        raise Failed(f"{len(at_once)} of {WAITING_SIGNINS} sign-ins did not wait: {at_once[:3]}")
    if wrong := [status for status, _ in outcomes if status != 503]:
        raise Failed(f"{len(wrong)} sign-ins got another status than 503: {wrong[:3]}")
    slowest = max(seconds for _, seconds in outcomes)
    if slowest > DEADLINE_SECONDS:
        raise Failed(f"a sign-in waited {slowest:.1f} s")
    quick = sum(seconds < 1 for _, seconds in outcomes)
    return f"{WAITING_SIGNINS} sign-ins wait, of {EXTRA_SIGNINS} more {quick} are rejected at once"


@contextmanager
def small_disk():
    """A folder on its own small file system; None without the right to mount one."""
    with tempfile.TemporaryDirectory(prefix="hostile-disk-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=8m", "hostile", folder]
        mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
        try:
            yield Path(folder) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", folder], check=True)


def disk_is_full(server, _google):
    """Only sign-ins fail while the disk is full, and they work again afterwards."""
    earlier = server.sign_in()
    with full(server):
        statuses = {post_token(server.target).status for _ in range(DISK_SIGNINS)}
        if statuses != {503}:
            raise Failed(f"sign-ins on a full disk got {statuses}")
        check(server, earlier)
        time.sleep(2)
        check(server, earlier)
    start = time.monotonic()
    during = server.sign_in()
    for cookie in (earlier, during):
        check(server, cookie)
    how = "a full tmpfs" if server.disk else "RLIMIT_FSIZE"
    return f"{how}, {DISK_SIGNINS} sign-ins failed, recovered after {time.monotonic() - start:.2f} s"


@contextmanager
def full(server):
    """Fills the disk."""
    if not server.disk:
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1, limits[1]))
        yield
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
        return
    filler = server.disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    yield
    filler.unlink()


def check(server, cookie):
    answer = ask_once(server.target.port, "GET", "/auth/check", [f"Cookie: {cookie}"])
    if answer.status != 200:
        raise Failed(f"a live session got {answer.status}: {answer.body.decode()}")
