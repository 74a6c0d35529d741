# Run by configure: writes src/Makevars from src/Makevars.in (on Windows the .win pair).
#
# Environment variables it obeys:
#   NOT_CRAN=true      keep src/rust/target after linking, so that the next build is quick
#   BCNMF_TARGET_DIR   absolute path of a cargo target folder outside the tree: always kept,
#                      so that several builds in one run share one compilation
#   BCNMF_PROFILE      cargo profile, "release" (default) or "dev"
# With src/rust/vendor.tar.xz the crates come from there and cargo stays offline;
# without it they are downloaded into the user's own cargo home.

source("tools/msrv.R")

windows <- .Platform$OS.type == "windows"
not_cran <- identical(Sys.getenv("NOT_CRAN"), "true")
vendored <- file.exists("src/rust/vendor.tar.xz")

profile <- Sys.getenv("BCNMF_PROFILE", "release")
if (!profile %in% c("release", "dev")) {
  stop("BCNMF_PROFILE must be \"release\" or \"dev\", not \"", profile, "\"", call. = FALSE)
}

shared_target <- Sys.getenv("BCNMF_TARGET_DIR")
if (nzchar(shared_target) && !grepl("^(/|[A-Za-z]:[/\\\\])[^[:space:]]*$", shared_target)) {
  stop(
    "BCNMF_TARGET_DIR must be an absolute path without spaces, not \"", shared_target, "\"",
    call. = FALSE
  )
}

# Those of `flags` with which the compiler behind R CMD SHLIB links: alone they are only hints,
# so a linker that knows none of them still makes a good, larger library.
accepted <- function(flags) {
  dir <- tempfile("link")
  dir.create(dir)
  on.exit(unlink(dir, recursive = TRUE))
  links <- function(flags) {
    unlink(file.path(dir, paste0("probe", c(".o", .Platform$dynlib.ext))))
    writeLines(paste("PKG_LIBS =", paste(flags, collapse = " ")), file.path(dir, "Makevars"))
    writeLines("void bcnmf_probe(void) {}", file.path(dir, "probe.c"))
    owd <- setwd(dir)
    on.exit(setwd(owd))
    r <- file.path(R.home("bin"), "R")
    code <- suppressWarnings(
      system2(r, c("CMD", "SHLIB", "probe.c"), stdout = FALSE, stderr = FALSE)
    )
    code == 0L && file.exists(paste0("probe", .Platform$dynlib.ext))
  }
  if (links(flags)) flags else Filter(links, flags)
}

# Drop what nothing calls, hide the symbols of Rust's libraries, drop debug sections.
link_flags <- if (windows) {
  "-Wl,--gc-sections"
} else if (Sys.info()[["sysname"]] == "Darwin") {
  c("-Wl,-dead_strip", "-Wl,-S")
} else {
  # The three libraries are part of libc in newer systems and needed by Rust's std in older ones.
  c("-Wl,--gc-sections", "-Wl,--exclude-libs,ALL", "-Wl,--strip-debug", "-Wl,--discard-all", "-lpthread", "-ldl", "-lm")
}

# Hidden symbols keep their names, a twentieth of the library. Where there is GNU strip: all but the one that R looks for.
strip <- if (any(grepl("GNU strip", tryCatch(system2("strip", "--version", stdout = TRUE, stderr = FALSE), error = function(e) "", warning = function(w) "")))) {
  "strip --strip-all --keep-symbol=R_init_bcnmf $(SHLIB) || :"
} else {
  ":"
}

values <- c(
  TARGET_DIR = if (nzchar(shared_target)) shared_target else "rust/target",
  LIBDIR = if (profile == "release") "release" else "debug",
  STRIP = if (windows) ":" else strip,
  LINK_FLAGS = paste(accepted(link_flags), collapse = " "),
  RUST_TARGET = if (R.version$arch == "aarch64") {
    "aarch64-pc-windows-gnullvm"
  } else {
    "x86_64-pc-windows-gnu"
  },
  CARGO = toolchain$cargo,
  CARGO_DIR = toolchain$dir,
  CARGO_ENV = if (vendored) "CARGO_HOME=\"$$(pwd)/.cargo\"" else "",
  CARGO_FLAGS = paste(
    "--profile", profile, "--locked", if (vendored) "--offline -j 2" else ""
  ),
  R_HOME = normalizePath(R.home(), winslash = "/"),
  R_INCLUDE_DIR = normalizePath(R.home("include"), winslash = "/"),
  # The archive holds vendor/ and .cargo/config.toml, both looked for where cargo runs: in src.
  UNPACK = if (vendored) "xz -dc rust/vendor.tar.xz | tar -xf -" else ":",
  CLEAN = paste(
    c(".cargo vendor", if (!not_cran && !nzchar(shared_target)) "rust/target"),
    collapse = " "
  )
)

output <- if (windows) "src/Makevars.win" else "src/Makevars"
text <- readLines(paste0(output, ".in"))
for (name in names(values)) {
  text <- gsub(paste0("@", name, "@"), values[[name]], text, fixed = TRUE)
}
writeLines(text, output)
message(
  "Wrote ", output, ": ", profile, " build, crates ",
  if (vendored) "from vendor.tar.xz, offline" else "from cargo's registry"
)
