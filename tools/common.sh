#!/bin/sh
# What the scripts beside this file share; they source it from the package's root.

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo "$@"
  else echo "run as root, or install sudo, for: $*" >&2; return 1
  fi
}

# Makes the folder `work`, which goes when the script ends, and names the section it failed in.
begin() {
  section="getting started"
  work=$(mktemp -d)
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

finish() {
  code=$?
  rm -rf "$work"
  case $code in
    0 | 77) ;;
    *) printf '\nFAILED in: %s\n' "$section" >&2 ;;
  esac
}

header() {
  section=$1
  printf '\n==== %s\n' "$section"
}

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# For what says nothing about the package: it could not be tested here. Who calls must not take it for a pass.
unusable() {
  printf '\n%s\n\n  NOT TESTED on Seurat 5: %s\n\n%s\n' "$stars" "$*" "$stars" >&2
  exit 77
}
stars='****************************************************************************************************'

# Runs a command with its output in a file, and shows the file when the command fails.
quietly() {
  log=$1
  shift
  "$@" >"$log" 2>&1 </dev/null || {
    cat "$log"
    return 1
  }
}

# What git would commit, or all but build products where there is no git. R CMD build itself
# would first copy everything, the large target folder too.
copy_tree() {
  mkdir -p "$1"
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    git -c core.quotePath=off ls-files --cached --others --exclude-standard |
      while IFS= read -r file; do [ ! -f "$file" ] || printf '%s\n' "$file"; done >"$work/files"
    tar -cf - -T "$work/files" | tar -C "$1" -xf -
  else
    tar -cf - --exclude=./src/rust/target --exclude=./demo-output --exclude='*.o' --exclude='*.so' . |
      tar -C "$1" -xf -
  fi
}

# Exports variable $1 as the folder it names, or else ../shared/$2, and says when there is none.
find_folder() {
  eval "folder=\${$1:-}"
  folder=${folder:-../shared/$2}
  if [ -d "$folder" ]; then
    folder=$(cd "$folder" && pwd)
    export "$1=$folder"
  else
    unset "$1"
    folder="none: the tests that need it will skip"
  fi
  echo "$1: $folder"
}
