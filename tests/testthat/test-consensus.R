# Several models around the same loadings: `noise` of each fit, factors in an order of its own.
fits_around <- function(w, n = 5, noise = 0, k_target = 0, names = TRUE) {
  k <- ncol(w)
  lapply(seq_len(n), function(i) {
    fit <- fake_fit(m = nrow(w), n = 12, l = 8, k = k, k_target = k_target, names = names, seed = i)
    withr::local_seed(100 + i)
    moved <- w + noise * mean(w) * matrix(stats::rexp(length(w)), nrow(w))
    fit@w[] <- sweep(moved, 2, colSums(moved), "/")
    # target-only factors wherever they come in an order by d
    fit[sample(k)]
  })
}

# Programs with features of their own, so that cosines between them are near 0.
blocks <- function(k, each = 10, seed = 1) {
  withr::local_seed(seed)
  w <- matrix(0, k * each, k)
  for (j in seq_len(k)) w[(j - 1) * each + seq_len(each), j] <- stats::rexp(each) + 0.2
  sweep(w, 2, colSums(w), "/")
}

# Order of the consensus' factors in `truth`.
order_in <- function(w, truth) max.col(cosine(w, truth))

test_that("identical fits have a stability of 1 and are their consensus", {
  fit <- fake_fit(m = 40, k = 4, k_target = 1)
  result <- consensus(list(fit, fit, fit))
  expect_equal(result$factors$stability, rep(1, 4))
  expect_equal(result$factors$stability_min, rep(1, 4))
  expect_identical(result$factors$n_found, rep(3L, 4))
  expect_equal(result$factors$silhouette, rep(1, 4), tolerance = 1e-6)
  expect_equal(unname(result$w), unname(fit$w))
  expect_identical(rownames(result$w), rownames(fit$w))
  expect_identical(result$factors$target_only, unname(fit$target_only))
  expect_equal(result$fits$agreement, rep(1, 3))
  expect_null(result$model)
})

test_that("permuted factors are matched, and the loadings are the mean", {
  truth <- blocks(5)
  fits <- fits_around(truth)
  result <- consensus(fits)
  expect_equal(result$factors$stability, rep(1, 5))
  expect_equal(unname(result$w), truth[, order_in(result$w, truth)])
  expect_identical(nrow(result$copies), 25L)
  # `copy` says which factor of the fit it was
  row <- result$copies[result$copies$fit == "2" & result$copies$factor == "bcnmf1", ]
  expect_equal(unname(fits[[2]]$w[, row$copy]), unname(result$w[, 1]))

  noisy <- fits_around(truth, n = 3, noise = 0.1)
  result <- consensus(noisy)
  first <- vapply(noisy, function(fit) fit$w[, max.col(cosine(truth[, 1, drop = FALSE], fit$w))], numeric(50))
  expect_equal(unname(result$w[, order_in(truth[, 1, drop = FALSE], result$w)]), unname(rowMeans(first)))
})

test_that("an unstable factor is the one with low stability, and fits that lack it are left out of it", {
  truth <- blocks(4)
  fits <- fits_around(truth, n = 6, noise = 0.05)
  # something else in place of program 3: the same twice, then different
  for (i in 1:4) {
    at <- order_in(truth[, 3, drop = FALSE], fits[[i]]$w)
    withr::with_seed(i, other <- stats::rexp(nrow(truth))^3)
    fits[[i]]@w[, at] <- other / sum(other)
  }
  result <- consensus(fits, min_cosine = 0.9)
  unstable <- which(order_in(result$w, truth) == 3)
  expect_length(unstable, 1)
  expect_identical(which.min(result$factors$stability), unstable)
  expect_identical(which.min(result$factors$silhouette), unstable)
  expect_true(all(result$factors$stability[-unstable] > 0.95))
  expect_identical(result$factors$n_found[unstable], 2L)
  expect_identical(result$fits$n_found, rep(c(3L, 4L), c(4, 2)))
  # the consensus is what two fits agree on, untouched by the four others
  alone <- consensus(fits[5:6])
  expect_equal(unname(result$w[, unstable]), unname(alone$w[, order_in(truth[, 3, drop = FALSE], alone$w)]))
  expect_output(print(result), "left out, not alike: 1 of fit 1")
})

