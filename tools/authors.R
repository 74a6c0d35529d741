# Writes inst/AUTHORS, the credits of the Rust crates that bcnmf is built from:
#   Rscript tools/authors.R [file]
# Run it after every change of Cargo.lock; tools/test.sh fails when the file is stale.

source("tools/msrv.R")
Sys.setenv(PATH = paste(toolchain$dir, Sys.getenv("PATH"), sep = .Platform$path.sep))

output <- c(commandArgs(trailingOnly = TRUE), "inst/AUTHORS")[[1L]]

# A shell, not system2(stdout = TRUE): that would cut the one long line of JSON.
json <- tempfile(fileext = ".json")
code <- system(paste(
  "cargo metadata --format-version 1 --locked --manifest-path src/rust/Cargo.toml >", shQuote(json)
))
if (code != 0L) {
  stop("cargo metadata failed: is Cargo.lock up to date, and the network there?", call. = FALSE)
}
packages <- jsonlite::fromJSON(json, simplifyVector = FALSE)$packages

# Members of our own workspace have no source.
crates <- Filter(function(p) !is.null(p$source), packages)
crates <- crates[order(
  vapply(crates, `[[`, "", "name"),
  vapply(crates, `[[`, "", "version"),
  method = "radix"
)]

# Names without mail addresses; many crates now name nobody in their manifest.
authors_of <- function(crate) {
  names <- trimws(sub("<[^>]*>", "", unlist(crate$authors)))
  names <- names[nzchar(names)]
  if (length(names)) {
    paste(names, collapse = ", ")
  } else if (is.null(crate$repository)) {
    paste("the authors of", crate$name)
  } else {
    paste0("the authors of ", crate$name, " (", crate$repository, ")")
  }
}

entry <- function(crate) {
  c(
    paste(crate$name, crate$version),
    strwrap(authors_of(crate), width = 90L, initial = "  Authors: ", prefix = "    "),
    paste0("  Licence: ", if (is.null(crate$license)) crate$license_file else crate$license),
    ""
  )
}

lines <- c(
  "The numerics of bcnmf are written in Rust and use the crates below, each under its",
  "own licence and the copyright of its authors. Some are needed only to build or test.",
  "Written by tools/authors.R: do not edit by hand.",
  "",
  unlist(lapply(crates, entry))
)
con <- file(output, "w", encoding = "UTF-8")
writeLines(enc2utf8(lines[-length(lines)]), con)
close(con)
message("Wrote ", output, ": ", length(crates), " crates")
