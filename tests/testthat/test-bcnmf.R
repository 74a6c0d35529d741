test_that("steps in a sweep are counted, inherited and checked", {
  sim <- small_sim()
  one <- bcnmf(sim$target, sim$background, k = 3, maxit = 10, steps = 1)
  five <- bcnmf(sim$target, sim$background, k = 3, maxit = 10)
  expect_identical(one$steps, c(1, 1))
  expect_lt(five$divergence[["objective"]], one$divergence[["objective"]])
  expect_same_model(bcnmf(sim$target, sim$background, k = 3, maxit = 10, steps = 5, accelerate = TRUE), five)
  rest <- bcnmf(sim$target, sim$background, init = bcnmf(sim$target, sim$background, k = 3, maxit = 4, steps = 1), maxit = 6)
  expect_same_model(rest, one, tolerance = 1e-4)
  for (bad in list(0, 1.5, c(1, 2, 3), "1", NA, Inf)) {
    expect_bcnmf_error(bcnmf(sim$target, k = 2, steps = bad), "between 1 and 1000 \\(for h and w\\)", "steps")
  }
})

test_that("accelerated fits need fewer sweeps for the same objective, and are what their last step has led to", {
  sim <- simulate_contrast(200, 300, 200, k_shared = 4, k_target = 2, share = 0.1, depth = 300, seed = 3)
  for (loss in c("mse", "poisson", "nb")) {
    fit <- function(accelerate = NULL, maxit = 1000) {
      bcnmf(sim$target, sim$background, k = 6, k_target = 2, loss = loss, maxit = maxit, seed = 1, accelerate = accelerate, precision = "double", verbose = FALSE)
    }
    plain <- fit(FALSE)
    fast <- fit()
    expect_true(fast$accelerate)
    expect_lt(fast$divergence[["objective"]], 1.001 * plain$divergence[["objective"]])
    reached <- function(fit) which(fit$history$objective <= 1.001 * plain$divergence[["objective"]])[1]
    expect_lt(reached(fast), reached(plain))
    # the objective is that of the model, not of where w has gone on to
    for (maxit in c(1, 2, 7)) {
      short <- fit(maxit = maxit)
      if (loss == "mse") {
        error <- function(x, h) sum((x - short$w %*% h)^2)
        whole <- error(sim$target, short$d * short$h) + short$lambda * error(sim$background, short$d_background * short$h_background)
        expect_equal(short$divergence[["objective"]], whole, tolerance = 1e-9)
      }
      expect_equal(unname(colSums(short$w)), rep(1, 6))
    }
  }
  # steps that are asked for are taken as they are
  expect_false(bcnmf(sim$target, k = 2, maxit = 2, steps = 2)$accelerate)
  rest <- function(...) bcnmf(sim$target, init = bcnmf(sim$target, k = 2, maxit = 2, accelerate = FALSE), maxit = 2, ...)$accelerate
  expect_false(rest())
  expect_true(rest(accelerate = TRUE))
  expect_false(bcnmf(sim$target, init = bcnmf(sim$target, k = 2, maxit = 2), maxit = 2, steps = 1)$accelerate)
  expect_bcnmf_error(bcnmf(sim$target, k = 2, accelerate = 2), "TRUE or FALSE", "accelerate")
})

test_that("a fit is a valid model with the data's names", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, loss = "poisson", maxit = 50)
  expect_s4_class(fit, "bcnmf")
  expect_true(methods::validObject(fit))
  expect_identical(rownames(fit$w), rownames(sim$target))
  expect_identical(colnames(fit$h), colnames(sim$target))
  expect_identical(colnames(fit$h_background), colnames(sim$background))
  expect_equal(unname(colSums(fit$w)), rep(1, 3))
  expect_equal(unname(rowSums(fit$h)), rep(1, 3))
  expect_equal(unname(rowSums(fit$h_background)), rep(1, 3))
  expect_false(is.unsorted(rev(fit$d)))
  expect_identical(nrow(fit$history), 51L)
  expect_equal(fit$history$iteration, 0:50)
})

