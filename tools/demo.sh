#!/bin/sh
# Sets up, builds and installs the package, and runs the demo: plots and tables go to demo-output/.
set -eu
cd "$(dirname "$0")/.."
sh tools/setup.sh demo

# The first library that R looks in where we may write, else the user's own, as R would offer.
library=$(Rscript --vanilla - <<'R'
first <- .libPaths()[[1L]]
own <- path.expand(strsplit(Sys.getenv("R_LIBS_USER"), .Platform$path.sep)[[1L]])
own <- c(own[nzchar(own)], file.path(getwd(), ".Rlib"))[[1L]]
cat(if (file.access(first, 2L) == 0L) first else own)
R
)
mkdir -p "$library" demo-output
R_LIBS="$library${R_LIBS:+:$R_LIBS}"
export R_LIBS

# Real data sets, where they lie beside the package: tools/demo.R says what it skips without them.
if [ -z "${BCNMF_DATA:-}" ] && [ -d ../shared/data ]; then
  BCNMF_DATA=$(cd ../shared/data && pwd)
  export BCNMF_DATA
fi

# NOT_CRAN keeps the compiled crates, so that a second run is quick.
echo "Building bcnmf and installing it into $library (about a minute the first time)"
NOT_CRAN=true R CMD INSTALL --no-multiarch --library="$library" . >demo-output/install.log 2>&1 || {
  cat demo-output/install.log >&2
  echo "demo.sh: the installation failed" >&2
  exit 1
}
exec Rscript tools/demo.R demo-output
