# A child process is interrupted as Ctrl-C would, in the middle of a fit that has no end.
test_that("Ctrl-C ends a fit at once and loses nothing", {
  skip_on_os("windows")
  skip_on_cran()
  folder <- withr::local_tempdir()
  script <- file.path(folder, "fit.R")
  writeLines(c(
    "suppressPackageStartupMessages(library(bcnmf))",
    "sim <- simulate_contrast(2000, n_target = 4000, n_background = 2000, seed = 1)",
    "file.create('started')",
    "r <- tryCatch(",
    "  bcnmf(sim$target, sim$background, k = 20, beta = 0.2, loss = 'poisson', tol = 0, maxit = 1e6, verbose = FALSE, threads = 2),",
    "  bcnmf_interrupted = function(cnd) list(at = Sys.time(), cnd = cnd)",
    ")",
    "more <- bcnmf(sim$target, sim$background, init = interrupted_fit(), maxit = 2, tol = 0)",
    "saveRDS(list(at = r$at, class = class(r$cnd), fit = r$cnd$fit, kept = interrupted_fit(), more = more), 'tmp.rds')",
    "file.rename('tmp.rds', 'result.rds')"
  ), script)
  wait_for <- function(file, seconds) {
    until <- Sys.time() + seconds
    while (!file.exists(file.path(folder, file)) && Sys.time() < until) Sys.sleep(0.05)
    file.exists(file.path(folder, file))
  }
  # A shell's background jobs ignore SIGINT, which R 4.5 leaves so (4.2 did not).
  start <- "env --default-signal=INT"
  skip_if(suppressWarnings(system(paste(start, "true"), ignore.stderr = TRUE)) != 0, "env has no --default-signal here")
  system(sprintf(
    "cd %s && %s R_LIBS=%s %s --vanilla %s > out.txt 2>&1 & echo $! > %s",
    shQuote(folder), start, shQuote(paste(.libPaths(), collapse = ":")), shQuote(file.path(R.home("bin"), "Rscript")),
    shQuote(script), shQuote(file.path(folder, "pid"))
  ))
  expect_true(wait_for("started", 60))
  Sys.sleep(1.5)
  sent <- Sys.time()
  tools::pskill(as.integer(readLines(file.path(folder, "pid"))), tools::SIGINT)
  if (!wait_for("result.rds", 60)) fail(paste(readLines(file.path(folder, "out.txt")), collapse = "\n"))
  result <- readRDS(file.path(folder, "result.rds"))
  expect_identical(result$class, c("bcnmf_interrupted", "interrupt", "condition"))
  expect_s4_class(result$fit, "bcnmf")
  expect_true(methods::validObject(result$fit))
  expect_true(result$fit$interrupted)
  expect_false(result$fit$converged)
  expect_same_model(result$kept, result$fit)
  # the fit goes on where it was: no sweep is lost, the objective goes on falling
  expect_identical(result$more$iterations, result$fit$iterations + 2)
  expect_lt(result$more$divergence[["objective"]], result$fit$divergence[["objective"]])
})

test_that("interrupted_fit() is NULL when nothing was interrupted", {
  withr::defer(the$interrupted <- kept)
  kept <- the$interrupted
  the$interrupted <- NULL
  expect_null(interrupted_fit())
})

test_that("an interrupt carries the fit and is not an error", {
  withr::defer(the$interrupted <- kept)
  kept <- the$interrupted
  fit <- fake_fit()
  got <- suppressMessages(tryCatch(signal_interrupted(fit), error = function(e) "error", interrupt = function(c) c))
  expect_s3_class(got, "bcnmf_interrupted")
  expect_identical(got$fit, fit)
  expect_identical(interrupted_fit(), fit)
})

test_that("a progress bar is shown when asked for and changes nothing", {
  sim <- small_sim()
  quiet <- bcnmf(sim$target, k = 2, maxit = 5, verbose = FALSE)
  withr::local_options(cli.progress_show_after = 0, cli.progress_clear = FALSE, cli.dynamic = FALSE, cli.ansi = FALSE)
  loud <- suppressMessages(bcnmf(sim$target, k = 2, maxit = 5, verbose = TRUE, seed = 1))
  expect_same_model(loud, quiet)
  state <- list(finished = 1, starts = 3, iteration = 7, change = 1e-3)
  expect_identical(progress_status(state), "1 of 3 starts done, sweep 7, change 1.0e-03")
  expect_identical(progress_status(utils::modifyList(state, list(starts = 1))), "sweep 7, change 1.0e-03")
})

test_that("an option that is no flag is refused by its argument's name", {
  withr::local_options(bcnmf.verbose = "yes")
  expect_bcnmf_error(bcnmf(small_sim()$target, k = 2, maxit = 2), "TRUE or FALSE", "verbose")
})

test_that("forked children can fit", {
  skip_on_os("windows")
  skip_on_cran()
  sim <- small_sim()
  here <- bcnmf(sim$target, k = 2, maxit = 5, threads = 2)
  forked <- parallel::mclapply(1:2, function(i) bcnmf(sim$target, k = 2, maxit = 5, threads = 2), mc.cores = 2)
  for (fit in forked) expect_same_model(fit, here)
})
