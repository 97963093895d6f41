"""A whole Sonde on this machine, for the demo, the end-to-end tests and the benchmark: sonded with its private PostgreSQL, an enrolled
sonde-agent, and the programs they watch. Everything lives in one temporary directory and on free ports.

Nothing outlives the process that uses it: stop() ends everything in order, and a guardian process does the same when
its owner is killed. Python's standard library only.
"""

import ctypes
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.02
# How long a process may take to end on SIGTERM before it is killed.
STOP_SECONDS = 10


class StackError(Exception):
    """What failed, with the last words of the process that failed."""


def missing_prerequisites():
    """What this machine lacks to trace Go programs, each as a sentence that says what to do; empty when nothing."""
    missing = []
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        missing.append("BTF: this kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)")
    if os.geteuid() != 0:
        missing.append("root: BPF programs are loaded by root only; run it with sudo")
    elif lacking := missing_capabilities():
        missing.append(f"capabilities: {' and '.join(lacking)}; a container needs --cap-add for each of them")
    elif refusal := bpf_refusal():
        missing.append(f"BPF: the kernel refuses a BPF map ({refusal})")
    if not any(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        missing.append("PostgreSQL: apt-get install postgresql-15")
    if not (shutil.which("go") or os.path.exists("/usr/bin/go")):
        missing.append("Go: apt-get install golang-go")
    return missing


def missing_capabilities():
    """Those that the agent needs and root has not here, as in a container. CAP_SYS_ADMIN says BPF and PERFMON too."""
    SYS_ADMIN, NEEDED = 21, {"CAP_BPF": 39, "CAP_PERFMON": 38, "CAP_SYS_PTRACE": 19, "CAP_SETUID": 7, "CAP_SETGID": 6}
    status = pathlib.Path("/proc/self/status").read_text()
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    return [name for name, bit in NEEDED.items()
            if not effective >> bit & 1 and not (bit in (38, 39) and effective >> SYS_ADMIN & 1)]


def bpf_refusal():
    """Makes the smallest map there is; the reason when the kernel does not want to."""
    libc = ctypes.CDLL(None, use_errno=True)
    BPF_SYSCALL, BPF_MAP_CREATE, BPF_MAP_TYPE_ARRAY = 321, 0, 2
    attributes = (ctypes.c_uint32 * 32)(BPF_MAP_TYPE_ARRAY, 4, 4, 1)
    fd = libc.syscall(BPF_SYSCALL, BPF_MAP_CREATE, attributes, ctypes.sizeof(attributes))
    if fd < 0:
        return os.strerror(ctypes.get_errno())
    os.close(fd)
    return None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(question, timeout, what):
    """Asks until the answer is true, and returns it; StackError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise StackError(f"{what}: not within {timeout} s")
        time.sleep(POLL_SECONDS)


def die_with_parent():
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Guardian:
    """Ends what its owner left behind. It reads what to end from a pipe, and acts when the pipe closes."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--guard", str(directory)], stdin=subprocess.PIPE, start_new_session=True)
        self.lock = threading.Lock()

    def watch(self, pid):
        with self.lock:
            self.process.stdin.write(f"{pid} {start_time(pid)}\n".encode())
            self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def start_time(pid):
    """In ticks since boot: with it a process id means one process only. None when there is none."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError):
        return None


def has_ended(pid, started):
    if start_time(pid) != started:
        return True
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def send(pid, started, number):
    try:
        if start_time(pid) == started:
            os.kill(pid, number)
    except ProcessLookupError:
        pass


def postmasters(directory):
    for file in pathlib.Path(directory).rglob("postmaster.pid"):
        try:
            pid = int(file.read_text().split()[0])
            if b"postgres" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                yield pid
        except (OSError, ValueError, IndexError):
            continue


def guard(directory):
    """The guardian's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watched = [tuple(map(int, line.split())) for line in sys.stdin if "None" not in line]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid, started in reversed(watched):
            send(pid, started, signal.SIGCONT)
            send(pid, started, number)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and not all(has_ended(*process) for process in watched):
            time.sleep(POLL_SECONDS)
    for pid in postmasters(directory):
        os.kill(pid, signal.SIGQUIT)
    shutil.rmtree(directory, ignore_errors=True)


