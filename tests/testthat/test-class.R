test_that("a valid model passes, also with one factor, without background and without names", {
  expect_s4_class(fake_fit(), "bcnmf")
  expect_s4_class(fake_fit(k = 1), "bcnmf")
  expect_s4_class(fake_fit(l = 0), "bcnmf")
  expect_s4_class(fake_fit(k_target = 1), "bcnmf")
  expect_s4_class(fake_fit(m = 1, n = 1, l = 1, k = 1, names = FALSE), "bcnmf")
  # cell names need not be unique: they may be labels of groups
  fit <- fake_fit(n = 4)
  colnames(fit@h) <- c("a", "a", "b", "b")
  expect_true(validObject(fit))
})

test_that("the class refuses parts that do not fit together", {
  broken <- function(slot, value) {
    fit <- fake_fit()
    methods::slot(fit, slot) <- value(methods::slot(fit, slot))
    validObject(fit)
  }
  expect_error(broken("d", function(d) d[1:2]), "d must have one value per column of w")
  expect_error(broken("h", function(h) h[1:2, ]), "h must have one row")
  expect_error(broken("h_background", function(h) h[1:2, ]), "h_background must have one row")
  expect_error(broken("d_background", function(d) numeric()), "d_background must have one value")
  expect_error(broken("target_only", function(t) t[-1]), "target_only must be")
  expect_error(broken("w", function(w) unname(w)), "unique names")
  expect_error(broken("d", unname), "factor names of d differ")
  expect_error(broken("h", function(h) replace(h, 1, NaN)), "h must hold finite")
  expect_error(broken("w", function(w) replace(w, 1, -1)), "w must hold finite, non-negative")
  expect_error(broken("d", function(d) replace(d, 1, Inf)), "d must hold finite")
  expect_error(broken("alpha", function(a) c(a, a)), "alpha must be of length 1")
  expect_error(broken("divergence", unname), "divergence must be named")
  expect_error(broken("history", function(h) h["iteration"]), "history lacks target")
  expect_error(broken("restarts", function(r) r["start"]), "restarts lacks objective")
  expect_error(broken("target_only", function(t) replace(t, 1, TRUE)), "zero rows in h_background")
})

test_that("$ finds slots and entries of misc, and names what exists otherwise", {
  fit <- fake_fit()
  expect_identical(fit$w, fit@w)
  expect_identical(fit$tol, 1e-4)
  expect_true(all(c("w", "h_background", "misc", "tol") %in% names(fit)))
  expect_bcnmf_error(fit$W, "h_background")
  expect_true("h_background" %in% utils::.DollarNames(fit, "^h"))
  expect_false("w" %in% utils::.DollarNames(fit, "^h"))
})

test_that("a model survives saveRDS", {
  fit <- fake_fit()
  file <- withr::local_tempfile(fileext = ".rds")
  saveRDS(fit, file)
  expect_identical(readRDS(file), fit)
})

test_that("printing says what was fitted and how it ended", {
  local_reproducible_output(width = 80)
  expect_snapshot(fake_fit())
  expect_snapshot(fake_fit(k = 1, l = 0))
  expect_snapshot(fake_fit(k = 12, loss = "poisson", k_target = 1, starts = 4))
  expect_snapshot(fake_fit(k_target = 1))
  expect_snapshot(fake_fit()[1:2])
  unfinished <- fake_fit(l = 0)
  unfinished@misc$converged <- FALSE
  unfinished@misc$interrupted <- TRUE
  expect_output(show(unfinished), "interrupted after 40 sweeps")
  # a table of AUCs that would take seconds is not computed for a print
  expect_false(any(grepl("AUC", show_factors(fake_fit(), 10, auc_limit = 10))))
})

test_that("printing counts one of a kind as one", {
  header <- function(...) show_header(fake_fit(...))
  expect_identical(header(m = 1, n = 1, l = 0, k = 1)[1], "<bcnmf> 1 feature x 1 cell")
  expect_identical(header(n = 1, l = 1)[1], "<bcnmf> 20 features x 1 target + 1 background cell")
  one <- fake_fit(k = 1, sweeps = 1)
  expect_identical(show_header(one)[2:3], c("k = 1 factor, loss mse, alpha = 0.3 (beta = 0.15)", "converged after 1 sweep"))
  one@misc$batch_size <- 10
  expect_identical(show_ending(one), "converged after 1 pass in batches of 10")
  one@misc$consensus <- 3
  expect_identical(show_ending(one), "consensus of 3 fits, then 1 sweep")
  one@misc$modality <- factor(rep(c("rna", "protein"), c(19, 1)), levels = c("rna", "protein"))
  expect_match(show_missing(one), "rna (19 features), protein (1 feature)", fixed = TRUE, all = FALSE)
})

