path_sim <- function(...) simulate_contrast(300, n_target = 300, n_background = 250, seed = 1, ...)

path_quick <- function(target, background, ..., beta = c(0, 0.05, 0.2), shuffles = 0, maxit = 60) {
  alpha_path(target, background, k = 8, beta = beta, loss = "poisson", shuffles = shuffles, maxit = maxit, verbose = FALSE, ...)
}

test_that("the path of matched data says what contrast costs", {
  sim <- path_sim(share = 0.2)
  path <- path_quick(sim$target, sim$background, beta = c(0.4, 0.05, 0.1, 0.05), shuffles = 2)
  expect_s3_class(path, c("bcnmf_alpha_path", "data.frame"), exact = TRUE)
  # 0 is always one of them
  expect_identical(path$beta, c(0, 0.05, 0.1, 0.4))
  expect_identical(path$target_rise[1], 0)
  expect_identical(path$background_rise[1], 0)
  expect_identical(path$loadings[1], 1)
  expect_gt(path$target_rise[4], 0.01)
  expect_gt(path$background_rise[4], path$background_rise_null[4])
  expect_identical(path$allowed, path$target_rise <= 0.01)
  expect_true(attr(path, "helps"))
  expect_gt(path$beta[path$selected], 0)
  expect_match(attr(path, "verdict"), "costs the target at most 1 %")
  expect_gt(attr(path, "shared"), 0)
  expect_gt(attr(path, "specific"), max(attr(path, "specific_null")) + 0.1)
  expect_length(attr(path, "specific_null"), 2)

  ratio <- sum(sim$background) / sum(sim$target)
  expect_equal(path$alpha, path$beta / ratio)
  # for all cells, not only for those that were fitted
  some <- path_quick(sim$target, sim$background, most = 100)
  expect_equal(some$alpha, some$beta / ratio)
})

test_that("with mse alpha is beta over the ratio of sums of squares", {
  sim <- small_sim()
  x <- log1p(as.matrix(sim$target))
  y <- log1p(as.matrix(sim$background))
  path <- alpha_path(x, y, k = 3, beta = 0.1, maxit = 20, verbose = FALSE)
  expect_equal(path$alpha, path$beta * sum(x^2) / sum(y^2))
  expect_identical(path$target_rise_null[1], 0)
})

test_that("a background of other programs shares nothing", {
  sim <- path_sim()
  other <- simulate_contrast(300, n_target = 10, n_background = 250, seed = 99)
  path <- path_quick(sim$target, other$background)
  expect_lt(attr(path, "shared"), 0)
  expect_false(attr(path, "helps"))
  expect_match(attr(path, "verdict"), "cannot help.*nothing is shared")
  expect_identical(path$beta[path$selected], 0)
})

test_that("cells with shuffled labels have nothing specific", {
  sim <- path_sim(share = 0.2)
  cells <- cbind(sim$target, sim$background)[, order(rs_uniform(5, 550))]
  path <- path_quick(cells[, 1:300], cells[, 301:550], shuffles = 2)
  expect_gt(attr(path, "shared"), 0)
  expect_match(attr(path, "verdict"), "cannot help.*nothing is seen that is specific")
  expect_identical(path$beta[path$selected], 0)
})

test_that("a path is the same every time and touches no random numbers", {
  sim <- path_sim()
  withr::local_seed(3)
  before <- .Random.seed
  path <- path_quick(sim$target, sim$background, shuffles = 1, threads = 2)
  expect_identical(.Random.seed, before)
  expect_identical(path_quick(sim$target, sim$background, shuffles = 1, threads = 1), path)
  expect_false(identical(path_quick(sim$target, sim$background, seed = 2)$target, path$target))
})

test_that("one factor, few background cells and many features work", {
  sim <- small_sim()
  path <- alpha_path(sim$target, sim$background[, 1:3], k = 4, beta = 0.1, maxit = 10, shuffles = 0, verbose = FALSE)
  expect_identical(nrow(path), 2L)
  path <- alpha_path(sim$target, sim$background, k = 1, beta = 0.1, maxit = 10, shuffles = 0, verbose = FALSE)
  expect_identical(attr(path, "specific"), NA_real_)
  expect_output(print(path), "shared NA")
})

test_that("the verdict follows from the numbers", {
  verdict <- function(rise, shared = 0.3, specific = 0.3, null = numeric()) {
    table <- data.frame(beta = seq(0, by = 0.1, length.out = length(rise)), allowed = rise <= 0.01)
    path_verdict(table, list(shared = shared, specific = specific), null, 0.01)
  }
  # what comes after a strength that is not allowed does not count
  expect_identical(verdict(c(0, 0.005, 0.02, 0.005))$beta, 0.1)
  none <- verdict(c(0, 0.02))
  expect_identical(none$beta, 0)
  expect_match(none$sentence, "costs the target more than 1 %")
  expect_false(verdict(c(0, 0), shared = -0.51)$helps)
  expect_false(verdict(c(0, 0), specific = 0.05, null = c(0, 0.06))$helps)
  # what is seen is not said to be nothing
  expect_match(verdict(c(0, 0), specific = 0.446, null = -0.402)$sentence, "not known to help.*0\\.45.*0\\.4;")
  expect_match(verdict(c(0, 0), specific = 0.01, null = 0.3)$sentence, "cannot help")
  expect_true(verdict(c(0, 0), specific = 0.2, null = c(0, 0.06))$helps)
})