test_that("a program twice does not hide one that fewer fits have", {
  truth <- blocks(4)
  fits <- fits_around(truth, n = 5, noise = 0.02)
  for (i in 1:3) {
    at <- order_in(truth[, 4, drop = FALSE], fits[[i]]$w)
    fits[[i]]@w[, at] <- truth[, 1]
  }
  result <- consensus(fits)
  expect_setequal(order_in(result$w, truth), 1:4)
  expect_true(all(apply(cosine(result$w, truth), 1, max) > 0.99))
  expect_identical(result$factors$n_found[order_in(truth[, 4, drop = FALSE], result$w)], 2L)
})

test_that("the order of the fits does not matter", {
  fits <- fits_around(blocks(5), n = 6, noise = 1)
  names(fits) <- letters[1:6]
  a <- consensus(fits)
  b <- consensus(fits[c(4, 2, 6, 1, 3, 5)])
  expect_equal(a$w, b$w)
  expect_equal(a$factors, b$factors)
  expect_equal(a$fits[match(b$fits$fit, a$fits$fit), -1], b$fits[-1], ignore_attr = "row.names")
  expect_identical(levels(b$fits$fit), c("d", "b", "f", "a", "c", "e"))
})

test_that("target-only factors are matched among themselves", {
  truth <- blocks(4)
  fits <- fits_around(truth, n = 4, noise = 0.05, k_target = 2)
  # in one fit a shared program looks like the target-only one, and the other way round
  twisted <- fits[[1]]
  own <- which(twisted$target_only)[1]
  shared <- which(!twisted$target_only)[1]
  twisted@w[, c(own, shared)] <- twisted@w[, c(shared, own)]
  result <- consensus(c(list(twisted), fits))
  kind <- function(i) fits[[i - 1]]$target_only
  expect_identical(sum(result$factors$target_only), 2L)
  for (i in 2:5) {
    copies <- result$copies[result$copies$fit == i, ]
    expect_identical(unname(kind(i)[copies$copy]), result$factors$target_only)
  }
  expect_identical(result$fits$n_found, c(2L, rep(4L, 4)))
})

test_that("dead factors are told and do no harm", {
  truth <- blocks(3)
  fits <- fits_around(truth, n = 4, noise = 0.02)
  fits[[2]] <- kill(fits[[2]], order_in(truth[, 2, drop = FALSE], fits[[2]]$w))
  result <- consensus(fits)
  at <- order_in(truth[, 2, drop = FALSE], result$w)
  expect_identical(result$factors$n_dead, as.integer(seq_len(3) == at))
  expect_identical(result$factors$n_found[at], 3L)
  expect_equal(result$factors$stability[at], 0.5, tolerance = 0.01)
  expect_identical(result$factors$stability_min[at], 0)
  expect_gt(cosine(result$w, truth)[at, 2], 0.99)
  expect_output(print(result), "n_dead")
  all_dead <- consensus(lapply(fits_around(truth, 3), function(fit) kill(fit, 1:3)))
  expect_true(all(is.na(all_dead$factors$stability)), all(all_dead$w == 0))
  expect_drawn("consensus dead", plot(all_dead))
})

test_that("one factor, two fits, no names", {
  fits <- fits_around(blocks(1), n = 2, noise = 0.5, names = FALSE)
  result <- consensus(fits)
  both <- cosine(fits[[1]]$w, fits[[2]]$w)[1, 1]
  expect_equal(unlist(result$factors[2:4], use.names = FALSE), rep(both, 3))
  expect_identical(result$factors$silhouette, NA_real_)
  expect_null(rownames(result$w))
  expect_output(print(result), "k = 1")
})

test_that("silhouettes are those of the unit vectors", {
  w <- abs(matrix(withr::with_seed(2, stats::rnorm(60)), 10))
  label <- c(1, 1, 2, 2, 2, 3)
  unit <- t(w) / sqrt(colSums(w^2))
  by_hand <- vapply(1:6, function(i) {
    distance <- sqrt(colSums((t(unit) - unit[i, ])^2))
    means <- tapply(distance[-i], label[-i], mean)
    if (sum(label == label[i]) == 1) return(0)
    own <- means[[as.character(label[i])]]
    other <- min(means[names(means) != label[i]])
    (other - own) / max(own, other)
  }, 0)
  expect_equal(silhouettes(cosine(w, w), label, rep(TRUE, 6)), as.vector(tapply(by_hand, label, mean)))
})

