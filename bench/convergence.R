# How fast the objective falls: data sets x ways to step x seeds, and whether a contrast gains by being raised step by step.
# Writes RESULTS-convergence.md. See README.md beside this file.   Rscript bench/convergence.R [--seeds 5] [--data aml,pbmc] [...]
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
source(file.path(bench_dir, "quality_data.R"))

# Arguments of bcnmf(); the first is the published algorithm, which times are relative to.
ways <- list(
  "one step of each" = list(steps = 1),
  "default steps, not accelerated" = list(accelerate = FALSE),
  "default" = list(),
  "twice the default of h" = list(twice = TRUE),
  "default, nndsvd" = list(init = "nndsvd")
)

# Plain fits, and one of each kind of contrast.
problems <- list(
  "aml, mse" = list(data = "aml", how = list(k = 5)),
  "pbmc log, mse" = list(data = "pbmc log", how = list(k = 10)),
  "pbmc log, mse, k_target = 1" = list(data = "pbmc log", how = list(k = 10, k_target = 1, init = "random"), background = TRUE),
  "pbmc counts, poisson" = list(data = "pbmc counts", how = list(k = 10)),
  "simulated counts, poisson" = list(data = "sim K = 8: share 0.05", how = list(k = 8)),
  "simulated counts, poisson, beta = 0.2" = list(data = "sim K = 8: share 0.05", how = list(k = 8, beta = 0.2), background = TRUE)
)

fit_once <- function(data, problem, way, seed, args) {
  how <- utils::modifyList(problem$how, way[setdiff(names(way), "twice")])
  if (isTRUE(way$twice)) how$steps <- if (data$loss == "mse") c(10, 5) else c(4, 1)
  if (identical(problem$how$init, "random") && identical(way$init, "nndsvd")) how$init <- "nndsvd"
  arguments <- c(
    list(data$target, if (isTRUE(problem$background)) data$background, loss = data$loss, seed = seed, maxit = args$maxit, tol = 0, threads = args$threads, verbose = FALSE),
    how
  )
  invisible(gc())
  time <- system.time(fit <- suppressWarnings(do.call(bcnmf::bcnmf, arguments), classes = "bcnmf_warning"))
  list(objective = fit$history$objective, seconds = sum(time[c("user.self", "sys.self")]) / fit$iterations)
}

# Processor time until the objective is within `part` of the best, NA if it never is.
time_to <- function(run, best, part) {
  reached <- which(run$objective <= best + part * abs(best))
  if (length(reached)) (reached[1] - 1) * run$seconds else NA_real_
}

run_problem <- function(name, args) {
  problem <- problems[[name]]
  data <- data_sets[[problem$data]](1)
  if (is.null(data)) {
    message(name, ": the file is not here, skipped (set BCNMF_DATA)")
    return(NULL)
  }
  runs <- list()
  for (seed in seq_len(args$seeds)) {
    # in turns, so that a machine that slows down hits all
    for (way in names(ways)) runs[[paste(way, seed)]] <- c(fit_once(data, problem, ways[[way]], seed, args), way = way, seed = seed)
  }
  best <- min(vapply(runs, function(run) min(run$objective), 0))
  # starts end in optima of their own: the best that fits from the same start came to
  own_best <- function(run) {
    alike <- Filter(function(other) other$seed == run$seed && identical(ways[[other$way]]$init, ways[[run$way]]$init), runs)
    min(vapply(alike, function(other) min(other$objective), 0))
  }
  spread <- function(x) {
    if (anyNA(x)) return(sprintf("%d of %d", sum(!is.na(x)), length(x)))
    sprintf("%.2f (%.2f to %.2f)", stats::median(x), min(x), max(x))
  }
  of_way <- function(way) Filter(function(run) run$way == way, runs)
  lines <- lapply(names(ways), function(way) {
    # ratios seed by seed
    relative <- function(part) {
      time <- function(way) vapply(of_way(way), function(run) time_to(run, own_best(run), part), 0)
      # where the first way never gets there, parts of all the time that it had
      base <- time(names(ways)[1])
      whole <- vapply(of_way(names(ways)[1]), function(run) run$seconds * args$maxit, 0)
      spread(time(way) / ifelse(is.na(base), whole, base))
    }
    final <- vapply(of_way(way), function(run) 100 * (utils::tail(run$objective, 1) / best - 1), 0)
    data.frame(
      problem = name, way = way, `time to 1 %` = relative(0.01), `time to 0.1 %` = relative(0.001),
      `above the best in the end, %` = sprintf("%.3f (%.3f to %.3f)", stats::median(final), min(final), max(final)), check.names = FALSE
    )
  })
  message(name, " done")
  do.call(rbind, lines)
}

