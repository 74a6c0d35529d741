# Finds a Rust toolchain that is new enough, and leaves it in `toolchain`.
# Sourced by tools/config.R. Run alone it reports the versions, or with --dir
# prints only the folder that holds cargo.

# The oldest rustc we compile with, from SystemRequirements in DESCRIPTION.
required_rustc <- function() {
  text <- read.dcf("DESCRIPTION", fields = "SystemRequirements")[[1L]]
  numeric_version(sub(".*rustc *>= *([0-9.]+).*", "\\1", gsub("[[:space:]]+", " ", text)))
}

# Version of a Rust program; NA when it is not there or does not run, as a
# rustup proxy without a toolchain.
program_version <- function(program) {
  if (!nzchar(program) || !file.exists(program)) {
    return(NA_character_)
  }
  line <- tryCatch(
    suppressWarnings(system2(program, "--version", stdout = TRUE, stderr = FALSE)),
    error = function(e) character()
  )
  found <- regmatches(line, regexpr("[0-9]+\\.[0-9]+\\.[0-9]+", line))
  if (length(found)) found[[1L]] else NA_character_
}

# Every folder with a cargo: those on PATH in order, then where rustup puts it,
# which R started from a desktop often has not on its PATH.
cargo_folders <- function(exe) {
  home <- Sys.getenv(if (.Platform$OS.type == "windows") "USERPROFILE" else "HOME")
  folders <- c(
    strsplit(Sys.getenv("PATH"), .Platform$path.sep, fixed = TRUE)[[1L]],
    file.path(Sys.getenv("CARGO_HOME", file.path(home, ".cargo")), "bin"),
    file.path(home, ".cargo", "bin")
  )
  folders <- folders[nzchar(folders) & file.exists(file.path(folders, paste0("cargo", exe)))]
  unique(normalizePath(folders, winslash = "/"))
}

find_toolchain <- function() {
  msrv <- required_rustc()
  exe <- if (.Platform$OS.type == "windows") ".exe" else ""
  seen <- character()
  for (dir in cargo_folders(exe)) {
    cargo <- file.path(dir, paste0("cargo", exe))
    rustc <- file.path(dir, paste0("rustc", exe))
    if (!file.exists(rustc)) {
      rustc <- Sys.which("rustc")[[1L]]
    }
    versions <- c(cargo = program_version(cargo), rustc = program_version(rustc))
    seen <- c(seen, sprintf("  %s: cargo %s, rustc %s", dir, versions[["cargo"]], versions[["rustc"]]))
    if (!anyNA(versions) && all(numeric_version(versions) >= msrv)) {
      return(list(dir = dir, cargo = cargo, versions = versions, msrv = msrv))
    }
  }
  message(
    "bcnmf is compiled from Rust and needs cargo and rustc >= ", format(msrv), ".\n",
    if (length(seen)) {
      paste0("Found only (NA: does not run):\n", paste(seen, collapse = "\n"), "\n")
    } else {
      "Found neither on the PATH nor in ~/.cargo/bin.\n"
    },
    "Install or update them in one of these ways, then install bcnmf again:\n",
    "  any system     rustup from https://rustup.rs, then `rustup update stable`\n",
    "  Debian 12      apt-get install cargo-web rustc-web (from bookworm-security)\n",
    "  Fedora         dnf install cargo rust\n",
    "  macOS          brew install rust"
  )
  quit(save = "no", status = 1L)
}

toolchain <- find_toolchain()
if ("--dir" %in% commandArgs(trailingOnly = TRUE)) {
  cat(toolchain$dir)
} else {
  message(
    "Using cargo ", toolchain$versions[["cargo"]], " and rustc ", toolchain$versions[["rustc"]],
    " (at least ", format(toolchain$msrv), ") from ", toolchain$dir
  )
}