test_that("with data there is a model of the consensus", {
  sim <- small_sim()
  fits <- lapply(1:3, function(seed) {
    bcnmf(sim$target, sim$background, k = 4, k_target = 1, loss = "poisson", maxit = 60, seed = seed, verbose = FALSE)
  })
  result <- consensus(fits, sim$target, sim$background, maxit = 0)
  model <- result$model
  expect_true(methods::validObject(model))
  expect_equal(model$w, result$w, tolerance = 1e-5)
  expect_identical(unname(model$target_only), result$factors$target_only)
  expect_false(is.unsorted(-model$d))
  expect_identical(dimnames(model), dimnames(fits[[1]]))
  # the best response to w, and its divergences
  expect_equal(model$h, predict(model, sim$target), tolerance = 1e-4)
  values <- evaluate(model, sim$target, sim$background)
  expect_equal(unname(model$divergence[c("target", "background")]), values$divergence, tolerance = 1e-6)
  expect_equal(model$divergence[["objective"]], sum(values$divergence * c(1, model$lambda)), tolerance = 1e-6)
  expect_equal(model$lambda, fits[[1]]$lambda)
  expect_output(print(model), "consensus of 3 fits, then 0 sweeps")
  expect_identical(model$restarts$start, "consensus")
  expect_match(deparse(model$call)[1], "^consensus\\(")
  expect_identical(glance(model)$best_start, "consensus")
  expect_error(ggplot2::ggplotGrob(plot(model)), NA)

  # sweeps adapt it to the data, and are those of bcnmf()
  adapted <- consensus(fits, sim$target, sim$background, maxit = 5)
  expect_lt(adapted$model$divergence[["objective"]], model$divergence[["objective"]])
  expect_equal(diag(cosine(adapted$w, adapted$model$w)), rep(1, 4), tolerance = 0.01)
  expect_identical(unname(adapted$model$target_only), adapted$factors$target_only)
  continued <- bcnmf(sim$target, sim$background, init = model, maxit = 5, verbose = FALSE)
  expect_equal(continued$w, adapted$model$w, tolerance = 1e-3)
  values <- evaluate(adapted$model, sim$target, sim$background)
  expect_equal(unname(adapted$model$divergence[1:2]), values$divergence, tolerance = 1e-5)
})

test_that("without background, with a strength, with penalties, from parts of the cells", {
  sim <- small_sim()
  plain <- lapply(1:2, function(seed) bcnmf(sim$target, k = 2, L1 = 0.1, maxit = 30, seed = seed, verbose = FALSE))
  model <- consensus(plain, sim$target)$model
  expect_identical(dim(model$h_background), c(2L, 0L))
  expect_identical(model$L1, c(0.1, 0.1))
  expect_gt(model$divergence[["objective"]], model$divergence[["target"]])

  parts <- lapply(1:3, function(i) {
    x <- sim$target[, -seq(i, ncol(sim$target), 4)]
    bcnmf(x, sim$background, k = 3, beta = 0.1, loss = "poisson", maxit = 50, seed = i, verbose = FALSE)
  })
  model <- consensus(parts, sim$target, sim$background)$model
  expect_identical(ncol(model$h), ncol(sim$target))
  expect_equal(model$beta, 0.1)
  expect_equal(
    model$divergence[["objective"]], model$divergence[["target"]] - model$alpha * model$divergence[["background"]],
    tolerance = 1e-6
  )
  by_size <- lapply(1:2, function(i) {
    bcnmf(sim$target[, -i], sim$background, k = 3, k_target = 1, loss = "poisson", maxit = 20, verbose = FALSE)
  })
  model <- consensus(by_size, sim$target, sim$background)$model
  expect_equal(model$lambda, 2 * sum(sim$target) / sum(sim$background))
})

test_that("planted programs are found at least as well as by the median fit", {
  sim <- simulate_contrast(200, 200, 150, k_shared = 4, k_target = 2, share = 0.1, depth = 300, seed = 3)
  fits <- lapply(1:7, function(seed) {
    bcnmf(sim$target, sim$background, k = 6, k_target = 2, loss = "poisson", maxit = 150, seed = seed, accelerate = FALSE, verbose = FALSE)
  })
  found <- function(w) mean(best_cosine(w, sim$w))
  single <- stats::median(vapply(fits, function(fit) found(fit$w), 0))
  result <- consensus(fits, sim$target, sim$background)
  expect_gte(found(result$w), single - 2e-3)
  expect_gte(found(result$model$w), single)
})

