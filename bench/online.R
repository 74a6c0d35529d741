# Mini-batches against the full batch: objective after few passes, time, memory. Writes RESULTS-online.md. See README.md beside this file.
#   Rscript bench/online.R [--cells 30000,300000] [--losses poisson,mse] [--batch-size 500] [...]      all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
source(file.path(bench_dir, "process.R"))
source(file.path(bench_dir, "quality_data.R"))

args <- read_arguments(list(
  cells = "30000", losses = "poisson,mse", starts = "random,nndsvd", passes = "1,2,3,5", sweeps = 200, batch_size = 500,
  features = 3000, depth = 300, loading_shape = 0.1, k = 20, k_target = 2, threads = 2, seed = 1, out = file.path(bench_dir, "RESULTS-online.md")
))

# Two thirds of the cells are the target; log-normalised for mse.
draw <- function(cells, loss) {
  target <- round(cells * 2 / 3)
  sim <- bcnmf::simulate_contrast(
    args$features, target, cells - target, k_shared = 18, k_target = 2, share = 0.1, depth = args$depth, loading_shape = args$loading_shape, seed = 1
  )[c("target", "background")]
  invisible(gc())
  if (loss == "poisson") sim else lapply(sim, log_normalise)
}

run <- function(sim, loss, start, ...) {
  invisible(gc())
  can_reset <- reset_peak()
  held <- memory("VmRSS")
  time <- system.time(fit <- suppressWarnings(bcnmf::bcnmf(
    sim$target, sim$background,
    k = args$k, k_target = args$k_target, loss = loss, init = start, seed = args$seed, threads = args$threads, tol = 0, verbose = FALSE, ...
  ), classes = "bcnmf_warning"), gcFirst = FALSE)
  data.frame(
    start = start, objective = fit$divergence[["objective"]], clock = time[["elapsed"]], cpu = sum(time[c("user.self", "sys.self")]),
    extra = if (can_reset) memory("VmHWM") - held else NA_real_
  )
}

measure <- function(cells, loss) {
  sim <- draw(cells, loss)
  stored <- length(sim$target@x) + length(sim$background@x)
  input <- (12 * stored + 4 * cells) / 2^20
  rows <- NULL
  for (start in words(args$starts)) {
    for (passes in numbers(args$passes)) {
      rows <- rbind(rows, cbind(way = sprintf("mini-batches, %d passes", passes), run(sim, loss, start, maxit = passes, batch_size = args$batch_size)))
    }
    # the longer sweeps may follow a good start of the mini-batches as well
    short <- max(numbers(args$passes))
    for (sweeps in c(short, args$sweeps)) rows <- rbind(rows, cbind(way = sprintf("full batch, %d sweeps", sweeps), run(sim, loss, start, maxit = sweeps)))
    message(sprintf("%s, %d cells, %s starts: done", loss, cells, start))
  }
  best <- min(rows$objective)
  own <- tapply(rows$objective, rows$start, min)[rows$start]
  data.frame(
    loss = loss, cells = big(cells), values = sprintf("%.3g", stored), start = rows$start, way = rows$way,
    `above the best from this start, %` = sprintf("%.2f", 100 * (rows$objective / own - 1)),
    `above the best, %` = sprintf("%.2f", 100 * (rows$objective / best - 1)),
    `time, relative to the long full batch` = sprintf("%.3f", rows$cpu / rows$cpu[match(paste(rows$start, sprintf("full batch, %d sweeps", args$sweeps)), paste(rows$start, rows$way))]),
    `processor seconds` = sprintf("%.1f", rows$cpu), seconds = sprintf("%.1f", rows$clock),
    `peak memory, times the input` = ifelse(is.na(rows$extra), "", sprintf("%.2f", 1 + rows$extra / input)), check.names = FALSE
  )
}

tables <- lapply(numbers(args$cells), function(cells) do.call(rbind, lapply(words(args$losses), function(loss) measure(cells, loss))))
text <- c(
  "# What online.R wrote last", "",
  sprintf(
    "bcnmf %s, %s, %s. `Rscript bench/online.R %s`", utils::packageVersion("bcnmf"), R.version.string, Sys.Date(),
    paste(commandArgs(trailingOnly = TRUE), collapse = " ")
  ), "",
  sprintf(
    "%d features, k = %d, k_target = %d, batches of %d target cells, %d threads, one run each. What the columns are: [README.md](README.md).",
    args$features, args$k, args$k_target, args$batch_size, args$threads
  ), "",
  markdown_table(do.call(rbind, tables)), ""
)
writeLines(text, args$out)
writeLines(text)
