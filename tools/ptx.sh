#!/bin/sh
# The CUDA kernels as PTX, by tools/ptx.py:
#   tools/ptx.sh build   writes src/rust/bcnmf-core/src/kernels/ptx/
#   tools/ptx.sh check   [--table] [--most-spills N]: fails when what is committed is not what the
#                        sources make, or when ptxas complains; status 77 when it cannot tell
# No GPU is needed, nor a CUDA toolkit: the two tools come from Python wheels, with pip as it is
# configured here, once, into a cache folder:
#   BCNMF_CUDA_TOOLS  (default: bcnmf-cuda in $XDG_CACHE_HOME, or in ~/.cache)
set -eu
cd "$(dirname "$0")/.."
. tools/common.sh

# NVRTC decides which drivers can load the PTX (this one: 525.60 and later), and another makes
# other bytes. ptxas is a later one, which knows newer GPUs.
nvrtc=12.0.140
nvrtc_sha256=8e94e991d85c422de4da87bdc7472fdc1364367bd4aace7000b559cd33122071
ptxas=12.9.86
ptxas_sha256=5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0

command=${1:-}
case $command in
  build | check) ;;
  *) echo "ptx.sh: build or check?" >&2; exit 2 ;;
esac

cannot() {
  [ "$command" = check ] || fail "ptx.sh: $*"
  echo "NOT CHECKED: $*"
  exit 77
}

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
  cannot "NVIDIA's compiler is fetched for Linux on x86-64, and this is $(uname -s) on $(uname -m)"
command -v python3 >/dev/null 2>&1 || cannot "there is no python3 here (Debian: python3)"

cache=${BCNMF_CUDA_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/bcnmf-cuda}
tools=$cache/nvrtc-$nvrtc-ptxas-$ptxas

fetch() {
  python3 -m pip --version >/dev/null 2>&1 ||
    cannot "python3 has no pip to fetch NVIDIA's compiler with (Debian: python3-pip)"
  mkdir -p "$cache" || cannot "cannot write to $cache"
  # All in here, and what is wanted is moved at the very end: never half a cache.
  part=$(mktemp -d "$cache/part.XXXXXX") || cannot "cannot write to $cache"
  trap 'rm -rf "$part"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  echo "ptx.sh: fetching NVRTC $nvrtc and ptxas $ptxas into $cache (64 MB, once)"
  # The platform is named, for pip would take that of python3, which may know no manylinux.
  python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --retries 1 \
    --no-deps --only-binary=:all: --platform manylinux2010_x86_64 --dest "$part" \
    "nvidia-cuda-nvrtc-cu12==$nvrtc" "nvidia-cuda-nvcc-cu12==$ptxas" >"$part/log" 2>&1 </dev/null || {
    cat "$part/log" >&2
    cannot "pip could not fetch NVIDIA's compiler"
  }
  # A file that is not the one we know is no matter of the network, and fails.
  unpack "$nvrtc_sha256" "$part"/nvidia_cuda_nvrtc_cu12-*.whl libnvrtc.so.12 libnvrtc-builtins.so.12.0
  unpack "$ptxas_sha256" "$part"/nvidia_cuda_nvcc_cu12-*.whl ptxas
  chmod +x "$part/tools/ptxas"
  # Another run may have been faster; its folder is as good.
  mv -T "$part/tools" "$tools" 2>/dev/null || [ -d "$tools" ] || fail "ptx.sh: cannot make $tools"
  rm -rf "$part"
}

# Takes, from wheel $2 with checksum $1, the files of the names that follow.
unpack() {
  echo "$1  $2" | sha256sum -c --status ||
    fail "ptx.sh: $(basename "$2") is not the file whose checksum is written here"
  shift
  python3 - "$part/tools" "$@" <<'PYTHON'
import os, shutil, sys, zipfile
folder, wheel, *names = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
with zipfile.ZipFile(wheel) as archive:
    for name in names:
        (member,) = [m for m in archive.namelist() if m.split("/")[-1] == name]
        with archive.open(member) as source, open(os.path.join(folder, name), "wb") as target:
            shutil.copyfileobj(source, target)
PYTHON
}

[ -d "$tools" ] || fetch
python3 tools/ptx.py --tools "$tools" "$@"
