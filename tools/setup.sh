#!/bin/sh
# Installs what is missing, and nothing else, on Debian and its relatives:
#   tools/setup.sh build   what compiling and using the package needs
#   tools/setup.sh demo    build, and what the demo draws with
#   tools/setup.sh test    demo, and what the checks need
# Elsewhere it only says what is missing.
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh
group=${1:-build}

# One word a package: the Debian name, and where a machine may have it without dpkg knowing:
# a program (=name) or an R package (@name).
build='r-base-core=R r-base-dev=gcc make=make g++=g++ gfortran=gfortran xz-utils=xz ca-certificates
  r-cran-matrix@Matrix r-cran-cli@cli r-cran-clue@clue r-cran-generics@generics
  r-cran-ggplot2@ggplot2 r-cran-rlang@rlang'
demo='r-cran-uwot@uwot r-cran-mclust@mclust'
tests='git=git python3=python3 python3-pip=pip3 pandoc=pandoc qpdf=qpdf tidy=tidy devscripts=checkbashisms r-cran-jsonlite@jsonlite
  r-cran-knitr@knitr r-cran-rmarkdown@rmarkdown r-cran-roxygen2@roxygen2
  r-cran-testthat@testthat r-cran-withr@withr r-cran-vdiffr@vdiffr'
# Users' objects and peers of some tests, which skip without them, and what makes the Debian of tools/test-seurat5.sh.
optional='r-cran-seurat@Seurat r-bioc-singlecellexperiment@SingleCellExperiment r-bioc-delayedarray@DelayedArray
  r-bioc-hdf5array@HDF5Array r-bioc-limma@limma r-cran-dplyr@dplyr r-cran-rcppml@RcppML debootstrap=/usr/sbin/debootstrap'

case $group in
  build) wanted=$build optional= ;;
  demo) wanted="$build $demo" optional= ;;
  test) wanted="$build $demo $tests" ;;
  *) echo "setup.sh: no group '$group'; there are build, demo and test" >&2; exit 2 ;;
esac

# Prints those of the arguments that are not on this machine.
missing() {
  have=
  if command -v dpkg-query >/dev/null 2>&1; then
    names=
    for word; do names="$names ${word%%[=@]*}"; done
    # shellcheck disable=SC2086 # a list of words
    have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $names 2>/dev/null |
      sed -n 's/^installed //p') || true
  fi
  libraries=
  for word; do
    name=${word%%[=@]*}
    case "
$have
" in *"
$name
"*) continue ;; esac
    case $word in
      *=*) command -v "${word#*=}" >/dev/null 2>&1 || echo "$name" ;;
      *@*)
        # Asked of R once, and only when dpkg does not know the package.
        [ -n "$libraries" ] ||
          libraries=$(Rscript -e 'cat(.libPaths(), sep = "\n")' 2>/dev/null) || libraries=none
        has_r_package "${word#*@}" || echo "$name" ;;
      # Without dpkg there is nobody to ask for what is neither program nor R package.
      *) ! command -v dpkg-query >/dev/null 2>&1 || echo "$name" ;;
    esac
  done
}

has_r_package() {
  while IFS= read -r library; do
    [ -f "$library/$1/DESCRIPTION" ] && return 0
  done <<LIBRARIES
$libraries
LIBRARIES
  return 1
}

updated=
apt_update() {
  [ -z "$updated" ] || return 0
  updated=yes
  # One dead third-party source must not stop us: the installation says what it cannot find.
  as_root apt-get update -qq || echo "setup.sh: apt-get update had errors; going on" >&2
}

apt_install() {
  echo "setup.sh: installing $*"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" </dev/null
}

candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p'; }

# shellcheck disable=SC2086 # lists of words
need=$(missing $wanted)
# shellcheck disable=SC2086
extra=$(missing $optional)

if ! command -v apt-get >/dev/null 2>&1; then
  if [ -n "$need$extra" ]; then
    echo "setup.sh: this is no Debian; please install, by these names or similar:" $need $extra >&2
  fi
  [ -z "$need" ] || exit 1
elif [ -n "$need$extra" ]; then
  apt_update
  all=$need
  for name in $extra; do
    case $(candidate "$name") in
      '' | '(none)') echo "setup.sh: no package $name here: tests that need it will skip" >&2 ;;
      *) all="$all $name" ;;
    esac
  done
  # shellcheck disable=SC2086
  if [ -n "$all" ] && ! apt_install $all; then
    [ -z "$need" ] || exit 1
    echo "setup.sh: could not install$all: tests that need it will skip" >&2
  fi
fi

# Rust comes last: tools/msrv.R judges what is there, and is R.
if ! Rscript --vanilla tools/msrv.R >/dev/null 2>&1; then
  command -v apt-get >/dev/null 2>&1 || { Rscript --vanilla tools/msrv.R; exit 1; }
  apt_update
  msrv=$(sed -n 's/.*rustc >= *\([0-9.]*[0-9]\).*/\1/p' DESCRIPTION)
  for suffix in '' -web; do
    version=$(candidate "rustc$suffix")
    if dpkg --compare-versions "${version:-0}" ge "$msrv"; then
      apt_install "cargo$suffix" "rustc$suffix"
      break
    fi
  done
  Rscript --vanilla tools/msrv.R # says what to do when that was not enough
fi

[ "$group" = test ] || exit 0

# The two tools of the checks, by the names that go with the cargo in use.
PATH="$(Rscript --vanilla tools/msrv.R --dir 2>/dev/null):$PATH"
if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
  owner=$(dpkg-query -S "$(command -v cargo)" 2>/dev/null | sed -n 's/^\([^:]*\):.*/\1/p') || owner=
  case $owner in
    cargo-web) apt_install rustfmt-web rust-web-clippy ;;
    cargo) apt_install rustfmt rust-clippy ;;
    *) echo "setup.sh: cargo has no fmt or no clippy; with rustup: rustup component add rustfmt clippy" >&2 ;;
  esac
fi
