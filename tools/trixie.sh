#!/bin/sh
# Runs a command in a Debian 13 (trixie), which has R 4.5 and Seurat 5, with folders of this machine
# mounted in it. Makes that Debian first, and installs what it lacks. tools/test-seurat5.sh calls this
# as root, in mount and process namespaces of its own: every mount and process goes with
# them, however it ends.
#   trixie.sh HOME PACKAGES FOLDERS COMMAND...
#     HOME      keeps the Debian in root/, and in the file installed the packages that were asked
#               for and their names there (- for none). Without that file root/ is unfinished,
#               and is made anew.
#     PACKAGES  a file of patterns of package names, one a line
#     FOLDERS   a file of lines: ro or rw, the place in the Debian, the folder of this machine
# Exit status: the command's; 77 when there is no such Debian to be had.
set -eu
. tools/common.sh
trap 'exit 130' INT
trap 'exit 143' TERM
home=$1 packages=$2 folders=$3
shift 3
suite=trixie
root=$home/root
installed=$home/installed

# Nothing of this machine's settings may reach the other system, but the way to the net.
in_root() {
  env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/rust/bin HOME=/root \
    LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" DEBIAN_FRONTEND=noninteractive \
    ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    ${no_proxy:+"no_proxy=$no_proxy"} chroot "$root" "$@"
}

# A command, and what to say when it fails. It runs in the background because a shell looks at its
# traps between two commands only, and apt takes minutes.
step() {
  why=$1
  shift
  "$@" >"$home/log" 2>&1 </dev/null &
  wait $! || {
    tail -n 20 "$home/log" >&2
    unusable "$why"
  }
}

# Those of the packages that were not asked for before.
lacking() {
  if [ -f "$installed" ]; then
    cut -d ' ' -f 1 "$installed" | grep -vxF -f - "$packages" || :
  else
    cat "$packages"
  fi
}

apt_archive() {
  # shellcheck disable=SC2016 # apt expands it
  apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n '/^Debian /{s///p;q;}'
}

# Debian's archive is where this machine's apt has it, and so is the way to it.
find_archive() {
  archive=$(apt_archive)
  if [ -z "$archive" ]; then
    step "apt-get update failed" apt-get update
    archive=$(apt_archive)
  fi
  [ -n "$archive" ] || unusable "apt knows no archive of Debian here"
  step "Debian's archive, as apt knows it, cannot be reached or has no $suite" \
    /usr/lib/apt/apt-helper -o Acquire::Retries=0 -o Acquire::http::Timeout=20 \
    -o Acquire::https::Timeout=20 -o APT::Sandbox::User=root \
    download-file "${archive%/}/dists/$suite/InRelease" "$home/InRelease"
}

make_debian() {
  [ -x /usr/sbin/debootstrap ] || unusable "there is no debootstrap"
  free=$(df -Pk "$home" | awk 'NR == 2 { print int($4 / 1024) }')
  [ "$free" -ge 4000 ] ||
    unusable "$home has $free MB left and 4000 are needed; BCNMF_CHROOT may name another folder"
  ! grep -qF " $root" /proc/self/mountinfo || unusable "something is mounted in $root"
  echo "Making a Debian 13 with R and Seurat in $root: some minutes, 2 GB"
  rm -rf --one-file-system "$root"
  # apt looks for proxies in its configuration too, debootstrap only in its environment.
  eval "$(apt-config shell proxy Acquire::http::Proxy secure_proxy Acquire::https::Proxy)"
  step "debootstrap failed" \
    env ${proxy:+"http_proxy=$proxy"} ${secure_proxy:+"https_proxy=$secure_proxy"} \
    /usr/sbin/debootstrap --variant=minbase --force-check-gpg "$suite" "$root" "$archive"
  # Nobody reads manuals here, nor minds a file that a power failure takes.
  printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
    >"$root/etc/dpkg/dpkg.cfg.d/bcnmf"
}

mount_system() {
  { mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && in_root true; } ||
    unusable "programs do not run in $root"
}

install_packages() {
  lacking >"$home/asked"
  # A link there would lead cp to a file of this machine.
  cp -L --remove-destination /etc/resolv.conf /etc/hosts "$root/etc/"
  for path in /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates; do
    [ -e "$path" ] || continue
    mkdir -p "$root${path%/*}"
    cp -RL --remove-destination "$path" "$root${path%/*}/"
  done
  {
    apt-config dump | grep -E '^Acquire::(http|https|Check-)' || :
    echo 'Acquire::Retries "3"; Acquire::Languages "none"; APT::Install-Recommends "false";'
  } >"$root/etc/apt/apt.conf.d/bcnmf"
  echo "deb $archive $suite main" >"$root/etc/apt/sources.list"
  step "apt-get update failed in $root" in_root apt-get update
  in_root apt-cache pkgnames >"$home/known"
  names=
  while read -r pattern; do
    name=$(grep -x "$pattern" "$home/known") || name=-
    echo "$pattern $name"
    [ "$name" = - ] || names="$names $name"
  done <"$home/asked" >"$home/answered"
  [ ! -f "$installed" ] || cat "$installed" >>"$home/answered"
  rm -f "$installed"
  echo "Installing$names"
  # shellcheck disable=SC2086 # a list of words
  step "apt-get install failed in $root" in_root apt-get install -y -o DPkg::Use-Pty=0 $names
  in_root apt-get clean
  mv "$home/answered" "$installed"
}

mkdir -p "$home"
exec 9>"$home/lock"
# Many may use it; who changes it waits until they have done.
flock --shared 9
[ -z "$(lacking)" ] || flock 9
[ -z "$(lacking)" ] || find_archive
[ -f "$installed" ] || make_debian
mount_system
[ -z "$(lacking)" ] || install_packages
flock --shared 9

while read -r mode place folder; do
  mkdir -p "$root$place"
  mount --bind "$folder" "$root$place"
  [ "$mode" = rw ] || mount -o remount,bind,ro "$root$place"
done <"$folders"
in_root "$@"
