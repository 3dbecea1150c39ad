"""The well-behaved client. It sends requests during the attacks, and records how long it waits.

It is a separate process, so that the work of the attackers does not delay it. A long wait also counts for every request
that would have been sent meanwhile; otherwise the worst moments would be sampled least.
"""

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from server import Target
from wire import Closed, Connection, Failed

# In every period, one request on a kept connection and, without TLS, one on a new connection.
PERIOD_SECONDS = 0.01
# Also one request on a new connection from an address that is not trusted.
STRANGER = "127.1.0.1"
STRANGER_PERIOD_SECONDS = 0.2


@dataclass
class Seen:
    """The client's observations."""
    checks: int
    failures: list
    reconnects: int
    p50: float
    p99: float
    longest: float
    stranger: float

    def __str__(self):
        waits = f"p50/p99/max {self.p50:.1f}/{self.p99:.1f}/{self.longest:.0f} ms, a stranger's {self.stranger:.0f} ms"
        return f"{self.checks} checks, {len(self.failures)} failed, {self.reconnects} reconnects, {waits}"


class Watch:
    """Runs the client until it is stopped."""

    def __init__(self, target):
        arguments = [str(target.port), target.cookie, target.certificate or ""]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stop(self):
        output, _ = self.process.communicate(timeout=60)
        return Seen(**json.loads(output))


class Client:
    """Sends requests from several threads until standard input ends."""

    def __init__(self, target):
        self.target = target
        self.tls = target.tls
        self.stopping = threading.Event()
        self.checks = 0
        self.waits = []
        self.stranger_waits = []
        self.failures = []
        self.reconnects = 0
        self.kept = None

    def run(self):
        threads = [threading.Thread(target=self.keep, args=[self.ask_kept])]
        threads.append(threading.Thread(target=self.ask_as_stranger))
        # With TLS, this many new connections would be an attack; only the stranger opens some.
        if not self.tls:
            threads.append(threading.Thread(target=self.keep, args=[self.ask_new]))
        for thread in threads:
            thread.start()
        sys.stdin.read()
        self.stopping.set()
        for thread in threads:
            thread.join()
        waits = sorted(wait * 1000 for wait in self.waits)
        part = lambda share: waits[int(len(waits) * share)]
        seen = Seen(self.checks, self.failures, self.reconnects, part(0.5), part(0.99), waits[-1],
                    max(self.stranger_waits, default=0) * 1000)
        print(json.dumps(vars(seen)))

    def keep(self, ask):
        while not self.stopping.is_set():
            start = time.monotonic()
            try:
                ask()
            except Failed as failure:
                self.failures.append(f"{ask.__name__}: {failure}")
            wait = time.monotonic() - start
            self.checks += 1
            self.waits += [wait - passed * PERIOD_SECONDS for passed in range(int(wait / PERIOD_SECONDS) + 1)]
            time.sleep(PERIOD_SECONDS - wait % PERIOD_SECONDS)

    def ask_as_stranger(self):
        while not self.stopping.wait(STRANGER_PERIOD_SECONDS):
            start = time.monotonic()
            try:
                self.ask_new(STRANGER)
            except Failed as failure:
                self.failures.append(f"a stranger: {failure}")
            self.stranger_waits.append(time.monotonic() - start)

    def ask_kept(self):
        """A connection may close between requests (RFC 9112, section 9.3.1); then a new one is used."""
        if self.kept:
            try:
                return self.check(self.kept)
            except Closed:
                self.reconnects += 1
            except Failed:
                self.kept = None
                raise
        self.kept = None
        kept = Connection(self.target.port, tls=self.tls)
        self.check(kept)
        self.kept = kept

    def ask_new(self, source="127.0.0.1"):
        connection = Connection(self.target.port, source, tls=self.tls)
        try:
            self.check(connection)
        finally:
            connection.close()

    def check(self, connection):
        answer = connection.ask("GET", "/auth/check", [f"Cookie: {self.target.cookie}"])
        if answer.status != 200 or not answer.headers.get("x-auth-request-user"):
            raise Failed(f"{answer.status}: {answer.body.decode()}")


if __name__ == "__main__":
    port, cookie, certificate = sys.argv[1:]
    Client(Target(int(port), cookie, certificate or None)).run()
