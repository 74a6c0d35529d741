#!/bin/sh
# Sets up and runs every check; stops at the first that fails and names it.
#
# Environment variables:
#   BCNMF_TARGET_DIR  where cargo compiles, an absolute path (default: src/rust/target). The Rust
#                     checks, R CMD build, R CMD check and its installation all share it, so that
#                     the crates are compiled once in a run, and not again in the next.
#   BCNMF_DATA        real data sets (default: ../shared/data, where that is a folder)
#   BCNMF_GOLDEN      golden trajectories (default: ../shared/golden, where that is a folder)
#                     Tests whose folder is not there skip.
#   BCNMF_AS_CRAN     when not empty: R CMD check --as-cran
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)

. tools/common.sh
begin

# cargo on our workspace, with the values that src/Makevars uses too: others would mean
# that extendr-ffi and all that needs it is compiled again.
rust() {
  R_HOME=$r_home R_INCLUDE_DIR=$r_include LD_LIBRARY_PATH="$r_home/lib:${LD_LIBRARY_PATH:-}" \
    cargo "$@"
}

header "set-up"
sh tools/setup.sh test
PATH="$(Rscript --vanilla tools/msrv.R --dir 2>/dev/null):$PATH"
r_home=$(Rscript --vanilla -e 'cat(normalizePath(R.home()))')
r_include=$(Rscript --vanilla -e 'cat(normalizePath(R.home("include")))')
BCNMF_TARGET_DIR=${BCNMF_TARGET_DIR:-$root/src/rust/target}
CARGO_TARGET_DIR=$BCNMF_TARGET_DIR
LC_ALL=C.UTF-8
NOT_CRAN=true
export PATH BCNMF_TARGET_DIR CARGO_TARGET_DIR LC_ALL NOT_CRAN
find_folder BCNMF_DATA data
find_folder BCNMF_GOLDEN golden
cargo --version
R --version | head -n 1
copy_tree "$work/bcnmf"
untested=

