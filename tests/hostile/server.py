"""Starts Hallpass as an operator would, and observes it from outside."""

import json
import os
import re
import resource
import shutil
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import google
from wire import Failed, ask_once

BINARY = os.environ.get("HALLPASS_BIN") or Path(__file__).parents[2] / "target/release/hallpass"
START_SECONDS = 10
STOP_SECONDS = 20
LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
# (soft, hard). Hallpass raises the soft limit itself, so only the hard one limits it.
FEW_DESCRIPTORS = (1024, 1024)
MORE_DESCRIPTORS = (1024, min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


@dataclass
class Usage:
    """Resources of the process."""
    memory_kib: int
    threads: int
    descriptors: int


@dataclass
class Target:
    """What a client needs."""
    port: int
    cookie: str
    certificate: str | None = None

    @property
    def tls(self):
        return ssl.create_default_context(cafile=self.certificate) if self.certificate else None


class Hallpass:
    """A running server with its own port and database."""

    def __init__(self, google_url, flags=(), descriptors=FEW_DESCRIPTORS, https=None, disk=None):
        self.disk = disk
        self.folder = Path(tempfile.mkdtemp(prefix="hostile-"))
        self.log = self.folder / "log"
        self.target = Target(0, "")
        if https:
            self.target.certificate = make_certificate(self.folder, https)
            flags = [*flags, "--tls-cert", self.target.certificate, "--tls-key", str(self.folder / "key.pem")]
        command = [
            BINARY, "serve", "--listen", "127.0.0.1:0", "--database", str((disk or self.folder) / "hallpass.db"),
            "--client-id", google.CLIENT_ID, "--allow-anyone", "--tokeninfo-url", google_url, "--signin-burst", "0",
            # Attackers use other loopback addresses, so that they count as ordinary clients.
            "--trusted-proxy", "127.0.0.1", *flags,
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HALLPASS_", "RUST"))}
        with self.log.open("wb") as log:
            # Python ignores SIGXFSZ, and so must the server: a write beyond RLIMIT_FSIZE then fails as on a full disk.
            self.process = subprocess.Popen(
                command, stderr=log, env=environment, restore_signals=False,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, descriptors),
            )
        self.target.port = self._port()
        self.target.cookie = self.sign_in()
        self.before = self.usage()

    def _port(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := LISTENING.search(self.log.read_text()):
                return int(found[1])
            time.sleep(0.02)
        self.process.kill()
        raise Failed(f"Hallpass does not start: {self.log.read_text()}")

    def sign_in(self):
        """Signs in with a new token; returns the cookie."""
        answer = post_token(self.target)
        if answer.status != 200:
            raise Failed(f"a sign-in got {answer.status}: {answer.body.decode()}")
        return answer.headers["set-cookie"].partition(";")[0]

    def usage(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        number = lambda name: int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[1])
        return Usage(number("VmRSS"), number("Threads"), len(os.listdir(f"/proc/{self.process.pid}/fd")))

    def runs(self):
        return self.process.poll() is None

    def stop(self):
        """Stops the server; returns what went wrong, or an empty text."""
        if self.process.poll() is not None:
            return f"it exited by itself with {self.process.returncode}: {self.log.read_text()[-500:]}"
        self.process.terminate()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "it does not stop on SIGTERM"
        log = self.log.read_text()
        secret = self.target.cookie.partition("=")[2]
        shutil.rmtree(self.folder)
        if code != 0 or "panicked" in log:
            return f"it exited with {code}: {log[-500:]}"
        return "a session token is in its log" if secret in log else ""


def post_token(target, **options):
    """Signs in with a new token, as a program does."""
    body = json.dumps({"id_token": google.token()}).encode()
    headers = ["Content-Type: application/json"]
    return ask_once(target.port, "POST", "/auth/signin", headers, body, tls=target.tls, **options)


def make_certificate(folder, kind):
    """Makes a certificate for localhost and a key of this kind (openssl-req(1), -newkey) next to it."""
    certificate = str(folder / "certificate.pem")
    command = f"openssl req -x509 -newkey {kind} -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / "key.pem"), "-out", certificate]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return certificate
