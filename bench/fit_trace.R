# One R program's fit of the target alone, traced, in a fresh process; called by peers.R. Prints `name value` lines, and for every
# checkpoint `trace sweeps seconds objective`: seconds of the whole call that ends there.
#   Rscript fit_trace.R counts.rds program loss k threads sweeps run start.rds
given <- commandArgs(trailingOnly = TRUE)
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "process.R"))
program <- given[2]
loss <- given[3]
numbers <- as.numeric(given[4:7])
k <- numbers[1]
threads <- numbers[2]
sweeps <- numbers[3]
run <- numbers[4]
start <- readRDS(given[8])

library(Matrix)
suppressPackageStartupMessages(library(switch(sub(" .*", "", program),
  bcnmf = "bcnmf",
  RcppML = "RcppML",
  NMF = "NMF"
), character.only = TRUE))
invisible(gc())
reset_peak()
idle <- memory("VmRSS")
x <- readRDS(given[1])$target
show <- function(...) cat(vapply(list(...), format, "", digits = 9), "\n")
trace <- function(sweeps, seconds, objective) show("trace", sweeps, unname(seconds), objective)

squared_error <- function(w, d, h) {
  w <- t(t(w) * d)
  sum(x@x^2) - 2 * sum((t(x) %*% w) * t(h)) + sum(crossprod(w) * tcrossprod(h))
}

# A call each: bcnmf tells the objective of every sweep, but of an accelerated fit that of where `w` had gone on to, which is not yet the model's. What a call
# of so many sweeps takes lies on the line through a short and a long one.
trace_bcnmf <- function(precision, init) {
  call_of <- function(maxit) {
    system.time(fit <<- suppressWarnings(bcnmf::bcnmf(
      x, k = k, loss = loss, precision = precision, threads = threads, init = init, seed = run, tol = 0, maxit = maxit, verbose = FALSE
    ), classes = "bcnmf_warning"))[["elapsed"]]
  }
  fit <- NULL
  short <- call_of(1)
  long <- call_of(sweeps)
  show("seconds_per_sweep", (long - short) / (sweeps - 1))
  at <- c(1:10, seq(12, 20, 2), round(20 * 1.5^(1:10)))
  for (maxit in c(at[at < sweeps], sweeps)) {
    call_of(maxit)
    trace(maxit, short + (maxit - 1) * (long - short) / (sweeps - 1), fit$divergence[["objective"]])
  }
}

# A call each, from the same seed.
trace_rcppml <- function() {
  RcppML::setRcppMLthreads(threads)
  seconds <- NULL
  for (maxit in c(2, 5, 10, 20, 40)) {
    seconds[paste(maxit)] <- system.time(fit <- RcppML::nmf(x, k, tol = 0, maxit = maxit, verbose = FALSE, seed = run))[["elapsed"]]
    trace(maxit, seconds[[paste(maxit)]], squared_error(fit$w, fit$d, fit$h))
  }
  show("seconds_per_sweep", (seconds[["40"]] - seconds[["20"]]) / 20)
  # as a user would call it
  time <- system.time(fit <- RcppML::nmf(x, k, verbose = FALSE, seed = run))[["elapsed"]]
  show("default_seconds", time)
  show("default_objective", squared_error(fit$w, fit$d, fit$h))
  show("default_sweeps", fit$iter)
}

# Dense, and slow: its own start, a few sweeps.
trace_nmf <- function() {
  dense <- as.matrix(x[rowSums(x) > 0, ])
  call_of <- function(maxit) {
    system.time(NMF::nmf(dense, k, method = "brunet", seed = run, .options = "-p", maxIter = maxit))[["elapsed"]]
  }
  short <- call_of(2)
  show("seconds_per_sweep", (call_of(sweeps) - short) / (sweeps - 2))
}

switch(program,
  "bcnmf single" = trace_bcnmf("single", start),
  "bcnmf double" = trace_bcnmf("double", start),
  "bcnmf single, nndsvd" = trace_bcnmf("single", "nndsvd"),
  "bcnmf double, nndsvd" = trace_bcnmf("double", "nndsvd"),
  RcppML = trace_rcppml(),
  NMF = trace_nmf()
)
show("version", as.character(utils::packageVersion(sub(" .*", "", program))))
show("memory_mb", memory("VmHWM") - idle)