test_that("the divergences are those of the returned factors, and the objective joins them", {
  sim <- small_sim()
  x <- as.matrix(sim$target)
  for (loss in c("mse", "poisson")) {
    fit <- suppressWarnings(bcnmf(sim$target, sim$background, k = 3, alpha = 0.3, loss = loss, maxit = 30, precision = "double", ambient = 0))
    mu <- fitted(fit)
    by_hand <- if (loss == "mse") sum((x - mu)^2) else sum(ifelse(x > 0, x * log(x / mu), 0) - x + mu)
    expect_equal(fit$divergence[["target"]], by_hand, tolerance = 1e-9)
    expect_equal(fit$divergence[["objective"]], by_hand - 0.3 * fit$divergence[["background"]], tolerance = 1e-9)
    table <- evaluate(fit, sim$target, sim$background)
    expect_equal(table$divergence, unname(fit$divergence[c("target", "background")]), tolerance = 1e-9)
    expect_equal(table$mean[1], by_hand / length(x), tolerance = 1e-9)
  }
})

test_that("alpha and beta are two names for one strength", {
  sim <- small_sim()
  ratio <- list(mse = sum(sim$background^2) / sum(sim$target^2), poisson = sum(sim$background) / sum(sim$target))
  for (loss in names(ratio)) {
    by_beta <- suppressWarnings(bcnmf(sim$target, sim$background, k = 2, beta = 0.4, loss = loss, maxit = 20))
    expect_equal(by_beta$alpha, 0.4 / ratio[[loss]])
    expect_equal(by_beta$beta, 0.4)
    by_alpha <- suppressWarnings(bcnmf(sim$target, sim$background, k = 2, alpha = by_beta$alpha, loss = loss, maxit = 20))
    expect_same_model(by_alpha, by_beta, tolerance = 1e-6)
  }
})

test_that("without contrast the background does not touch the basis", {
  sim <- small_sim()
  plain <- bcnmf(sim$target, k = 3, maxit = 40, precision = "double")
  zero <- bcnmf(sim$target, sim$background, k = 3, alpha = 0, maxit = 40, precision = "double")
  expect_equal(zero$w, plain$w, tolerance = 1e-12)
  expect_equal(zero$h, plain$h, tolerance = 1e-12)
  expect_identical(plain$alpha, 0)
  expect_identical(dim(plain$h_background), c(3L, 0L))
})

test_that("dense and sparse data, and every class that holds the same numbers, give the same fit", {
  sim <- small_sim()
  sparse <- bcnmf(sim$target, sim$background, k = 3, maxit = 20, precision = "double")
  dense <- as.matrix(sim$target)
  whole <- dense
  storage.mode(whole) <- "integer"
  inputs <- list(
    dense, whole, as.data.frame(dense), methods::as(sim$target, "TsparseMatrix"),
    methods::as(sim$target, "RsparseMatrix"), Matrix::Matrix(dense, sparse = FALSE)
  )
  for (x in inputs) {
    fit <- bcnmf(x, sim$background, k = 3, maxit = 20, precision = "double")
    expect_same_model(fit, sparse, tolerance = 1e-10)
  }
  pattern <- methods::as(sim$target > 1, "nMatrix")
  fits <- lapply(list(pattern, as.matrix(pattern)), bcnmf, k = 2, maxit = 5, precision = "double")
  expect_same_model(fits[[1]], fits[[2]], tolerance = 1e-10)
  symmetric <- Matrix::crossprod(sim$target[, 1:10])
  expect_s4_class(symmetric, "dsCMatrix")
  fits <- lapply(list(symmetric, as.matrix(symmetric)), bcnmf, k = 2, maxit = 5, precision = "double")
  expect_same_model(fits[[1]], fits[[2]], tolerance = 1e-10)
})

test_that("threads and repeats give the same bits, and R's random numbers are untouched", {
  sim <- simulate_contrast(100, n_target = 600, n_background = 300, seed = 3)
  set.seed(1)
  before <- .Random.seed
  fits <- lapply(c(1, 2, 4, 2), function(threads) {
    bcnmf(sim$target, sim$background, k = 4, loss = "poisson", maxit = 20, seed = 7, threads = threads)
  })
  expect_identical(.Random.seed, before)
  for (fit in fits[-1]) expect_same_model(fit, fits[[1]])
  # several starts are fitted side by side
  fits <- lapply(1:3, function(threads) bcnmf(sim$target, k = 4, maxit = 30, tol = 1e-3, seed = c(4, 2, 9, 1), threads = threads))
  for (fit in fits[-1]) {
    expect_same_model(fit, fits[[1]])
    expect_identical(fit$restarts, fits[[1]]$restarts)
  }
})