class Program:
    """A process with its output in a file; `idle`: it runs when nothing else on its core wants to."""

    def __init__(self, stack, name, command, environment=None, cpu=None, idle=False):
        self.name = name
        self.log = stack.directory / "log" / f"{name}.log"
        self.log.parent.mkdir(exist_ok=True)
        # A namesake may have run before: what it said is not ours.
        self.said_before = self.log.stat().st_size if self.log.exists() else 0

        def prepare():
            die_with_parent()
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            if idle:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(environment or {})}, preexec_fn=prepare)
        self.pid = self.process.pid
        stack.guardian.watch(self.pid)
        stack.programs.append(self)

    def running(self):
        return self.process.poll() is None

    def text(self):
        with open(self.log, "rb") as log:
            log.seek(self.said_before)
            return log.read().decode(errors="replace")

    def words(self, lines=15):
        return "\n".join(self.text().splitlines()[-lines:])

    def line(self, start, timeout=20):
        """The rest of the first line that begins with `start`."""
        def found():
            for line in self.text().splitlines():
                if line.startswith(start):
                    return line[len(start):].strip() or " "
            if not self.running():
                raise StackError(f"{self.name} ended with {self.process.returncode}:\n{self.words()}")
            return None
        return wait_until(found, timeout, f"{self.name} says \"{start}\"").strip()

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=STOP_SECONDS):
        """SIGTERM, then SIGKILL. True when it ended by itself."""
        if self.running():
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        try:
            self.process.wait(timeout)
            return True
        except subprocess.TimeoutExpired:
            self.kill()
            return False


