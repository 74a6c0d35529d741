# Peak memory of reading some features of a target and a background out of a large object, against the size of what is read. Writes RESULTS-read.md.
# See README.md beside this file.   Rscript bench/read.R [--features 20000] [...]      all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
for (file in c("common.R", "process.R")) source(file.path(dirname(script), file))

args <- read_arguments(list(features = 20000, cells = 20000, chosen = 3000, layers = 4, runs = 3))
suppressMessages(library(SeuratObject))

sim <- bcnmf::simulate_contrast(args$features, args$cells, 0, depth = 2500, seed = 1)
counts <- sim$target
rm(sim)
condition <- rep(c("ctrl", "stim"), length.out = ncol(counts))
features <- rownames(counts)[sort(order(-Matrix::rowSums(counts))[seq_len(args$chosen)])]
object <- CreateSeuratObject(counts)
object$condition <- condition
VariableFeatures(object) <- features
objects <- list(Seurat = object)
if (packageVersion("SeuratObject") >= "5.0.0") {
  split <- object
  split[["RNA"]] <- split(object[["RNA"]], rep(seq_len(args$layers), length.out = ncol(counts)))
  objects[[sprintf("Seurat, %d layers", args$layers)]] <- split
}
if (requireNamespace("SingleCellExperiment", quietly = TRUE)) {
  objects$SingleCellExperiment <- SingleCellExperiment::SingleCellExperiment(list(counts = counts), colData = data.frame(condition = condition))
}
rm(object)

# What bcnmf() does before it fits.
read <- function(object) {
  call <- environment()
  source <- bcnmf:::cell_source(object, NULL, "counts", "object", call)
  cells <- bcnmf:::resolve_cells(source, "condition", "ctrl", NULL, call)
  index <- bcnmf:::resolve_features(source, features, 10, NULL, call)
  lapply(cells, function(which) bcnmf:::read_cells(source, index, which, "target", call))
}
# The usual way, for comparison.
subset <- function(object) {
  lapply(split(colnames(counts), condition), function(cells) counts[features, cells])
}

measure <- function(run, object) {
  gc()
  reset_peak()
  before <- memory("VmRSS")
  seconds <- system.time(result <- run(object))[["elapsed"]]
  c(
    peak = memory("VmHWM") - before, seconds = seconds,
    result = sum(vapply(result, function(x) as.numeric(object.size(x)), 0)) / 2^20
  )
}

rows <- list()
for (name in names(objects)) {
  for (way in list(list("bcnmf", read), list("object[features, cells]", subset))) {
    measure(way[[2]], objects[[name]])
    taken <- vapply(seq_len(args$runs), function(i) measure(way[[2]], objects[[name]]), numeric(3))
    taken <- apply(taken, 1, median)
    rows[[length(rows) + 1]] <- data.frame(
      object = name, way = way[[1]], "MB read" = sprintf("%.1f", taken[["result"]]), "peak MB" = sprintf("%.1f", taken[["peak"]]),
      "peak / read" = sprintf("%.2f", taken[["peak"]] / taken[["result"]]), "seconds" = sprintf("%.2f", taken[["seconds"]]), check.names = FALSE
    )
  }
}
lines <- c(
  "# Reading features and cells out of an object", "",
  "Written by `Rscript bench/read.R`: the peak of memory above what R held before, against the size of the target and background that were read.", "",
  paste("- Machine:", describe_machine()),
  sprintf("- Versions: bcnmf %s, SeuratObject %s, Matrix %s", packageVersion("bcnmf"), packageVersion("SeuratObject"), packageVersion("Matrix")),
  sprintf(
    "- Data: %d features x %d cells, simulated counts, %.1f %% non-zeros (%.0f MB); %d features of all cells are read, as target and background; medians of %d runs",
    nrow(counts), ncol(counts), 100 * length(counts@x) / prod(dim(counts)), as.numeric(object.size(counts)) / 2^20, args$chosen, args$runs
  ),
  "", markdown_table(do.call(rbind, rows))
)
cat(lines, sep = "\n")
writeLines(lines, file.path(bench_dir, "RESULTS-read.md"))
