two_own <- function(...) simulate_contrast(150, 250, 200, k_shared = 3, k_target = 2, share = 0.2, depth = 800, seed = 1, ...)

tried <- function(target, background, k = 5, ..., loss = "poisson", maxit = 40) {
  select_k_target(target, background, k = k, loss = loss, maxit = maxit, threads = 2, verbose = FALSE, ...)
}

chosen <- function(x) x$k_target[x$selected]

test_that("the planted number of target-only programs is found, with both losses", {
  sim <- two_own()
  for (loss in c("mse", "poisson")) {
    found <- tried(sim$target, sim$background, loss = loss)
    expect_s3_class(found, c("bcnmf_k_targets", "data.frame"), exact = TRUE)
    expect_named(found, c("k_target", "loss", "se", "excess", "excess_se", "best", "selected"))
    expect_identical(chosen(found), 2L)
    # one beyond the best that is as bad as that is enough
    expect_identical(found$k_target, 0:3)
    # the background cannot spare a third factor, and that is no matter of the mask
    expect_gt(found$excess[4], 0.1)
    expect_gt(found$excess[4], 5 * found$excess_se[4])
    expect_gt(attr(found, "shared"), 0.2)
    expect_match(attr(found, "verdict"), "2 of 5 factors for the target alone")
    expect_output(print(found), "shared 0\\.[0-9]+\n2 of 5 factors")
  }
})

test_that("no factor is closed to shuffled cells, by too few factors, or to another kind of cells", {
  sim <- two_own()
  cells <- cbind(sim$target, sim$background)[, order(rs_uniform(5, 450))]
  expect_identical(chosen(tried(cells[, 1:250], cells[, 251:450])), 0L)
  few <- tried(sim$target, sim$background, k = 2)
  expect_identical(chosen(few), 0L)
  expect_match(attr(few, "verdict"), "does not help to predict")
  other <- simulate_contrast(150, 10, 200, k_shared = 5, k_target = 0, depth = 800, seed = 99)
  unmatched <- tried(sim$target, other$background)
  expect_lt(attr(unmatched, "shared"), 0)
  expect_identical(chosen(unmatched), 0L)
  expect_match(attr(unmatched, "verdict"), "nothing is shared")
  expect_identical(chosen(tried(sim$target, other$background, k_target = 1:2)), integer())
})

test_that("a few cells full of one feature do not decide", {
  sim <- two_own()
  # as red cells among others: 1 % of the cells have most of their counts in one feature, which is a program more that both sets have
  red <- function(x, n) {
    x[7, seq_len(n)] <- 2000 + 100 * seq_len(n)
    x
  }
  for (n in list(c(1, 1), c(3, 2), c(5, 4))) {
    expect_identical(chosen(tried(red(sim$target, n[1]), red(sim$background, n[2]), k = 6)), 2L)
  }
})

test_that("a weak program stays, though cells without it seem to use half as much of it", {
  # 1 % of the counts each
  sim <- simulate_contrast(500, n_target = 1000, n_background = 500, share = 0.02, depth = 3000, seed = 9)
  expect_identical(chosen(select_k_target(sim$target, sim$background, k = 8, loss = "poisson")), 2L)
})

test_that("at low depth more cells are looked at, and weak gains count where all else speaks for them", {
  # 0.2 counts an entry
  sim <- simulate_contrast(2000, 2000, 1000, share = 0.05, depth = 400, seed = 11)
  expect_identical(chosen(select_k_target(sim$target, sim$background, k = 8, loss = "poisson", verbose = FALSE)), 2L)
  # two factors more than there are programs learn noise, and less of it when they are closed
  none <- simulate_contrast(2000, 2000, 1000, k_shared = 8, k_target = 0, depth = 400, seed = 2)
  found <- select_k_target(none$target, none$background, k = 10, k_target = 0:2, loss = "poisson", verbose = FALSE)
  expect_lt(found$loss[3], found$loss[1])
  expect_identical(chosen(found), 0L)
})

