"""Security events that Google did not send, while its keys cannot be fetched."""

import base64
import json
import threading
import time

from apart import apart
from crowd import address
from server import post_token
from wire import Connection, Failed

ATTACK_SECONDS = 6
ADDRESSES = 24
BODY_BYTES = 8000
SIGNINS = 10
# The call to a Google that hangs ends after 2 s.
SIGNIN_SECONDS_MAX = 1
ANSWERS = (400, 429, 503)


def false_events(server, google):
    """Garbage and unknown keys from many addresses. The keys are never known, and people sign in meanwhile."""
    google.hang_keys()
    try:
        return apart(flood)(server, google)
    finally:
        google.resume_keys()


def flood(target):
    end = time.monotonic() + ATTACK_SECONDS
    counts, failures, lock = {}, [], threading.Lock()

    def attack(index):
        bodies = [body(kind, index) for kind in range(4)]
        seen = {}
        try:
            connection = Connection(target.port, source=address(index))
            for number in range(1_000_000):
                if time.monotonic() > end:
                    break
                headers = ["Content-Type: application/secevent+jwt"]
                answer = connection.ask("POST", "/auth/google/events", headers, bodies[number % len(bodies)])
                seen[answer.status] = seen.get(answer.status, 0) + 1
            connection.close()
        except Failed as failure:
            failures.append(str(failure))
        with lock:
            for status, count in seen.items():
                counts[status] = counts.get(status, 0) + count

    threads = [threading.Thread(target=attack, args=[index]) for index in range(ADDRESSES)]
    for thread in threads:
        thread.start()
    slowest = 0
    for _ in range(SIGNINS):
        start = time.monotonic()
        if (status := post_token(target).status) != 200:
            failures.append(f"a sign-in got {status}")
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(ATTACK_SECONDS / SIGNINS / 2)
    for thread in threads:
        thread.join()
    if failures:
        raise Failed(f"{len(failures)} failures: {failures[:3]}")
    if wrong := [status for status in counts if status not in ANSWERS]:
        raise Failed(f"false events got {wrong}")
    if slowest > SIGNIN_SECONDS_MAX:
        raise Failed(f"a sign-in took {slowest:.1f} s")
    shown = ", ".join(f"{counts[status]:,} got {status}" for status in sorted(counts))
    return f"of the false events {shown}; the slowest sign-in took {slowest * 1000:.0f} ms"


def body(kind, index):
    """No token at all, no JWS, a key that does not exist, and deep JSON in the header."""
    if kind == 0:
        return b"x" * BODY_BYTES
    if kind == 1:
        return b"." * BODY_BYTES
    header = {"alg": "RS256", "kid": f"{kind}-{index}"}
    text = json.dumps(header) if kind == 2 else "[" * (BODY_BYTES // 2)
    segment = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    payload = "A" * (BODY_BYTES // 4)
    return f"{segment}.{payload}.{'A' * 342}".encode()