test_that("the caller's data are not modified", {
  sim <- small_sim()
  x <- as.matrix(sim$target)
  copy <- x + 0
  slots <- list(sim$target@x + 0, sim$target@i + 0L, sim$target@p + 0L)
  bcnmf(x, k = 2, maxit = 5)
  bcnmf(sim$target, k = 2, maxit = 5)
  expect_identical(x, copy)
  expect_identical(list(sim$target@x, sim$target@i, sim$target@p), slots)
})

test_that("the best of several starts is returned and all are listed", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, k = 3, seed = c(3, 1, 2), maxit = 15)
  expect_identical(fit$restarts$start, c("3", "1", "2"))
  expect_identical(which(fit$restarts$best), which.min(fit$restarts$objective))
  expect_equal(fit$divergence[["objective"]], min(fit$restarts$objective))
  alone <- bcnmf(sim$target, k = 3, seed = c(3, 1, 2)[fit$restarts$best], maxit = 15)
  expect_same_model(fit, alone)
})

test_that("a fit starts from given loadings", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, init = sim$w, loss = "poisson", maxit = 1, precision = "double")
  # started at the truth, one sweep stays close to it
  expect_true(all(best_cosine(fit$w, sim$w) > 0.98))
  several <- bcnmf(sim$target, k = 3, init = list(truth = sim$w, sim$w + 0.1), maxit = 5)
  expect_identical(several$restarts$start, c("truth", "w2"))
  as_seed <- bcnmf(sim$target, k = 3, seed = sim$w, maxit = 5)
  expect_same_model(as_seed, bcnmf(sim$target, k = 3, init = sim$w, maxit = 5))
})

test_that("given loadings are matched by the features' names", {
  sim <- small_sim()
  x <- sim$target
  fit <- bcnmf(x, k = 3, init = sim$w, maxit = 5)
  expect_same_model(bcnmf(x, k = 3, init = sim$w[60:1, ], maxit = 5), fit)
  expect_same_model(bcnmf(x, k = 3, init = as.data.frame(sim$w[60:1, ]), maxit = 5), fit)
  expect_same_model(bcnmf(x, k = 3, init = list(Matrix::Matrix(sim$w[60:1, ])), maxit = 5, mask = "NA"), fit)
  other <- sim$w
  rownames(other)[c(2, 60)] <- c("x", "y")
  expect_bcnmf_error(bcnmf(x, k = 3, init = other), "`init` lacks 2 features of `target`: \"gene2\" and \"gene60\"", arg = "init")
  repeated <- x
  rownames(repeated)[2] <- "gene1"
  expect_bcnmf_error(bcnmf(repeated, k = 3, init = `rownames<-`(sim$w, rev(rownames(repeated)))), "Repeated", arg = "init")
  # without names, of either, and with the same ones, by position
  expect_same_model(bcnmf(x, k = 3, init = unname(sim$w), maxit = 5), fit)
  expect_identical(unname(bcnmf(unname(x), k = 3, init = sim$w, maxit = 5)$w), unname(fit$w))
  expect_error(bcnmf(repeated, k = 3, init = `rownames<-`(sim$w, rownames(repeated)), maxit = 5), NA)
})

test_that("continuing equals one long run", {
  sim <- small_sim()
  for (args in list(list(beta = 0.3), list(k_target = 1), list(alpha = 0.1, L1 = 0.05, L2 = c(0.1, 0)))) {
    # the penalties kill a factor
    run <- function(maxit, ...) {
      suppressWarnings(do.call(bcnmf, c(
        list(sim$target, sim$background, k = 3, loss = "poisson", maxit = maxit, tol = 0, precision = "double", accelerate = FALSE), args, list(...)
      )), classes = "bcnmf_warning")
    }
    long <- run(30)
    first <- run(12)
    file <- withr::local_tempfile()
    saveRDS(first, file)
    second <- suppressWarnings(bcnmf(sim$target, sim$background, init = readRDS(file), maxit = 18, tol = 0))
    expect_same_model(second, long, tolerance = 1e-9)
    expect_equal(second$history, long$history, tolerance = 1e-9, ignore_attr = "row.names")
    expect_identical(second$iterations, 30)
    expect_identical(second$lambda, long$lambda)
  }
})