test_that("as many cells are compared as say enough, dense or sparse", {
  few <- simulate_contrast(200, 3000, 0, depth = 20, k_shared = 2, k_target = 0, seed = 1)$target
  all <- enough_cells(few)
  expect_identical(all, ncol(few) + 0)
  expect_identical(enough_cells(as.matrix(few)), all)
  expect_identical(enough_cells(few[, 1:10]), 1000)
  full <- matrix(1, 200, 3000)
  expect_identical(enough_cells(full), 2500)
  full[1:100, ] <- NA
  expect_identical(enough_cells(full), 3000)
  expect_identical(enough_cells(matrix(1, 1000, 2000)), 1000)
  expect_identical(enough_cells(full * 0), 3000)
  expect_identical(vapply(cells_to_compare(full, full[, 1:50], 4, most = 60), ncol, 0L), c(x = 60L, y = 50L))
})

test_that("the mean cell is that of the cells' weights, if all entries are known", {
  x <- matrix(c(1, 2, 3, 5), 2)
  expect_equal(mean_cell(x), matrix(c(2, 3.5)))
  expect_equal(mean_cell(methods::as(x, "CsparseMatrix")), matrix(c(2, 3.5)))
  weighted <- mean_cell(weigh_data(x, c(1, 4), c(3, 1)))
  expect_equal(weighted$matrix, matrix(c(1.5, 2.75)))
  expect_identical(weighted$features, c(1, 4))
  expect_null(mean_cell(weigh_data(x, NULL, c(0, 0))))
  expect_null(mean_cell(bcnmf_data(x, "nan")))
})

test_that("one factor, one mask, few cells, numbers that are given", {
  sim <- two_own()
  one <- tried(sim$target, sim$background, k = 1)
  expect_identical(one$k_target, 0L)
  expect_match(attr(one, "verdict"), "nothing else was compared")
  expect_identical(attr(one, "shared"), NA_real_)
  given <- tried(sim$target, sim$background, k_target = c(3, 1, 1), masks = 1, most = 50)
  expect_identical(given$k_target, c(1L, 3L))
  expect_true(all(is.na(given$excess_se)))
  expect_identical(given$best, given$selected)
})

test_that("as many as the background leaves alone are closed, if that costs nothing", {
  table <- loss_table(rbind(c(1, 1.5, 1.001, 3), c(1, 1.5, 1.001, 3)), 0:3, "k_target")
  expect_identical(fewest_closed(table, 0, 0), 0L)
  expect_identical(fewest_closed(table, 1, 0.002), 2L)
  expect_identical(fewest_closed(table, 2, 0.002), 2L)
  expect_identical(fewest_closed(table, 2, 0), 0L)
  expect_identical(fewest_closed(table, 3, 0.002), 2L)
  expect_identical(fewest_closed(table, NA, 0.002), 0L)
  factors <- list(h = rbind(c(1, 3), c(2, 2)), h_background = rbind(c(0, 0, 0), c(5, 1, 2)))
  expect_equal(background_use(factors), c(0, 2))
  sim <- two_own()
  expect_identical(attr(tried(sim$target, sim$background), "unused"), 2L)
  expect_identical(attr(tried(sim$target, sim$background, k_target = 1), "unused"), NA_integer_)
})

test_that("the same bits every time, and R's random numbers are not touched", {
  sim <- small_sim()
  set.seed(5)
  before <- .Random.seed
  a <- tried(sim$target, sim$background, k = 3)
  expect_identical(.Random.seed, before)
  expect_identical(select_k_target(sim$target, sim$background, 3, loss = "poisson", maxit = 40, threads = 1, verbose = FALSE), a)
})

test_that("without a word on the contrast bcnmf() takes the selected number", {
  sim <- two_own()
  fit <- function(...) bcnmf(sim$target, sim$background, k = 5, loss = "poisson", maxit = 30, ...)
  expect_message(auto <- fit(), "k_target = 2: 2 of 5 factors", class = "bcnmf_message")
  expect_identical(auto$k_targets, select_k_target(sim$target, sim$background, 5, loss = "poisson", verbose = FALSE))
  expect_identical(sum(auto$target_only), 2L)
  expect_identical(auto$init, "nndsvd")
  expect_same_model(auto, fit(k_target = 2))
  expect_no_message(again <- fit(k_target = "auto", seed = 2, verbose = FALSE, init = "random"))
  expect_identical(again$k_targets, auto$k_targets)
  expect_identical(again$init, "random")
  expect_identical(fit(k_target = "auto", lambda = 3, verbose = FALSE)$lambda, 3)
  # what is continued is not judged again
  expect_no_message(more <- fit(init = auto))
  expect_identical(sum(more$target_only), 2L)
  expect_identical(more$k_targets, auto$k_targets)
  expect_null(fit(init = auto, beta = 0.1)$misc$k_targets)
})

