"""Prints what failed, then "N passed, N failed", from Meson's test logs, and exits with 1 when anything failed.

summary.py EXIT_STATUS_OF_THE_TESTS NUMBER_OF_OTHER_FAILURES TESTLOG [TESTLOG_OF_ANOTHER_STAGE ...]

The figures are those of the first log; of the others, whose stages are counted already, it names what failed.
"""

import json
import pathlib
import re
import sys


def output_end(test, lines=40):
    return "\n".join((test.get("stdout", "") + test.get("stderr", "")).splitlines()[-lines:])


def tests_of(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def is_good(test):
    return test["result"] in ("OK", "EXPECTEDFAIL", "SKIP")


status, failed = int(sys.argv[1]), int(sys.argv[2])
logs = [pathlib.Path(name) for name in sys.argv[3:]]
cases = re.compile(r"\[doctest\] test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed")

# A log that is long is read from its end, so that what failed stands there.
for log in logs:
    for test in tests_of(log):
        if not is_good(test):
            print(f"failed: {log.parts[0]}: {test['name']}: {test['result']} after {test['duration']:.0f} s")
            print(output_end(test))

passed = failed_tests = 0
for test in tests_of(logs[0]):
    summaries = [(int(p), int(f)) for p, f in cases.findall(test.get("stdout", ""))]
    passed += sum(p for p, _ in summaries)
    if not is_good(test):
        failed_tests += max(sum(f for _, f in summaries), 1)
    elif test["result"] != "SKIP":
        # A test that is a script prints no summary of doctest's and is one case.
        passed += not summaries
if status != 0:
    failed_tests = max(failed_tests, 1)

failed += failed_tests
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
