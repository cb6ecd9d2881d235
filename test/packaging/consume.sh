#!/usr/bin/env bash
# Builds and runs a program outside the tree against the library, as a user would.
#   consume.sh pkg-config|cmake|meson-subproject SOURCE_ROOT BUILD_ROOT PREFIX LIBDIR COMPILER [ARGUMENT ...]
set -euo pipefail
way=$1 source=$2 build=$3 prefix=$4 libdir=$5
shift 5
compiler=("$@")
export CXX="$*"

if [ "$way" = cmake ] && ! command -v cmake >/dev/null; then
  echo "cmake is not here; ./dev setup installs it"
  exit 77
fi

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cp -r "$source/test/packaging/consumer" "$room/consumer"
cd "$room/consumer"

installed=$room/installed$prefix
if [ "$way" != meson-subproject ]; then
  meson install -C "$build" --no-rebuild --quiet --destdir "$room/installed"
fi

check() { # PROGRAM [WHAT IT SAYS]
  local said
  said=$(LD_LIBRARY_PATH="$installed/$libdir" "$1")
  [ "$said" = "consumed: ${2:-the rate limit is reached}" ] || { echo "$1 said: $said"; exit 1; }
}
# The adapters are built only where their libraries are installed.
has_adapter() { [ -e "$installed/$libdir/libheadgate-sqlite.so" ]; }

case $way in
  pkg-config)
    package() {
      PKG_CONFIG_PATH="$installed/$libdir/pkgconfig" pkg-config --define-variable=prefix="$installed" "${@:2}" "$1"
    }
    # shellcheck disable=SC2046
    "${compiler[@]}" -std=c++20 main.cpp $(package headgate --cflags --libs) -o shared
    check ./shared
    [[ $(ldd ./shared) == *"libheadgate.so.0 "* ]] || { echo "the program is not linked to libheadgate.so.0"; exit 1; }
    # shellcheck disable=SC2046
    "${compiler[@]}" -std=c++20 main.cpp $(package headgate --cflags) "$installed/$libdir/libheadgate.a" -pthread -o static
    check ./static
    if has_adapter; then
      # shellcheck disable=SC2046
      "${compiler[@]}" -std=c++20 adapter.cpp $(package headgate-sqlite --cflags --libs) -o adapter
      check ./adapter "the adapter"
    fi
    ;;
  cmake)
    for static in OFF ON; do
      cmake -G Ninja -S . -B "build-$static" -DCMAKE_PREFIX_PATH="$installed" \
        -Dheadgate_USE_STATIC_LIBS=$static >cmake.log 2>&1 ||
        { cat cmake.log; exit 1; }
      cmake --build "build-$static"
      check "./build-$static/consumer"
    done
    ! has_adapter || check ./build-OFF/adapter "the adapter"
    ;;
  meson-subproject)
    mkdir subprojects
    ln -s "$source" subprojects/headgate
    meson setup --wrap-mode=nodownload --buildtype=plain build
    ninja -C build consumer
    check ./build/consumer
    ;;
esac
