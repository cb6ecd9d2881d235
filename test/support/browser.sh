#!/bin/sh
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
# A test in a real browser: browser.sh SCRIPT [ARGUMENT ...]
command -v node >/dev/null || {
  echo "skipped: there is no node; ./dev test installs it"
  exit 77
}
exec node "$@"