test_that("the consensus is drawn", {
  mixed <- fits_around(blocks(5), n = 8, noise = 1, k_target = 2)
  result <- consensus(mixed, min_cosine = 0.9)
  expect_drawn("consensus", plot(result))
  expect_drawn("consensus by stability", plot(result, sort = "stability"))
  expect_drawn("consensus one factor", plot(consensus(fits_around(blocks(1), n = 2))))
  expect_drawn("consensus 30 factors 40 fits", plot(consensus(fits_around(blocks(30, each = 4), n = 40, noise = 0.7))))
  expect_identical(as.data.frame(result), result$factors)
})

test_that("parts of models with target-only factors have no consensus with data", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, k_target = 1, maxit = 3)
  for (part in list(fit[!fit$target_only], fit[fit$target_only])) {
    expect_identical(nrow(consensus(list(part, part))$factors), ncol(part$w))
    expect_bcnmf_error(consensus(list(part, part), sim$target, sim$background), "target-only", "fits")
  }
})

test_that("mistakes are refused, with the models that differ", {
  fit <- fake_fit(k = 3)
  refused <- function(fits, message, ...) expect_bcnmf_error(consensus(fits, ...), message, arg = "fits")
  refused(fit, "must be a list of models made by bcnmf\\(\\), not a single one")
  refused(1, "must be a list of models made by bcnmf\\(\\), not 1")
  refused(list(fit), "at least two models to compare, not 1")
  refused(list(), "at least two models to compare, not 0")
  expect_bcnmf_error(consensus(list(fit, 2)), "must be a model made by bcnmf\\(\\), not 2", arg = "fits[[2]]")
  refused(list(fit, fake_fit(m = 21)), "same number of features.*\n.*`fits\\[\\[1\\]\\]` has 20, `fits\\[\\[2\\]\\]` has 21")
  refused(list(fit, fit, fake_fit(k = 4)), "same number of factors.*\n.*has 3, `fits\\[\\[3\\]\\]` has 4")
  refused(list(fit, fake_fit(k_target = 1)), "target-only factors.*\n.*has 0, `fits\\[\\[2\\]\\]` has 1")
  refused(list(fit, fake_fit(loss = "poisson")), "same loss.*\n.*has mse, `fits\\[\\[2\\]\\]` has poisson")
  refused(list(fit, fake_fit(l = 0)), "has a background, `fits\\[\\[2\\]\\]` has no background")
  other <- fit
  other@alpha <- 0.9
  other@beta <- 0.6
  refused(list(fit, other), "same contrast.*\n.*alpha = 0.3 \\(beta = 0.15\\), `fits\\[\\[2\\]\\]` has alpha = 0.9")
  renamed <- fit
  rownames(renamed@w)[4] <- "other"
  refused(list(fit, renamed), "Feature 4 is \"gene4\" in `fits\\[\\[1\\]\\]`, and \"other\" in `fits\\[\\[2\\]\\]`")
  two <- list(fit, fit)
  expect_bcnmf_error(consensus(two, min_cosine = 2), "between 0 and 1, not 2", arg = "min_cosine")
  expect_bcnmf_error(consensus(two, maxit = -1), "at least 0, not -1", arg = "maxit")
  expect_bcnmf_error(consensus(two, verbose = "a"), "TRUE or FALSE", arg = "verbose")
  expect_bcnmf_error(plot(consensus(two), sort = "d"), "\"model\" or \"stability\"", arg = "sort")
  expect_bcnmf_error(plot(consensus(two), type = "bars"), "Unknown argument")

  sim <- small_sim()
  fits <- lapply(1:2, function(seed) bcnmf(sim$target, sim$background, k = 2, maxit = 5, seed = seed, verbose = FALSE))
  expect_bcnmf_error(consensus(fits, sim$target), "`background` is missing", arg = "background")
  expect_bcnmf_error(consensus(fits, background = sim$background), "`target` is missing", arg = "target")
  expect_bcnmf_error(consensus(fits, list(), sim$background), "lists of modalities, or neither")
  expect_bcnmf_error(consensus(fits, sim$target, list()), "lists of modalities, or neither")
  expect_bcnmf_error(consensus(fits, list(), list()), "not an empty list", arg = "target")
  expect_bcnmf_error(consensus(fits, sim$target[-1, ], sim$background), "same features", arg = "target")
  expect_bcnmf_error(consensus(fits, sim$target, -sim$background), "negative")
  plain <- lapply(1:2, function(seed) bcnmf(sim$target, k = 2, maxit = 5, seed = seed, verbose = FALSE))
  expect_bcnmf_error(consensus(plain, sim$target, sim$background), "needs a background", arg = "background")
})
