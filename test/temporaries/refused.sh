#!/bin/sh
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
#
# Compiles the forms of forms.cpp: g++ before 13 must refuse each of the seven and say what to write instead; every
# other compiler must accept them; all must accept the safe ones.
#   refused.sh SOURCE_ROOT COMPILER [ARG ...]
set -u
root=$1
shift
failed=0
refuses=no
if ! "$@" --version | grep -qi clang; then
    major=$("$@" -dumpversion | cut -d. -f1)
    [ "$major" -lt 13 ] && refuses=yes
fi
for form in 0 1 2 3 4 5 6 7; do
    output=$("$@" -std=c++20 -fsyntax-only -DFORM=$form -I"$root/include" "$root/test/temporaries/forms.cpp" 2>&1)
    status=$?
    if [ $form -gt 0 ] && [ $refuses = yes ]; then
        if [ $status -eq 0 ]; then
            echo "form $form compiles; this compiler would corrupt the heap"
            failed=1
        elif ! echo "$output" | grep -q 'headgate::take(name)'; then
            echo "form $form is refused without saying what to write instead:"
            echo "$output" | head -n 20
            failed=1
        fi
    elif [ $status -ne 0 ]; then
        echo "form $form does not compile:"
        echo "$output" | head -n 20
        failed=1
    fi
done
[ $failed -eq 0 ] && echo "all forms as they should be (refused: $refuses)"
exit $failed
