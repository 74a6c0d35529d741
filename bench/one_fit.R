# One measured fit in a fresh process; called by sweep.R and memory.R. Prints `name value` lines.
#   Rscript one_fit.R counts.rds loss precision k beta threads sweeps1 sweeps2
given <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages(library(bcnmf))
loss <- given[2]
precision <- given[3]
numbers <- as.numeric(given[4:8])

script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "process.R"))

# What loading the libraries took does not count, loading the data does, as it does for the program compared with.
invisible(gc())
reset_peak()
idle <- memory("VmRSS")
counts <- readRDS(given[1])
fit_for <- function(sweeps) {
  bcnmf(counts$target, counts$background,
    k = numbers[1], beta = numbers[2], loss = loss, precision = precision, threads = numbers[3],
    dispersion = if (loss == "nb") 0.5 else "gene",
    tol = 0, maxit = sweeps, steps = 1, seed = 1, verbose = FALSE
  )
}
loading <- memory("VmHWM")
can_reset <- reset_peak()
held <- memory("VmRSS")
first <- system.time(fit <- fit_for(numbers[4]), gcFirst = FALSE)
during <- memory("VmHWM")
peak <- max(loading, during)

last <- system.time(fit <- fit_for(numbers[5]), gcFirst = FALSE)
stopifnot(nrow(fit$history) == numbers[5] + 1, all(is.finite(fit$w)), all(is.finite(fit$history$objective)))

show <- function(name, value) cat(name, " ", format(value, digits = 8), "\n", sep = "")
show("version", as.character(packageVersion("bcnmf")))
show("loss", loss)
show("precision", precision)
per_sweep <- (last - first) / (numbers[5] - numbers[4])
show("seconds_per_sweep", per_sweep[["elapsed"]])
show("cpu_per_sweep", per_sweep[["user.self"]] + per_sweep[["sys.self"]])
show("rss_before_mb", idle)
show("peak_mb", peak)
show("fit_mb", if (can_reset) during - held else NA_real_)
