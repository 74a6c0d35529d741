#!/bin/sh
# Builds a libcuda.so that runs the kernels on the CPU, for tests on computers without a GPU:
#   build.sh OUTPUT_DIR [KERNELS_DIR]
# What hasn't changed is not compiled again. With SANITIZE=1, undefined behaviour of kernels ends the process.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
kernels=$(cd "${2:-$here/../../src/kernels}" && pwd)

compiler="${CXX:-g++} -std=c++17 -O2 -g -fPIC -fno-strict-aliasing -ffp-contract=off -fvisibility=hidden"
compiler="$compiler -Wall -Wextra -Wno-unknown-pragmas"
if [ "${SANITIZE:-0}" = 1 ]; then
    compiler="$compiler -fsanitize=undefined -fno-sanitize-recover=all"
fi

# Another compiler, other flags or other kernels: everything anew.
wanted="$compiler $kernels $(ls "$kernels")"
if [ "$(cat "$out/built" 2>/dev/null)" != "$wanted" ]; then
    rm -f "$out"/*.o "$out"/libcuda.so "$out/built"
fi

cd "$out"

# newer FILE THAN...: whether THAN, or one of them, has changed since FILE was made.
newer() {
    made=$1
    shift
    [ ! -e "$made" ] || [ -n "$(find "$@" -newer "$made")" ]
}

# stale OBJECT SOURCE: whether it is to be compiled.
stale() {
    newer "$1" "$2" "$here/device.h" "$here/build.sh" ||
        [ -n "$(find "$kernels" \( -name '*.cuh' -o -name '*.h' \) -newer "$1")" ]
}

# What is built is written elsewhere and then moved, so that several builds at once don't meet.
compile_driver() {
    $compiler -c -o "driver.o.$$" "$here/driver.cpp"
    mv "driver.o.$$" driver.o
}

# compile_kernels UNIT SOURCE FLAGS...: in an unnamed namespace, as sources and widths define the same names. What has
# no initial value, which is shared memory, moves to a section of its own, so that the driver can fill it before each
# block. (An attribute of the variables would do the same, but g++ ignores it in templates.)
compile_kernels() {
    unit=$1
    source=$2
    shift 2
    printf 'namespace {\n#include "%s"\n}\n' "$source" |
        $compiler -fno-zero-initialized-in-bss -include "$here/device.h" -DEMULATED_UNIT="$unit" "$@" \
            -c -x c++ -o "$unit.o.$$" -
    objcopy --set-section-flags .bss=alloc,load,contents,data --rename-section ".bss=shared_$unit" "$unit.o.$$"
    mv "$unit.o.$$" "$unit.o"
}

objects=driver.o
jobs=
if stale driver.o "$here/driver.cpp"; then
    compile_driver &
    jobs=$!
fi
# kernels UNIT SOURCE FLAGS...
kernels() {
    objects="$objects $1.o"
    if stale "$1.o" "$2"; then
        compile_kernels "$@" &
        jobs="$jobs $!"
    fi
}
for source in "$kernels"/*.cu; do
    name=$(basename "$source" .cu)
    case $name in
        factors | dense | dispersed)
            for width in 12 20 32; do
                kernels "${name}_$width" "$source" -DKP="$width"
            done
            ;;
        *) kernels "$name" "$source" ;;
    esac
done
failed=0
for job in $jobs; do
    wait "$job" || failed=1
done
[ "$failed" = 0 ] || exit 1

if newer libcuda.so $objects; then
    $compiler -shared -Wl,-soname,libcuda.so.1 -Wl,--no-undefined -o "libcuda.so.$$" $objects -pthread
    mv "libcuda.so.$$" libcuda.so
    ln -sf libcuda.so libcuda.so.1
fi
printf '%s\n' "$wanted" >built
