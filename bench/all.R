# Everything about speed, one after the other, joined in RESULTS.md: hours. See README.md beside this file.
#   Rscript bench/all.R [--python PATH] [--runs 5] [--parts sweep,peers,scaling,kernels] [...]      all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
args <- read_arguments(list(python = "python3", runs = 5, parts = "sweep,peers,scaling,kernels", keep = "", output = file.path(bench_dir, "RESULTS.md")))

arguments <- list(
  sweep = c("--python", args$python, "--runs", args$runs), peers = c("--python", args$python, "--runs", args$runs),
  scaling = c("--runs", args$runs), kernels = character()
)
# A folder to keep finished parts in: a bench that was stopped goes on where it was.
folder <- if (nzchar(args$keep)) args$keep else bench_folder()
dir.create(folder, showWarnings = FALSE)
load_before <- load_average()
parts <- words(args$parts)
written <- lapply(parts, function(part) {
  file <- file.path(folder, paste0(part, ".md"))
  if (file.exists(file)) return(readLines(file))
  command <- c("--vanilla", file.path(bench_dir, paste0(part, ".R")), arguments[[part]], "--output", file)
  status <- system2(file.path(R.home("bin"), "Rscript"), shQuote(command), stdout = FALSE)
  if (status == 0) readLines(file) else c(paste("##", part), "", "This part failed.", "")
})
write_lines(c(
  "# Measured", "",
  "Written by `Rscript bench/all.R`; README.md beside this file says how each figure is taken. Values of one session on one machine:",
  "the ratios carry over to others better than the times.", "",
  paste0("- Date: ", format(Sys.Date())),
  paste0("- Machine: ", describe_machine()),
  paste0("- Load average before and after (nothing else running would be about 0 before): ", load_before, ", ", load_average()),
  paste0("- bcnmf ", utils::packageVersion("bcnmf")), "",
  unlist(written)
), args$output)
