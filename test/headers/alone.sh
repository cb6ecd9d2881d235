#!/bin/sh
# Every public header compiles alone, without a warning, and is part of headgate.hpp. Adapters have their own libraries,
# so their headers are not part of headgate.hpp.
#   alone.sh INCLUDE_DIRECTORY COMPILER [ARGUMENT ...]
include=$1
shift
adapters=' headgate/status.hpp headgate/sql.hpp headgate/sqlite.hpp headgate/postgres.hpp '
failed=0
cd "$include" || exit 2
for header in headgate/*.hpp; do
  [ "$header" = headgate/headgate.hpp ] || [ "${adapters#* "$header" }" != "$adapters" ] || grep -qxF "#include <$header>" headgate/headgate.hpp ||
    { echo "$header is missing in headgate/headgate.hpp"; failed=1; }
  printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
    "$@" -std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fsyntax-only -I "$include" -x c++ - ||
    { echo "$header does not compile alone"; failed=1; }
done
exit $failed
