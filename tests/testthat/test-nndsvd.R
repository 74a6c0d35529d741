starts_of <- function(x, k, loss = "mse", y = NULL, k_target = 0, seed = 1) {
  data <- list(
    weight = if (k_target > 0) 1 else -0.1, feature_mean = Matrix::rowMeans(x),
    feature_mean_background = if (!is.null(y)) Matrix::rowMeans(y)
  )
  nndsvd_starts(x, y, list(k = k, loss = loss, k_target = k_target, seed = seed), data)
}

# Counts of programs without a feature in common, of different size.
disjoint <- function(k = 3, m = 20, n = 15) {
  withr::local_seed(1)
  w <- kronecker(diag(k), matrix(1, m, 1)) * ceiling(5 * stats::rexp(m * k))
  h <- kronecker(diag(k), matrix(1, 1, n)) * ceiling(3 * stats::rexp(n * k)) * (k:1 * 2)
  list(x = w %*% h, w = w)
}

test_that("leading_vectors() finds the singular vectors", {
  withr::local_seed(3)
  x <- matrix(stats::rexp(40 * 30), 40) %*% diag(0.8^(1:30))
  truth <- svd(x)
  found <- leading_vectors(x, rep(1, 40), 4, NULL)
  expect_equal(abs(colSums(found$u * truth$u[, 1:4])), rep(1, 4), tolerance = 1e-6)
  expect_equal(abs(colSums(found$v * truth$v[, 1:4])), rep(1, 4), tolerance = 1e-6)
  # with a metric those of the scaled data, outside of a span those of what is left
  metric <- stats::runif(40) + 0.5
  expect_equal(abs(colSums(leading_vectors(x, metric, 1, NULL)$u * svd(metric * x)$u[, 1])), 1, tolerance = 1e-6)
  settled <- qr.Q(qr(matrix(stats::rnorm(80), 40)))
  rest <- leading_vectors(x, rep(1, 40), 2, settled)
  expect_lt(max(abs(crossprod(settled, rest$u))), 1e-12)
  left <- svd(x - settled %*% crossprod(settled, x))
  expect_equal(abs(colSums(rest$u * left$u[, 1:2])), c(1, 1), tolerance = 1e-6)
})

test_that("programs without a common feature are there from the start", {
  data <- disjoint()
  w <- starts_of(data$x, 3)[["1"]]
  expect_equal(unname(colSums(w)), rep(1, 3))
  expect_true(all(best_cosine(w, data$w) > 0.8))
  for (loss in c("mse", "poisson")) {
    fits <- lapply(c("nndsvd", "random"), function(init) bcnmf(data$x, k = 3, loss = loss, init = init, maxit = 2, precision = "double"))
    expect_lt(fits[[1]]$divergence[["target"]], 0.5 * fits[[2]]$divergence[["target"]])
    fit <- bcnmf(data$x, k = 3, loss = loss, init = "nndsvd", precision = "double")
    expect_true(all(best_cosine(fit$w, data$w) > 0.999))
  }
})

test_that("a start is the seed's own, the same in any storage, and touches no random numbers", {
  sim <- small_sim()
  set.seed(4)
  before <- .Random.seed
  alone <- bcnmf(sim$target, k = 3, init = "nndsvd", seed = 7, maxit = 5)
  expect_identical(.Random.seed, before)
  expect_same_model(bcnmf(sim$target, k = 3, init = "nndsvd", seed = 7, maxit = 5, threads = 1), alone)
  several <- bcnmf(sim$target, k = 3, init = "nndsvd", seed = c(5, 7, -2^40), maxit = 5)
  expect_identical(several$restarts$start, c("5", "7", "-1099511627776"))
  expect_identical(several$restarts$objective[2], alone$restarts$objective)
  expect_identical(anyDuplicated(several$restarts$objective), 0L)
  expect_identical(c(several$init, bcnmf(sim$target, k = 3, init = NULL, maxit = 1)$init), c("nndsvd", "random"))
  for (loss in c("mse", "poisson")) {
    sparse <- starts_of(sim$target, 4, loss, sim$background, k_target = 1)
    dense <- starts_of(as.matrix(sim$target), 4, loss, as.matrix(sim$background), k_target = 1)
    expect_equal(sparse, dense, tolerance = 1e-8)
  }
})