test_that("target-only factors are closed to the background and found", {
  sim <- simulate_contrast(300, n_target = 500, n_background = 400, k_shared = 3, k_target = 1, share = 0.25, seed = 5)
  fit <- bcnmf(sim$target, sim$background, k = 4, k_target = 1, loss = "poisson", seed = 1:3)
  expect_identical(sum(fit$target_only), 1L)
  own <- which(fit$target_only)
  expect_true(all(fit$h_background[own, ] == 0))
  expect_identical(fit$d_background[[own]], 0)
  expect_true(all(best_cosine(fit$w, sim$w) > 0.95))
  expect_gt(best_cosine(fit$w[, own, drop = FALSE], sim$w[, "target1", drop = FALSE]), 0.95)
  expect_identical(is.na(c(fit$alpha, fit$beta)), c(TRUE, TRUE))
  # by default the background counts twice what would make both sets count the same
  expect_equal(fit$lambda, 2 * sum(sim$target) / sum(sim$background))
  expect_identical(fit$init, "nndsvd")
})

test_that("penalties do what they say, free of the data's unit", {
  sim <- small_sim()
  run <- function(scale = 1, ...) bcnmf(sim$target * scale, k = 3, maxit = 60, precision = "double", ...)
  plain <- run()
  sparse <- run(L1 = c(0, 0.5))
  expect_gt(mean(sparse$h < 1e-6), mean(plain$h < 1e-6))
  expect_gt(sparse$divergence[["target"]], plain$divergence[["target"]])
  expect_warning(run(L1 = 0.2), "dead.*bcnmf3", class = "bcnmf_warning")
  for (L in list(list(L1 = 0.2), list(L2 = 0.2))) {
    one <- suppressWarnings(do.call(run, L))
    other <- suppressWarnings(do.call(run, c(scale = 1024, L)))
    expect_equal(other$w, one$w, tolerance = 1e-9)
    expect_equal(other$d, one$d * 1024, tolerance = 1e-9)
  }
})

test_that("a model is continued with its own features and cells", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, k_target = 1, maxit = 5)
  last <- rev(seq_len(nrow(sim$target)))
  expect_bcnmf_error(bcnmf(sim$target[last, ], sim$background[last, ], init = fit), "same features as the model")
  expect_bcnmf_error(bcnmf(sim$target[, 80:1], sim$background, init = fit), "same target cells in another order", arg = "init")
  expect_bcnmf_error(bcnmf(sim$target, sim$background[, 50:1], init = fit), "same background cells in another order", arg = "init")
  # without names nothing is known of their order
  expect_s4_class(bcnmf(unname(sim$target), unname(sim$background), init = fit, maxit = 1), "bcnmf")
})

test_that("where L1 does nothing, that is said", {
  sim <- small_sim()
  said <- function(...) bcnmf(sim$target, ..., loss = "poisson", k = 3, maxit = 3, verbose = FALSE)
  expect_warning(said(L1 = c(0, 1)), "does nothing for h", class = "bcnmf_warning")
  expect_warning(said(L1 = 0.1), "does nothing for w and h", class = "bcnmf_warning")
  expect_warning(said(sim$background, alpha = 0.1, L1 = c(0.1, 0)), NA)
  expect_warning(said(L1 = c(0, 0.1), size_factors = "library"), NA)
  expect_warning(said(L2 = 0.1), NA)
})

test_that("what is left of a model without its target-only factors has no contrast to go on with", {
  sim <- small_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, k_target = 1, loss = "poisson", maxit = 5)
  rest <- fit[!fit$target_only]
  expect_bcnmf_error(bcnmf(sim$target, sim$background, init = rest, maxit = 2), "target-only factors without any", arg = "init")
  expect_identical(ncol(bcnmf(sim$target, sim$background, init = rest, alpha = 0.1, maxit = 2)$w), 2L)
})

