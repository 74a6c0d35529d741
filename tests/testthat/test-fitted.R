test_that("fitted is w d h, with names", {
  fit <- fake_fit()
  expect_equal(fitted(fit), fit$w %*% diag(fit$d) %*% fit$h)
  expect_identical(dimnames(fitted(fit)), list(rownames(fit$w), colnames(fit$h)))
  expect_equal(fitted(fit, "background"), fit$w %*% diag(fit$d_background) %*% fit$h_background)
  one <- fake_fit(k = 1)
  expect_equal(fitted(one), one$d * one$w %*% one$h)
  expect_null(dimnames(fitted(fake_fit(names = FALSE))))
})

test_that("parts by index, name and logical vector, in the order asked for", {
  fit <- fake_fit()
  all <- fitted(fit)
  expect_equal(fitted(fit, features = c("gene7", "gene2"), cells = -1), all[c(7, 2), -1])
  expect_equal(fitted(fit, cells = c(3, 3)), all[, c(3, 3)])
  expect_equal(fitted(fit, features = rep(c(TRUE, FALSE), 10), cells = 1), all[c(TRUE, FALSE), 1, drop = FALSE])
  expect_equal(dim(fitted(fit, cells = integer())), c(20, 0))
})

test_that("fitted refuses what does not exist or does not fit", {
  fit <- fake_fit()
  expect_bcnmf_error(fitted(fit, features = 21), "asks for 21, but the model has 20 features", arg = "features")
  expect_bcnmf_error(fitted(fit, cells = "x"), "\"x\"", arg = "cells")
  expect_bcnmf_error(fitted(fake_fit(names = FALSE), cells = "x"), "have no names")
  expect_bcnmf_error(fitted(fit, cells = c(TRUE, FALSE)), "2 logical values for 12 cells")
  expect_bcnmf_error(fitted(fit, cells = NA), "missing values")
  expect_bcnmf_error(fitted(fit, cells = c(-1, 1)), "all positive or all negative")
  expect_bcnmf_error(fitted(fit, "query"), "set", arg = "set")
  expect_bcnmf_error(fitted(fake_fit(l = 0), "background"), "needs a background", arg = "set")
  big <- fake_fit(m = 50000, n = 50000, l = 0, k = 1, names = FALSE)
  expect_bcnmf_error(fitted(big), "50000 features x 50000 cells are too many.*features", arg = "cells")
  expect_equal(dim(fitted(big, features = 1:3, cells = 1:2)), c(3, 2))
})

test_that("residuals compare with the data, dense or sparse", {
  fit <- fake_fit(loss = "poisson")
  x <- withr::with_seed(2, matrix(rpois(240, 3), 20, dimnames = unname(dimnames(fit)[1:2])))
  expect_equal(residuals(fit, x), x - fitted(fit))
  expect_equal(residuals(fit, Matrix::Matrix(x, sparse = TRUE)), x - fitted(fit))
  expect_equal(residuals(fit, as.data.frame(x)), x - fitted(fit))
  expect_equal(residuals(fit, x, features = 3:4, cells = "cell5"), (x - fitted(fit))[3:4, 5, drop = FALSE])
  expect_equal(residuals(fit, x, type = "pearson"), (x - fitted(fit)) / sqrt(fitted(fit)))
  y <- x[, 1:8]
  expect_equal(residuals(fit, y, "background"), y - fitted(fit, "background"), ignore_attr = TRUE)
  expect_equal(residuals(fake_fit(), x, type = "pearson"), residuals(fake_fit(), x))
})

test_that("a fitted 0 has a Pearson residual of 0 for a zero", {
  fit <- fit_of_uses(w = matrix(c(0, 1)), target = t(c(1, 2)), loss = "poisson")
  expect_equal(unname(residuals(fit, rbind(c(0, 3), c(1, 2)), type = "pearson")), rbind(c(0, Inf), c(0, 0)))
  fit@loss <- "kl"
  expect_bcnmf_error(residuals(fit, diag(2), type = "pearson"), "kl", arg = "type")
})

test_that("residuals refuse other data", {
  fit <- fake_fit()
  x <- matrix(1, 20, 12)
  expect_bcnmf_error(residuals(fit), "`data` is missing", arg = "data")
  expect_bcnmf_error(residuals(fit, t(x)), "20 features and 12 target cells.*12 x 20", arg = "data")
  expect_bcnmf_error(residuals(fit, x, "background"), "8 background cells")
  expect_bcnmf_error(residuals(fit, letters), "a matrix of numbers", arg = "data")
  expect_bcnmf_error(residuals(fit, matrix("a", 20, 12)), "a matrix of numbers")
  rownames(x) <- c("gene2", rownames(fit$w)[-1])
  expect_bcnmf_error(residuals(fit, x), "Row 1 of `data` is \"gene2\", but the model's is \"gene1\"")
  expect_bcnmf_error(residuals(fit, x, type = "deviance"), "pearson", arg = "type")
})
