"""Who may do what, and for how long."""

import re
import shutil
import subprocess
import time

import kernel_objects
import pytest
import stack
from conftest import BUILD, ask, program, settled_spans


@pytest.mark.parametrize(("verb", "state"), [("ban", "BANNED"), ("evict", "EVICTED")])
def test_dismissal_ends_the_stream_and_the_probes_at_once(fresh, verb, state):
    fresh.start_control_plane()
    agent = fresh.start_agent()
    identity = fresh.agents()[0]["id"]
    server = fresh.start_service("dismissed", [program("server")])
    fresh.wait_for_process(server)
    fresh.trace_process(server)
    held = kernel_objects.held_by(agent.pid)
    assert {kind for kind, _ in held} == {"prog", "map", "link"} and held <= kernel_objects.in_kernel()

    fresh.cli("agents", verb, identity)

    # Not when the lease ends, some 30 s later.
    stack.wait_until(lambda: not held & kernel_objects.in_kernel(), 0.5, "nothing of the dismissed agent is attached")
    stack.wait_until(lambda: fresh.agents()[0]["state"] == state, 5, f"the agent is {state}")
    assert agent.running() and not kernel_objects.held_by(agent.pid)


def test_an_evicted_agent_enrolls_again_with_a_new_token(fresh):
    fresh.start_control_plane()
    agent = fresh.start_agent()
    identity = fresh.agents()[0]["id"]

    fresh.cli("agents", "evict", identity)
    stack.wait_until(lambda: fresh.agents()[0]["state"] == "EVICTED", 5, "the agent is evicted")
    agent.stop()

    again = fresh.start_agent(name="again")
    assert again.running()


def test_a_join_token_is_good_for_one_host(fresh):
    fresh.start_control_plane()
    fresh.start_agent()
    thief = fresh.directory / "thief"
    thief.mkdir()
    (thief / "join-token").write_text((fresh.directory / "agent" / "join-token").read_text())

    second = fresh.start_agent(name="thief", wait=False)

    stack.wait_until(lambda: "JOIN_TOKEN" in second.text() or not second.running(), 20, "the token is refused")
    assert len(fresh.agents()) == 1
    tokens = fresh.get("/v1/joinTokens")["joinTokens"]
    assert [token["state"] for token in tokens] == ["USED"] and "token" not in tokens[0]


def test_two_agents_do_not_share_one_identity(fresh):
    fresh.start_control_plane()
    first = fresh.start_agent()

    # The same state directory, as two unit files with one default would have it.
    second = fresh.start_agent(wait=False)

    stack.wait_until(lambda: not second.running(), 10, "the second agent gives up")
    assert second.process.returncode == 1 and "STATE_DIR_IN_USE" in second.text()
    assert first.running() and "STREAM_REPLACED" not in first.text()

    first.kill()
    assert fresh.start_agent().running(), "the lock goes with the process"


def test_a_join_token_file_that_is_missing_is_named(fresh):
    fresh.start_control_plane()

    ended = subprocess.run(
        [BUILD / "bin" / "sonde-agent", "--server", fresh.grpc, "--state-dir", fresh.directory / "new",
         "--join-token-file", fresh.directory / "mislaid"], capture_output=True, text=True, timeout=20)

    assert ended.returncode == 1
    assert "mislaid" in ended.stderr and "NOT_ENROLLED" in ended.stderr


