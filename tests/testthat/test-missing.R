# Counts and logarithms of planted programs with holes: rates of missing entries that differ by feature and cell.
holed_sim <- function(part = 0.3) {
  sim <- simulate_contrast(60, n_target = 120, n_background = 80, k_shared = 3, k_target = 1, share = 0.2, depth = 400, seed = 1)
  withr::local_seed(1)
  holes <- function(x) {
    rate <- part * outer(seq(0.5, 1.5, length.out = nrow(x)), seq(0.5, 1.5, length.out = ncol(x)))
    matrix(stats::runif(length(x)) < rate, nrow(x))
  }
  x <- as.matrix(sim$target)
  y <- as.matrix(sim$background)
  list(x = x, y = y, hx = holes(x), hy = holes(y), w = sim$w)
}

with_na <- function(x, holes) replace(x, holes, NA)

test_that("values of masked entries do not matter, however they are masked", {
  sim <- holed_sim()
  for (loss in c("mse", "poisson", "nb")) {
    fit <- function(x, y, mask) suppressWarnings(bcnmf(x, y, k = 4, k_target = 1, loss = loss, mask = mask, maxit = 30), classes = "bcnmf_warning")
    want <- fit(with_na(sim$x, sim$hx), with_na(sim$y, sim$hy), "NA")
    masks <- list(target = sim$hx, background = sim$hy)
    expect_same_model(want, fit(sim$x, sim$y, masks))
    wild <- sim$x
    wild[sim$hx] <- rep_len(c(1e300, -5, Inf, NaN, 0.5), sum(sim$hx))
    masks$target <- Matrix::Matrix(sim$hx, sparse = TRUE)
    expect_same_model(want, fit(wild, sim$y, masks))
    masks$background <- as.data.frame(1 * sim$hy)
    sparse <- lapply(list(sim$x, sim$y), function(x) methods::as(x, "CsparseMatrix"))
    expect_same_model(want, fit(sparse[[1]], sparse[[2]], masks))
    # the user's own stay as they are
    expect_identical(sum(is.nan(wild)), sum(rep_len(1:5, sum(sim$hx)) == 4))
  }
})

test_that("a mask of nothing is no mask, to the bit", {
  sim <- holed_sim()
  for (loss in c("mse", "poisson")) {
    fit <- function(...) bcnmf(sim$x, sim$y, k = 4, k_target = 1, loss = loss, maxit = 20, ...)
    want <- fit()
    expect_same_model(want, fit(mask = "NA"))
    expect_same_model(want, fit(mask = sim$hx & FALSE))
    expect_same_model(want, bcnmf(sim$x + 0, sim$y, k = 4, k_target = 1, loss = loss, maxit = 20, mask = list(background = "NA")))
  }
  full <- bcnmf(sim$x + 1, k = 3, maxit = 20)
  expect_same_model(full, bcnmf(sim$x + 1, k = 3, maxit = 20, mask = "zeros"))
})

test_that("masked zeros are zeros that are missing", {
  sim <- holed_sim()
  holes <- with_na(sim$x, sim$x == 0)
  for (loss in c("mse", "poisson")) {
    want <- bcnmf(holes, k = 3, loss = loss, mask = "NA", maxit = 30, precision = "double")
    expect_same_model(
      want, bcnmf(methods::as(sim$x, "CsparseMatrix"), k = 3, loss = loss, mask = "zeros", maxit = 30, precision = "double"),
      tolerance = 1e-8
    )
  }
})

