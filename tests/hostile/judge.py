"""Did an attack hurt anybody?"""

import time

from watch import Watch
from wire import Failed

P99_MS_MAX = 50
MEMORY_KIB_MAX = 20 * 1024
# Connections of the attack that wait for their deadline, and threads that wait for work, take as long to go.
SETTLE_SECONDS_MAX = 15


def judge(name, attack, server, google):
    """Attacks once and prints one line; true if nobody was hurt."""
    before = server.before
    watch = Watch(server.target)
    counts, failures = "", []
    try:
        counts = attack(server, google)
    except Failed as failure:
        failures.append(str(failure))
    seen = watch.stop()
    failures += seen.failures[:3]
    if seen.p99 >= P99_MS_MAX:
        failures.append(f"p99 is {seen.p99:.0f} ms")
    during = server.usage() if server.runs() else before
    after = settle(server, before)
    if after.memory_kib > before.memory_kib + MEMORY_KIB_MAX:
        failures.append("it keeps the memory")
    try:
        server.sign_in()
    except Failed as failure:
        failures.append(f"afterwards: {failure}")
    change = lambda field: "->".join(str(getattr(usage, field)) for usage in (before, during, after))
    memory = "->".join(f"{usage.memory_kib / 1024:.0f}" for usage in (before, during, after))
    usage = f"memory {memory} MiB, threads {change('threads')}, descriptors {change('descriptors')}"
    verdict = "FAILED: " + "; ".join(failures) if failures else "ok"
    print(" | ".join([name, counts or "-", str(seen), usage, verdict]), flush=True)
    return not failures


def settle(server, before):
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while server.runs():
        usage = server.usage()
        if usage.memory_kib <= before.memory_kib + MEMORY_KIB_MAX or time.monotonic() > deadline:
            return usage
        time.sleep(0.2)
    return before
