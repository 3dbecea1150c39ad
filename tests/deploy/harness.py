"""Runs checks. Prints one line for each, and names those that could not run."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DEBIAN_PACKAGE = {"systemd-analyze": "systemd", "promtool": "prometheus", "caddy": "caddy"}

checks, passed, failed, not_run = [], [], [], []


class NotRun(Exception):
    """This machine cannot run the check. The message says why."""


def check(function):
    checks.append(function)
    return function


def run(*command, **options):
    """Runs a command that must succeed and returns its output."""
    command = [str(word) for word in command]
    package = DEBIAN_PACKAGE.get(command[0])
    if package and not shutil.which(command[0]):
        raise AssertionError(f"{command[0]} is missing; install Debian's package {package}")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout.strip()}"
    return done.stdout


def main():
    for function in checks:
        name = function.__name__.replace("_", " ")
        try:
            function()
        except NotRun as reason:
            not_run.append(f"{name}: {reason}")
        except Exception as error:
            failed.append(name)
            print(f"FAILED {name}: {error}")
        else:
            passed.append(name)
            print(f"ok {name}")
    for line in not_run:
        print(f"not run: {line}")
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed else 0
