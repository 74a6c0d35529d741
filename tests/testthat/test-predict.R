test_that("projecting the training cells gives their coefficients", {
  sim <- small_sim()
  for (loss in c("mse", "poisson")) {
    fit <- bcnmf(sim$target, sim$background, k = 3, loss = loss, maxit = 2000, tol = 1e-13, precision = "double")
    h <- predict(fit, sim$target, tol = 1e-10, maxit = 1e5)
    expect_identical(dimnames(h), dimnames(fit$h))
    # it cannot fit worse than the coefficients that the fit ended with
    projected <- fit
    projected@h <- h
    rate <- function(f) evaluate(f, sim$target)$divergence
    expect_lte(rate(projected), rate(fit) * (1 + 1e-8))
    expect_equal(unname(h), unname(fit$h), tolerance = 1e-2)
  }
})

test_that("cells are projected one by one", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, k = 3, loss = "poisson", maxit = 50)
  all <- predict(fit, sim$background)
  expect_identical(predict(fit, sim$background[, 7, drop = FALSE]), all[, 7, drop = FALSE])
  expect_identical(predict(fit, sim$background, threads = 1), all)
  expect_equal(predict(fit, as.matrix(sim$background)), all)
})

test_that("empty cells, one factor and dead factors are projected to finite numbers", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, k = 1, maxit = 20)
  x <- sim$target
  x[, 1] <- 0
  h <- predict(fit, x)
  expect_identical(dim(h), c(1L, 80L))
  expect_identical(h[[1, 1]], 0)
  expect_warning(dead <- bcnmf(sim$target, k = 2, init = cbind(sim$w[, 1], 0), maxit = 5), "dead.*bcnmf2", class = "bcnmf_warning")
  expect_identical(dead$d[[2]], 0)
  expect_true(all(is.finite(predict(dead, x))))
})

test_that("other features and bad values are refused", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, k = 2, maxit = 5)
  expect_bcnmf_error(predict(fit), "newdata.*missing", arg = "newdata")
  expect_bcnmf_error(predict(fit, sim$target[1:10, ]), "60 rows", arg = "newdata")
  expect_bcnmf_error(predict(fit, sim$target[60:1, ]), "another order", arg = "newdata")
  expect_bcnmf_error(predict(fit, -sim$target), "newdata must not hold negative")
  expect_bcnmf_error(predict(fit, sim$target, tol = -1), "tol")
  expect_bcnmf_error(predict(fit, sim$target, k = 2), "Unknown argument")
})