test_that("where no factor is the target's alone, a strength is looked for, unless nothing is shared", {
  sim <- two_own()
  cells <- cbind(sim$target, sim$background)[, order(rs_uniform(5, 450))]
  fit <- function(y, ...) bcnmf(cells[, 1:250], y, k = 5, loss = "poisson", maxit = 20, verbose = FALSE, ...)
  none <- fit(cells[, 251:450])
  expect_identical(chosen(none$k_targets), 0L)
  expect_false(any(none$target_only))
  expect_s3_class(none$alpha_path, "bcnmf_alpha_path")
  expect_identical(none$beta, none$alpha_path$beta[none$alpha_path$selected])
  # 0 is a word
  asked <- fit(cells[, 251:450], k_target = 0)
  expect_false("k_targets" %in% names(asked))
  expect_same_model(asked, none)
  other <- simulate_contrast(150, 10, 200, k_shared = 5, k_target = 0, depth = 800, seed = 99)
  unmatched <- fit(other$background)
  expect_false("alpha_path" %in% names(unmatched))
  expect_identical(unmatched$alpha, 0)
  plain <- bcnmf(cells[, 1:250], k = 5, loss = "poisson", maxit = 20, verbose = FALSE)
  expect_identical(unmatched$w, plain$w)
})

test_that("data that cannot be judged are fitted, and that is said", {
  x <- matrix(c(1e-90, 1e90, 1, 3, 2, 1), 2)
  suppressWarnings(expect_warning(fit <- bcnmf(x, x, k = 2, maxit = 3, verbose = FALSE), "could not be chosen|do nothing|left the finite"))
  expect_true(methods::validObject(fit))
  expect_identical(bcnmf(matrix(1, 1, 1), matrix(1, 1, 1), k = 1, maxit = 2, verbose = FALSE)$w[[1]], 1)
})

test_that("a time limit ends the call, and not only the choice", {
  expect_error(judged(stop("reached elapsed time limit")), "elapsed time limit")
  expect_warning(nothing <- judged(abort_bcnmf("odd data")), "could not be chosen.*odd data", class = "bcnmf_warning")
  expect_null(nothing)
})

test_that("weak programs of the target, which the background seems to use a little, stay the target's", {
  sim <- simulate_contrast(500, 1000, 500, share = 0.02, depth = 3000, seed = 5)
  found <- select_k_target(sim$target, sim$background, k = 8, loss = "poisson")
  expect_identical(found$k_target[found$selected], 2L)
})

test_that("two halves of one kind of cells have no factors of their own", {
  cells <- real_data("pbmc_stim")
  common <- order(-Matrix::rowSums(cells$stim) - Matrix::rowSums(cells$ctrl))[1:600]
  counts <- cells$ctrl[common, ]
  # halves in which one start or another is better by chance
  closed <- vapply(c(4, 7, 8), function(seed) {
    order <- withr::with_seed(seed, sample(ncol(counts), 1000))
    found <- select_k_target(counts[, order[1:500]], counts[, order[501:1000]], k = 10, loss = "poisson")
    found$k_target[found$selected]
  }, 0)
  expect_identical(closed, c(0, 0, 0))
})

test_that("bad data are refused before anything is judged", {
  x <- small_sim()$target
  bad <- as.matrix(x)
  bad[3, 2] <- NA
  expect_no_warning(expect_bcnmf_error(bcnmf(x, bad, k = 3), "background"))
})

test_that("numbers of target-only factors are drawn", {
  losses <- rbind(c(4, 3.8, 3.5, 5), c(4.1, 3.9, 3.7, 5), c(3.9, 3.7, 3.5, 5.2))
  table <- structure(loss_table(losses, 0:3, "k_target"), class = c("bcnmf_k_targets", "data.frame"), verdict = "2 of 8 factors", shared = 0.5)
  expect_drawn("k_targets", plot(table))
  expect_drawn("k_targets without verdict", plot(table[2:4, ]))
})

