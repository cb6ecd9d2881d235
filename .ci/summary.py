"""Prints what failed, then "N passed, N failed", from Meson's test log, and exits with 1 when anything failed.

summary.py TESTLOG EXIT_STATUS_OF_THE_TESTS NUMBER_OF_OTHER_FAILURES
"""

import json
import pathlib
import re
import sys


def output_end(test, lines=40):
    return "\n".join((test.get("stdout", "") + test.get("stderr", "")).splitlines()[-lines:])


log, status, failed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
passed = 0
cases = re.compile(r"\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed")

failed_tests = 0
for line in log.read_text().splitlines() if log.exists() else []:
    test = json.loads(line)
    summaries = [(int(p), int(f)) for p, f in cases.findall(test.get("stdout", ""))]
    bad = sum(f for _, f in summaries)
    passed += sum(p for p, _ in summaries)
    if test["result"] in ("OK", "EXPECTEDFAIL"):
        # A test that is a script prints no summary of doctest's and is one case.
        passed += not summaries
    elif test["result"] != "SKIP":
        failed_tests += max(bad, 1)
        # A log that is long is read from its end.
        print(f"failed: {test['name']}: {test['result']} after {test['duration']:.0f} s\n{output_end(test)}")
if status != 0:
    failed_tests = max(failed_tests, 1)

failed += failed_tests
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
