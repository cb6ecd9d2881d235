#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Compares docs/headgate.schema.json with the parser: schema.py SCHEMA VERDICTS MEMBERS

The members of options in the schema are those of the library's tables, as MEMBERS writes them.

The test tries every member of the schema with values of every kind, right and wrong. It also tries unknown members, and
documents without required members. Schema and parser must agree on each document. The test leaves out what a schema
cannot say: bounds between two members, and limits of numbers inside of texts.
"""
import copy
import json
import subprocess
import sys

import jsonschema

VALUES = [
    None, True, False, 0, 1, 2, -1, 0.5, 1.5, 1e-9, 1000, 1001, 1000000, 1000001, 4294967295, 4294967296, 4294967297,
    3153600000000, 3153600000001, "", "x", "0s", "1s", "30s", "1h30m", "0h5ms", "250ms", "1.5s", "-1s", "s", "1", "1 s",
    "lifo", "fifo", "automatic", "forced_open", "forced_closed", "observe", "refuse", "run", "none", "gcra", "at_most",
    "fixed_window", "10/1m", "0/1m", "10/0s", "10", "a/1s", [], {}, [1], ["10/1m"], ["10/1m", "5/1s"], ["10/1m"] * 8,
    ["10/1m"] * 9, {"permits": 5, "period": "1s"}, {"permits": 5}, {"period": 1000}, {"permits": 0, "period": "1s"},
    {"permits": 5, "period": "1s", "burst": 2}, {"permits": 5, "period": "1s", "burst": 2, "algorithm": "at_most"},
    {"permits": 5, "period": "1s", "burst": None}, {"permits": 5, "period": 0}, {"permits": 5, "period": "1s", "algorithm": "at_most"}, {"permits": 5, "period": "1s", "x": 1},
    {"permits": 5, "period": "1s", "algorithm": "fixed_window"},
    {"permits": 5, "period": "1s", "algorithm": "fixed_window", "burst": 2},
    {"min": 1, "max": 100, "initial": 10}, {"min": 5, "max": 4}, {"min": 0}, {"max": 1.5}, {"initial": "x"}, {"x": 1},
    [{"name": "a", "quota": "1/1s"}], [{"name": "", "quota": "1/1s"}], [{"name": "a"}], [{"quota": "1/1s"}],
    [{"name": "a", "quota": "1/1s", "x": 1}], [{"name": "a", "quota": ["1/1s", "none"]}],
]
# Names of zones, primitives and tiers.
NAMES = ["a", "n" * 128, "n" * 129, "\u00e9" * 128, "\u00e9" * 129, "a/b~c", "new\nline", "nul\x00", "del\x7f", "\U0001f6aa"]
# Valid values of an object's other members, so that only the member under test decides.
BASES = {
    "rate_limiters": {"quota": "10/1m"},
    "resource_pools": {"size": 1, "backoff_min": 1, "backoff_max": 3153600000000},
    "circuit_breakers": {"failure_ratio": 0.5, "slow_after": "1s", "reset_timeout": 1, "max_reset_timeout": "36500d"},
    "bulkheads": {},
    "retries": {"backoff_min": 1, "backoff_max": "36500d"},
    "hedges": {"retry": "r"},
    "coalescers": {},
}
# What else the zone needs.
BESIDE = {"hedges": {"retries": {"r": {}}}}
# Here the schema accepts texts and combinations that the parser refuses. The schema's description says so.
BEYOND = {("circuit_breakers", "reset_timeout"), ("circuit_breakers", "max_reset_timeout"),
          ("circuit_breakers", "slow_after"), ("resource_pools", "backoff_min"), ("resource_pools", "backoff_max"),
          ("resource_pools", "size"), ("resource_pools", "max_overflow"), ("circuit_breakers", "failure_ratio"),
          ("retries", "backoff_min"), ("retries", "backoff_max"), ("hedges", "retry"), ("bulkheads", "limit")}


def documents(schema):
    kinds = {"rate_limiters": "rate_limiter", "resource_pools": "resource_pool", "circuit_breakers": "circuit_breaker",
             "bulkheads": "bulkhead", "retries": "retry", "hedges": "hedge", "coalescers": "coalescer"}
    for group, kind in kinds.items():
        for member in list(schema["$defs"][kind]["properties"]) + ["unknown_member"]:
            for value in VALUES:
                options = copy.deepcopy(BASES[group])
                if member == "tiers":
                    options.pop("quota")
                options[member] = value
                yield (group, member), {"zones": {"z": {**BESIDE.get(group, {}), group: {"n": options}}}}
        for value in VALUES:
            yield None, {"zones": {"z": {group: value}}}
            yield None, {"zones": {"z": {group: {"n": value}}}}
            yield None, {"zones": {"z": {group: {"": value}}}}
    for name in NAMES:
        yield None, {"zones": {name: {}}}
        yield None, {"zones": {"z": {"rate_limiters": {"n": {"tiers": [{"name": name, "quota": "1/1s"}]}}}}}
        for group in kinds:
            yield None, {"zones": {"z": {**BESIDE.get(group, {}), group: {name: BASES[group]}}}}
    yield None, {"zones": {"z": {"rate_limiters": {"n": {"quota": "1/1s", "tiers": [{"name": "a", "quota": "1/1s"}]}}}}}
    for value in VALUES:
        yield None, value
        yield None, {"zones": value}
        yield None, {"zones": {"z": value}}
        yield None, {"zones": {"": value}}
        yield None, {"zones": {}, "unknown": value}
        yield None, {"zones": {}, "$schema": value}
        yield None, {"zones": {"z": {"missing_breaker": value}}}
        yield None, {"zones": {"z": {"unknown": value}}}


def main():
    with open(sys.argv[1]) as file:
        text = file.read()
    if subprocess.run([sys.argv[3]], input=text, capture_output=True, text=True, check=True).stdout != text:
        sys.exit(f"{sys.argv[1]} is not what the tables of members say; {sys.argv[3]} < {sys.argv[1]} writes it")
    schema = json.loads(text)
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.check_schema(schema)
    tried = list(documents(schema))
    lines = "".join(json.dumps(document) + "\n" for _, document in tried)
    verdicts = subprocess.run([sys.argv[2]], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(verdicts) == len(tried), (len(verdicts), len(tried))
    differ = valid = 0
    for (member, document), verdict in zip(tried, verdicts):
        schema_says = validator.is_valid(document)
        parser_says = verdict == "valid"
        valid += parser_says
        beyond = member in BEYOND and schema_says and not parser_says
        if schema_says != parser_says and not beyond:
            differ += 1
            print(f"{json.dumps(document)}\n  schema: {'valid' if schema_says else 'invalid'}; parser: {verdict}")
    print(f"{len(tried)} documents, {valid} of them valid, {differ} judged differently")
    return 1 if differ or not valid else 0


if __name__ == "__main__":
    sys.exit(main())
