"""Random bytes and mutated requests; the same ones for the same seed."""

import random
import time
from functools import partial

import google
from smuggling import CORPUS, send
from wire import Failed, all_answers, request

STATUSES = {100, 200, 204, 302, 303, 400, 401, 403, 404, 405, 408, 413, 415, 417, 431, 505}
PARTS_MAX = 4
SPECIAL = [
    b"\r\n", b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b"%", b"%00", b"\xff", b"\xc3\xa9", b"\r\n\r\n", b"HTTP/1.1",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"1;a\r\nx\r\n",
    b"Host: x\r\n", b"Expect: 100-continue\r\n", b"-1",
    b"Connection: close\r\n", b"18446744073709551615", b"{", b"}", b'"', b"\\u0000", b"[" * 500, b"A" * 20_000,
]


def fuzz(seconds, seed):
    """The attack, for this many seconds."""
    return partial(attack, seconds=seconds, seed=seed)


def attack(target, seconds, seed):
    chance = random.Random(seed)
    seeds = good_requests(target) + [first.encode("latin-1") for _, _, first in CORPUS]
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        count += 1
        stream = chance.randbytes(chance.randrange(1, 300)) if count % 10 == 0 else mutated(chance, seeds)
        try:
            # Closing this side (`last`) keeps the server from waiting for the rest of an incomplete request.
            answers = all_answers(send(target.port, cut(chance, stream), last=True))
        except Failed as failure:
            raise Failed(f"{failure}; request {count} of seed {seed}: {stream!r}") from failure
        if strange := {answer.status for answer in answers} - STATUSES:
            raise Failed(f"unexpected status {strange}; request {count} of seed {seed}: {stream!r}")
    return f"{count} requests, seed {seed}"


def good_requests(target):
    cookie = f"Cookie: other=1; {target.cookie}"
    token = google.token()
    json, form = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"
    forwarded = ["X-Forwarded-Proto: https", "X-Forwarded-Host: app.example.com", "X-Forwarded-Uri: /a?b=c"]
    return [
        request("GET", "/auth/check", [cookie]),
        request("GET", "/auth/check?allowed_emails=a@example.com&allowed_domains=example.com", [cookie]),
        request("GET", "/auth/forward", ["Accept: text/html", "Sec-Fetch-Mode: navigate", *forwarded]),
        request("GET", "/auth/me", [f"Authorization: Bearer {target.cookie.partition('=')[2]}"]),
        request("GET", "/auth/signin?rd=/a", ["Accept: text/html"]),
        request("GET", "/auth/account", [cookie, "Accept: text/html"]),
        request("POST", "/auth/signin", [json], f'{{"id_token":"{token}","nonce":"n"}}'.encode()),
        request("POST", "/auth/signin", [form, "Expect: 100-continue"], f"idToken={token}".encode()),
        request("POST", "/auth/signin", [form, "Transfer-Encoding: chunked"]).replace(b"Content-Length: 0\r\n", b"")
        + f"8;a=b\r\nidToken=\r\n{len(token):X}\r\n{token}\r\n0\r\n\r\n".encode(),
        request("POST", "/auth/signin", [form, "Cookie: g_csrf_token=a"], b"credential=a.b.c&g_csrf_token=a&state=/x"),
        request("POST", "/auth/signout", [form, "Origin: http://localhost"], b"everywhere=true"),
        request("DELETE", "/auth/sessions/1", ["Cookie: hallpass=hp_x"]),
        request("OPTIONS", "/auth/me", ["Origin: https://app.example.com", "Access-Control-Request-Method: GET"]),
        request("GET", "/healthz") + request("GET", "/readyz") + request("GET", "/metrics"),
    ]


def mutated(chance, seeds):
    stream = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(stream) + 1)
        end = at + chance.randrange(20)
        match chance.randrange(6):
            case 0:
                stream[at:at] = chance.choice(SPECIAL)
            case 1:
                stream[at:end] = chance.randbytes(end - at)
            case 2:
                del stream[at:end]
            case 3:
                stream[at:at] = stream[at:end]
            case 4:
                stream[at:] = chance.choice(seeds)[chance.randrange(100):]
            case 5:
                stream[at:at + 1] = bytes([stream[at % len(stream)] ^ 1 << chance.randrange(8)]) if stream else b"x"
    return bytes(stream)


def cut(chance, stream):
    places = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(PARTS_MAX)))
    return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)])]
