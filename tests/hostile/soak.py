"""Ordinary traffic with a few bad clients for a long time, to see whether anything grows."""

import random
import threading
import time

from crowd import Crowd
from floods import PAGES, SLOW_BODY, SLOW_HEADERS
from wire import Connection, Failed, ask_once
from smuggling import CORPUS, send

REPORT_SECONDS = 30
# Buffers and threads may grow for this long.
WARM_UP_SECONDS = 60
GROWTH_KIB_MAX = 20 * 1024
GROWTH_MAX = 16
USERS_WAIT_SECONDS = 0.02
BAD_CLIENTS_WAIT_SECONDS = 0.2


class Traffic:
    """Threads that use the server until stopped."""

    def __init__(self, server):
        self.server = server
        self.stopping = threading.Event()
        self.counts = dict.fromkeys(["sign-ins", "checks", "me", "sign-outs", "bad clients", "failures"], 0)
        self.first_failure = ""
        workers = [self.user, self.user, self.user, self.malformed, self.slow]
        self.threads = [threading.Thread(target=self.keep, args=[worker]) for worker in workers]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def keep(self, worker):
        while not self.stopping.is_set():
            try:
                worker()
            except Failed as failure:
                self.counts["failures"] += 1
                self.first_failure = self.first_failure or str(failure)

    def user(self):
        """Signs in, sends requests on one connection for a while, and signs out."""
        cookie = [f"Cookie: {self.server.sign_in()}"]
        self.counts["sign-ins"] += 1
        connection = Connection(self.server.target.port)
        for _ in range(random.randrange(10, 60)):
            self.expect(connection.ask("GET", "/auth/check", cookie), 200, "checks")
            if random.random() < 0.2:
                self.expect(connection.ask("GET", "/auth/me", cookie), 200, "me")
            time.sleep(USERS_WAIT_SECONDS)
        self.expect(connection.ask("POST", "/auth/signout", cookie), 204, "sign-outs")
        connection.close()
        self.expect(ask_once(self.server.target.port, "GET", "/auth/check", cookie), 401, "checks")

    def expect(self, answer, status, what):
        self.counts[what] += 1
        if answer.status != status:
            raise Failed(f"{what}: {answer.status} for {status}: {answer.body.decode()}")

    def malformed(self):
        _, _, first = random.choice(CORPUS)
        send(self.server.target.port, [first.encode("latin-1")], last=True)
        self.counts["bad clients"] += 1
        self.stopping.wait(BAD_CLIENTS_WAIT_SECONDS)

    def slow(self):
        """Twenty slow clients of each kind, for some seconds."""
        for hello, drip, reads in [(SLOW_HEADERS, b"a", True), (SLOW_BODY, b" ", True), (PAGES, b"", False)]:
            crowd = Crowd(self.server.target.port, 20, hello, drip, reads)
            crowd.attack(3)
            self.counts["bad clients"] += crowd.opened


def soak(server, seconds):
    """Runs the traffic; true if nothing grew and nothing failed."""
    start = time.monotonic()
    traffic = Traffic(server)
    early = None
    while (passed := time.monotonic() - start) < seconds and server.runs():
        usage = server.usage()
        if passed >= min(WARM_UP_SECONDS, seconds / 2):
            early = early or usage
        print(f"{passed:5.0f} s | {describe(usage)} | {traffic.counts}", flush=True)
        time.sleep(min(REPORT_SECONDS, max(0.1, seconds - passed)))
    traffic.stop()
    late = server.usage() if server.runs() else None
    if not late or not early:
        print("FAILED: the server exited early")
        return False
    growth = [late.memory_kib - early.memory_kib, late.threads - early.threads, late.descriptors - early.descriptors]
    print(f"{seconds:5.0f} s | {describe(late)} | {traffic.counts}")
    print("growth: memory {:+d} KiB, threads {:+d}, descriptors {:+d}".format(*growth))
    if traffic.counts["failures"]:
        print(f"FAILED: {traffic.first_failure}")
    return not traffic.counts["failures"] and growth[0] < GROWTH_KIB_MAX and max(growth[1:]) < GROWTH_MAX


def describe(usage):
    return f"memory {usage.memory_kib} KiB, threads {usage.threads}, descriptors {usage.descriptors}"
