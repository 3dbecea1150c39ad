"""Checks the files of a release, and installs the Debian package in a copy of this machine."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import ROOT, NotRun, check, not_run, run

# The list of public suffixes takes 0.8 MB of it, and the languages of the pages 0.2 MB.
BINARY_BYTES_MAX = 9_500_000
LIBRARIES = {"libc.so.6", "libm.so.6", "libgcc_s.so.1"}
DIST = ROOT / "target/dist"
OTHER_TARGETS = {"x86_64": "aarch64-unknown-linux-gnu", "aarch64": "x86_64-unknown-linux-gnu"}
NAMESPACES = ["unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child"]


def binary():
    path = Path(os.environ.get("HALLPASS_BIN") or ROOT / "target/release/hallpass")
    assert path.exists(), f"{path} is missing; run `cargo build --release`"
    return path


@check
def the_program_links_only_libc():
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "--dynamic", binary())))
    # Some linkers also list the loader.
    others = {name for name in needed - LIBRARIES if not name.startswith("ld-linux")}
    assert needed and not others, f"it needs {others or 'no library, which is impossible'}"


@check
def the_program_is_small():
    assert binary().stat().st_size <= BINARY_BYTES_MAX, f"it has {binary().stat().st_size} bytes"


@check
def cargo_installs_it():
    with tempfile.TemporaryDirectory() as folder:
        shared = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
        run("cargo", "install", "--locked", "--quiet", "--path", ROOT, "--root", folder, "--target-dir", shared)
        assert run(Path(folder, "bin/hallpass"), "--version").startswith("hallpass ")


@check
def a_release_is_built_and_complete():
    shutil.rmtree(DIST, ignore_errors=True)
    run(ROOT / "deploy/release/build")
    run("sha256sum", "--check", "SHA256SUMS", cwd=DIST)
    [archive] = DIST.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        run("tar", "--extract", "--file", archive, "--directory", folder)
        [root] = Path(folder).iterdir()
        assert run(root / "hallpass", "--version").startswith("hallpass ")
        names = {str(path.relative_to(root)) for path in root.rglob("*")}
        expected = {"README.md", "man/hallpass.1", "man/hallpass-users-list.1", "man/hallpass.env.5"}
        expected |= {"completions/_hallpass", "deploy/systemd/hallpass.service", "deploy/systemd/hallpass.sysusers"}
        links_resolve(root)
        assert expected <= names, expected - names
        assert "HALLPASS_CLIENT_ID" in (root / "man/hallpass-serve.1").read_text(), "the man page does not name the variables"
        completes(root / "completions")


@check
def the_program_of_the_tarball_serves():
    [archive] = DIST.glob("*.tar.gz")
    run(ROOT / "deploy/release/smoke", archive)


@check
def links_in_the_package_resolve():
    [package] = DIST.glob("*.deb")
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "--extract", package, folder)
        links_resolve(Path(folder, "usr/share/doc/hallpass"))


def links_resolve(root):
    """Every document in the folder links to files in the folder or to the web."""
    documents = list(root.rglob("*.md"))
    assert root / "README.md" in documents
    for document in documents:
        for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            path = link.split("#")[0]
            if "://" in link or not path:
                continue
            assert (document.parent / path).exists(), f"{document.relative_to(root)} links to {link}"


def completes(folder):
    """bash completes a command, and the installed shells can read their files."""
    ask = f"source {folder}/hallpass.bash; COMP_WORDS=(hallpass us); COMP_CWORD=1; _hallpass hallpass us hallpass;"
    offered = run("bash", "-c", ask + 'echo "${COMPREPLY[@]}"').split()
    assert offered == ["users"], offered
    for shell, name in (("zsh", "_hallpass"), ("fish", "hallpass.fish")):
        if shutil.which(shell):
            run(shell, "-n", folder / name)
        else:
            not_run.append(f"completions for {shell}: {shell} is not installed")


@check
def a_build_for_another_architecture_fails():
    target = OTHER_TARGETS[os.uname().machine]
    done = subprocess.run([ROOT / "deploy/release/build", target], capture_output=True, text=True)
    assert done.returncode == 3 and f"cannot build for {target}" in done.stderr, done.stderr


@check
def only_files_of_the_tag_are_published():
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "project")
        shutil.copytree(ROOT / "deploy/release", copy / "deploy/release")
        shutil.copy(ROOT / "Cargo.toml", copy)
        shutil.copytree(DIST, copy / "dist/one")
        Path(copy, "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\nLater.\n")

        def publish(tag):
            command = [copy / "deploy/release/publish", "--dry-run", tag, "dist"]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return done.returncode, done.stdout

        code, output = publish(f"v{version}")
        assert code == 1 and f"no section for {version}" in output, output
        with Path(copy, "CHANGELOG.md").open("a") as changelog:
            changelog.write(f"\n## {version} - 2026-01-01\n\nAll of it.\n\n## {version}1\n\nNot this.\n")
        code, output = publish(f"v{version}")
        files = [path.name for path in DIST.iterdir() if path.name != "SHA256SUMS"]
        assert code == 0 and "All of it." in output and all(name in output for name in files), output
        assert "Later" not in output and "Not this" not in output, output
        assert publish("v9.9.9")[0] == 1
        next(path for path in Path(copy, "dist/one").iterdir() if path.suffix == ".gz").write_text("another")
        assert publish(f"v{version}")[0] == 1, "it published a file that was changed after the build"


@check
def the_package_installs_upgrades_and_uninstalls():
    """In a temporary copy of this machine with its own network."""
    if os.geteuid() != 0 or "overlay" not in Path("/proc/filesystems").read_text():
        raise NotRun("installing it in a copy of this machine needs root and overlayfs")
    [package] = DIST.glob("*.deb")
    with tempfile.TemporaryDirectory() as folder:
        newer = newer_package(package, Path(folder))
        machine = Path(folder, "machine")
        machine.mkdir()
        inside = [sys.executable, Path(__file__).parent / "inside.py", machine, package, newer]
        print("   ", run(*NAMESPACES, *inside).strip())
    not_run.append("the package under systemd, which these tests do not start")


def newer_package(package, folder):
    """The same package with a later version and another example of its settings."""
    run("dpkg-deb", "--raw-extract", package, folder / "newer")
    control, settings = folder / "newer/DEBIAN/control", folder / "newer/etc/hallpass/hallpass.env"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 99.0-1", control.read_text()))
    settings.write_text(settings.read_text() + "\n# A setting of the newer version.\n")
    run("dpkg-deb", "--build", "--root-owner-group", folder / "newer", folder / "newer.deb")
    return folder / "newer.deb"
