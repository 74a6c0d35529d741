test_that("a contrast that costs the target its fit is said, with one that does not", {
  sim <- simulate_contrast(150, 200, 150, k_shared = 3, k_target = 2, share = 0.3, seed = 1)
  fit <- function(...) bcnmf(sim$target, sim$background, k = 5, loss = "poisson", maxit = 150, verbose = FALSE, ...)
  expect_warning(strong <- fit(beta = 0.9), class = "bcnmf_warning", regexp = "costs the target")
  expect_gt(strong$price, most_price)
  weak <- expect_silent(fit(beta = 0.02))
  expect_lt(weak$price, most_price)
  # against a fit of plain NMF to its end, the ratio is hardly less
  plain <- fit(alpha = 0)
  expect_equal(strong$price, strong$divergence[["target"]] / plain$divergence[["target"]], tolerance = 0.1)
  # nothing is contrasted
  expect_identical(plain$price, NA_real_)
  expect_identical(fit(k_target = 2)$price, NA_real_)
  expect_identical(bcnmf(sim$target, k = 3, maxit = 5)$price, NA_real_)
})

test_that("the warning names a strength that keeps the fit", {
  sim <- simulate_contrast(300, 400, 300, k_shared = 4, k_target = 2, share = 0.1, depth = 600, seed = 2)
  fit <- function(...) bcnmf(sim$target, sim$background, k = 6, loss = "poisson", maxit = 200, verbose = FALSE, ...)
  said <- tryCatch(fit(beta = 0.8), bcnmf_warning = conditionMessage)
  alpha <- as.numeric(sub(".*alpha = ([0-9.e-]+).*", "\\1", gsub("\n", " ", said)))
  expect_false(is.na(alpha))
  expect_lt(expect_silent(fit(alpha = alpha))$price, most_price)
})
