"""What the benchmark makes of its rounds."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import statistics_of_rounds as statistics  # noqa: E402


def rows(noise=0.0, added=0.8):
    made = []
    for number in range(20):
        drift = number * 0.5  # what all modes of a round share
        for mode, cost in (("untraced", 40.0), ("untraced-again", 40.0 + (noise if number % 2 else -noise)), ("socket", 40.0 + added)):
            made.append({"mode": mode, "round": number, "serviceCpuMicrosPerRequest": cost + drift, "requestsPerSecond": 20000.0,
                         "requests": 100, "spans": 100 if mode == "socket" else None})
    return made


def test_a_drift_that_all_modes_share_cancels():
    middle, low, high = statistics.difference(rows(), "socket", "serviceCpuMicrosPerRequest")

    assert abs(middle - 0.8) < 1e-9 and abs(high - low) < 1e-9


def test_a_noisy_run_is_void_and_says_so():
    assert not statistics.noise(rows(noise=0.1))[1]
    assert statistics.noise(rows(noise=2.0))[1]
    biased = [{**row, "serviceCpuMicrosPerRequest": row["serviceCpuMicrosPerRequest"] + (row["mode"] == "untraced-again")}
              for row in rows()]
    assert statistics.noise(biased)[1]
    assert "VOID" in statistics.table(rows(noise=2.0))
    assert "VOID" not in statistics.table(rows())


def test_the_interval_holds_the_median():
    middle, low, high = statistics.interval([1, 2, 3, 4, 100])

    assert middle == 3 and low <= middle <= high


def test_spans_per_request_shows_the_worst_round():
    made = rows()
    made[2]["spans"] = 50

    assert "0.5000" in statistics.table(made)


def test_a_client_call_costs_what_its_request_costs_more():
    made = rows(added=0.8)
    for number in range(20):
        made += [{"mode": "call-untraced", "round": number, "serviceCpuMicrosPerRequest": 90.0},
                 {"mode": "call-server", "round": number, "serviceCpuMicrosPerRequest": 90.8},
                 {"mode": "call-traced", "round": number, "serviceCpuMicrosPerRequest": 92.3}]

    middle, _, _ = statistics.client_call(made)

    assert abs(middle - 1.5) < 1e-9


def test_a_row_is_its_least_disturbed_slice_with_the_counts_of_all():
    slices = [{"serviceCpuMicrosPerRequest": cost, "p50Micros": p50, "bpfMicrosPerRequest": bpf, "agentRssBytes": rss, "requests": 10,
               "spans": spans}
              for cost, p50, bpf, rss, spans in ((44.2, 2, 1.5, 7, 10), (70.0, 1, None, 9, 9), (44.0, 3, None, 8, 10))]

    row = statistics.row_of_slices(slices)

    assert row == {"serviceCpuMicrosPerRequest": 44.0, "p50Micros": 3, "bpfMicrosPerRequest": 1.5, "agentRssBytes": 9, "requests": 30,
                   "spans": 29}
    assert statistics.row_of_slices([{"serviceCpuMicrosPerRequest": 1, "spans": None}])["spans"] is None
