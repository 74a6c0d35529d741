test_that("dropout of features and of cells is estimated, and named", {
  sim <- lossy_sim(3000)
  fit <- bcnmf(sim$target, k = 3, loss = "zinb", seed = 1)
  expect_named(fit$dropout, rownames(sim$target))
  expect_named(fit$dispersion, rownames(sim$target))
  expect_null(fit$dropout_background)
  common <- Matrix::rowMeans(sim$target) / (1 - sim$dropout[[1]]) >= 0.5
  expect_gt(mean(abs(fit$dropout - sim$dropout[[1]])[common] <= 0.05), 0.8)
  expect_gt(stats::cor(fit$dropout[common], sim$dropout[[1]][common]), 0.95)
  expect_true(all(fit$dropout >= 0 & fit$dropout < 1))
  expect_true(all(best_cosine(fit$w, sim$w)[1:2] > 0.95))
  # more likely than without dropout: the divergences are on one scale
  nb <- bcnmf(sim$target, k = 3, loss = "nb", seed = 1)
  expect_lt(fit$divergence[["target"]], nb$divergence[["target"]])

  sim <- lossy_sim(300, 200, by = "cell")
  fit <- bcnmf(sim$target, sim$background, k = 3, k_target = 1, loss = "zinb", zi = "cell", seed = 1)
  expect_named(fit$dropout, colnames(sim$target))
  expect_named(fit$dropout_background, colnames(sim$background))
  expect_gt(stats::cor(fit$dropout, sim$dropout[[1]]), 0.8)
  expect_gt(stats::cor(fit$dropout_background, sim$dropout[[2]]), 0.8)
})

test_that("the divergence is the zero-inflated log-likelihood", {
  for (zi in c("feature", "cell")) {
    sim <- lossy_sim(by = zi)
    fit <- bcnmf(sim$target, sim$background, k = 3, loss = "zinb", zi = zi, k_target = 1, maxit = 60, precision = "double")
    loss_of <- function(x, mu, dropout) {
      x <- as.matrix(x)
      p <- if (zi == "feature") dropout[row(x)] else dropout[col(x)]
      likelihood <- (x == 0) * p + (1 - p) * stats::dnbinom(x, size = 1 / fit$dispersion, mu = mu)
      sum(stats::dpois(x, x, log = TRUE) - log(likelihood))
    }
    in_background <- if (zi == "feature") fit$dropout else fit$dropout_background
    expect_equal(fit$divergence[["target"]], loss_of(sim$target, fitted(fit), fit$dropout), tolerance = 1e-6)
    expect_equal(fit$divergence[["background"]], loss_of(sim$background, fitted(fit, "background"), in_background), tolerance = 1e-6)
    table <- evaluate(fit, sim$target, sim$background)
    expect_equal(table$divergence, unname(fit$divergence[c("target", "background")]), tolerance = 1e-6)
    expect_true(all(table$explained > 0 & table$explained < 1))
  }
})

test_that("what is expected has dropout in it, and residuals know their variance", {
  for (zi in c("feature", "cell")) {
    sim <- lossy_sim(by = zi)
    fit <- bcnmf(sim$target, k = 3, loss = "zinb", zi = zi, maxit = 60)
    mu <- fitted(fit)
    p <- if (zi == "feature") fit$dropout[row(mu)] else fit$dropout[col(mu)]
    seen <- fitted(fit, dropout = TRUE)
    expect_equal(seen, mu * (1 - p))
    expect_equal(mean(seen), mean(as.matrix(sim$target)), tolerance = 0.05)
    expect_equal(residuals(fit, sim$target), as.matrix(sim$target) - seen)
    pearson <- residuals(fit, sim$target, type = "pearson")
    variance <- (1 - p) * mu * (1 + (p + fit$dispersion) * mu)
    expect_equal(pearson, (as.matrix(sim$target) - seen) / sqrt(variance), tolerance = 1e-9)
    some <- residuals(fit, sim$target, type = "pearson", features = c(5, 2), cells = 7:9)
    expect_equal(some, pearson[c(5, 2), 7:9])
  }
  poisson <- bcnmf(sim$target, k = 3, loss = "poisson", maxit = 5)
  expect_identical(fitted(poisson, dropout = TRUE), fitted(poisson))
})

