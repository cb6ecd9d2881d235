#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Turns the page into a source file: embed.py PAGE SOURCE"""
import sys

with open(sys.argv[1], "rb") as page:
    data = page.read()
with open(sys.argv[2], "w") as out:
    out.write('#include "status/page.hpp"\n\nnamespace headgate::detail {\nnamespace {\nconstexpr char bytes[] = {\n')
    for i in range(0, len(data), 24):
        out.write("".join(f"{b if b < 128 else b - 256}," for b in data[i:i + 24]) + "\n")
    out.write("};\n}\nconst std::string_view status_page(bytes, sizeof bytes);\n}\n")
