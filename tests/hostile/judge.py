"""Did an attack hurt anybody?"""

import time
from dataclasses import dataclass

from server import Usage
from watch import Seen, Watch
from wire import Failed

MEMORY_KIB_MAX = 20 * 1024
# Connections of the attack that wait for their deadline, and threads that wait for work, take as long to go.
SETTLE_SECONDS_MAX = 15
SHOWN_FAILURES = 3
# A new connection of another address may take so many times what p99 may be: 250 ms where that is 50.
STRANGER_FACTOR = 5


def judge(name, attack, server, google, p99_ms_max):
    """Attacks, and prints one line; true if nobody was hurt.

    Another program may take the processor just then. So an attack that only made the client wait comes once more: what
    is the server's fault happens again.
    """
    outcome = observe(attack, server, google, p99_ms_max)
    earlier = ""
    if outcome.slow and not outcome.failures and server.runs():
        earlier = f" (p99 {outcome.seen.p99:.0f} ms at a first try)"
        outcome = observe(attack, server, google, p99_ms_max)
    wrong = outcome.failures + outcome.slow
    verdict = "FAILED: " + "; ".join(wrong) if wrong else "ok"
    print(f"{name} | {outcome.counts} | {outcome.seen}{earlier} | {outcome.usage()} | {verdict}", flush=True)
    return not wrong


@dataclass
class Outcome:
    """What an attack did, and what came of it."""
    counts: str
    seen: Seen
    before: Usage
    during: Usage
    after: Usage
    failures: list
    slow: list

    def usage(self):
        usages = (self.before, self.during, self.after)
        memory = "->".join(f"{usage.memory_kib / 1024:.0f}" for usage in usages)
        threads = "->".join(str(usage.threads) for usage in usages)
        descriptors = "->".join(str(usage.descriptors) for usage in usages)
        return f"memory {memory} MiB, threads {threads}, descriptors {descriptors}"


def observe(attack, server, google, p99_ms_max):
    """Attacks once while the well-behaved client asks. What is `before` all attacks is what has to come back."""
    counts, failures = "-", []
    watch = Watch(server.target)
    try:
        counts = attack(server, google)
    except Failed as failure:
        failures.append(str(failure))
    seen = watch.stop()
    failures += seen.failures[:SHOWN_FAILURES]
    during = server.usage() if server.runs() else server.before
    after = settle(server)
    if after.memory_kib > server.before.memory_kib + MEMORY_KIB_MAX:
        failures.append("it keeps the memory")
    try:
        server.sign_in()
    except Failed as failure:
        failures.append(f"afterwards: {failure}")
    slow = [f"p99 is {seen.p99:.0f} ms"] if seen.p99 >= p99_ms_max else []
    if seen.stranger >= STRANGER_FACTOR * p99_ms_max:
        slow.append(f"a stranger waited {seen.stranger:.0f} ms")
    return Outcome(counts, seen, server.before, during, after, failures, slow)


def settle(server):
    """What the server takes once the attack is over, or still takes after a while."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    usage = server.before
    while server.runs():
        usage = server.usage()
        if usage.memory_kib <= server.before.memory_kib + MEMORY_KIB_MAX or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return usage