def make_certificate(folder, issuer=None, days=1, uri="spiffe://sonde/agent/00000000-0000-4000-8000-000000000000"):
    """A self-signed client certificate, as an impostor would make it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
         certificate, "-days", str(days), "-subj", "/CN=impostor", "-addext", f"subjectAltName=URI:{uri}"],
        check=True, capture_output=True)
    return key, certificate


UNAUTHENTICATED = 16


def connect_as(world, key=None, certificate=None):
    """The gRPC status of AgentControlService.Connect with an empty stream; 0 and other codes come from behind the door."""
    credentials = ["--key", key, "--cert", certificate] if key else []
    done = subprocess.run(
        ["curl", "-s", "-D", "-", "-o", "/dev/null", "--http2", "--max-time", "10", "--cacert", world.authority, *credentials,
         "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "",
         f"https://{world.grpc}/sonde.v1.AgentControlService/Connect"], capture_output=True, text=True)
    found = re.search(r"^grpc-status: (\d+)", done.stdout, re.MULTILINE)
    return int(found.group(1)) if found else f"curl ended with {done.returncode}: {done.stdout}"


def test_forged_and_missing_certificates_get_nowhere(shared, tmp_path):
    identity = shared.agents()[0]["id"]
    key, certificate = make_certificate(tmp_path, uri=f"spiffe://sonde.local/agent/{identity}")

    assert connect_as(shared, key, certificate) == UNAUTHENTICATED
    assert connect_as(shared) == UNAUTHENTICATED
    assert shared.agents()[0]["state"] == "ONLINE"


def test_a_certificate_is_good_until_it_expires(fresh):
    fresh.start_control_plane("--agent-certificate-seconds", 10)
    agent = fresh.start_agent()
    kept = fresh.directory / "kept"
    state = fresh.directory / "agent"
    agent.stop()
    shutil.copytree(state, kept)
    key, certificate = kept / "agent.key", kept / "agent.crt"

    assert connect_as(fresh, key, certificate) != UNAUTHENTICATED
    stack.wait_until(lambda: connect_as(fresh, key, certificate) == UNAUTHENTICATED, 15, "the certificate has expired")
    # Its agent says what to do.
    late = stack.Program(
        fresh, "late", [BUILD / "bin/sonde-agent", "--server", fresh.grpc, "--state-dir", kept])
    assert late.process.wait(15) != 0
    assert "CERTIFICATE_EXPIRED" in late.text() and "join token" in late.text()


def test_an_agent_renews_its_certificate_and_stays(fresh):
    fresh.start_control_plane("--agent-certificate-seconds", 10)
    agent = fresh.start_agent()
    first = fresh.agents()[0]["certificateExpireTime"]

    stack.wait_until(lambda: fresh.agents()[0].get("certificateExpireTime", first) > first, 20, "the certificate is renewed")

    deadline = time.monotonic() + 12
    while time.monotonic() < deadline:
        assert agent.running()
        time.sleep(0.5)
    assert fresh.agents()[0]["state"] == "ONLINE"


def test_roles_may_do_what_they_say(shared):
    spec = {"selector": {"hosts": "*"}, "probes": [{"http": {}}], "ttl": "60s"}

    assert shared.call("GET", "/v1/sessions", role="viewer")[0] == 200
    assert shared.call("POST", "/v1/sessions?validateOnly=true", spec, role="operator")[0] == 200
    for role, method, path in (("viewer", "POST", "/v1/sessions"), ("operator", "POST", "/v1/joinTokens")):
        status, problem = shared.call(method, path, spec if path == "/v1/sessions" else {}, role=role)
        assert status == 403 and problem["reason"], problem
    for role in (None,):
        status, problem = shared.call("GET", "/v1/sessions", role=role)
        assert status == 401 and problem["reason"], problem
    status, _ = shared.call("GET", "/v1/sessions", role=None, headers={"Authorization": "Bearer forged"})
    assert status == 401
    assert shared.call("GET", "/healthz", role=None)[0] == 200


def test_the_command_line_says_who_is_not_allowed(shared, tmp_path):
    wrong = tmp_path / "token"
    wrong.write_text("forged\n")

    assert shared.cli("token", "create", role="operator", check=False).returncode == 3
    forged = shared.cli("agents", "--token-file", wrong, check=False)
    assert forged.returncode == 3 and "reason" in forged.stderr
    # Another authority did not sign this server.
    _, certificate = make_certificate(tmp_path)
    impostor = shared.cli("agents", "--ca", certificate, check=False)
    assert impostor.returncode == 6 and "SERVER_NOT_TRUSTED" in impostor.stderr


def test_an_agent_with_a_local_policy_refuses(fresh):
    policy = fresh.directory / "policy.yaml"
    policy.write_text("neverTouch:\n  executables: [\"*/server\"]\n")
    fresh.start_control_plane()
    fresh.start_agent(flags=["--policy", policy])
    server = fresh.start_service("forbidden", [program("server")])
    fresh.wait_for_process(server)
    session = fresh.create_session({"selector": {"pids": [server.pid]}, "probes": [{"http": {}}], "ttl": "60s"})["id"]

    def refused():
        reasons = fresh.session(session).get("summary", {}).get("reasons", [])
        return any(reason["reason"] == "LOCAL_POLICY_DENIED" for reason in reasons)
    stack.wait_until(refused, 10, "the policy of the host refuses the session")
    assert "LOCAL_POLICY_DENIED" in fresh.cli("session", "status", session).stdout


def test_an_allowed_process_beside_a_forbidden_one_is_traced(world):
    server = world.start_service("allowed", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server)["id"]
    ask(server.address, "/fast")
    settled_spans(world, session, 1)