header "shell scripts"
for script in configure configure.win cleanup cleanup.win tools/*.sh; do
  sh -n "$script"
done
if command -v checkbashisms >/dev/null 2>&1; then
  checkbashisms configure configure.win cleanup cleanup.win tools/*.sh
else
  untested="$untested checkbashisms"
fi

cd src/rust
header "cargo fmt"
if cargo fmt --version >/dev/null 2>&1; then
  cargo fmt --all --check
  cargo fmt --check --manifest-path "$root/bench/kernels/Cargo.toml"
  cargo fmt --check --manifest-path "$root/bench/gpu/Cargo.toml"
else
  untested="$untested rustfmt"
  echo "NOT CHECKED: there is no cargo fmt here"
fi

header "cargo clippy"
if cargo clippy --version >/dev/null 2>&1; then
  quietly "$work/clippy.log" rust clippy --quiet --workspace --all-targets --locked -- -D warnings
  for bench in kernels gpu; do
    quietly "$work/clippy.log" cargo clippy --quiet --manifest-path "$root/bench/$bench/Cargo.toml" --all-targets --locked -- -D warnings
  done
else
  untested="$untested clippy"
  echo "NOT CHECKED: there is no cargo clippy here"
fi

header "cargo test"
quietly "$work/cargo.log" rust test --workspace --locked
grep -E '^(test result|     Running)' "$work/cargo.log"
cd "$root"

# Kernels are compiled as committed for every GPU that they are for, and run by a driver that needs none.
header "CUDA kernels"
kernels=0
sh tools/ptx.sh check || kernels=$?
case $kernels in
  0) ;;
  77) untested="$untested CUDA-kernels" ;;
  *) exit 1 ;;
esac
emulator="$BCNMF_TARGET_DIR/emulated-cuda"
sh src/rust/bcnmf-core/tests/emulator/build.sh "$emulator"
# with_emulator COMMAND...: where there is a GPU after all, what needs one runs on the emulated one.
with_emulator() {
  BCNMF_NEED_GPU=1 LD_LIBRARY_PATH="$emulator:${LD_LIBRARY_PATH:-}" "$@"
}
cd src/rust
quietly "$work/cuda.log" with_emulator cargo test --locked -p bcnmf-core --test cuda
# Once more with threads and blocks in another order, where a race would show.
EMULATED_CUDA_ORDER=shuffle PROPTEST_CASES=20 quietly "$work/shuffled.log" \
  with_emulator cargo test --locked -p bcnmf-core --test cuda -- same_trajectory same_sweep many_ two_runs
grep -h '^test result' "$work/cuda.log" "$work/shuffled.log"
cd "$root"

header "generated files"
cp -Rp "$work/bcnmf" "$work/fresh"
quietly "$work/document.log" sh "$work/fresh/tools/document.sh"
if grep '^NOT REFRESHED' "$work/document.log"; then untested="$untested man"; fi
diff -ruN "$work/bcnmf" "$work/fresh" ||
  fail "Stale: run \`sh tools/document.sh\` and commit what changes."
Rscript --vanilla tools/vignettes.R --check

header "R CMD build"
cd "$work"
quietly build.log R CMD build bcnmf
tarball=$(echo bcnmf_*.tar.gz)
ls -l "$tarball"
# A source package is what a user compiles: nothing of ours may ride along.
if tar -tzf "$tarball" | grep -E '/(target|bench|demo-output|\.ci)/|\.(o|so)$'; then
  fail "These do not belong into $tarball."
fi

header "R CMD check"
_R_CHECK_FORCE_SUGGESTS_=false
_R_CHECK_TESTS_NLINES_=0
# --as-cran would ask a time server, which has nothing to do with us.
_R_CHECK_SYSTEM_CLOCK_=0
export _R_CHECK_FORCE_SUGGESTS_ _R_CHECK_TESTS_NLINES_ _R_CHECK_SYSTEM_CLOCK_
checked=yes
# shellcheck disable=SC2086 # no argument, or one
quietly check.out R CMD check --no-manual ${BCNMF_AS_CRAN:+--as-cran} "$tarball" || checked=no
status=$(sed -n 's/^Status: //p' bcnmf.Rcheck/00check.log)
echo "Status: ${status:-none}"
if [ -n "${BCNMF_AS_CRAN:-}" ] && [ "$status" = "1 NOTE" ] &&
  grep -q '^\* checking CRAN incoming feasibility.* NOTE$' bcnmf.Rcheck/00check.log; then
  # Every new submission gets this one; what else stands in it is shown.
  sed -n '/CRAN incoming feasibility/,/^\* checking package/p' bcnmf.Rcheck/00check.log
  status=OK
fi
if [ "$checked" = no ] || [ "$status" != OK ]; then
  [ "$checked" = no ] || cat check.out
  if grep -q 'Installation failed' check.out; then cat bcnmf.Rcheck/00install.out; fi
  fail "R CMD check must end without an error, a warning or a note."
fi

header "a GPU from R"
cd bcnmf/tests/testthat
quietly "$work/device.log" with_emulator Rscript --vanilla -e '
  library(bcnmf, lib.loc = "../../../bcnmf.Rcheck")
  testthat::test_dir(".", filter = "device", reporter = "check", package = "bcnmf", load_package = "installed")'
grep '^\[ FAIL' "$work/device.log" | tail -n 1
cd "$work"

header "summary"
# testthat's closing line, as [ FAIL 0 | WARN 0 | SKIP 1 | PASS 20 ], with the reasons to skip above.
rout=bcnmf.Rcheck/tests/testthat.Rout
r_pass=0 r_fail=0 r_skip=0
if [ -f "$rout" ]; then
  sed -n '/Skipped tests/,/^\[ FAIL/p' "$rout" | grep -v '^\[ FAIL' || :
  line=$(grep '^\[ FAIL' "$rout" | tail -n 1)
  echo "testthat: $line"
  r_fail=$(echo "$line" | sed 's/.*FAIL \([0-9]*\).*/\1/')
  r_skip=$(echo "$line" | sed 's/.*SKIP \([0-9]*\).*/\1/')
  r_pass=$(echo "$line" | sed 's/.*PASS \([0-9]*\).*/\1/')
else
  echo "testthat: there are no R tests"
fi
rust_counts=$(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$work/cargo.log")
# shellcheck disable=SC2086 # three numbers
set -- $rust_counts
echo "cargo:    $1 passed, $2 failed, $3 ignored"
[ -z "$untested" ] || echo "NOT CHECKED, the tool or its version is not here:$untested"
echo "$((r_pass + $1)) passed, $((r_fail + $2)) failed, $((r_skip + $3)) skipped"
