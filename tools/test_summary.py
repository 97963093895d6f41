#!/usr/bin/env python3
"""Counts what a test run did, case by case, and ends with `N passed, N failed, N skipped`.

usage: test_summary.py RESULTS

RESULTS holds ctest.json (what there is), ctest.junit (what was started, and how it ended) and one XML file per test
binary or script with its cases (GoogleTest and pytest write the same JUnit form). What only sets up a fixture, such
as building the programs to trace, has no cases: it fails or it does not count. A case may be skipped only for a reason in
ALLOWED_SKIPS; any other skip, a test that crashed before it wrote its cases, and a run without cases fail.
"""

import json
import pathlib
import sys
import xml.etree.ElementTree as ElementTree

# The fixed list: a message must start with one of these.
ALLOWED_SKIPS = {
    "no BPF": "this kernel or these privileges do not allow BPF",
    "no network": "the package registries are out of reach",
}


def cases_of(path):
    """(name, outcome, message) of every case in a JUnit file."""
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        failed = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped")
        if failed is not None:
            yield name, "failed", failed.get("message") or ""
        elif skipped is not None:
            # GoogleTest puts file and line before the message
            message = (skipped.get("message") or skipped.text or "").strip()
            yield name, "skipped", message.splitlines()[-1].strip() if message else ""
        elif case.get("status") == "notrun":
            continue  # filtered out or disabled
        else:
            yield name, "passed", ""


def fixtures_of(path):
    """Names of the entries that only set something up."""
    if not path.exists():
        return set()
    return {
        test["name"]
        for test in json.loads(path.read_text())["tests"]
        if any(p["name"] == "FIXTURES_SETUP" for p in test.get("properties", []))
    }


def main():
    results = pathlib.Path(sys.argv[1])
    fixtures = fixtures_of(results / "ctest.json")
    passed, failed, skipped = 0, [], {}
    started = results / "ctest.junit"
    if not started.exists():
        failed.append(("ctest", "did not run"))
    else:
        for test in ElementTree.parse(started).getroot().iter("testcase"):
            name, own = test.get("name"), results / f"{test.get('name')}.xml"
            ok = test.get("status") == "run"
            if not own.exists():
                if ok and name in fixtures:
                    continue
                failed.append((name, "ended without a list of its cases: " + (test.get("status") or "")))
                continue
            if not ok and not any(outcome == "failed" for _, outcome, _ in cases_of(own)):
                failed.append((name, "exited with an error or ran out of time"))
    for path in sorted(results.glob("*.xml")):
        for name, outcome, message in cases_of(path):
            if outcome == "passed":
                passed += 1
            elif outcome == "failed":
                failed.append((name, message.splitlines()[0] if message else ""))
            else:
                reason = next((r for r in ALLOWED_SKIPS if message.startswith(r)), None)
                if reason is None:
                    failed.append((name, f"skipped for a reason that is not on the list: {message}"))
                else:
                    skipped.setdefault(reason, []).append(name)

    for name, message in failed:
        print(f"FAILED  {name}: {message}")
    for reason, names in skipped.items():
        print(f"SKIPPED {len(names)}: {reason} ({ALLOWED_SKIPS[reason]})")
    if passed == 0:
        failed.append(("run", "no case passed"))
    print(f"{passed} passed, {len(failed)} failed, {sum(map(len, skipped.values()))} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
