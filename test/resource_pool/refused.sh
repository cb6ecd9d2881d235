#!/bin/sh
# Copyright (c) 2026 the headgate authors
# Distributed under the Boost Software License, Version 1.0. See LICENSE.
#
# Compiles the backends of shapes.cpp: shape 0 must compile, each other one must be refused with a sentence that names
# the member.
#   refused.sh SOURCE_ROOT COMPILER [ARG ...]
set -u
root=$1
shift
source=$root/test/resource_pool/shapes.cpp
failed=0
compile() {
    "$@" -std=c++20 -fsyntax-only -DSHAPE="$shape" -I"$root/include" "$source" 2>&1
}
shape=0
if ! output=$(compile "$@"); then
    echo "the right shape does not compile:"
    echo "$output" | head -n 20
    failed=1
fi
shapes=$(sed -n 's/^#elif SHAPE == \([0-9]*\) .*/\1/p' "$source")
for shape in $shapes; do
    member=$(sed -n "s/^#elif SHAPE == $shape  *\/\/ says: //p" "$source")
    if output=$(compile "$@"); then
        echo "shape $shape compiles, and its $member would never be called"
        failed=1
    elif ! echo "$output" | grep -q "headgate: the backend.* $member"; then
        echo "shape $shape is refused without a sentence about $member:"
        echo "$output" | grep error | head -n 5
        failed=1
    fi
done
[ $failed -eq 0 ] && echo "all $(echo "$shapes" | wc -l) wrong shapes are refused"
exit $failed
