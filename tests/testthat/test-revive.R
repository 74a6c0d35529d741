planted <- function() simulate_contrast(120, n_target = 250, n_background = 150, k_shared = 4, k_target = 0, depth = 1500, seed = 1)

test_that("dead and duplicate starting factors are started anew", {
  sim <- planted()
  withr::local_seed(2)
  w <- matrix(stats::runif(120 * 4), 120)
  zero <- w
  zero[, 2] <- 0
  equal <- w[, c(1, 1, 3, 1)]
  for (loss in c("mse", "poisson")) {
    usual <- bcnmf(sim$target, k = 4, loss = loss, seed = 1:3)
    expect_identical(usual$restarts$revived, c(0, 0, 0))
    expect_silent(fit <- bcnmf(sim$target, k = 4, loss = loss, init = list(zero, equal)))
    # coordinate descent (mse) parts equal columns by itself
    expect_true(all(fit$restarts$revived >= if (loss == "mse") c(1, 0) else c(1, 2)))
    expect_true(all(fit$restarts$objective < 1.01 * max(usual$restarts$objective)))
    expect_true(all(best_cosine(fit$w, sim$w) > 0.95))
    expect_identical(fit$dead, character())
    expect_length(fit$duplicates, 0)
  }
})

test_that("factors that stay dead or double are warned about, listed and printed", {
  sim <- planted()
  w <- sim$w
  w[, 2] <- 0
  w[, 4] <- w[, 3]
  # too few sweeps to start any anew
  expect_warning(
    expect_warning(fit <- bcnmf(sim$target, k = 4, init = w, maxit = 4, steps = 1), "factors that do nothing.*dead.*bcnmf4.*duplicate", class = "bcnmf_warning"),
    NA
  )
  expect_identical(fit$dead, "bcnmf4")
  expect_length(fit$duplicates, 1)
  twins <- c(names(fit$duplicates), fit$duplicates)
  expect_equal(fit$w[, twins[1]], fit$w[, twins[2]], tolerance = 1e-6)
  expect_identical(rank(fit$d[twins])[[1]] <= 1.5, TRUE)
  printed <- utils::capture.output(fit)
  expect_true(any(grepl("dead, without a part of the target: bcnmf4", printed, fixed = TRUE)))
  expect_true(any(grepl(sprintf("duplicate, with the loadings of another: %s of %s", twins[1], twins[2]), printed, fixed = TRUE)))
  # the notes go with the factors
  part <- fit[c("bcnmf4", twins[2])]
  expect_identical(part$dead, "bcnmf4")
  expect_length(part$duplicates, 0)
  # a shared and a target-only factor are not each other's duplicates
  expect_identical(degenerate_factors(fit_of_uses(w[, c(1, 1)] + 1e-3, matrix(1, 2, 5), k_target = 1))$duplicates, stats::setNames(character(), character()))
})

test_that("ordinary models print nothing of it", {
  fit <- fake_fit()
  expect_length(degenerate_lines(degenerate_factors(fit)), 0)
  expect_false(any(grepl("dead|duplicate", utils::capture.output(fit))))
})
