#!/usr/bin/env bash
# A program that is built with other macros than the installed library must not link, and the error must say why.
#   mismatch.sh SOURCE_ROOT BUILD_ROOT PREFIX LIBDIR COMPILER [ARGUMENT ...]
set -euo pipefail
source=$1 build=$2 prefix=$3 libdir=$4
shift 4
compiler=("$@" -std=c++20)

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
meson install -C "$build" --no-rebuild --quiet --destdir "$room/installed"
installed=$room/installed$prefix
includes=(-I "$installed/include")
libraries=()
for library in "$installed/$libdir/libheadgate.so" "$installed/$libdir/libheadgate.a"; do
  [ ! -e "$library" ] || libraries+=("$library")
done

fail() {
  echo "$1"
  exit 1
}

compile() { # OBJECT [FLAG ...]
  "${compiler[@]}" "${includes[@]}" "${@:2}" -c "$source/test/packaging/consumer/mismatch.cpp" -o "$1"
}

refused() { # SENTENCE [FLAG ...]
  local sentence=headgate_must_be_built_$1_like_this_program
  compile refused.o "${@:2}"
  for library in "${libraries[@]}"; do
    # Also where the linker drops unused sections.
    if "${compiler[@]}" "${@:2}" refused.o "$library" -Wl,--gc-sections -pthread -o refused 2>said; then
      fail "a program with ${*:2} links to $library"
    fi
    grep -q "undefined reference to .$sentence" said || fail "$(cat said)"
  done
}

accepted() { # [FLAG ...]
  compile accepted.o "$@"
  for library in "${libraries[@]}"; do
    "${compiler[@]}" "$@" accepted.o "$library" -pthread -o accepted
    [ "$(LD_LIBRARY_PATH="$installed/$libdir" ./accepted)" = "consumed: the rate limit is reached" ] ||
      fail "a program with $* says something else"
  done
}

accepted
accepted -DNDEBUG -D_GLIBCXX_ASSERTIONS -DBOOST_ASIO_DISABLE_AWAITABLE_FRAME_RECYCLING \
  -DBOOST_ASIO_DISABLE_SMALL_BLOCK_RECYCLING -DBOOST_ASIO_NO_DEPRECATED -O1

refused with_BOOST_ASIO_ENABLE_HANDLER_TRACKING -DBOOST_ASIO_ENABLE_HANDLER_TRACKING
refused with_BOOST_ASIO_DISABLE_THREADS -DBOOST_ASIO_DISABLE_THREADS
refused with_BOOST_ASIO_DISABLE_THREADS -DBOOST_ASIO_DISABLE_THREADS -O2 -flto
refused with__GLIBCXX_DEBUG -D_GLIBCXX_DEBUG
refused with__GLIBCXX_DEBUG -D_GLIBCXX_DEBUG_PEDANTIC -D_GLIBCXX_DEBUG -O2
refused without__GLIBCXX_USE_CXX11_ABI -D_GLIBCXX_USE_CXX11_ABI=0
refused with_BOOST_ASIO_DISABLE_EPOLL -DBOOST_ASIO_DISABLE_EPOLL
refused with_BOOST_ASIO_DISABLE_EVENTFD -DBOOST_ASIO_DISABLE_EVENTFD
refused with_BOOST_ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE_7 -DBOOST_ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE=7
refused with_BOOST_ASIO_USE_TS_EXECUTOR_AS_DEFAULT -DBOOST_ASIO_USE_TS_EXECUTOR_AS_DEFAULT
refused with_BOOST_VERSION_999900 -DANOTHER_BOOST
if printf '#include <liburing.h>\n' | "${compiler[@]}" -x c++ -fsyntax-only - 2>/dev/null; then
  refused with_BOOST_ASIO_HAS_IO_URING -DBOOST_ASIO_HAS_IO_URING
fi

# A shared object may have undefined symbols, so for it the loader reports the error.
shared=$installed/$libdir/libheadgate.so
if [ -e "$shared" ]; then
  compile plugin.o -DPLUGIN -DBOOST_ASIO_DISABLE_THREADS -fPIC
  "${compiler[@]}" -shared plugin.o "$shared" -o libplugin.so
  printf 'extern "C" int use();\nint main() { return use(); }\n' >main.cpp
  "${compiler[@]}" main.cpp ./libplugin.so -Wl,--allow-shlib-undefined -o main
  if LD_LIBRARY_PATH="$installed/$libdir" ./main 2>said; then
    fail "a plugin with BOOST_ASIO_DISABLE_THREADS starts"
  fi
  grep -q "undefined symbol: headgate_must_be_built_with_BOOST_ASIO_DISABLE_THREADS" said || fail "$(cat said)"
fi

# A compiler that is too old says so, and reports little else.
if command -v clang++-14 >/dev/null; then
  if clang++-14 -std=c++20 "${includes[@]}" -fsyntax-only "$source/test/packaging/consumer/main.cpp" 2>said; then
    fail "clang 14 compiles"
  fi
  grep -q "headgate needs clang 16 or newer" said || fail "$(cat said)"
  [ "$(grep -c ': \(fatal \)\?error: ' said)" -le 2 ] || fail "$(cat said)"
fi
