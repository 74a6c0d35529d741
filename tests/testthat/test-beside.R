# Six shared and two target-only programs.
eight <- function(seed = 2, ...) simulate_contrast(300, 500, 300, share = 0.06, depth = 2000, seed = seed, ...)
few <- function(sim, ..., k = 4, verbose = FALSE) bcnmf(sim$target, sim$background, k = k, loss = "poisson", verbose = verbose, maxit = 60, tol = 1e-6, ...) |> suppressWarnings()
own_programs <- function(fit, sim) apply(cosine(fit$w, sim$w[, c("target1", "target2")]), 2, max)
held_loadings <- function(fit) unname(fit$w[, fit$held, drop = FALSE])

test_that("programs of the target's own do not depend on how many factors there are for what is shared", {
  sim <- eight()
  expect_message(fit <- few(sim, verbose = NULL), "k_target = 2: 2 of 8 factors.*; 4 are too few .* held as a fit with 8 has them", class = "bcnmf_message")
  expect_identical(sum(fit$target_only), 2L)
  expect_identical(names(fit$target_only)[fit$target_only], fit$held)
  expect_identical(fit$beside, 8L)
  expect_identical(attr(fit$k_targets, "k"), 8L)
  expect_true(all(own_programs(fit, sim) > 0.95))
  # that of a fit with enough
  wide <- few(sim, k = 8, k_target = 2)
  expect_equal(held_loadings(fit), unname(wide$w[, wide$target_only]), tolerance = 1e-6)
  expect_null(wide$misc$held)
  # the cells' use of them as well, nearly
  expect_gt(min(diag(stats::cor(t(fit$h[fit$held, ]), t(wide$h[wide$target_only, ])))), 0.85)
  expect_output(print(fit), sprintf("held: %s, %s, from a fit with 8 factors", fit$held[1], fit$held[2]))
  # the user's number alone would have mixed them
  expect_true(all(own_programs(few(sim, k_target = 2), sim) < 0.6))
})

test_that("one more factor is enough where one is missing", {
  sim <- simulate_contrast(300, 500, 300, k_shared = 6, k_target = 1, share = 0.05, depth = 2000, seed = 1)
  fit <- few(sim, k = 6)
  expect_identical(fit$beside, 7L)
  expect_gt(max(cosine(held_loadings(fit), sim$w[, "target1", drop = FALSE])), 0.95)
})

test_that("factors are told to be too few at any depth", {
  sim <- simulate_contrast(1500, 600, 400, share = 0.05, depth = 300, seed = 1)
  settings <- list(loss = "poisson", tolerance = 0.002, masks = 2L, maxit = 30L, seed = 1, threads = 2)
  enough <- function(k) {
    found <- find_k_target(sim$target, sim$background, k, 0L, settings, FALSE, NULL)
    attr(double_factors(sim$target, sim$background, found, settings, FALSE, NULL), "k")
  }
  expect_identical(enough(4L), 8L)
  expect_identical(enough(8L), 8L)
})

test_that("programs are found where the factors are as many as the shared ones, and with other losses and data", {
  sim <- eight()
  six <- few(sim, k = 6)
  expect_identical(six$beside, 8L)
  expect_true(all(own_programs(six, sim) > 0.95))
  x <- as.matrix(sim$target)
  x[rs_uniform(1, length(x)) < 0.1] <- NA
  for (fit in list(
    bcnmf(sim$target, sim$background, k = 4, loss = "nb", maxit = 10, verbose = FALSE),
    bcnmf(x, sim$background, k = 4, loss = "poisson", mask = "NA", weights = list(cells = rep(1:2, 250)), maxit = 10, verbose = FALSE)
  )) {
    expect_identical(names(fit$target_only)[fit$target_only], fit$held)
    expect_true(all(own_programs(fit, sim) > 0.9))
  }
})

test_that("every seed, start, pass and continuation holds the same", {
  sim <- eight()
  fit <- few(sim)
  expect_length(fit$held, 2)
  for (other in list(few(sim, seed = 5), few(sim, seed = 3, init = "random"), few(sim, batch_size = 100), few(sim, seed = 1:2), few(sim, precision = "double"))) {
    expect_equal(own_programs(other, sim), own_programs(fit, sim), tolerance = if (is.null(other$misc$batch_size)) 1e-3 else 0.05)
    expect_length(other$held, 2)
  }
  same <- few(sim, seed = 5)
  expect_identical(held_loadings(same), held_loadings(fit))
  expect_identical(few(sim, init = "random", seed = 3)$init, "random")
  more <- bcnmf(sim$target, sim$background, init = fit, maxit = 5) |> suppressWarnings()
  expect_identical(more$beside, fit$beside)
  expect_equal(held_loadings(more), held_loadings(fit), tolerance = 1e-6)
  # a contrast of another kind, or another number, has its own factors
  expect_null(bcnmf(sim$target, sim$background, init = fit, k_target = 1, maxit = 2)$misc$held |> suppressWarnings())
  expect_null(bcnmf(sim$target, sim$background, init = fit, alpha = 0.1, maxit = 2)$misc$held |> suppressWarnings())
})

test_that("a consensus holds what its fits hold, and parts of a model say what is left", {
  sim <- eight(3)
  fits <- lapply(1:3, function(seed) few(sim, seed = seed, init = "random"))
  found <- consensus(fits, sim$target, sim$background, verbose = FALSE)
  expect_identical(found$model$held, names(which(found$model$target_only)))
  expect_equal(own_programs(found$model, sim), own_programs(fits[[1]], sim), tolerance = 1e-5)
  # one that holds nothing frees them
  fits[[2]]@misc$held <- NULL
  expect_null(consensus(fits, sim$target, sim$background, verbose = FALSE)$model$misc$held)
  one <- fits[[1]][fits[[1]]$held[2]]
  expect_output(print(one), sprintf("held: %s, from", fits[[1]]$held[2]))
  none <- fits[[1]][!fits[[1]]$target_only]
  expect_false(any(grepl("held", utils::capture.output(print(none)))))
})

test_that("who says how many, where to start, or has room for fewer, is not overruled", {
  sim <- eight()
  expect_null(few(sim, k_target = 1)$misc$held)
  expect_null(few(sim, k_target = 0)$misc$held)
  start <- matrix(rs_uniform(1, 300 * 4), 300)
  expect_null(few(sim, init = start)$misc$held)
  # both of two factors would be the target's own
  two <- few(sim, k = 2)
  expect_null(two$misc$held)
  expect_identical(attr(two$k_targets, "k"), 2L)
})

test_that("two halves of one kind of cells have nothing to hold", {
  sim <- simulate_contrast(300, 800, 10, k_shared = 8, k_target = 0, depth = 2000, seed = 4)
  odd <- seq(1, 800, 2)
  fit <- bcnmf(sim$target[, odd], sim$target[, -odd], k = 4, loss = "poisson", maxit = 20, verbose = FALSE)
  expect_null(fit$misc$held)
  expect_false(any(fit$target_only))
})

test_that("what is held stays out of reach of empty and dead features", {
  sim <- eight()
  x <- sim$target
  x[1:5, ] <- 0
  y <- sim$background
  y[1:5, ] <- 0
  fit <- bcnmf(x, y, k = 4, loss = "poisson", verbose = FALSE, maxit = 40) |> suppressWarnings()
  expect_length(fit$held, 2)
  expect_true(all(fit$w[1:5, ] == 0))
  expect_true(methods::validObject(fit))
})
