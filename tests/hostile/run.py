#!/usr/bin/env python3
"""Attacks the release binary while a well-behaved client sends requests, and reports whether that client noticed.

Needs Debian's openssl and slowhttptest. HALLPASS_BIN names the binary; the default is target/release/hallpass.
All traffic stays on loopback addresses, and every attack ends by itself.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import events
import floods
import fuzz
import outages
import slowhttp
import streams
from apart import apart
from google import Google
from judge import judge
from server import BINARY, MORE_DESCRIPTORS, Hallpass
from smuggling import smuggling
from soak import soak


def main():
    options = read_options()
    if not Path(BINARY).exists():
        sys.exit(f"{BINARY} does not exist; build it with `cargo build --release`, or set HALLPASS_BIN")
    google = Google()
    if options.soak:
        server = Hallpass(google.url)
        well = soak(server, options.soak)
        complaint = server.stop()
        print(complaint or "stopped cleanly")
        return 0 if well and not complaint else 1
    with ExitStack() as stack:
        rounds = plan(options, google, stack.enter_context(outages.small_disk()))
        verdicts = [verdict for start, attacks in rounds for verdict in attack(start, attacks, google, options)]
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed")
    return 0 if verdicts and all(verdicts) else 1


def plan(options, google, disk):
    """Servers, and the attacks on each."""
    few_descriptors = {
        "nobody": quiet,
        "5,000 idle connections": apart(floods.idle_of_many),
        "idle connections of one address": apart(floods.idle_of_one),
        "2,000 slow headers": apart(floods.slow_headers_of_many),
        "silent connections of 20 addresses": apart(floods.silent_of_twenty),
        "slow headers of one address": apart(floods.slow_headers_of_one),
        "2,000 slow bodies": apart(floods.slow_bodies),
        "2,000 clients that never read": apart(floods.never_reading),
        "endless requests": apart(streams.endless),
        "a million pipelined requests": apart(streams.pipelined),
        "10,000 resets": apart(floods.resets),
        "smuggling": apart(smuggling),
        "fuzzing": apart(fuzz.fuzz(options.fuzz_seconds, options.fuzz_seed)),
        **{f"slowhttptest, {mode}": apart(slowhttp.mode(mode)) for mode in slowhttp.MODES},
    }
    more_descriptors = {
        "5,000 idle connections, soft limit": apart(floods.idle_of_many),
        "Google hangs": outages.google_hangs,
    }
    https = {
        "TLS handshakes that stop": apart(floods.stopped_handshakes),
        "handshakes of one address, P-256": apart(partial(floods.handshakes, 1)),
    }
    rsa_2048 = {
        "handshakes of one address, RSA-2048": apart(partial(floods.handshakes, 1)),
        "handshakes of 15 addresses, RSA-2048": apart(partial(floods.handshakes, 15)),
    }
    rsa_4096 = {"handshakes of one address, RSA-4096": apart(partial(floods.handshakes, 1))}
    # Room for 200 waiting sign-ins: 80 calls, and a queue twice as long.
    roomy = {"flags": ["--tokeninfo-concurrency", "80"], "descriptors": MORE_DESCRIPTORS}
    with_events = ["--google-events", "--keys-url", f"{google.url}/keys", "--tokeninfo-timeout", "2s"]
    return [
        (lambda: Hallpass(google.url), few_descriptors),
        (lambda: Hallpass(google.url, with_events), {"false security events": events.false_events}),
        (lambda: Hallpass(google.url, https="ec -pkeyopt ec_paramgen_curve:prime256v1"), https),
        (lambda: Hallpass(google.url, https="rsa:2048"), rsa_2048),
        (lambda: Hallpass(google.url, https="rsa:4096"), rsa_4096),
        (lambda: Hallpass(google.url, **roomy), more_descriptors),
        (lambda: Hallpass(google.url, disk=disk), {"the disk is full": outages.disk_is_full}),
    ]


def attack(start, attacks, google, options):
    """One verdict per attack, and one more if the server does not stop cleanly."""
    chosen = {name: run for name, run in attacks.items() if not options.names or name in options.names}
    if not chosen:
        return []
    server = start()
    try:
        verdicts = [judge(name, run, server, google, options.p99_ms) for name, run in chosen.items()]
    finally:
        complaint = server.stop()
    if complaint:
        print(f"stopping Hallpass | FAILED: {complaint}")
        verdicts.append(False)
    return verdicts


def quiet(_server, _google):
    time.sleep(3)
    return "the baseline of this machine"


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="run only these attacks")
    parser.add_argument("--p99-ms", type=float, default=50, metavar="N", help="limit for the well-behaved client")
    parser.add_argument("--fuzz-seconds", type=float, default=60, metavar="N")
    parser.add_argument("--fuzz-seed", type=int, default=1, metavar="N", help="the same seed sends the same requests")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="run only ordinary traffic, for this long")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