test_that("one row, one column, one factor, empty rows and columns work", {
  expect_s4_class(bcnmf(matrix(1:6 + 0, 1), k = 1), "bcnmf")
  expect_s4_class(bcnmf(matrix(1:6 + 0, ncol = 1), k = 1), "bcnmf")
  expect_s4_class(bcnmf(matrix(3), matrix(2), k = 1), "bcnmf")
  x <- as.matrix(small_sim()$target)
  x[3, ] <- 0
  x[, 5] <- 0
  for (loss in c("mse", "poisson")) {
    fit <- bcnmf(x, x[, 1:20], k = 2, loss = loss, maxit = 30)
    expect_identical(unname(fit$w[3, ]), c(0, 0))
    expect_identical(unname(fit$h[, 5]), c(0, 0))
    expect_false(anyNA(fit$w), anyNA(fit$h))
  }
})

test_that("values of any magnitude that can be squared are fitted", {
  x <- matrix(stats::rexp(200), 20)
  for (precision in c("single", "double")) {
    # in single precision rounding grows where w goes on
    run <- function(x) bcnmf(x, k = 3, maxit = 30, precision = precision, accelerate = precision == "double")
    reference <- run(x)
    for (scale in c(1e-90, 1e-30, 1e30, 1e90)) {
      fit <- run(x * scale)
      expect_equal(fit$w, reference$w, tolerance = if (precision == "double") 1e-9 else 1e-3)
      expect_true(all(is.finite(fit$d)))
      expect_true(all(is.finite(bcnmf(x * scale, k = 3, maxit = 30)$d)))
    }
  }
})

test_that("unusual strengths and data are warned about", {
  sim <- small_sim()
  suppressWarnings(expect_warning(bcnmf(sim$target, sim$background, k = 2, beta = 1.5, maxit = 3), "beta.*1.5", class = "bcnmf_warning"))
  expect_warning(bcnmf(sim$target / 3, k = 2, loss = "poisson", maxit = 3), "whole number", class = "bcnmf_warning")
  expect_silent(bcnmf(sim$target, sim$background, k = 2, beta = 0.5, maxit = 3))
})

test_that("a strong contrast never gives a number that is not finite", {
  sim <- small_sim()
  for (loss in c("mse", "poisson")) {
    for (alpha in c(1, 10, 1e3)) {
      fit <- suppressWarnings(bcnmf(sim$target, sim$background, k = 3, alpha = alpha, loss = loss, maxit = 300))
      expect_true(methods::validObject(fit))
    }
  }
})

test_that("ambient counts bound a strong contrast, and only that", {
  sim <- small_sim()
  fit <- function(...) bcnmf(sim$target, sim$background, k = 3, maxit = 200, verbose = FALSE, ...)
  plain <- fit(alpha = 0, loss = "poisson")
  bare <- suppressWarnings(fit(beta = 2, loss = "poisson", ambient = 0))
  bounded <- suppressWarnings(fit(beta = 2, loss = "poisson"))
  price <- function(fit) fit$divergence[["target"]] / plain$divergence[["target"]]
  expect_gt(price(bare), 2 * price(bounded))
  # no best response of the background loses more than the ambient rate alone
  rate <- 0.02 * outer(Matrix::rowSums(sim$background), Matrix::colSums(sim$background)) / sum(sim$background)
  y <- as.matrix(sim$background)
  expect_lte(bounded$divergence[["background"]], 1.001 * sum(ifelse(y > 0, y * log(y / rate), 0) - y + rate))
  # without meaning where there is no contrast of counts
  expect_same_model(fit(k_target = 1, loss = "poisson", ambient = 0), fit(k_target = 1, loss = "poisson", ambient = 0.3))
  expect_same_model(suppressWarnings(fit(beta = 0.5, ambient = 0)), suppressWarnings(fit(beta = 0.5, ambient = 0.3)))
  # a continued fit keeps it
  half <- fit(beta = 0.1, loss = "poisson", ambient = 0.1)
  expect_identical(bcnmf(sim$target, sim$background, init = half, maxit = 1, verbose = FALSE)@misc$ambient, 0.1)
  for (bad in list(-0.1, 0.6, NA, "a")) expect_error(fit(ambient = bad), class = "bcnmf_error", regexp = "ambient")
})
