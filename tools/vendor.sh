#!/bin/sh
# Makes src/rust/vendor.tar.xz, with which a source package builds offline, and refreshes
# inst/AUTHORS. Run it before `R CMD build` of a release; the archive stays out of git.
set -eu
cd "$(dirname "$0")/.."
PATH="$(Rscript --vanilla tools/msrv.R --dir):$PATH"
export PATH
manifest=src/rust/Cargo.toml

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

cargo vendor --locked --quiet --versioned-dirs --manifest-path "$manifest" "$stage/vendor" >/dev/null

# Crates that only our tests use must be there for cargo to accept the lock file, but are never
# compiled: their manifests will do, which makes the archive three times smaller.
cargo tree --locked --manifest-path "$manifest" --package bcnmf --edges normal,build --target all \
  --prefix none --format '{p}' | sed 's/^\([^ ]*\) v\([^ ]*\).*/\1-\2/' | sort -u >"$stage/needed"
[ -s "$stage/needed" ]
for crate in "$stage"/vendor/*; do
  grep -qxF "${crate##*/}" "$stage/needed" && continue
  find "$crate" -mindepth 1 -maxdepth 1 ! -name Cargo.toml ! -name .cargo-checksum.json \
    -exec rm -rf {} +
  mkdir "$crate/src"
  : >"$crate/src/lib.rs"
  sed -i.all 's/"files":{[^}]*}/"files":{}/' "$crate/.cargo-checksum.json"
  rm "$crate/.cargo-checksum.json.all"
done

# Paths are relative to src, where the archive is unpacked and cargo runs.
mkdir "$stage/.cargo"
cat >"$stage/.cargo/config.toml" <<'TOML'
[source.crates-io]
replace-with = "vendored"

[source.vendored]
directory = "vendor"
TOML

# Sorted, nobody's, of one time: the same crates give the same archive.
rm -f src/rust/vendor.tar.xz
tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime='2020-01-01 00:00:00Z' \
  -cf "$stage/vendor.tar" .cargo vendor
xz -9e -c "$stage/vendor.tar" >src/rust/vendor.tar.xz
Rscript --vanilla tools/authors.R
ls -l src/rust/vendor.tar.xz
