#!/bin/sh
# Compiles the package and runs its R tests on R 4.5 and Seurat 5, in a Debian 13 that it makes and
# keeps. Needs root (or sudo), apt and debootstrap; compiles with the Rust of this machine and the
# crates that it has.
#   tools/test-seurat5.sh                   all tests
#   tools/test-seurat5.sh --filter PATTERN  those of the test files whose name matches
#   tools/test-seurat5.sh -- COMMAND...     no tests, but a command with the package installed, in a
#                                           copy of this tree: `-- R`, `-- Rscript - <script.R`
# Exit status: 0 when all passes; 77 when it cannot be tested here, with the reason on stderr; else it
# failed.
#
# Environment variables:
#   BCNMF_CHROOT  where the Debian and what is compiled in it stay, an absolute path without spaces
#                 (default: bcnmf/trixie in the user's cache)
#   BCNMF_DATA    real data sets, as in tools/test.sh
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
begin
filter=
case ${1:-} in
  '' | --) ;;
  --filter) filter=${2:?a pattern of test files} ;;
  *) echo "test-seurat5.sh: no argument '$1'; there are --filter PATTERN and -- COMMAND" >&2; exit 2 ;;
esac
home=${BCNMF_CHROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/bcnmf/trixie}
case $home in
  *[[:space:]]* | [!/]*) echo "BCNMF_CHROOT must be an absolute path without spaces, not '$home'" >&2; exit 2 ;;
esac
# What is to be set up must not eat what the command reads.
exec 3<&0 </dev/null

# A command in the Debian; see tools/trixie.sh.
inside() {
  as_root env "http_proxy=${http_proxy:-}" "https_proxy=${https_proxy:-}" "no_proxy=${no_proxy:-}" \
    unshare --mount --pid --kill-child \
    sh tools/trixie.sh "$home" "$work/packages" "$work/folders" "$@"
}

make_debian() {
  inside true || {
    code=$?
    [ "$code" -ne 1 ] || unusable "the Debian could not be made"
    exit "$code"
  }
}

header "Seurat 5: set-up"
as_root true || unusable "it needs root"
as_root unshare --mount --pid --kill-child mount -t tmpfs tmpfs "$work" ||
  unusable "root may not mount anything here"
sh tools/setup.sh test || unusable "tools/setup.sh failed"
find_folder BCNMF_DATA data
copy_tree "$work/bcnmf"
mkdir -p "$home/target"

# The package's own needs, as far as Debian has them: r-cran-*, r-bioc-*.
Rscript --vanilla -e '
  needs <- read.dcf("DESCRIPTION", fields = c("Imports", "Suggests"))
  needs <- trimws(sub("\\(.*", "", unlist(strsplit(needs, ","))))
  needs <- setdiff(needs, rownames(installed.packages(priority = "base")))
  cat("r-base-dev", paste0("r-[a-z]*-", tolower(union("Seurat", needs))), sep = "\n")
' >"$work/packages"

# This machine's crates are read there, not written: what is missing is fetched now.
PATH="$(Rscript --vanilla tools/msrv.R --dir):$PATH"
cargo fetch --quiet --locked --manifest-path src/rust/Cargo.toml \
  --target "$(rustc -vV | sed -n 's/^host: //p')" || unusable "the crates cannot be fetched"
cat >"$work/folders" <<FOLDERS
ro /source $work/bcnmf
rw /target $home/target
ro /opt/cargo ${CARGO_HOME:-$HOME/.cargo}
FOLDERS
[ -z "${BCNMF_DATA:-}" ] || echo "ro /data $BCNMF_DATA" >>"$work/folders"
cp "$work/folders" "$work/folders.debian"
sysroot=$(rustc --print sysroot)
echo "ro /opt/rust $sysroot" >>"$work/folders"

header "Seurat 5: Debian 13"
make_debian
# A Rust that is part of this machine's system, or does not run there, gives way to Debian's.
if [ "$sysroot" = /usr ] || ! quietly "$work/rust.log" inside /opt/rust/bin/rustc --version; then
  mv "$work/folders.debian" "$work/folders"
  printf '%s\n' cargo-web rustc-web >>"$work/packages"
  make_debian
fi
inside sh -c 'cd /source && exec Rscript --vanilla tools/msrv.R' || unusable "no Rust that is new enough runs there"
inside Rscript --vanilla -e '
  for (name in c("Seurat", "SeuratObject", "Matrix", "ggplot2", "testthat"))
    cat(name, format(packageVersion(name)), "\n")
  cat(R.version.string, "\n")
  if (packageVersion("Seurat") < "5") quit(status = 1)
' || unusable "no Seurat 5 there"
none=$(sed -n 's/ -$//p' "$home/installed" | grep -xF -f "$work/packages") || none=
# shellcheck disable=SC2086 # a list of words
[ -z "$none" ] || echo "Not in Debian 13, tests that need them skip:" $none

header "Seurat 5: installation"
# A place for each checkout: cargo takes older files at the same place for what it has compiled.
place=/build/$(pwd | cksum | cut -d ' ' -f 1)
quietly "$work/install.log" inside env NOT_CRAN=true BCNMF_TARGET_DIR=/target CARGO_HOME=/opt/cargo \
  CARGO_NET_OFFLINE=true RUSTC_WRAPPER= sh -c '
    rm -rf "$1" && mkdir -p "$1/library" && cp -a /source "$1/bcnmf" && cd "$1/bcnmf" &&
      exec R CMD INSTALL --no-docs --no-multiarch --library="$1/library" .
  ' sh "$place"
tail -n 1 "$work/install.log"

installed() {
  inside env NOT_CRAN=true R_LIBS="$place/library" ${BCNMF_DATA:+BCNMF_DATA=/data} \
    sh -c 'cd "$1/bcnmf" && shift && exec "$@"' sh "$place" "$@"
}
if [ "${1:-}" = -- ]; then
  shift
  header "Seurat 5: $*"
  installed "$@" <&3
  exit
fi

header "Seurat 5: testthat"
installed Rscript --vanilla -e '
  library(testthat)
  library(bcnmf)
  filter <- commandArgs(trailingOnly = TRUE)
  test_dir("tests/testthat", package = "bcnmf", load_package = "installed", reporter = "check",
    filter = if (length(filter)) filter)
' ${filter:+"$filter"}
