#!/usr/bin/env python3
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
"""Compiles and runs every C++ block of README.md, docs/*.md, and the comments of public headers.

  examples.py SOURCE_ROOT LIBRARY[,HEADER=LIBRARY ...] COMPILER [ARGUMENT ...]
  examples.py --self-test

A ```cpp block is either a whole program, whose first line is `// example: NAME`, or an excerpt, whose first line is
`// part of: NAME` and whose other lines stand one after another, in any indentation, in the program of that name in the
same document. Anything else fails, and so does a condition on a temporary of a co_await, as in `if (co_await f())`: g++ before
13 miscompiles that, and people copy examples. A program is compiled with warnings as errors, linked to the libraries, and must
exit with 0 within ten seconds. HEADER=LIBRARY is an adapter, as in headgate/status.hpp=/lib/libheadgate-status.so: programs
that include the header are linked to its library too. Without a library, as in headgate/status.hpp=, it is not built, and
they are skipped.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FLAGS = ["-std=c++20", "-O0", "-pthread", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
RUN_LIMIT = 10  # seconds


class Block:
    def __init__(self, path, line, text):
        self.path, self.line, self.text = path, line, text
        marker = re.fullmatch(r"// (example|part of): (\S+)", text.split("\n", 1)[0])
        self.kind, self.name = marker.groups() if marker else (None, None)

    @property
    def where(self):
        return f"{self.path}:{self.line}"


def blocks(path, text):
    """The ```cpp blocks of a document."""
    found, fence, start, language, body = [], None, 0, "", []
    for number, line in enumerate(text.split("\n"), 1):
        mark = re.match(r"\s*(`{3,})(.*)$", line)
        if fence is None:
            if mark:
                fence, start, language, body = mark.group(1), number, mark.group(2).strip(), []
        elif line.strip() == fence:
            if language in ("cpp", "c++", "C++", "cc"):
                found.append(Block(path, start, "\n".join(body)))
            fence = None
        else:
            body.append(line)
    if fence is not None:
        raise ValueError(f"{path}:{start}: the block has no end")
    return found


def comments_of(header):
    """The documentation in a header, on its lines."""
    return "\n".join(line[4:] if line.startswith("/// ") else "" for line in header.split("\n"))


def lines_of(text):
    return [line.strip() for line in text.split("\n") if line.strip()]


def problems(document):
    """What is wrong with the blocks of one document, before any of them is compiled."""
    said, programs = [], {}
    for block in document:
        for condition in re.findall(r"\b(?:if|while|assert) \([^=\n]*co_await.*", block.text):
            said.append(f"{block.where}: give what this awaits a name first: {condition.strip()}")
        if block.kind is None:
            said.append(f"{block.where}: the first line of a C++ block is `// example: NAME` or `// part of: NAME`")
        elif block.kind == "example":
            if block.name in programs:
                said.append(f"{block.where}: there is an example {block.name} already")
            programs[block.name] = lines_of(block.text)
    for block in document:
        if block.kind == "part of":
            part, whole = lines_of(block.text)[1:], programs.get(block.name, [])
            if not part or not any(whole[i:i + len(part)] == part for i in range(len(whole))):
                said.append(f"{block.where}: this does not stand in the example {block.name}")
    return said


def adapters_of(block, adapters):
    """The libraries of the adapters that a program includes. None for an adapter that is not built."""
    return [library for header, library in adapters.items() if f"<{header}>" in block.text]


def begins_with_all(block):
    """Whether the first header of a program is headgate/headgate.hpp."""
    first = re.search(r"#include .*", block.text)
    return first is not None and first.group() == "#include <headgate/headgate.hpp>"


def attempt(block, room, libraries, compile_command):
    """Compiles and runs one program. Returns what went wrong, or nothing."""
    stem = room / f"{pathlib.Path(block.path).stem}-{block.name}"
    source = stem.with_suffix(".cpp")
    source.write_text("\n" * block.line + block.text + "\n")  # so that the compiler reports the document's lines
    # Linked as users link: the library must export the symbols that inline functions need.
    paths = [f"-Wl,-rpath,{library.parent}" for library in libraries]
    built = subprocess.run([*compile_command, str(source), *map(str, libraries), *paths, "-o", str(stem)],
                           capture_output=True, text=True)
    if built.returncode != 0:
        return f"{block.where}: {block.name} does not compile\n{built.stderr}"
    try:
        ran = subprocess.run([str(stem)], capture_output=True, text=True, timeout=RUN_LIMIT, cwd=room)
    except subprocess.TimeoutExpired:
        return f"{block.where}: {block.name} runs for more than {RUN_LIMIT} s"
    if ran.returncode != 0:
        return f"{block.where}: {block.name} exits with {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return None