# The same contrast at once, and after sweeps of none, a third and two thirds of it.
ramp <- function(data, beta, seed, args) {
  fit <- function(...) {
    suppressWarnings(
      bcnmf::bcnmf(data$target, data$background, loss = data$loss, tol = 0, threads = args$threads, verbose = FALSE, ...),
      classes = "bcnmf_warning"
    )
  }
  at_once <- fit(k = data$k, beta = beta, seed = seed, maxit = args$maxit)
  raised <- fit(k = data$k, alpha = 0, seed = seed, maxit = 10)
  for (part in c(1 / 3, 2 / 3)) raised <- fit(init = raised, beta = part * beta, maxit = 10)
  raised <- fit(init = raised, beta = beta, maxit = args$maxit - 30)
  c(at_once$divergence[["objective"]], raised$divergence[["objective"]], at_once$divergence[["target"]], raised$divergence[["target"]])
}

run_ramp <- function(name, beta, args) {
  data <- data_sets[[name]](1)
  if (is.null(data)) return(NULL)
  values <- vapply(seq_len(args$seeds), function(seed) ramp(data, beta, seed, args), numeric(4))
  # relative to the target's divergence, as the objective may be near 0
  gain <- 100 * (values[2, ] - values[1, ]) / values[3, ]
  data.frame(
    data = name, beta = beta, `objective, change by the ramp, %` = sprintf("%.3f (%.3f to %.3f)", stats::median(gain), min(gain), max(gain)),
    `better with the ramp` = sprintf("%d of %d", sum(values[2, ] < values[1, ]), ncol(values)),
    `target's divergence, change, %` = sprintf("%.3f", stats::median(100 * (values[4, ] / values[3, ] - 1))), check.names = FALSE
  )
}

args <- read_arguments(list(seeds = 5, maxit = 500, threads = 1, data = "", out = file.path(bench_dir, "RESULTS-convergence.md")))
wanted <- words(args$data)
chosen <- if (length(wanted)) names(problems)[Reduce(`|`, lapply(wanted, grepl, names(problems), fixed = TRUE))] else names(problems)
table <- do.call(rbind, lapply(chosen, run_problem, args))
ramped <- c("sim K = 8: share 0.05", "mice_protein", "pbmc log")
ramps <- do.call(rbind, Map(run_ramp, rep(ramped, each = 2), rep(c(0.2, 0.6), length(ramped)), MoreArgs = list(args = args)))
text <- c(
  "# What convergence.R wrote last", "",
  sprintf("bcnmf %s, %s, %s, %d seeds, %d sweeps, %d thread(s).", utils::packageVersion("bcnmf"), R.version.string, Sys.Date(), args$seeds, args$maxit, args$threads), "",
  "## Objective against time", "",
  "Processor time until the objective is within 1 % and 0.1 % of the best that any way came to from the same start, relative to the published algorithm's (first row) with the same seed: median (least to most)",
  "over seeds. Where the published algorithm did not get there, relative to its whole run. *3 of 5*: so many seeds got there. The last column is of the best of all starts.", "",
  markdown_table(table), "",
  "## A contrast raised step by step", "",
  "Ten sweeps each without contrast, with a third and two thirds of it, against the whole at once; the same number of sweeps in all. Changes of the objective are parts of the target's divergence; negative is better.", "",
  markdown_table(ramps)
)
writeLines(text, args$out)
writeLines(text)
