test_that("dispersions are estimated, named, and near those that counts were drawn with", {
  sim <- dispersed_sim(1500)
  fit <- bcnmf(sim$target, k = 3, loss = "nb", seed = 1:3)
  expect_named(fit$dispersion, rownames(sim$target))
  expect_null(fit$dispersion_background)
  common <- Matrix::rowMeans(sim$target) >= 0.5
  ratio <- (1 / fit$dispersion / sim$size)[common]
  expect_gt(mean(abs(ratio - 1) <= 0.25), 0.8)
  expect_true(all(fit$dispersion >= 0 & fit$dispersion <= 1000))
  expect_true(all(best_cosine(fit$w, sim$w)[1:2] > 0.95))
  # more likely than Poisson counts: the divergences are on one scale
  poisson <- bcnmf(sim$target, k = 3, loss = "poisson", seed = 1)
  expect_lt(fit$divergence[["target"]], 0.8 * poisson$divergence[["target"]])
})

test_that("no dispersion is Poisson, and given ones stay", {
  sim <- dispersed_sim()
  poisson <- bcnmf(sim$target, sim$background, k = 3, loss = "poisson", k_target = 1, maxit = 20, tol = 0, steps = 1, precision = "double")
  none <- bcnmf(sim$target, sim$background,
    k = 3, loss = "nb", dispersion = 0, k_target = 1, maxit = 20, tol = 0, steps = 1, precision = "double"
  )
  expect_same_model(poisson, none, tolerance = 1e-9)
  given <- stats::setNames(1 / sim$size, rownames(sim$target))
  fit <- bcnmf(sim$target, k = 3, loss = "nb", dispersion = given, maxit = 20)
  expect_equal(fit$dispersion, given)
  global <- bcnmf(sim$target, k = 3, loss = "nb", dispersion = "global", maxit = 50)
  expect_length(unique(global$dispersion), 1)
  expect_gt(global$dispersion[[1]], 0)
})

test_that("the divergence is the negative binomial log-likelihood", {
  sim <- dispersed_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, loss = "nb", k_target = 1, maxit = 60, precision = "double")
  loss_of <- function(x, mu) {
    x <- as.matrix(x)
    saturated <- stats::dpois(x, x, log = TRUE)
    sum(saturated - stats::dnbinom(x, size = 1 / fit$dispersion, mu = mu, log = TRUE))
  }
  expect_equal(fit$divergence[["target"]], loss_of(sim$target, fitted(fit)), tolerance = 1e-6)
  expect_equal(fit$divergence[["background"]], loss_of(sim$background, fitted(fit, "background")), tolerance = 1e-6)
  table <- evaluate(fit, sim$target, sim$background)
  expect_equal(table$divergence, unname(fit$divergence[c("target", "background")]), tolerance = 1e-6)
  expect_true(all(table$explained > 0 & table$explained < 1))
  mu <- fitted(fit)
  pearson <- residuals(fit, sim$target, type = "pearson")
  expect_equal(pearson, (as.matrix(sim$target) - mu) / sqrt(mu + fit$dispersion * mu^2), tolerance = 1e-9)
  some <- residuals(fit, sim$target, type = "pearson", features = c(5, 2))
  expect_equal(some, pearson[c(5, 2), ])
})

test_that("sets have dispersions of their own where they are asked for", {
  sim <- dispersed_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, loss = "nb", k_target = 1, dispersion_shared = FALSE, maxit = 60)
  expect_named(fit$dispersion_background, rownames(sim$target))
  expect_false(identical(fit$dispersion, fit$dispersion_background))
  expect_equal(evaluate(fit, sim$target, sim$background)$divergence, unname(fit$divergence[c("target", "background")]), tolerance = 1e-4)
})

test_that("models of dispersed counts do what others do", {
  sim <- dispersed_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, loss = "nb", k_target = 1, maxit = 300)
  placed <- predict(fit, sim$target)
  expect_equal(placed, fit$h, tolerance = 0.02)
  on <- bcnmf(sim$target, sim$background, init = fit, maxit = 5, tol = 0)
  expect_identical(on@loss, "nb")
  expect_lte(on$divergence[["objective"]], fit$divergence[["objective"]] * (1 + 1e-6))
  expect_equal(on$dispersion, fit$dispersion, tolerance = 0.05)
  expect_identical(bcnmf(sim$target, k = 3, loss = "nb", maxit = 40, threads = 1)$w, bcnmf(sim$target, k = 3, loss = "nb", maxit = 40, threads = 2)$w)
  ranks <- select_rank(sim$target, k = 1:4, loss = "nb", masks = 2)
  expect_true(ranks$k[ranks$selected] %in% 2:4)
  fits <- lapply(1:3, function(seed) bcnmf(sim$target, k = 3, loss = "nb", seed = seed, maxit = 200))
  expect_named(consensus(fits, target = sim$target)$model$dispersion, rownames(sim$target))
  batches <- bcnmf(sim$target, k = 3, loss = "nb", batch_size = 100, maxit = 10)
  expect_lt(batches$divergence[["target"]], 1.1 * fits[[1]]$divergence[["target"]])
  expect_output(print(fit), "loss nb")
})

test_that("wrong dispersions are refused", {
  sim <- dispersed_sim(20, 10)
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "nb", dispersion = -1), "at least 0", arg = "dispersion")
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "nb", dispersion = c(1, 2)), "one or 60", arg = "dispersion")
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "nb", dispersion = NA), "finite", arg = "dispersion")
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "nb", dispersion = "cell"), "gene", arg = "dispersion")
  named <- stats::setNames(rep(1, 60), rev(rownames(sim$target)))
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "nb", dispersion = named), "in place 1", arg = "dispersion")
  expect_bcnmf_error(bcnmf(sim$target, k = 2, dispersion = 1), "has none", arg = "dispersion")
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "nb", dispersion_shared = NA), "dispersion_shared", arg = "dispersion_shared")
  expect_bcnmf_error(evaluate(bcnmf(sim$target, k = 2, maxit = 2), sim$target, loss = "nb"), "no dispersions", arg = "loss")
  expect_warning(bcnmf(as.matrix(sim$target) + 0.5, k = 2, loss = "nb", maxit = 2), "whole number", class = "bcnmf_warning")
  expect_bcnmf_error(bcnmf(as.matrix(sim$target) * 1e38, k = 2, loss = "nb"), "between 1e-100 and 1e30")
})