class Stack:
    """One control plane, its agents and its operators' tokens."""

    def __init__(self, build, prefix="sonde"):
        self.build = pathlib.Path(build).resolve()
        # Not below a home: the user that the database runs as must reach it.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.guardian = Guardian(self.directory)
        self.programs = []
        self.tokens = {role: secrets.token_urlsafe(24) for role in ("viewer", "operator", "admin")}
        self.state = self.directory / "control-plane"
        self.api_tokens = self.directory / "api-tokens"
        self.api_tokens.write_text("".join(
            f"{role} {role} {hashlib.sha256(token.encode()).hexdigest()}\n" for role, token in self.tokens.items()))
        self.api_tokens.chmod(0o644)
        self.token_files = {}
        for role, token in self.tokens.items():
            self.token_files[role] = self.directory / f"{role}.token"
            self.token_files[role].write_text(token + "\n")
            self.token_files[role].chmod(0o600)
        self.grpc = self.rest = self.metrics = None
        self.control_plane = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for program in reversed(self.programs):
            program.stop()
        self.guardian.close()

    # control plane

    @property
    def authority(self):
        return self.state / "ca.pem"

    def start_control_plane(self, *flags, name="sonded", cpu=None, idle=False, ports=None):
        """Starts sonded and waits until it is ready. The ports stay the same over a restart."""
        if ports is None:
            if self.grpc is None:
                self.grpc, self.rest, self.metrics = (f"127.0.0.1:{free_port()}" for _ in range(3))
            ports = self.grpc, self.rest, self.metrics
        grpc, rest, metrics = ports
        program = Program(self, name, [
            self.build / "bin" / "sonded", "--state-dir", self.state, "--listen-grpc", grpc, "--listen-rest", rest,
            "--listen-metrics", metrics, "--api-tokens", self.api_tokens, *flags], cpu=cpu, idle=idle)
        if name == "sonded":
            self.control_plane = program

        def ready():
            if not program.running():
                raise StackError(f"sonded ended with {program.process.returncode}:\n{program.words()}")
            try:
                return urllib.request.urlopen(f"http://{rest}/readyz", timeout=2).status == 200
            except OSError:
                return False
        try:
            wait_until(ready, 60, "sonded is ready")
        except StackError as error:
            raise StackError(f"{error}\n{program.words()}") from None
        return program

    # clients

    def cli_environment(self, role="admin"):
        return {"SONDE_SERVER": self.grpc, "SONDE_TOKEN_FILE": str(self.token_files[role]),
                "SONDE_CA": str(self.authority)}

    def cli(self, *words, role="admin", check=True, input=None, timeout=60):
        """Runs `sonde`; the finished process, or StackError when it fails and `check` holds."""
        done = subprocess.run(
            [str(self.build / "bin" / "sonde"), *map(str, words)], env={**os.environ, **self.cli_environment(role)},
            capture_output=True, text=True, input=input, timeout=timeout)
        if check and done.returncode != 0:
            raise StackError(f"sonde {' '.join(map(str, words))} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return done

    def cli_json(self, *words, **options):
        return json.loads(self.cli(*words, "-o", "json", **options).stdout)

    def call(self, method, path, body=None, role="admin", headers=None, timeout=30, rest=None):
        """One REST call: (status, parsed answer). Strings and bytes are sent as they are."""
        data = body if body is None or isinstance(body, bytes) else (
            body.encode() if isinstance(body, str) else json.dumps(body).encode())
        request = urllib.request.Request(f"http://{rest or self.rest}{path}", data=data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if role:
            request.add_header("Authorization", f"Bearer {self.tokens[role]}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text) if text else {}
        except ValueError:
            return status, text.decode(errors="replace")

    def get(self, path, **options):
        status, answer = self.call("GET", path, **options)
        if status != 200:
            raise StackError(f"GET {path}: {status} {answer}")
        return answer

    def pages(self, path, items, **options):
        """All items of a list."""
        found, token = [], ""
        while True:
            separator = "&" if "?" in path else "?"
            page = self.get(f"{path}{separator}pageSize=1000&pageToken={token}", **options)
            found += page.get(items, [])
            token = page.get("nextPageToken", "")
            if not token:
                return found

    # agents and what they watch

    def start_agent(self, name="agent", labels=("env=test",), flags=(), cpu=None, wait=True, environment=None):
        """Makes a join token, starts an agent with it and waits until the fleet shows it online."""
        state = self.directory / name
        state.mkdir(exist_ok=True)
        token = state / "join-token"
        if not token.exists():
            label_flags = [word for label in labels for word in ("-l", label)]
            token.write_text(self.cli("token", "create", *label_flags).stdout)
            token.chmod(0o600)
        program = Program(self, name, [
            self.build / "bin" / "sonde-agent", "--server", self.grpc, "--join-token-file", token, "--state-dir", state,
            *flags], cpu=cpu, environment=environment)
        if wait:
            self.wait_for_agent(program)
        return program

    def agents(self):
        return self.get("/v1/agents").get("agents", [])

    def wait_for_agent(self, program, timeout=30):
        def online():
            if not program.running():
                raise StackError(f"{program.name} ended with {program.process.returncode}:\n{program.words()}")
            return [agent for agent in self.agents() if agent.get("state") == "ONLINE"]
        try:
            return wait_until(online, timeout, f"{program.name} is online")
        except StackError as error:
            raise StackError(f"{error}\n{program.words()}") from None

    def start_service(self, name, command, service=None, cpu=None, environment=None):
        """A program that prints `listening ADDRESS`; its address is in .address."""
        program = Program(self, name, command, cpu=cpu,
                          environment={"OTEL_SERVICE_NAME": service or name, **(environment or {})})
        program.address = program.line("listening ")
        return program

    def processes(self):
        return self.pages("/v1/processes", "processes")

    def wait_for_process(self, program, timeout=20):
        return wait_until(
            lambda: [process for process in self.processes() if process.get("pid") == program.pid], timeout,
            f"the fleet shows {program.name}")[0]

    # sessions

    def create_session(self, spec, role="operator"):
        status, session = self.call("POST", "/v1/sessions", spec, role=role)
        if status != 200:
            raise StackError(f"POST /v1/sessions: {status} {session}")
        return session

    def session(self, identifier):
        return self.get(f"/v1/sessions/{identifier}")

    def trace_process(self, program, probes=({"http": {}},), ttl="300s", timeout=20, **more):
        """A session for one process, active."""
        session = self.create_session({
            "displayName": program.name, "selector": {"pids": [program.pid]}, "probes": list(probes), "ttl": ttl,
            **more})
        return self.wait_active(session["id"], timeout)

    def wait_active(self, identifier, timeout=20):
        def active():
            session = self.session(identifier)
            if session.get("state") in ("FAILED", "CANCELLED", "EXPIRED", "SUCCEEDED"):
                raise StackError(f"the session ended: {session}\n{self.hosts(identifier)}")
            return session if session.get("summary", {}).get("processes", 0) else None
        try:
            return wait_until(active, timeout, f"session {identifier} traces a process")
        except StackError as error:
            raise StackError(f"{error}\n{json.dumps(self.session(identifier), indent=1)}\n{self.hosts(identifier)}") from None

    def hosts(self, identifier):
        return self.get(f"/v1/sessions/{identifier}/hosts").get("hosts", [])

    def stop_session(self, identifier):
        status, session = self.call("POST", f"/v1/sessions/{identifier}:stop", {})
        if status != 200:
            raise StackError(f"stop: {status} {session}")
        return session

    def spans(self, identifier):
        return self.pages(f"/v1/sessions/{identifier}/spans", "spans")


def family(pid):
    """A process and everything below it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    members, todo = [], [pid]
    while todo:
        members.append(todo.pop())
        todo += children.get(members[-1], [])
    return members


def resident_bytes(pid):
    """What a process has in memory, and what its children add: pages that they share with it count once."""
    def kilobytes(member, file, names):
        try:
            lines = pathlib.Path(f"/proc/{member}/{file}").read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.split(":")[0] in names)
    return 1024 * (kilobytes(pid, "status", ("VmRSS",)) + sum(
        kilobytes(child, "smaps_rollup", ("Private_Clean", "Private_Dirty")) for child in family(pid) if child != pid))


if __name__ == "__main__" and sys.argv[1:2] == ["--guard"]:
    guard(sys.argv[2])
