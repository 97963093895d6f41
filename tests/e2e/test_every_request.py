"""Every request is a span: none lost, none twice."""

import pytest
import stack
from conftest import ask, program, settled_spans

REQUESTS = 100_000
PANICS = 200


@pytest.mark.parametrize("connections", [1, 200])
def test_as_many_spans_as_requests(world, load_generator, connections):
    server = world.start_service(f"count-{connections}", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server, budget={"cpuFraction": 1, "eventsPerSecond": 10_000_000})["id"]

    report = load_generator(server.address, "/fast", connections=connections, requests=REQUESTS)

    assert report["requests"] == REQUESTS and report["errors"] == 0

    def arrived():
        found = int(world.session(session)["summary"].get("spans", 0))
        return found >= REQUESTS and found
    try:
        spans = stack.wait_until(arrived, 90, "all spans have arrived")
    except stack.StackError as error:
        raise stack.StackError(f"{error}: {world.session(session)['summary']}") from None
    assert spans == REQUESTS
    world.stop_session(session)
    found = world.spans(session)
    assert len(found) == REQUESTS
    assert len({span["spanId"] for span in found}) == REQUESTS
    # Every request brought a traceparent of its own.
    assert len({span["traceId"] for span in found}) == REQUESTS


def test_every_panic_is_a_span_with_its_error(world):
    server = world.start_service("panics", [program("server"), "-quiet"])
    world.wait_for_process(server)
    session = world.trace_process(server)["id"]

    for _ in range(PANICS):
        with pytest.raises((ConnectionError, OSError, Exception)):
            ask(server.address, "/panic")
    spans = settled_spans(world, session, PANICS)

    assert len(spans) == PANICS
    assert all(span["status"] == "ERROR" and span["attributes"]["error.type"] for span in spans)


def test_what_overload_drops_is_counted_and_shown(world, load_generator):
    server = world.start_service("overload", [program("server")])
    world.wait_for_process(server)
    session = world.trace_process(server, sampling={"spansPerSecond": 100})["id"]

    report = load_generator(server.address, "/fast", connections=32, milliseconds=2000)

    def accounted():
        summary = world.session(session)["summary"]
        lost = sum(int(loss["count"]) for loss in summary.get("usage", {}).get("losses", []))
        return int(summary.get("spans", 0)) + lost >= report["requests"] and summary
    summary = stack.wait_until(accounted, 30, f"{report['requests']} requests are spans or losses: {world.session(session)}")

    assert 0 < int(summary["spans"]) < report["requests"]
    status = world.cli("session", "status", session).stdout
    assert "lost" in status and summary["usage"]["losses"][0]["reason"] in status
