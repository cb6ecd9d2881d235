#!/bin/sh
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
#
# Compiles the forms of a source. Form 0 must compile; each other one must be refused, and its first error must have the
# sentence that stands behind "says:".
#   refused.sh SOURCE INCLUDE COMPILER [ARG ...]
set -u
source=$1
include=$2
shift 2
failed=0
compile() {
    "$@" -std=c++20 -fsyntax-only -fdiagnostics-color=never -DFORM="$form" -I"$include" "$source" 2>&1
}
form=0
if ! output=$(compile "$@"); then
    echo "the right form does not compile:"
    echo "$output" | head -n 20
    failed=1
fi
forms=$(sed -n 's/^#elif FORM == \([0-9]*\) .*/\1/p' "$source")
for form in $forms; do
    sentence=$(sed -n "s/^#elif FORM == $form  *\/\/ says: //p" "$source")
    if output=$(compile "$@"); then
        echo "form $form compiles; it must be refused: $sentence"
        failed=1
    elif ! echo "$output" | grep 'error:' | head -n 1 | grep -q "headgate: $sentence"; then
        echo "form $form is refused, but its first error does not say: $sentence"
        echo "$output" | grep 'error:' | head -n 5
        failed=1
    fi
done
[ $failed -eq 0 ] && echo "all $(echo "$forms" | wc -w) wrong forms are refused"
exit $failed
