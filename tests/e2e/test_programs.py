"""Every Go that is supported, stripped or not, and the frameworks: the same spans."""

import pytest
from conftest import ask, program, settled_spans

MATRIX = [(go, name) for go in ("1.17", "1.22", "1.26", "1.27") for name in ("server", "server-stripped")] + [
    ("1.19", "server"), ("1.24", "server"), ("1.26", "server-pie")]


@pytest.mark.parametrize("go, name", MATRIX)
def test_server_and_client_spans(world, go, name):
    callee = world.start_service("callee", [program("server")])
    service = world.start_service("matrix", [program(name, go)])
    process = world.wait_for_process(service)
    session = world.trace_process(service)["id"]

    assert ask(service.address, "/status?code=404")[0] == 404
    assert ask(service.address, "/echo", method="POST", body=b"x" * 1000)[0] == 200
    assert ask(service.address, f"/call?url=http://{callee.address}/status%3Fcode%3D503")[0] == 200
    spans = settled_spans(world, session, 4)

    assert process["goVersion"].startswith(f"go{go}")
    by_path = {(span["kind"], span["attributes"].get("url.path", "")): span for span in spans}
    assert by_path["SERVER", "/status"]["attributes"]["http.response.status_code"] == 404
    assert by_path["SERVER", "/status"]["status"] == "UNSET"
    assert by_path["SERVER", "/echo"]["attributes"]["http.request.method"] == "POST"
    client = next(span for span in spans if span["kind"] == "CLIENT")
    assert client["attributes"]["http.response.status_code"] == 503 and client["status"] == "ERROR"
    assert client["parentSpanId"] == by_path["SERVER", "/call"]["spanId"]
    assert client["traceId"] == by_path["SERVER", "/call"]["traceId"]


@pytest.mark.parametrize("framework", ["gin", "chi", "echo"])
def test_frameworks_look_the_same(world, framework):
    service = world.start_service(framework, [program(framework, "1.22")])
    world.wait_for_process(service)
    session = world.trace_process(service)["id"]

    assert ask(service.address, "/fast")[0] == 200
    assert ask(service.address, "/users/7")[0] == 200
    assert ask(service.address, "/echo", method="POST", body=b"body")[1] == b"body"
    with pytest.raises(Exception):
        ask(service.address, "/panic")
    spans = settled_spans(world, session, 4)

    assert {span["attributes"]["url.path"] for span in spans} == {"/fast", "/users/7", "/echo", "/panic"}
    assert all(span["service"] == framework for span in spans)
    assert next(span for span in spans if span["attributes"]["url.path"] == "/panic")["status"] == "ERROR"


def test_incoming_traceparent_is_honoured(world):
    service = world.start_service("parent", [program("server")])
    world.wait_for_process(service)
    session = world.trace_process(service)["id"]
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

    ask(service.address, "/fast?token=secret&x=1", headers={"traceparent": f"00-{trace}-{parent}-01", "user-agent": "e2e/1"})
    span = settled_spans(world, session, 1)[0]

    assert span["traceId"] == trace and span["parentSpanId"] == parent
    attributes = span["attributes"]
    assert attributes["user_agent.original"] == "e2e/1"
    assert "secret" not in str(attributes)
    assert attributes["network.peer.address"] == "127.0.0.1" and attributes["network.peer.port"] > 0
    assert attributes["server.address"] == "127.0.0.1"


@pytest.mark.parametrize("go", ["1.19", "1.26"])
def test_a_call_that_gets_no_connection_is_an_error_span(world, go):
    server = world.start_service(f"refused-{go}", [program("server", go)])
    world.wait_for_process(server)
    session = world.trace_process(server)["id"]

    ask(server.address, "/call?url=http://127.0.0.1:1/gone%3Ftoken=a")

    spans = settled_spans(world, session, 2)
    assert sorted(span["kind"] for span in spans) == ["CLIENT", "SERVER"]
    client, parent = sorted(spans, key=lambda span: span["kind"])
    attributes = client["attributes"]
    assert attributes["error.type"] == "connection_refused" and client["status"] == "ERROR"
    assert attributes["http.request.method"] == "GET" and "http.response.status_code" not in attributes
    assert attributes["url.full"] == "http://127.0.0.1:1/gone?token=REDACTED"
    assert attributes["server.address"] == "127.0.0.1" and attributes["server.port"] == 1
    assert client["parentSpanId"] == parent["spanId"] and client["traceId"] == parent["traceId"]
