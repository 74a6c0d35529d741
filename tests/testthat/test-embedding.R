test_that("uses are normalised by cell or by factor", {
  fit <- fake_fit(m = 10, n = 6, l = 4, k = 3)
  uses <- cbind(fit$d * fit$h, fit$d_background * fit$h_background)
  expect_equal(embedding(fit, "none"), t(uses))
  expect_equal(embedding(fit, "L1"), t(uses) / colSums(uses))
  expect_equal(embedding(fit), t(uses) / sqrt(colSums(uses^2)))
  z <- embedding(fit, "z")
  expect_equal(unname(colMeans(z)), numeric(3))
  expect_equal(unname(apply(z, 2, sd)), rep(1, 3))
  expect_equal(embedding(fit, "L1", set = "target"), embedding(fit, "L1")[1:6, ])
  expect_equal(embedding(fit, set = "background"), embedding(fit)[7:10, ])
})

test_that("dimensions and names are kept for one factor, one cell, no names", {
  expect_identical(dim(embedding(fake_fit(k = 1, n = 1, l = 0))), c(1L, 1L))
  expect_identical(dimnames(embedding(fake_fit(names = FALSE))), list(NULL, paste0("bcnmf", 1:3)))
  expect_identical(rownames(embedding(fake_fit(n = 2, l = 1))), c("cell1", "cell2", "control1"))
})

test_that("what has no scale becomes 0, and tiny uses do not underflow", {
  fit <- fake_fit(n = 4, l = 0, k = 2)
  fit@h[, 1] <- 0
  fit@h[2, ] <- 0
  fit@d[2] <- 0
  for (normalise in normalisations) {
    x <- embedding(fit, normalise)
    expect_true(all(is.finite(x)), info = normalise)
    expect_equal(unname(x[, 2]), numeric(4))
  }
  expect_equal(unname(embedding(fit, "L2")[1, ]), c(0, 0))
  fit@d[] <- 1e-200
  expect_equal(unname(rowSums(embedding(fit)^2)), c(0, 1, 1, 1))
})

test_that("mistakes are refused", {
  expect_bcnmf_error(embedding(1), "model made by bcnmf", "fit")
  expect_bcnmf_error(embedding(fake_fit(), "l2"), "\"L2\", \"L1\", \"z\" or \"none\"", "normalise")
  expect_bcnmf_error(embedding(fake_fit(l = 0), set = "background"), "needs a background", "set")
})

test_that("a factor that does not vary is 0, not rounding blown up", {
  fit <- fit_of_uses(matrix(0.5, 2, 2), rbind(rep(0.1, 7), 1:7))
  expect_identical(unname(embedding(fit, "z")[, 1]), numeric(7))
})

test_that("several fits stand side by side, and distances add up", {
  fits <- list(a = fake_fit(n = 6, l = 4, k = 2, seed = 1), fake_fit(n = 6, l = 4, k = 3, seed = 2))
  both <- embedding(fits)
  expect_identical(colnames(both), c(paste0("a_bcnmf", 1:2), paste0("fit2_bcnmf", 1:3)))
  expect_identical(rownames(both), rownames(embedding(fits[[1]])))
  squares <- function(x) as.matrix(dist(x))^2
  expect_equal(squares(both), squares(embedding(fits[[1]])) + squares(embedding(fits[[2]])))
  expect_equal(unname(embedding(fits[1], "z", "target")), unname(embedding(fits[[1]], "z", "target")))
  expect_error(embedding(list()), class = "bcnmf_error", regexp = "list of such models")
  expect_error(embedding(list(fits[[1]], 3)), class = "bcnmf_error", regexp = "fit[[2]]", fixed = TRUE)
  expect_error(embedding(list(fits[[1]], fake_fit(n = 5, l = 4))), class = "bcnmf_error", regexp = "same cells")
})