test_that("programs are found and missing entries filled in, better than by means", {
  sim <- holed_sim(0.4)
  x <- log1p(with_na(sim$x, sim$hx))
  y <- log1p(with_na(sim$y, sim$hy))
  fit <- bcnmf(x, y, k = 4, k_target = 1, mask = "NA")
  filled <- impute(fit, x)
  expect_identical(filled[!sim$hx], x[!sim$hx])
  expect_false(anyNA(filled))
  error <- function(guess) sqrt(mean((guess - log1p(sim$x))[sim$hx]^2))
  means <- matrix(rowMeans(x, na.rm = TRUE), nrow(x), ncol(x))
  expect_lt(error(filled), 0.8 * error(means))
  expect_equal(filled[sim$hx], fitted(fit)[sim$hx])

  alone <- impute(fit)
  expect_s4_class(alone, "dgCMatrix")
  expect_identical(dimnames(alone), dimnames(x))
  expect_equal(as.matrix(alone)[sim$hx], filled[sim$hx])
  expect_identical(length(alone@x), sum(sim$hx))
  expect_identical(impute(fit, set = "background")@p[ncol(y) + 1], sum(sim$hy))
  # sparse data stay sparse
  sparse <- impute(fit, methods::as(log1p(sim$x), "CsparseMatrix"))
  expect_s4_class(sparse, "dgCMatrix")
  expect_equal(unname(as.matrix(sparse)), unname(filled))
  # other entries may be asked for
  one <- impute(fit, log1p(sim$x), mask = row(x) == 1 & col(x) == 2)
  expect_identical(which(one != log1p(sim$x)), as.integer(60 + 1))
  asked <- row(x) == 1 & col(x) == 2
  for (model in list(fit, bcnmf(sim$x, k = 2, maxit = 5))) {
    expect_identical(impute(model, mask = asked)@x, fitted(model)[asked])
    expect_bcnmf_error(impute(model, mask = asked[-1, ]), "but the data are 60 x", arg = "mask")
  }
  expect_identical(impute(fit, mask = "NA"), alone)
  expect_bcnmf_error(impute(model, mask = "NA"), "does not keep where they are NA", arg = "data")
  zeros <- bcnmf(sim$x, k = 2, mask = "zeros", maxit = 10)
  expect_error(impute(zeros), "does not keep where they are zero", class = "bcnmf_error")
  expect_true(all(impute(zeros, sim$x)[sim$x > 0] == sim$x[sim$x > 0]))
  expect_error(impute(bcnmf(sim$x, k = 2, maxit = 5)), "without a `mask`", class = "bcnmf_error")
  expect_bcnmf_error(impute(1, sim$x), "`object` must be a model made by bcnmf\\(\\), not 1", arg = "object")
})

test_that("verbs know what was missing", {
  sim <- holed_sim()
  x <- with_na(sim$x, sim$hx)
  y <- with_na(sim$y, sim$hy)
  fit <- bcnmf(x, y, k = 4, k_target = 1, loss = "poisson", mask = "NA", precision = "double")
  values <- evaluate(fit, x, y)
  expect_equal(values$divergence, unname(fit$divergence[c("target", "background")]), tolerance = 1e-8)
  expect_equal(values$mean, values$divergence / c(sum(!sim$hx), sum(!sim$hy)))
  expect_true(all(values$explained > 0 & values$explained < 1))
  expect_equal(predict(fit, x), fit$h, tolerance = 1e-2)
  expect_identical(unname(is.na(residuals(fit, x))), sim$hx)
  expect_identical(unname(is.na(residuals(fit, sim$x, cells = 3:9, type = "pearson"))), sim$hx[, 3:9])
  shown <- utils::capture.output(print(fit))
  expect_match(shown, sprintf("missing: %.2g%% of the target", 100 * mean(sim$hx)), all = FALSE, fixed = TRUE)
  more <- bcnmf(x, y, init = fit, maxit = 2)
  expect_identical(more$mask, "NA")
  expect_lte(more$divergence[["objective"]], fit$divergence[["objective"]] * (1 + 1e-9))

  given <- bcnmf(sim$x, k = 2, mask = sim$hx, maxit = 5)
  expect_error(predict(given, sim$x), "fitted with a `mask` matrix", class = "bcnmf_error")
  expect_error(bcnmf(sim$x, init = given), "fitted with a `mask` matrix", class = "bcnmf_error")
  expect_silent(predict(given, sim$x, mask = NULL))

  fits <- lapply(1:2, function(seed) bcnmf(x, y, k = 4, k_target = 1, loss = "poisson", mask = "NA", seed = seed, maxit = 60))
  expect_identical(consensus(fits, x, y)$model$mask, "NA")
  ranks <- select_rank(x, k = 2:3, loss = "poisson", masks = 2, maxit = 10, mask = "NA")
  expect_true(all(is.finite(ranks$loss)))
  path <- alpha_path(x, y, k = 3, beta = 0.2, loss = "poisson", maxit = 10, mask = "NA")
  expect_true(all(is.finite(path$target)))
  batches <- bcnmf(x, y, k = 4, k_target = 1, loss = "poisson", mask = "NA", batch_size = 30, maxit = 10)
  expect_lt(batches$divergence[["objective"]], 1.1 * fit$divergence[["objective"]])
})