test_that("mistakes are refused", {
  sim <- small_sim()
  x <- sim$target
  y <- sim$background
  refused <- function(message, arg, ...) expect_bcnmf_error(tried(x, y, ...), message, arg = arg)
  refused("less than `k` = 3", "k_target", k = 3, k_target = 0:3)
  refused("whole numbers of at least 0", "k_target", k = 3, k_target = -1)
  refused("smaller side is", "k", k = 1000)
  refused("at least 5", "most", most = 2)
  refused("at least 1, not 0", "masks", masks = 0)
  refused("one whole number", "seed", seed = 1:2)
  expect_bcnmf_error(select_k_target(x, y), "number of factors, is missing", arg = "k")
  expect_bcnmf_error(select_k_target(x, k = 2), "`background` is missing: target-only factors need both sets", arg = "background")
  expect_bcnmf_error(select_k_target(background = y, k = 2), "`target` is missing", arg = "target")
  expect_bcnmf_error(bcnmf(x, k = 3, k_target = "auto"), "needs a `background`", arg = "k_target")
  expect_bcnmf_error(bcnmf(x, y, k = 3, k_target = "auto", alpha = 1), "two different ways", arg = "alpha")
  expect_bcnmf_error(bcnmf(x, y, k = 3, k_target = "all"), "whole number", arg = "k_target")
  for (init in c("svd", "auto")) expect_bcnmf_error(bcnmf(x, y, k = 3, init = init), "nndsvd", arg = "init")
})

test_that("where k is found too, a factor of the target's own is added that predicts better", {
  sim <- two_own()
  settings <- list(loss = "poisson", tolerance = 0.002, masks = 2L, maxit = 30L, seed = 1, threads = 2)
  grown <- function(sim, k) {
    found <- find_k_target(sim$target, sim$background, k, NULL, settings, FALSE, NULL)
    grow_target_only(sim$target, sim$background, found, settings, FALSE, NULL)
  }
  short <- grown(sim, 4L)
  expect_identical(c(attr(short, "k"), chosen(short)), c(5L, 2L))
  expect_match(attr(short, "verdict"), "2 of 5")
  # a missing shared factor is not made up for by factors of the target's own
  none <- simulate_contrast(150, 250, 200, k_shared = 4, k_target = 0, depth = 800, seed = 1)
  for (k in 3:4) expect_identical(attr(grown(none, k), "k"), k)
  fit <- bcnmf(sim$target, sim$background, k = "auto", loss = "poisson", maxit = 20, verbose = FALSE) |> suppressMessages()
  expect_gte(ncol(fit$w), fit$ranks$k[fit$ranks$selected])
  expect_identical(ncol(fit$w), attr(fit$k_targets, "k"))
  expect_identical(sum(fit$target_only), chosen(fit$k_targets))
  expect_same_model(fit, bcnmf(sim$target, sim$background, k = ncol(fit$w), k_target = sum(fit$target_only), loss = "poisson", maxit = 20, verbose = FALSE))
})

test_that("what the background leaves alone is closed, however slow a start of its own is", {
  # by random numbers one in twenty such data sets: both programs are seen at once without closing, and after thirty sweeps not yet with it
  sim <- simulate_contrast(500, 1000, 500, share = 0.15, depth = 3000, seed = 18)
  found <- select_k_target(sim$target, sim$background, 8, 0:2, loss = "poisson", threads = 2, verbose = FALSE)
  expect_identical(attr(found, "unused"), 2L)
  expect_identical(chosen(found), 2L)
  factors <- list(w = matrix(1:6, 2), h = diag(3), h_background = diag(c(1, 0, 5)))
  expect_identical(least_used_last(factors), list(w = matrix(c(5L, 6L, 1:4), 2), h = diag(3)[c(3, 1, 2), ], h_background = diag(c(1, 0, 5))[c(3, 1, 2), ]))
})

test_that("what only closing the factors of a free fit finds is not left to a fit that starts elsewhere", {
  sim <- simulate_contrast(500, 1000, 100, share = 0.05, depth = 3000, seed = 2)
  found <- select_k_target(sim$target, sim$background, k = 8, loss = "poisson")
  expect_identical(chosen(found), 2L)
  fit <- bcnmf(sim$target, sim$background, k = 8, k_target = chosen(found), loss = "poisson", maxit = 100, verbose = FALSE) |> suppressWarnings()
  expect_true(all(apply(cosine(fit$w[, fit$target_only], sim$w[, c("target1", "target2")]), 2, max) > 0.95))
})
