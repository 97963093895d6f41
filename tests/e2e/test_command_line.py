"""The command line against a real server."""

import json
import os
import signal
import subprocess
import threading
import time

import stack
from conftest import ask, program, settled_spans


def test_from_question_to_answer(world):
    server = world.start_service("cli", [program("server")])
    world.wait_for_process(server)

    dry = world.cli("session", "run", "--probe", "http", "--pid", server.pid, "-l", "env=test", "--dry-run").stdout
    assert "1 host " in dry and "1 process" in dry
    session = world.cli_json("session", "run", "--probe", "http", "--pid", server.pid, "-l", "env=test", "--ttl", "2m")["id"]
    ask(server.address, "/fast", headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01"})
    settled_spans(world, session, 1)

    assert "1/1 ACTIVE" in world.cli("session", "status", session).stdout
    assert session in world.cli("session", "list").stdout
    assert server.name in world.cli("processes").stdout
    assert "GET" in world.cli("trace", session, "--latest").stdout
    trace = world.cli_json("trace", session, "0af7651916cd43dd8448eb211c80319d")
    span = trace["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["traceId"] == "0af7651916cd43dd8448eb211c80319d" and span["kind"] == 2
    # REST answers the same OTLP JSON.
    assert world.get(f"/v1/sessions/{session}/traces/0af7651916cd43dd8448eb211c80319d") == trace
    assert "\x1b" not in world.cli("agents").stdout

    world.cli("session", "stop", session)
    stack.wait_until(lambda: world.session(session)["state"] == "SUCCEEDED", 10, "the session ends")
    assert len(world.cli_json("spans", session)["spans"]) == 1


def test_errors_are_objects_for_whoever_reads_json(world):
    for words, exit_code in ((["sesion", "list"], 2), (["session", "get", "none"], 4), (["tail"], 2)):
        done = world.cli(*words, "-o", "json", check=False)

        error = json.loads(done.stderr)["error"]
        assert (done.returncode, error["exitCode"], done.stdout) == (exit_code, exit_code, "")
        assert error["reason"] and error["message"]


def test_a_session_that_traces_nothing_says_where_to_look(world):
    done = world.cli("session", "run", "--probe", "http", "--service", "nobody-has-this-name", "-l", "env=test", "--ttl", "30s",
                     check=False)

    assert done.returncode == 7
    assert "sonde processes" in done.stderr and "sonde trace" not in done.stderr
    session = done.stderr.split()[1]
    world.cli("session", "stop", session)


def test_an_interrupted_watch_says_that_the_session_goes_on(world):
    server = world.start_service("interrupted", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server)["id"]

    for words in (["tail", session], ["session", "status", session, "--watch"]):
        watch = subprocess.Popen(
            [world.build / "bin" / "sonde", *words], env={**os.environ, **world.cli_environment()},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "ACTIVE" in watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        _, said = watch.communicate(timeout=10)

        assert watch.returncode == 130
        assert "goes on" in said and f"sonde session stop {session}" in said
    assert world.session(session)["state"] in ("STARTING", "ACTIVE")
    world.stop_session(session)


def test_tail_shows_spans_as_they_arrive_and_ends_with_the_session(world):
    server = world.start_service("tail", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server)["id"]
    ended = {}
    follower = threading.Thread(target=lambda: ended.update(done=world.cli("tail", session, "-o", "json")))
    follower.start()
    time.sleep(0.5)

    for _ in range(3):
        ask(server.address, "/fast")
    settled_spans(world, session, 3)
    world.stop_session(session)
    follower.join(20)

    events = [json.loads(line) for line in ended["done"].stdout.splitlines()]
    assert len([event for event in events if "span" in event]) == 3
    assert len({event["eventId"] for event in events}) == len(events)
    assert events[-1]["session"]["state"] == "SUCCEEDED"


def test_status_watch_ends_with_the_session(world):
    server = world.start_service("watch", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server, ttl="2s")["id"]

    watched = world.cli("session", "status", session, "--watch")

    assert "1/1 ACTIVE" in watched.stdout


def test_sampling_rules_are_applied_shown_and_deleted(world, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("displayName: e2e at half\nselector: {service: nobody}\nratio: 0.5\n")

    assert "would be created" in world.cli("rules", "apply", "-f", rules, "--diff").stderr
    assert "created" in world.cli("rules", "apply", "-f", rules).stderr
    assert "unchanged" in world.cli("rules", "apply", "-f", rules).stderr
    rules.write_text("displayName: e2e at half\nselector: {service: nobody}\nratio: 0.25\n")
    assert "updated" in world.cli("rules", "apply", "-f", rules).stderr
    found = [rule for rule in world.cli_json("rules", "list")["samplingRules"] if rule["displayName"] == "e2e at half"]
    assert [rule["ratio"] for rule in found] == [0.25]
    world.cli("rules", "delete", found[0]["id"])
    assert "e2e at half" not in world.cli("rules", "list").stdout


def test_a_sampling_rule_caps_a_running_session(world, load_generator):
    server = world.start_service("capped", [program("server")])
    world.wait_for_process(server)
    status, rule = world.call("POST", "/v1/samplingRules", {"displayName": "cap", "selector": {"service": "capped"}, "ratio": 0.1})
    assert status == 200, rule
    try:
        session = world.trace_process(server)["id"]
        load_generator(server.address, "/fast", connections=4, requests=5000)
        world.stop_session(session)
        stack.wait_until(lambda: world.session(session)["state"] == "SUCCEEDED", 15, "the session ends")
        spans = len(world.spans(session))
        assert 350 < spans < 650
    finally:
        world.call("DELETE", f"/v1/samplingRules/{rule['id']}")


def test_a_server_that_is_down_is_said_so(shared):
    down = shared.cli("agents", "-s", f"127.0.0.1:{stack.free_port()}", check=False)
    rest = shared.cli("agents", "-s", shared.rest, check=False)

    assert down.returncode == 6 and "SERVER_UNREACHABLE" in down.stderr
    assert rest.returncode == 6 and "SERVER_SPEAKS_NO_TLS" in rest.stderr
