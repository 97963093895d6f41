"""Medians with 95 % intervals by bootstrap, and the verdict about noise. Pure."""

import random

RESAMPLES = 4000
NOISE_MICROS_MAX = 0.5


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


SUMS = ("requests", "spans")
HIGHEST = ("agentRssBytes", "bpfMapBytes")


def row_of_slices(slices):
    """The slice of one mode and round in which the service was disturbed least: neighbours of a virtual machine, and what runs on the
    other thread of a core, only ever add. Counts are those of all slices, memory the highest, and what only some slices
    measured is their median."""
    row = dict(min(slices, key=lambda one: one["serviceCpuMicrosPerRequest"]))
    for column in row:
        values = [one[column] for one in slices if one[column] is not None]
        if values and (column in SUMS or column in HIGHEST or row[column] is None):
            row[column] = sum(values) if column in SUMS else max(values) if column in HIGHEST else median(values)
    return row


def interval(values, seed=1):
    """(median, low, high): the middle 95 % of the medians of resamples."""
    values = list(values)
    if not values:
        return None
    source = random.Random(seed)
    medians = sorted(median(source.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return median(values), medians[int(RESAMPLES * 0.025)], medians[int(RESAMPLES * 0.975) - 1]


def by_mode(rows, mode, column):
    return {row["round"]: row[column] for row in rows if row["mode"] == mode and row.get(column) is not None}


def difference(rows, mode, column, base="untraced"):
    """The interval of `mode` minus `base`, paired by round."""
    one, other = by_mode(rows, mode, column), by_mode(rows, base, column)
    return interval(one[number] - other[number] for number in sorted(one) if number in other)


def ratio(rows, mode, column, base="untraced"):
    one, other = by_mode(rows, mode, column), by_mode(rows, base, column)
    return interval(one[number] / other[number] for number in sorted(one) if number in other and other[number])


def client_call(rows):
    """What one traced client call adds: what a request with a call costs more when the call is traced as well as the request."""
    return difference(rows, "call-traced", "serviceCpuMicrosPerRequest", base="call-server")


def noise(rows):
    """The interval of untraced-again minus untraced, and whether it reaches too far from zero to say anything."""
    measured = difference(rows, "untraced-again", "serviceCpuMicrosPerRequest")
    void = measured is None or max(abs(measured[1]), abs(measured[2])) > NOISE_MICROS_MAX
    return measured, void


def table(rows):
    """The whole report as text."""
    def cell(measured, digits=2, unit=""):
        if measured is None:
            return "-"
        return f"{measured[0]:.{digits}f}{unit} [{measured[1]:.{digits}f} … {measured[2]:.{digits}f}]"

    modes = list(dict.fromkeys(row["mode"] for row in rows))
    rounds = len({row["round"] for row in rows})
    lines = [["mode", "requests/s", "of untraced", "p50 µs", "p99 µs", "service CPU µs", "added µs", "agent CPU µs",
              "BPF µs", "agent RSS", "maps", "spans/request"]]
    for mode in modes:
        def column(name):
            return interval(by_mode(rows, mode, name).values())
        base = base_of(mode)
        spans = [row["spans"] / row["requests"] for row in rows
                 if row["mode"] == mode and row.get("spans") is not None and row["requests"]]
        rss = [row["agentRssBytes"] for row in rows if row["mode"] == mode and row.get("agentRssBytes")]
        maps = [row["bpfMapBytes"] for row in rows if row["mode"] == mode and row.get("bpfMapBytes")]
        lines.append([
            mode, cell(column("requestsPerSecond"), 0), cell(ratio(rows, mode, "requestsPerSecond", base), 3),
            cell(column("p50Micros"), 0), cell(column("p99Micros"), 0), cell(column("serviceCpuMicrosPerRequest")),
            cell(difference(rows, mode, "serviceCpuMicrosPerRequest", base)) if mode != base else "",
            cell(column("agentCpuMicrosPerRequest")), cell(column("bpfMicrosPerRequest")),
            f"{max(rss) / 2**20:.1f} MiB" if rss else "-", f"{max(maps) / 2**20:.1f} MiB" if maps else "-",
            f"{min(spans):.4f}" if spans else "-"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = "\n".join("  ".join(word.ljust(width) for word, width in zip(line, widths)).rstrip() for line in lines)
    measured, void = noise(rows)
    calls = client_call(rows)
    text += f"\n\n{rounds} rounds; medians [95 % interval, bootstrap]. RSS and maps: the highest seen. spans/request: the lowest.\n"
    text += f"noise (untraced-again − untraced): {cell(measured)} µs of service CPU per request\n"
    if calls:
        text += f"a traced client call adds {cell(calls)} µs of service CPU\n"
    if void:
        text += f"VOID: two equal measurements differ by more than {NOISE_MICROS_MAX} µs; nothing above may be quoted. Use a quiet machine.\n"
    return text


def base_of(mode):
    return "call-untraced" if mode.startswith("call-") else "untraced"
