"""inside.py EMPTY_FOLDER PACKAGE NEWER_PACKAGE: installs, starts, upgrades and removes a package.

Run it as root in its own mount, process and network namespaces. It works on a copy of this
machine's files in memory.
"""

import fcntl
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

START_SECONDS = 10
SETTINGS = "/etc/hallpass/hallpass.env"
LOG = "/run/hallpass.log"
DATABASE = "/var/lib/hallpass/hallpass.db"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
# netdevice(7)
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


class Machine:
    """A root folder in which all writes go to memory, on top of this machine's files."""

    def __init__(self, folder, packages):
        mount("-t", "tmpfs", "tmpfs", folder)
        self.root = Path(folder, "root")
        layers = [Path(folder, name) for name in ("upper", "work")]
        for path in (self.root, *layers):
            path.mkdir()
        # mkdir applies the umask, but unprivileged users must be able to enter their root folder.
        layers[0].chmod(0o755)
        mount("-t", "overlay", "-o", f"lowerdir=/,upperdir={layers[0]},workdir={layers[1]}", "overlay", self.root)
        mount("-t", "proc", "proc", self.root / "proc")
        mount("--rbind", "/dev", self.root / "dev")
        # Hides /run/systemd/system, because systemd does not run in here.
        mount("-t", "tmpfs", "tmpfs", self.root / "run")
        for name, path in packages.items():
            shutil.copy(path, self.path(f"/var/cache/{name}"))

    def run(self, *command, user=None):
        done = subprocess.run(self.command(*command, user=user), env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}"
        return done.stdout

    def command(self, *command, user=None):
        options = [f"--userspec={user}:{user}"] if user else []
        return ["chroot", *options, str(self.root), *command]

    def path(self, path):
        return self.root / path.lstrip("/")

    def describe(self, path):
        """The mode, owner and group of a file."""
        return self.run("stat", "--format=%a %U:%G", path).strip()


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def loopback_up():
    """Does `ip link set lo up` without needing ip."""
    up = struct.pack("16sh", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, up)


def unit_values(machine, unit, name):
    text = machine.path(f"/usr/lib/systemd/system/{unit}").read_text()
    return re.findall(rf"(?m)^{name}=(.*)$", text)


def start(machine):
    """Starts the server as systemd would: the socket, user, folders and command are the units'."""
    [listen] = unit_values(machine, "hallpass.socket", "ListenStream")
    [user] = unit_values(machine, "hallpass.service", "User")
    [command] = unit_values(machine, "hallpass.service", "ExecStart")
    [state] = unit_values(machine, "hallpass.service", "StateDirectory")
    [settings] = unit_values(machine, "hallpass.service", "EnvironmentFile")
    assert settings == SETTINGS
    for name in state.split():
        machine.run("install", "--directory", "--mode=0700", f"--owner={user}", f"--group={user}", f"/var/lib/{name}")
    lines = unit_values(machine, "hallpass.service", "Environment") + machine.path(settings).read_text().splitlines()
    variables = [f"--setenv={line}" for line in lines if re.match(r"\w+=", line)]
    activate = ["systemd-socket-activate", f"--listen={listen}", *variables, *command.split()]
    with machine.path(LOG).open("w") as log:
        return listen, subprocess.Popen(machine.command(*activate, user=user), env=ENVIRONMENT, stderr=log)


def answers(listen, machine):
    """Whether the first connection starts the server and gets an answer."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://{listen}/healthz", timeout=START_SECONDS) as answer:
                return answer.status == 200
        except OSError:
            assert time.monotonic() < until, f"the server does not answer: {machine.path(LOG).read_text()}"
            time.sleep(0.05)


def serves(machine, operator):
    listen, process = start(machine)
    try:
        assert answers(listen, machine)
        listed = machine.run("hallpass", "users", "list", user=operator)
        assert "no users" in listed, listed
    finally:
        process.terminate()
    assert process.wait(START_SECONDS) == 0, process.returncode
    assert machine.describe(DATABASE) == "600 hallpass:hallpass"


def main(folder, package, newer):
    machine = Machine(folder, {"package.deb": package, "newer.deb": newer})
    loopback_up()
    machine.run("dpkg", "--purge", "hallpass")

    machine.run("dpkg", "--install", "/var/cache/package.deb")
    modes = {
        "/usr/bin/hallpass": "755 root:root", SETTINGS: "640 root:hallpass", "/etc/hallpass": "755 root:root",
        "/usr/lib/systemd/system/hallpass.service": "644 root:root",
        "/usr/lib/systemd/system/hallpass.socket": "644 root:root",
        "/usr/share/man/man1/hallpass-serve.1.gz": "644 root:root",
        "/usr/share/bash-completion/completions/hallpass": "644 root:root",
        "/usr/share/zsh/vendor-completions/_hallpass": "644 root:root",
        "/usr/share/fish/vendor_completions.d/hallpass.fish": "644 root:root",
        "/usr/share/doc/hallpass/copyright": "644 root:root",
        "/usr/share/doc/hallpass/changelog.Debian.gz": "644 root:root",
    }
    # dpkg may be configured to leave out documents, as in containers.
    kept = {path for path in modes if machine.path(path).exists() or not path.startswith("/usr/share/")}
    found = {path: machine.describe(path) for path in kept}
    assert found == {path: modes[path] for path in kept}, found
    machine.run("systemd-analyze", "verify", "hallpass.service", "hallpass.socket")
    serves(machine, "hallpass")

    settings = machine.path(SETTINGS)
    edited = settings.read_text().replace("HALLPASS_ALLOW_DOMAIN=example.com", "HALLPASS_ALLOW_DOMAIN=other.example")
    settings.write_text(edited)
    settings.chmod(0o600)
    for options in (["package.deb"], ["newer.deb", "--force-confold"]):
        machine.run("dpkg", *options[1:], "--install", f"/var/cache/{options[0]}")
        assert settings.read_text() == edited, "the operator's settings were overwritten"
        assert machine.describe(SETTINGS) == "600 root:hallpass"
    assert "A setting of the newer version" in machine.path(f"{SETTINGS}.dpkg-dist").read_text()
    # Only root may read the settings now.
    serves(machine, "root")

    machine.run("dpkg", "--remove", "hallpass")
    assert not machine.path("/usr/bin/hallpass").exists() and settings.read_text() == edited
    machine.run("dpkg", "--purge", "hallpass")
    assert not machine.path("/etc/hallpass").exists(), "purge left the settings"
    assert machine.path(DATABASE).exists(), "purge removed the database"
    print("installed, started, upgraded, removed and purged in a copy of this machine")


if __name__ == "__main__":
    main(*sys.argv[1:])