test_that("bad masks are refused", {
  sim <- holed_sim()
  x <- with_na(sim$x, sim$hx)
  refused <- function(words, ...) expect_error(bcnmf(..., k = 2), words, class = "bcnmf_error")
  refused("mask = \"NA\" leaves missing values", x)
  refused("must be \"NA\", \"zeros\"", x, mask = "na")
  refused("must be \"NA\", \"zeros\"", x, mask = TRUE)
  refused("must be \"NA\", \"zeros\"", x, mask = list(x = sim$hx))
  refused("is 59 x 120, but the data are 60 x 120", x, mask = sim$hx[-1, ])
  refused("missing values itself", sim$x, mask = with_na(sim$hx, 3))
  refused("missing values? that `mask` does not cover", x, mask = sim$hx & col(x) > 1)
  refused("has a background, but", x, mask = list(target = "NA", background = "NA"))
  refused("cannot be missing and those of the other not", sim$x, sim$y, mask = list(target = "zeros"))
  refused("target has no positive value among the entries that the mask leaves", sim$x, mask = sim$x > -1)
  named <- sim$hx
  dimnames(named) <- dimnames(x)
  rownames(named)[5] <- "other"
  refused("Row 5 of the `mask` is \"other\"", x, mask = named)
  # one that is larger is matched by its names
  larger <- rbind(a = FALSE, cbind(b = TRUE, `dimnames<-`(sim$hx, dimnames(x))))
  expect_same_model(bcnmf(sim$x, k = 2, maxit = 5, mask = larger), bcnmf(x, k = 2, maxit = 5, mask = "NA"))
})

test_that("weights are copies, and only their ratios matter", {
  sim <- holed_sim()
  x <- sim$x
  twice <- bcnmf(x[, c(1, seq_len(ncol(x)))], k = 3, loss = "poisson", maxit = 20, precision = "double")
  cells <- c(2, rep(1, ncol(x) - 1))
  weighed <- bcnmf(x, k = 3, loss = "poisson", maxit = 20, precision = "double", weights = list(cells = cells))
  expect_equal(twice$w, weighed$w, tolerance = 1e-8)
  expect_equal(twice$divergence[["target"]] / ncol(twice$h), weighed$divergence[["target"]] / ncol(x), tolerance = 1e-8)
  plain <- bcnmf(x, sim$y, k = 4, k_target = 1, maxit = 20)
  expect_same_model(plain, bcnmf(x, sim$y, k = 4, k_target = 1, maxit = 20, weights = list(features = rep(7, 60), background = rep(0.5, 80))))

  withr::local_seed(1)
  weights <- list(features = stats::runif(60), cells = stats::rexp(120), background = stats::rexp(80))
  for (loss in c("mse", "poisson", "nb")) {
    fit <- bcnmf(x, sim$y, k = 4, k_target = 1, loss = loss, weights = weights, maxit = 100, precision = "double")
    expect_equal(evaluate(fit, x, sim$y)$divergence, unname(fit$divergence[c("target", "background")]), tolerance = 1e-6)
    expect_equal(predict(fit, x), fit$h, tolerance = 0.05)
    expect_identical(names(fit$weights), names(weights))
  }
  expect_match(utils::capture.output(print(fit)), "weights of features, target cells, background cells", all = FALSE)
  # cells without a say are placed in what the others make
  without <- c(rep(0, 40), rep(1, 80))
  rest <- bcnmf(x[, -(1:40)], k = 3, loss = "poisson", precision = "double")
  all <- bcnmf(x, k = 3, loss = "poisson", precision = "double", weights = list(cells = without))
  expect_equal(all$w[, order(all$w[1, ])], rest$w[, order(rest$w[1, ])], tolerance = 1e-3, ignore_attr = TRUE)
  expect_true(all(colSums(all$h[, 1:40]) > 0))
  refused <- function(words, ...) expect_error(bcnmf(x, ..., k = 2), words, class = "bcnmf_error")
  refused("a list of `features`", weights = 1:3)
  refused("a list of `features`", weights = list(1:3))
  refused("60 finite numbers", weights = list(features = 1:3))
  refused("not all 0", weights = list(cells = rep(0, 120)))
  refused("at least 0", weights = list(cells = c(-1, rep(1, 119))))
  refused("has a background", weights = list(background = 1))
  refused("in place 1, but", weights = list(features = stats::setNames(rep(1, 60), rev(rownames(x)))))
})

