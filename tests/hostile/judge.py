"""Judges whether an attack affected others."""

import time
from dataclasses import dataclass

from server import Usage
from watch import Seen, Watch
from wire import Failed

MEMORY_KIB_MAX = 20 * 1024
# Connections of the attack and idle threads may take this long to go away.
SETTLE_SECONDS_MAX = 15
SHOWN_FAILURES = 3
# The limit for a new connection from another address, as a multiple of the p99 limit: 250 ms if that is 50 ms.
STRANGER_FACTOR = 5


def judge(name, attack, server, google, p99_ms_max):
    """Attacks, and prints one line; true if the attack had no effect.

    If the attack only made the client wait, it is repeated once, because another program may have used the processor.
    """
    outcome = observe(attack, server, google, p99_ms_max)
    earlier = ""
    if outcome.slow and not outcome.failures and server.runs():
        earlier = f" (p99 {outcome.seen.p99:.0f} ms at the first try)"
        outcome = observe(attack, server, google, p99_ms_max)
    wrong = outcome.failures + outcome.slow
    verdict = "FAILED: " + "; ".join(wrong) if wrong else "ok"
    print(f"{name} | {outcome.counts} | {outcome.seen}{earlier} | {outcome.usage()} | {verdict}", flush=True)
    return not wrong


@dataclass
class Outcome:
    """The counts and effects of an attack."""
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
    """Attacks once while the well-behaved client runs. Usage must return to what it was before all attacks."""
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
        failures.append("memory is not released")
    try:
        server.sign_in()
    except Failed as failure:
        failures.append(f"afterwards: {failure}")
    slow = [f"p99 is {seen.p99:.0f} ms"] if seen.p99 >= p99_ms_max else []
    if seen.stranger >= STRANGER_FACTOR * p99_ms_max:
        slow.append(f"a stranger waited {seen.stranger:.0f} ms")
    return Outcome(counts, seen, server.before, during, after, failures, slow)


def settle(server):
    """Waits until the memory is released, up to a limit; returns the usage."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    usage = server.before
    while server.runs():
        usage = server.usage()
        if usage.memory_kib <= server.before.memory_kib + MEMORY_KIB_MAX or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return usage