test_that("divergences are printed in one format", {
  printed <- function(...) {
    fit <- fake_fit()
    fit@divergence[] <- c(...)
    show_divergence(fit)
  }
  expect_identical(printed(399999.7, 331831.2, 1e5), "divergence: target 400000, background 331831, objective 100000")
  expect_identical(printed(999999999, 3.14159, -0.0123456), "divergence: target 999999999, background 3.142, objective -0.01235")
  expect_identical(printed(502.94, 87.3, 0), "divergence: target 502.9, background 87.30, objective 0.000")
  expect_identical(printed(4e9, 331831.2, -1), "divergence: target 4.000e+09, background 3.318e+05, objective -1.000e+00")
  expect_identical(printed(6.914e-6, 1, 1), "divergence: target 6.914e-06, background 1.000e+00, objective 1.000e+00")
})

test_that("refusals carry class, argument and value, and describe the value", {
  f <- function(x) check_number(x, min = 0, max = 1)
  error <- expect_bcnmf_error(f(2), "`x` must be one finite number between 0 and 1, not 2", arg = "x")
  expect_identical(error$value, 2)
  expect_identical(as.character(error$call[[1]]), "f")
  expect_identical(f(1L), 1)
  expect_bcnmf_error(f(NA_real_), "not NA")
  expect_bcnmf_error(f("0.5"), "not \"0.5\"")
  expect_bcnmf_error(f(NULL), "not NULL")
  expect_bcnmf_error(f(c(0, 1)), "a numeric vector of length 2 \\(0, 1\\)")
  expect_bcnmf_error(f(matrix(0, 1, 1)), "a matrix of 1 x 1")
  expect_bcnmf_error(f(Inf), "not Inf")
  expect_bcnmf_error(f(NaN), "not NaN")
  expect_bcnmf_error(f(list(1)), "a list of length 1")
  expect_bcnmf_error(f(function() 1), "class function")
  expect_bcnmf_error(f(factor("1")), "not \"1\"")

  expect_identical(check_count(3), 3L)
  expect_bcnmf_error(check_count(2.7), "one whole number of at least 1, not 2.7")
  expect_bcnmf_error(check_count(0), "at least 1, not 0")
  expect_bcnmf_error(check_count("5"), "not \"5\"")
  expect_bcnmf_error(check_count(TRUE), "not TRUE")
  expect_bcnmf_error(check_count(3e9), "between 1 and 2147483647")
  expect_null(check_count(NULL, null_ok = TRUE))

  expect_true(check_flag(TRUE))
  expect_bcnmf_error(check_flag(NA), "TRUE or FALSE, not NA")
  expect_bcnmf_error(check_flag(1), "TRUE or FALSE, not 1")

  loss <- "mse"
  expect_identical(check_choice(loss, c("mse", "poisson")), "mse")
  expect_identical(check_choice(c("a", "b"), c("a", "b")), "a")
  expect_bcnmf_error(check_choice("ms", "mse"), "must be \"mse\", not \"ms\"")
  loss <- "{nope}"
  expect_bcnmf_error(check_choice(loss, c("mse", "poisson", "nb")),
    "`loss` must be one of \"mse\", \"poisson\" or \"nb\", not \"\\{nope\\}\"",
    arg = "loss"
  )
  expect_bcnmf_error(check_choice(NA_character_, "mse"), "not NA")

  expect_bcnmf_error(contrast(list()), "a model made by bcnmf\\(\\), not an empty list", arg = "fit")
  expect_bcnmf_error(summary(fake_fit(), groupby = 1), "Unknown argument `groupby`")
  expect_bcnmf_error(plot(fake_fit(), "convergence", NULL, NULL, 3), "Unknown argument `3`")
})

test_that("long and many values are cut in messages", {
  expect_identical(describe_value(1:10), "a numeric vector of length 10 (1, 2, 3, ...)")
  expect_identical(describe_value(c("a", NA)), "a character vector of length 2 (\"a\", NA)")
  expect_lt(nchar(describe_value(strrep("a", 1000))), 60)
  expect_identical(describe_value(character()), "an empty character vector")
})