test_that("sparse data are not made dense", {
  sim <- small_sim()
  # as many entries as no one has memory for
  x <- Matrix::sparseMatrix(i = sim$target@i + 1, p = sim$target@p, x = sim$target@x, dims = c(60, 80))
  huge <- Matrix::sparseMatrix(
    i = rep(1:60, 80), j = rep(1:80, each = 60) * 1200, x = as.vector(as.matrix(x)), dims = c(50000, 1e5)
  )
  found <- leading_vectors(huge, rep(1, 50000), 2, NULL)
  expect_equal(abs(colSums(found$u[1:60, ] * svd(as.matrix(x))$u[, 1:2])), c(1, 1), tolerance = 1e-3)
})

test_that("target-only factors start from what the background lacks", {
  sim <- simulate_contrast(200, n_target = 200, n_background = 150, k_shared = 3, k_target = 1, share = 0.3, seed = 2)
  w <- starts_of(sim$target, 4, "poisson", sim$background, k_target = 1)[["1"]]
  unit <- function(v) v / sqrt(sum(v^2))
  cosines <- apply(w, 2, function(w) sum(unit(w) * unit(sim$w[, "target1"])))
  expect_identical(which.max(cosines), 4L)
  fit <- bcnmf(sim$target, sim$background, k = 4, k_target = 1, loss = "poisson", init = "nndsvd", maxit = 100)
  expect_true(all(best_cosine(fit$w, sim$w) > 0.95))
  expect_gt(best_cosine(fit$w[, fit$target_only, drop = FALSE], sim$w[, "target1", drop = FALSE]), 0.95)
})

test_that("any size, rank and magnitude works", {
  withr::local_seed(5)
  one_rank <- outer(stats::rexp(6), stats::rexp(9))
  x <- matrix(stats::rpois(6 * 9, 2), 6)
  x[2, ] <- 0
  x[, 3] <- 0
  data <- list(matrix(3), matrix(1:6, 1), matrix(1:6, ncol = 1), one_rank, x, x * 1e90, x * 1e-90)
  for (x in data) {
    for (k in unique(c(1, min(dim(x))))) {
      for (loss in c("mse", "poisson")) {
        fit <- suppressWarnings(bcnmf(x, k = k, loss = loss, init = "nndsvd", maxit = 20))
        expect_true(methods::validObject(fit))
        expect_true(all(fit$d > 0))
      }
    }
    if (min(dim(x)) > 1) {
      fit <- suppressWarnings(bcnmf(x, x, k = min(dim(x)), k_target = 1, init = "nndsvd", maxit = 20))
      expect_true(methods::validObject(fit))
    }
  }
})

test_that("init is checked, and bad data are refused before any work", {
  sim <- small_sim()
  for (bad in list("nnsvd", c("random", "random"), character(), NA_character_)) {
    expect_bcnmf_error(bcnmf(sim$target, k = 2, init = bad), "\"random\", \"nndsvd\", a matrix", "init")
  }
  expect_bcnmf_error(bcnmf(sim$target, k = 2, init = "nndsvd", seed = sim$w), "whole numbers", "seed")
  x <- as.matrix(sim$target)
  x[2, 3] <- NA
  expect_bcnmf_error(bcnmf(x, k = 2, init = "nndsvd"), "missing")
})

test_that("objects pass init on", {
  fit <- bcnmf_model(few(seurat_object(), init = "nndsvd"))
  expect_identical(fit$init, "nndsvd")
})

test_that("of many cells evenly spaced ones are looked at", {
  sim <- small_sim()
  settings <- list(k = 3L, k_target = 1L, loss = "poisson", seed = 1:2)
  data <- list(weight = 1, feature_mean = Matrix::rowMeans(sim$target), feature_mean_background = Matrix::rowMeans(sim$background))
  few <- nndsvd_starts(some_cells(sim$target, 30), some_cells(sim$background, 30), settings, data)
  all <- nndsvd_starts(sim$target, sim$background, settings, data)
  expect_identical(nndsvd_starts(sim$target, sim$background, settings, data, most = 30), few)
  expect_false(identical(few, all))
})
