# Makes the vignettes that need real data, from vignettes/*.Rmd.orig: Rscript tools/vignettes.R, from the package's root, with
# the package installed; about four minutes on two cores. What it makes (.Rmd and figures) is committed, and complete on machines without the data.
#
# Rscript tools/vignettes.R --check only compares: each .Rmd carries the checksum of the source it was made from.
sources <- Sys.glob("vignettes/*.Rmd.orig")
if (length(sources) == 0) stop("There is no vignettes/*.Rmd.orig here: run this from the package's root.", call. = FALSE)
made <- sub("\\.orig$", "", sources)
stamp <- function(source) {
  sprintf(
    "<!-- Made by tools/vignettes.R from %s (md5 %s): edit that one. -->", basename(source), unname(tools::md5sum(source))
  )
}

if ("--check" %in% commandArgs(TRUE)) {
  fresh <- mapply(function(source, file) file.exists(file) && stamp(source) %in% readLines(file), sources, made)
  if (!all(fresh)) stop("Stale: ", toString(made[!fresh]), ". Run `Rscript tools/vignettes.R` and commit what changes.", call. = FALSE)
  quit(save = "no")
}

missing <- Filter(function(name) !requireNamespace(name, quietly = TRUE), c("bcnmf", "knitr", "uwot"))
if (length(missing) > 0) stop("Install first: ", toString(missing), ".", call. = FALSE)
if (!nzchar(Sys.getenv("BCNMF_DATA"))) Sys.setenv(BCNMF_DATA = "../shared/data")
Sys.setenv(BCNMF_DATA = normalizePath(Sys.getenv("BCNMF_DATA"), mustWork = FALSE))
data <- file.path(Sys.getenv("BCNMF_DATA"), "aml", c("aml_833x138.rda", "aml_824x135.rda"))
if (!all(file.exists(data))) {
  stop("The vignettes need ", paste(file.path("aml", basename(data[!file.exists(data)])), collapse = " and "),
    " in the folder named by BCNMF_DATA (default: ../shared/data).",
    call. = FALSE
  )
}

# In a folder of its own: when an error stops it, what was made before stays as it is.
made_from <- function(source) {
  stem <- sub("\\.Rmd\\.orig$", "", basename(source))
  stamp <- stamp(source) # of what is read now, whatever is edited meanwhile
  work <- tempfile()
  dir.create(work)
  old <- setwd(work)
  on.exit(setwd(old))
  knitr::opts_chunk$set(error = FALSE)
  knitr::knit(file.path(old, source), paste0(stem, ".Rmd"), quiet = TRUE, envir = new.env(parent = globalenv()))
  setwd(old)
  text <- readLines(file.path(work, paste0(stem, ".Rmd")))
  end <- which(text == "---")[2]
  # Hidden chunks leave rows of empty lines.
  text <- text[!(text == "" & c(FALSE, utils::head(text, -1) == ""))]
  writeLines(append(text, c("", stamp), end), file.path("vignettes", paste0(stem, ".Rmd")))
  unlink(Sys.glob(file.path("vignettes", paste0(stem, "-*.png"))))
  file.copy(Sys.glob(file.path(work, "*.png")), "vignettes")
}
for (source in sources) made_from(source)
size <- file.size(c(made, Sys.glob("vignettes/*.png")))
message(length(size), " files, ", round(sum(size) / 1000), " kB")
