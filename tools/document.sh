#!/bin/sh
# Refreshes every generated file that is committed: R/extendr-wrappers.R (from the Rust crate),
# NAMESPACE and man/ (by roxygen2), inst/AUTHORS (from Cargo.lock). tools/test.sh runs it in a
# copy and fails when something changes.
set -eu
cd "$(dirname "$0")/.."
PATH="$(Rscript --vanilla tools/msrv.R --dir):$PATH"
target=${BCNMF_TARGET_DIR:-$(pwd)/src/rust/target}
home=$(Rscript --vanilla -e 'cat(normalizePath(R.home()))')
include=$(Rscript --vanilla -e 'cat(normalizePath(R.home("include")))')

# Into a file first: a failure must not leave empty wrappers behind.
wrappers=$(mktemp)
trap 'rm -f "$wrappers"' EXIT
R_HOME=$home R_INCLUDE_DIR=$include LD_LIBRARY_PATH="$home/lib:${LD_LIBRARY_PATH:-}" \
  cargo run --quiet --release --locked --manifest-path src/rust/Cargo.toml \
  --target-dir "$target" --bin document >"$wrappers"
cat "$wrappers" >R/extendr-wrappers.R

Rscript --vanilla -e '
  noted <- read.dcf("DESCRIPTION", fields = "RoxygenNote")[[1]]
  if (packageVersion("roxygen2") == noted) {
    suppressMessages(roxygen2::roxygenise(load_code = "source"))
  } else {
    message("NOT REFRESHED: NAMESPACE and man/, which need roxygen2 ", noted, " (here ",
      packageVersion("roxygen2"), ")")
  }
'
Rscript --vanilla tools/authors.R