def check(root, library, adapters, compiler):
    said, programs = [], []
    headers = sorted((root / "include" / "headgate").glob("*.hpp"))
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md")), *headers]:
        text = path.read_text()
        document = blocks(str(path.relative_to(root)), comments_of(text) if path in headers else text)
        said += problems(document)
        for block in document:
            if block.kind == "example" and None in adapters_of(block, adapters):
                print(f"skipped, an adapter that it includes is not built: {block.where} {block.name}")
            elif block.kind == "example":
                programs.append(block)
    with tempfile.TemporaryDirectory() as name:
        room = pathlib.Path(name)
        include = root / "include"
        compile_command = [*compiler, *FLAGS, "-I", str(room), "-I", str(include)]
        # Compiled once, for the examples that include it first, as g++ requires. clang needs an option.
        clang = "clang" in " ".join(compiler)
        compiled = room / "headgate" / ("headgate.pch" if clang else "headgate.hpp.gch")
        compiled.parent.mkdir()
        subprocess.run([*compile_command, "-x", "c++-header", str(include / "headgate" / "headgate.hpp"), "-o",
                        str(compiled)], check=True)
        precompiled = ["-include-pch", str(compiled)] if clang else []
        jobs = int(os.environ.get("JOBS") or os.cpu_count() or 1)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            outcomes = pool.map(
                lambda block: attempt(block, room, [*adapters_of(block, adapters), library],
                                      compile_command + (precompiled if begins_with_all(block) else [])), programs)
            for block, outcome in zip(programs, outcomes):
                print(f"{'failed' if outcome else 'ok'}: {block.where} {block.name}", flush=True)
                said += [outcome] if outcome else []
    print(f"{len(programs)} programs")
    return said


def self_test():
    def said(text):
        return problems(blocks("x.md", text))

    program = "```cpp\n// example: one\nint main() {\n    return 0;\n}\n```\n"
    assert said(program) == []
    assert said(program + "```cpp\n// part of: one\nreturn 0;\n```\n") == []
    assert said("```sh\nls\n```\n````md\n```cpp\nint x;\n```\n````\n") == []
    assert "already" in said(program + program)[0]
    assert "first line" in said("```cpp\nint x;\n```\n")[0]
    assert "first line" in said("- item\n\n  ```cpp\n  int x;\n  ```\n")[0]
    assert "does not stand" in said(program + "```cpp\n// part of: one\nreturn 1;\n```\n")[0]
    assert "does not stand" in said(program + "```cpp\n// part of: two\nreturn 0;\n```\n")[0]
    assert "does not stand" in said(program + "```cpp\n// part of: one\n```\n")[0]
    assert "a name" in said(program.replace("return 0", "if (!co_await f()) return 0"))[0]
    assert said(program.replace("return 0", "if (auto r = co_await f(); !r) return 0")) == []
    assert comments_of("int x;\n/// ```cpp\n/// // example: x\n///\n/// ```\nclass y {\n    /// z\n").split("\n") == \
        ["", "```cpp", "// example: x", "", "```", "", "", ""]
    block = blocks("x.md", "```cpp\n// example: x\n#include <headgate/status.hpp>\n```\n")[0]
    assert adapters_of(block, {"headgate/status.hpp": None, "headgate/sqlite.hpp": "lib"}) == [None]
    assert adapters_of(block, {"headgate/sqlite.hpp": None}) == []
    try:
        blocks("x.md", "```cpp\nint x;\n")
    except ValueError as e:
        assert "no end" in str(e)
    else:
        raise AssertionError("a block without an end passed")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    root, compiler = pathlib.Path(sys.argv[1]), sys.argv[3:]
    library, *rest = sys.argv[2].split(",")
    adapters = {header: pathlib.Path(path).resolve() if path else None
                for header, path in (adapter.split("=", 1) for adapter in rest)}
    said = check(root.resolve(), pathlib.Path(library).resolve(), adapters, compiler)
    print("\n".join(said))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
