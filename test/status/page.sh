#!/bin/sh
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
# The status page in a real browser: page.sh LOAD SCREENSHOT_FOLDER MODULES
command -v node >/dev/null || {
  echo "skipped: there is no node; ./dev test installs it"
  exit 77
}
exec node "$(dirname "$0")/page.mjs" "$@"
