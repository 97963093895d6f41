#!/usr/bin/python3
"""Builds one Go program with one pinned toolchain.

    build_program.py --go 1.22 --source tests/programs/server --output build/dev/programs/go1.22/server [--stripped] [--pie] [--cgo]

Toolchains come as hash-pinned modules (toolchains.txt) into .cache/go of the source tree, fetched with whatever Go
is on the machine, Debian's 1.19 included; later runs need no network. `--go system` takes that Go itself. Without network the output is left out,
<output>.skipped says so, and the exit code is 0: the tests that need it skip for that reason.
Other programs may call fetch_toolchain() and environment() too.
"""
import argparse
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("SONDE_GO_CACHE", ROOT / ".cache" / "go"))
PINS = pathlib.Path(__file__).with_name("toolchains.txt")
NO_NETWORK = "no network"
NETWORK_ERRORS = ("dial tcp", "no such host", "connection refused", "i/o timeout", "network is unreachable",
                  "proxyconnect", "tls handshake timeout", "connection reset", "eof", "server misbehaving",
                  "module lookup disabled", "502 bad gateway", "503 service unavailable", "504 gateway")


class NoNetwork(Exception):
    pass


def system_go():
    for candidate in (shutil.which("go"), "/usr/bin/go", "/usr/lib/go-1.19/bin/go", "/usr/local/go/bin/go"):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    sys.exit("build_program.py: no Go found: install the package golang-go")


def environment(cgo=False, pie=False):
    """The environment that every go command runs in: nothing is written outside the cache."""
    env = dict(os.environ)
    env.update(GOPATH=str(CACHE), GOMODCACHE=str(CACHE / "mod"), GOCACHE=str(CACHE / "build"), GOTOOLCHAIN="local",
               GOFLAGS="-modcacherw", GONOSUMDB="*", GOWORK="off", CGO_ENABLED="1" if cgo else "0", GOOS="linux",
               GOARCH="amd64")
    for name in ("GOROOT", "GOEXPERIMENT", "GOAMD64", "GODEBUG"):
        env.pop(name, None)
    return env


def run_go(command, folder, env):
    result = subprocess.run(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode != 0:
        said = result.stderr + result.stdout
        if any(error in said.lower() for error in NETWORK_ERRORS):
            raise NoNetwork(said)
        sys.exit(f"build_program.py: {' '.join(map(str, command))}\n{said}")
    return result.stdout


def pinned(version):
    """'1.22' → ('1.22.12', 'h1:…')."""
    for line in PINS.read_text().splitlines():
        if line and not line.startswith("#"):
            full, digest = line.split()
            if full == version or full.startswith(version + "."):
                return full, digest
    sys.exit(f"build_program.py: Go {version} is not in {PINS}")


def fetch_toolchain(version):
    """Returns the path of the go command of this version; raises NoNetwork."""
    full, digest = pinned(version)
    module = f"golang.org/toolchain@v0.0.1-go{full}.linux-amd64"
    folder = CACHE / "mod" / module
    verified = CACHE / f"go{full}.verified"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"go{full}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (verified.exists() and verified.read_text() == digest and (folder / "bin" / "go").exists()):
            answer = json.loads(run_go([system_go(), "mod", "download", "-json", module], CACHE, environment()))
            if answer.get("Sum") != digest:
                sys.exit(f"build_program.py: {module} has the hash {answer.get('Sum')}, pinned is {digest}")
            # Modules carry no mode bits: everything arrives as 0444.
            for tool in (*folder.glob("bin/*"), *folder.glob("pkg/tool/*/*")):
                tool.chmod(0o755)
            zip_file = pathlib.Path(answer.get("Zip", ""))
            if zip_file.suffix == ".zip":
                zip_file.unlink(missing_ok=True)
            verified.write_text(digest)
    return folder / "bin" / "go"


def build(arguments):
    output = pathlib.Path(arguments.output).resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    skipped = output.with_name(output.name + ".skipped")
    skipped.unlink(missing_ok=True)
    command = ["build", "-mod=readonly", "-o", str(output)]
    if arguments.pie:
        command.append("-buildmode=pie")
    if arguments.stripped:
        command.append("-ldflags=-s -w")
    if arguments.tags:
        command.append(f"-tags={arguments.tags}")
    try:
        go = system_go() if arguments.go == "system" else fetch_toolchain(arguments.go)
        if arguments.go != "1.17":
            command.append("-buildvcs=false")
        # Outside a module `go run` would take the source's own folder: generated sources go next to the output.
        run_go([str(go), *command, "."], arguments.source, environment(arguments.cgo, arguments.pie))
    except NoNetwork as reason:
        output.unlink(missing_ok=True)
        skipped.write_text(NO_NETWORK + "\n")
        print(f"{output.name}: skipped, {NO_NETWORK}: {str(reason).strip().splitlines()[-1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--go", required=True, help="1.17, 1.22, … or system")
    parser.add_argument("--source", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--stripped", action="store_true")
    parser.add_argument("--pie", action="store_true")
    parser.add_argument("--cgo", action="store_true")
    parser.add_argument("--tags", default="", help="build tags, with commas between")
    build(parser.parse_args())


if __name__ == "__main__":
    main()