test_that("nothing is lost of counts that nothing was lost of", {
  sim <- dispersed_sim(1500)
  nb <- bcnmf(sim$target, k = 3, loss = "nb", seed = 1)
  zinb <- bcnmf(sim$target, k = 3, loss = "zinb", seed = 1)
  common <- Matrix::rowMeans(sim$target) >= 0.5
  expect_lt(stats::median(zinb$dropout[common]), 0.03)
  expect_lte(zinb$divergence[["target"]], nb$divergence[["target"]] * 1.001)
  expect_true(all(best_cosine(zinb$w, nb$w) > 0.99))
})

test_that("models with dropout do what others do", {
  for (zi in c("feature", "cell")) {
    sim <- lossy_sim(by = zi)
    fit <- bcnmf(sim$target, sim$background, k = 3, loss = "zinb", zi = zi, k_target = 1, maxit = 300)
    placed <- predict(fit, sim$target)
    expect_equal(placed, fit$h, tolerance = 0.05)
    on <- bcnmf(sim$target, sim$background, init = fit, maxit = 5, tol = 0)
    expect_identical(c(on@loss, on$zi), c("zinb", zi))
    expect_lte(on$divergence[["objective"]], fit$divergence[["objective"]] * (1 + 1e-4))
    expect_equal(on$dropout, fit$dropout, tolerance = 0.05)
    one <- bcnmf(sim$target, k = 3, loss = "zinb", zi = zi, maxit = 40, threads = 1)
    expect_identical(one$w, bcnmf(sim$target, k = 3, loss = "zinb", zi = zi, maxit = 40, threads = 2)$w)
    fits <- lapply(1:2, function(seed) bcnmf(sim$target, k = 3, loss = "zinb", zi = zi, seed = seed, maxit = 100))
    expect_named(consensus(fits, target = sim$target)$model$dropout, names(fit$dropout))
    batches <- bcnmf(sim$target, k = 3, loss = "zinb", zi = zi, batch_size = 100, maxit = 20)
    expect_lt(batches$divergence[["target"]], 1.15 * fits[[1]]$divergence[["target"]])
    expect_output(print(fit), "loss zinb")
  }
  ranks <- select_rank(sim$target, k = 1:4, loss = "zinb", masks = 2)
  expect_true(ranks$k[ranks$selected] %in% 2:4)
  own <- bcnmf(sim$target, sim$background, k = 3, loss = "zinb", k_target = 1, dispersion_shared = FALSE, maxit = 60)
  expect_named(own$dropout_background, rownames(sim$target))
  contrast <- bcnmf(sim$target, sim$background, k = 3, loss = "zinb", alpha = 0.2, maxit = 60)
  expect_true(all(is.finite(contrast$w)))
})

test_that("wrong kinds of dropout are refused", {
  sim <- lossy_sim(20, 10)
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "zinb", zi = "gene"), "feature", arg = "zi")
  expect_bcnmf_error(bcnmf(sim$target, k = 2, loss = "nb", zi = "cell"), "knows no dropout", arg = "zi")
  nb <- bcnmf(sim$target, k = 2, loss = "nb", maxit = 2)
  expect_bcnmf_error(evaluate(nb, sim$target, loss = "zinb"), "no dropout", arg = "loss")
  expect_bcnmf_error(fitted(nb, dropout = NA), "dropout", arg = "dropout")
  zinb <- bcnmf(sim$target, k = 2, loss = "zinb", maxit = 2)
  expect_true(is.finite(evaluate(zinb, sim$target, loss = "nb")$divergence))
})
