# How the time of a sweep grows with cells, non-zeros, factors and threads. See README.md beside this file.
#   Rscript bench/scaling.R [--cells 10000,30000,100000,300000,1000000] [--runs 5] [...]      all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
args <- read_arguments(list(
  cells = "10000,30000,100000,300000,1000000", depths = "60,150,300,600,1200", ks = "5,10,16,20,32,48,64,100", threads = "1,2",
  losses = "poisson,mse", features = 3000, base_cells = 30000, k = 20, runs = 5, output = ""
))
losses <- words(args$losses)
most_threads <- max(numbers(args$threads))

# Two thirds are the target.
draw <- function(cells, depth = 300) {
  target <- round(cells * 2 / 3)
  bcnmf::simulate_contrast(args$features, target, cells - target, depth = depth, loading_shape = 0.1, seed = 1)[c("target", "background")]
}
first_cells <- function(sim, cells) {
  target <- round(cells * 2 / 3)
  list(target = sim$target[, seq_len(target)], background = sim$background[, seq_len(cells - target)])
}
values <- function(sim) length(sim$target@x) + length(sim$background@x)

# One step of each side, as published; the difference of a long and a short fit leaves out what is done once. A
# target-only factor costs as much as a contrast, of which bcnmf() would find out what it costs the target, by other fits.
sweep_seconds <- function(sim, loss, k = args$k, threads = most_threads) {
  long <- max(4, min(60, round(1e8 / values(sim) * 20 / k)))
  time <- function(sweeps) {
    system.time(bcnmf::bcnmf(
      sim$target, sim$background,
      k = k, k_target = 1, init = "random", loss = loss, threads = threads, steps = 1, tol = 0, maxit = sweeps, seed = 1, verbose = FALSE
    ), gcFirst = FALSE)[["elapsed"]]
  }
  short <- max(1, round(long / 6))
  invisible(gc())
  (time(long) - time(short)) / (long - short)
}

# Every setting `runs` times, in turns.
measure <- function(what, settings, run) {
  times <- replicate(args$runs, vapply(settings, run, 0), simplify = FALSE)
  times <- matrix(unlist(times), length(settings))
  message(what, ": done")
  times
}

table_of <- function(what, loss, x, times, show = identity) {
  middle <- apply(times, 1, stats::median)
  table <- data.frame(loss, show(x), apply(times, 1, spread), sprintf("%.2f", middle / middle[1]))
  stats::setNames(table, c("loss", what, "seconds a sweep", "relative to the first"))
}
exponent <- function(x, times) stats::coef(stats::lm(log(apply(times, 1, stats::median)) ~ log(x)))[[2]]

section <- function(title, tables, words) c(paste("###", title), "", markdown_table(do.call(rbind, tables)), "", words, "")
per_loss <- function(f) lapply(losses, f)

by_cells <- function() {
  cells <- numbers(args$cells)
  all <- draw(max(cells))
  sims <- lapply(cells, function(n) if (n == max(cells)) all else first_cells(all, n))
  size <- vapply(sims, values, 0)
  found <- per_loss(function(loss) measure(paste(loss, "cells"), sims, function(sim) sweep_seconds(sim, loss)))
  section("Cells", Map(function(loss, times) table_of("cells", loss, cells, times, big), losses, found), sprintf(
    "%s: seconds grow with the power %.2f of the cells and %.2f of the values.", losses,
    vapply(found, function(times) exponent(cells, times), 0), vapply(found, function(times) exponent(size, times), 0)
  ))
}

by_values <- function() {
  sims <- lapply(numbers(args$depths), function(depth) draw(args$base_cells, depth))
  size <- vapply(sims, values, 0)
  share <- size / args$features / args$base_cells
  found <- per_loss(function(loss) measure(paste(loss, "non-zeros"), sims, function(sim) sweep_seconds(sim, loss)))
  section("Non-zeros", Map(function(loss, times) table_of("non-zeros", loss, share, times, function(x) sprintf("%.1f %%", 100 * x)), losses, found), sprintf(
    "%s: seconds grow with the power %.2f of the values.", losses, vapply(found, function(times) exponent(size, times), 0)
  ))
}

by_k <- function(sim) {
  ks <- numbers(args$ks)
  found <- per_loss(function(loss) measure(paste(loss, "factors"), ks, function(k) sweep_seconds(sim, loss, k = k)))
  above <- ks >= 16
  section("Factors", Map(function(loss, times) table_of("k", loss, ks, times), losses, found), sprintf(
    "%s: from k = %g on seconds grow with the power %.2f of k.", losses, min(ks[above]), vapply(found, function(times) exponent(ks[above], times[above, , drop = FALSE]), 0)
  ))
}

by_threads <- function(sim) {
  threads <- numbers(args$threads)
  found <- per_loss(function(loss) measure(paste(loss, "threads"), threads, function(n) sweep_seconds(sim, loss, threads = n)))
  gain <- lapply(found, function(times) times[1, ] / times[length(threads), ])
  section("Threads", Map(function(loss, times) table_of("threads", loss, threads, times), losses, found), sprintf(
    "%s: %g threads are %s times as fast as %g.", losses, max(threads), vapply(gain, spread, ""), min(threads)
  ))
}

base <- draw(args$base_cells)
lines <- c(
  "## How a sweep grows", "",
  sprintf(
    "One step of each side (`steps = 1`), single precision, %d features, k = %d with one target-only factor, %d threads, %s cells, 8 %% non-zeros unless said; medians of %d runs in turns, in brackets the range.",
    args$features, args$k, most_threads, big(args$base_cells), args$runs
  ), "",
  by_threads(base), by_k(base), by_values(), by_cells()
)
write_lines(lines, args$output)
