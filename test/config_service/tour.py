#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Runs every curl line of the service's README, in order, as pasted, on the unchanged configuration of ./dev run."""
import os
import re
import shutil
import subprocess
import sys
import unittest

from harness import SOURCE, Service, ServiceTest, main

# The texts that the output of each line must contain, in the README's order.
EXPECTED = [
    ['"durable":false', '"version":1'],
    ['"durable":true', '"version":2'],
    ["HTTP/1.1 200 OK", 'ETag: "2"', "X-Config-Durable: true", '{"apple": 31}'],
    ['"version":3'],
    ["HTTP/1.1 304 Not Modified"],
    ['"versions"', '"version": 3', '"version": 1', '"author": "ann"'],
    ['"entries"', '"shop/prices"', '"next": null'],
    ['"version":4'],
    ['"unsaved":0'],
    ['"tree"', '"Module"'],
    ['"reloaded":true'],
    ["<title>headgate</title>", "headgate_circuit_breaker_state", '"zones"'],
    ["ok\nready\n"],
]


class Readme(ServiceTest):
    def test_every_line_works_as_pasted(self):
        if not shutil.which("curl"):
            print("skipped: there is no curl")
            sys.exit(77)
        block = re.search(r"<!-- tour -->\n```sh\n(.*?)```", (SOURCE / "README.md").read_text(), re.S).group(1)
        lines = [line for line in block.splitlines() if line.startswith("curl")]
        self.assertEqual(len(lines), len(EXPECTED))
        root = SOURCE.parent.parent
        # The shipped configuration names the worker by its path from the top of the tree.
        os.chdir(root)
        s = self.service((SOURCE / "config.json").read_text(), arguments=["--listen", "127.0.0.1:0"])
        for line, expected in zip(lines, EXPECTED):
            said = subprocess.run(["sh", "-c", line.replace("curl", "curl -sS --max-time 10", 1).replace(":8080", f":{s.port}")],
                                  capture_output=True, text=True)
            self.assertEqual((said.returncode, said.stderr), (0, ""), line)
            for text in expected:
                self.assertIn(text, said.stdout, line)
        s.stop()


if __name__ == "__main__":
    main()