test_that("alpha = \"auto\" is the strength that the path selects, to the bit", {
  sim <- path_sim(share = 0.2)
  fit <- function(...) bcnmf(sim$target, sim$background, k = 8, loss = "poisson", maxit = 10, ...)
  expect_message(auto <- fit(alpha = "auto"), "beta = 0.* costs the target", class = "bcnmf_message")
  path <- auto$alpha_path
  expect_s3_class(path, "bcnmf_alpha_path")
  expect_gt(auto$beta, 0)
  expect_same_model(auto, fit(beta = path$beta[path$selected]))
  # the first strength that is too much ends it
  whole <- alpha_path(sim$target, sim$background, k = 8, loss = "poisson", shuffles = 0, verbose = FALSE)
  expect_lt(nrow(path), nrow(whole))
  expect_identical(path$allowed, rep(c(TRUE, FALSE), c(nrow(path) - 1, 1)))
  expect_identical(as.data.frame(path), as.data.frame(whole)[seq_len(nrow(path)), ])
  expect_identical(attr(path, "verdict"), attr(whole, "verdict"))
  expect_no_message(again <- fit(beta = "auto", verbose = FALSE, seed = 2:3))
  expect_identical(again$alpha_path, path)
  expect_null(fit(beta = 0.1)@misc$alpha_path)
  expect_no_message(continued <- fit(init = auto))
  expect_equal(continued$alpha, auto$alpha)
})

test_that("alpha = \"auto\" tries one strength where contrast cannot help", {
  sim <- path_sim(share = 0.2)
  cells <- cbind(sim$target, sim$background)[, order(rs_uniform(5, 550))]
  fit <- bcnmf(cells[, 1:300], cells[, 301:550], k = 8, loss = "poisson", maxit = 5, alpha = "auto", verbose = FALSE)
  expect_identical(fit$alpha, 0)
  expect_identical(fit$alpha_path$beta, c(0, 0.05))
  expect_match(attr(fit$alpha_path, "verdict"), "cannot help")
  expect_error(ggplot2::ggplotGrob(plot(fit$alpha_path)), NA)
})

test_that("bad input is refused before any work", {
  sim <- small_sim()
  path <- function(x = sim$target, y = sim$background, k = 3, ...) alpha_path(x, y, k, ...)
  expect_bcnmf_error(alpha_path(sim$target, k = 3), "needs both sets", "background")
  expect_bcnmf_error(alpha_path(background = sim$target, k = 3), "needs both sets", "target")
  expect_bcnmf_error(alpha_path(sim$target, sim$background), "is missing", "k")
  expect_bcnmf_error(path(y = sim$background[1:5, ]), "same features", "background")
  expect_bcnmf_error(path(x = "a"), "numeric matrix", "target")
  expect_bcnmf_error(path(x = -as.matrix(sim$target)), "negative")
  expect_bcnmf_error(path(k = 1000), "smaller side", "k")
  for (bad in list("a", -1, NA_real_, Inf, numeric())) expect_bcnmf_error(path(beta = bad), "at least 0", "beta")
  expect_bcnmf_error(path(beta = 0), "no strength above 0", "beta")
  expect_bcnmf_error(path(loss = "kl"), "one of", "loss")
  expect_bcnmf_error(path(tolerance = -1), "at least 0", "tolerance")
  expect_bcnmf_error(path(shuffles = 0.5), "whole number", "shuffles")
  expect_bcnmf_error(path(most = 2), "at least 3", "most")
  expect_bcnmf_error(path(maxit = 0), "at least 1", "maxit")
  expect_bcnmf_error(path(seed = 1:2), "one whole number", "seed")
  expect_bcnmf_error(path(verbose = 3), "TRUE or FALSE", "verbose")

  fit <- function(...) bcnmf(sim$target, ..., k = 3)
  expect_bcnmf_error(fit(alpha = "auto"), "needs a `background`", "alpha")
  expect_bcnmf_error(fit(sim$background, alpha = "auto", beta = 0.1), "not both", "beta")
  expect_bcnmf_error(fit(sim$background, alpha = 0.1, beta = "auto"), "not both", "beta")
  expect_bcnmf_error(fit(sim$background, beta = "auto", k_target = 1), "two different ways", "beta")
  expect_bcnmf_error(fit(sim$background, beta = "auto", lambda = 1), "needs `k_target`", "lambda")
  expect_bcnmf_error(fit(sim$background, alpha = "best"), "or \"auto\"", "alpha")
})

test_that("a path is printed with its verdict and drawn", {
  sim <- path_sim()
  path <- path_quick(sim$target, sim$background, shuffles = 1)
  expect_output(print(path), "shuffled labels.*contrast")
  expect_output(print(path[1:2, c("beta", "target_rise")]), "0.00%")
  expect_error(ggplot2::ggplotGrob(plot(path)), NA)
  expect_error(ggplot2::ggplotGrob(plot(path[1:2, c("beta", "target_rise", "background_rise", "selected")])), NA)
  expect_bcnmf_error(plot(path[c("beta", "selected")]), "lacks the column", "x")
  expect_bcnmf_error(plot(path, by = 1), "Unknown argument")
  expect_s3_class(as.data.frame(path), "data.frame", exact = TRUE)
})
