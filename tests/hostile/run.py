#!/usr/bin/env python3
"""Attacks the release binary while a well-behaved client keeps asking, and says whether it noticed.

    tests/hostile/run.py [NAME ...] [--fuzz-seconds N] [--fuzz-seed N]
    tests/hostile/run.py --soak SECONDS
"""

import argparse
import sys
import time

import floods
import streams
from apart import apart
from google import Google
from judge import judge
from server import Hallpass
from wire import Failed


def main():
    options = read_options()
    google = Google()
    rounds = [
        (lambda: Hallpass(google.url), {
            "nobody": quiet,
            "5,000 idle connections": apart(floods.idle_of_many),
            "idle connections of one address": apart(floods.idle_of_one),
            "2,000 slow headers": apart(floods.slow_headers_of_many),
            "slow headers of one address": apart(floods.slow_headers_of_one),
            "2,000 slow bodies": apart(floods.slow_bodies),
            "2,000 clients that never read": apart(floods.never_reading),
            "endless requests": apart(streams.endless),
            "a million pipelined requests": apart(streams.pipelined),
            "10,000 resets": apart(floods.resets),
        }),
        (lambda: Hallpass(google.url, https=True), {
            "nobody, TLS": quiet,
            "TLS handshakes that stop": apart(floods.stopped_handshakes),
        }),
    ]
    passed = failed = 0
    for start, attacks in rounds:
        chosen = {name: attack for name, attack in attacks.items() if not options.names or name in options.names}
        if not chosen:
            continue
        server = start()
        try:
            verdicts = [judge(name, attack, server, google) for name, attack in chosen.items()]
        finally:
            complaint = server.stop()
        if complaint:
            print(f"Hallpass | FAILED: {complaint}")
        passed += verdicts.count(True)
        failed += verdicts.count(False) + bool(complaint)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def quiet(_server, _google):
    time.sleep(3)
    return "what the machine itself makes of it"


def read_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
