#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Parses Python: one JSON line in, one JSON line out.

  {"id": 1, "source": "1 + 1"}  ->  {"id": 1, "tree": {"type": "Module", "body": [...]}}
                                    {"id": 1, "error": {"message": "...", "line": 1, "column": 4}}

It first writes {"ready": true}. It ends when it runs out of memory, because its state is not reliable after that.
"""
import ast
import json
import sys


def tree(node):
    if isinstance(node, ast.AST):
        out = {"type": type(node).__name__}
        for name in node._fields:
            out[name] = tree(getattr(node, name, None))
        if hasattr(node, "lineno"):
            out["line"], out["column"] = node.lineno, node.col_offset + 1
        return out
    if isinstance(node, list):
        return [tree(one) for one in node]
    if node is None or isinstance(node, (bool, str)):
        return node
    if isinstance(node, int) and abs(node) < 2**53 or isinstance(node, float) and abs(node) < 1e308:
        return node
    return repr(node)  # bytes, complex numbers, the ellipsis, and numbers that JSON would change


def answer(source):
    try:
        return {"tree": tree(ast.parse(source))}
    except SyntaxError as e:
        return {"error": {"message": e.msg, "line": e.lineno or 0, "column": e.offset or 0}}
    except (RecursionError, ValueError) as e:
        return {"error": {"message": str(e) or type(e).__name__, "line": 0, "column": 0}}


def main():
    out = sys.stdout.buffer
    out.write(b'{"ready": true}\n')
    out.flush()
    for line in sys.stdin.buffer:
        question = json.loads(line)
        try:
            text = json.dumps({"id": question["id"], **answer(question["source"])}).encode() + b"\n"
        except MemoryError:
            sys.exit(3)
        out.write(text)
        out.flush()


main()