test_that("size factors make coefficients of deep and shallow cells comparable", {
  sim <- holed_sim()
  plain <- bcnmf(sim$x, sim$y, k = 4, k_target = 1, loss = "poisson", maxit = 100)
  fit <- bcnmf(sim$x, sim$y, k = 4, k_target = 1, loss = "poisson", maxit = 100, size_factors = "library")
  depth <- colSums(sim$x) / mean(colSums(sim$x))
  expect_equal(fit$size_factors$target, unname(depth))
  expect_equal(fit$size_factors$background, unname(colSums(sim$y) / mean(colSums(sim$x))))
  # the same fit on another scale
  expect_equal(fit$divergence, plain$divergence)
  expect_equal(sort(unname(fit$w[1, ])), sort(unname(plain$w[1, ])))
  expect_equal(fitted(fit), fitted(plain), tolerance = 1e-6)
  # every cell has about the same total now
  totals <- colSums(fit$d * fit$h)
  expect_lt(stats::sd(totals) / mean(totals), 0.02)
  expect_equal(evaluate(fit, sim$x, sim$y)$divergence, evaluate(plain, sim$x, sim$y)$divergence, tolerance = 1e-6)
  expect_equal(predict(fit, sim$x), fit$h, tolerance = 0.05)
  expect_equal(predict(fit, 2 * sim$x[, 1:5]), predict(fit, sim$x[, 1:5]), tolerance = 1e-4)
  numbers <- bcnmf(sim$x, k = 3, maxit = 10, size_factors = depth)
  expect_error(predict(numbers, sim$x), "`size_factors` is missing", class = "bcnmf_error")
  expect_bcnmf_error(predict(bcnmf(sim$x, k = 2, size_factors = "library", maxit = 2), -sim$x), "^newdata must not hold negative values")
  expect_bcnmf_error(bcnmf(sim$x, -sim$y, k = 2, size_factors = "library"), "^background must not hold negative values")
  expect_equal(dim(predict(numbers, sim$x, size_factors = depth)), c(3L, 120L))
  more <- bcnmf(sim$x, sim$y, init = fit, maxit = 1)
  expect_identical(more$size_factors, fit$size_factors)
  # penalties are on what is comparable
  penalised <- bcnmf(sim$x, k = 3, loss = "poisson", maxit = 20, L1 = c(0, 0.1), size_factors = "library")
  of_depth <- suppressWarnings(bcnmf(sim$x, k = 3, loss = "poisson", maxit = 20, L1 = c(0, 0.1)))
  expect_false(isTRUE(all.equal(penalised$w, of_depth$w)))
  refused <- function(words, ...) expect_error(bcnmf(sim$x, ..., k = 2, k_target = 0, alpha = 0), words, class = "bcnmf_error")
  refused("given for both sets", sim$y, size_factors = depth)
  for (extreme in c(5e-324, 1e308)) {
    expect_bcnmf_error(bcnmf(sim$x, k = 2, size_factors = replace(depth, 2, extreme)), "a size factor is [0-9]e-?3[0-9]+, but it must be between 1e-50 and 1e50")
  }
  expect_error(bcnmf(sim$x, k = 2, size_factors = -depth), "positive numbers", class = "bcnmf_error")
  expect_error(bcnmf(sim$x, k = 2, size_factors = "depth"), "positive numbers", class = "bcnmf_error")
  expect_error(bcnmf(sim$x, k = 2, size_factors = list(background = depth)), "but the data have none", class = "bcnmf_error")
})

test_that("a mask that has the names of both sets is for both", {
  sim <- holed_sim()
  x <- sim$x
  y <- sim$y
  rownames(x) <- rownames(y) <- paste0("gene", seq_len(nrow(x)))
  colnames(x) <- paste0("t", seq_len(ncol(x)))
  colnames(y) <- paste0("b", seq_len(ncol(y)))
  both <- cbind(sim$hx, sim$hy)
  dimnames(both) <- list(rownames(x), c(colnames(x), colnames(y)))
  fit <- function(mask) bcnmf(x, y, k = 3, alpha = 0.1, maxit = 10, mask = mask)
  apart <- list(target = sim$hx, background = sim$hy)
  one <- fit(both[, rev(colnames(both))])
  expect_same_model(one, fit(apart))
  expect_identical(evaluate(one, x, y, mask = both), evaluate(one, x, y, mask = apart))
})
