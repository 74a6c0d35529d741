# A valid model without fitting one: m features, n target and l background cells, k factors of which the
# last `k_target` are target-only. Does not touch the caller's random stream.
fake_fit <- function(m = 20, n = 12, l = 8, k = 3, loss = "mse", k_target = 0, names = TRUE, seed = 1,
                     sweeps = 40, starts = 1) {
  withr::local_seed(seed)
  factors <- paste0("bcnmf", seq_len(k))
  features <- if (names) sprintf("gene%d", seq_len(m))
  unit <- function(x) x / sum(x)
  by_column <- function(rows, columns) vapply(seq_len(columns), function(i) unit(stats::rexp(rows)), numeric(rows))
  w <- matrix(by_column(m, k), m, k, dimnames = list(features, factors))
  coefficients <- function(cells, prefix) {
    matrix(t(by_column(cells, k)), k, cells,
      dimnames = list(factors, if (names) sprintf("%s%d", prefix, seq_len(cells)))
    )
  }
  d <- stats::setNames(sort(stats::rexp(k, 1 / (100 * n)), decreasing = TRUE), factors)
  target_only <- stats::setNames(seq_len(k) > k - k_target, factors)
  if (l > 0) {
    h_background <- coefficients(l, "control")
    h_background[target_only, ] <- 0
    d_background <- stats::setNames(stats::rexp(k, 1 / (100 * l)) * !target_only, factors)
  } else {
    h_background <- matrix(0, k, 0, dimnames = list(factors, NULL))
    d_background <- numeric()
  }
  sweep <- 0:sweeps
  history <- data.frame(
    iteration = sweep, target = 500 + 1e4 * exp(-sweep / 4) + 100 / (sweep + 1),
    background = if (l > 0) 300 + 8e3 * exp(-sweep / 5) + 50 / (sweep + 1) else NA_real_
  )
  history$objective <- history$target - if (l > 0) 0.3 * history$background else 0
  history$change <- c(NA, exp(-sweep[-1] / 3))
  last <- history[nrow(history), ]
  methods::new("bcnmf",
    w = w, d = d, h = coefficients(n, "cell"), d_background = d_background, h_background = h_background,
    target_only = target_only, loss = loss,
    alpha = if (k_target > 0) NA_real_ else if (l > 0) 0.3 else 0,
    beta = if (k_target > 0) NA_real_ else if (l > 0) 0.15 else 0,
    lambda = if (k_target > 0) 1 else NA_real_,
    divergence = unlist(last[c("target", "background", "objective")]),
    history = history,
    restarts = data.frame(
      start = as.character(seq_len(starts)), objective = last$objective + seq_len(starts) - 1,
      target = last$target, background = last$background, iterations = sweeps, converged = TRUE,
      best = seq_len(starts) == 1
    ),
    misc = list(
      seed = seq_len(starts), tol = 1e-4, maxit = 100, iterations = sweeps, converged = TRUE,
      interrupted = FALSE, feature_mean = stats::setNames(rowMeans(w), features)
    )
  )
}

# A model whose parts are given: w (features x factors), uses of target and background (factors x cells).
fit_of_uses <- function(w, target, background = NULL, ...) {
  k <- ncol(w)
  fit <- fake_fit(nrow(w), ncol(target), if (is.null(background)) 0 else ncol(background), k, ...)
  scaled <- function(u) u / ifelse(rowSums(u) > 0, rowSums(u), 1)
  fit@w[] <- w
  fit@d[] <- rowSums(target)
  fit@h[] <- scaled(target)
  if (!is.null(background)) {
    fit@d_background[] <- rowSums(background)
    fit@h_background[] <- scaled(background)
  }
  methods::validObject(fit)
  fit
}

expect_bcnmf_error <- function(object, regexp = NULL, arg = NULL) {
  condition <- testthat::expect_error(object, regexp, class = "bcnmf_error")
  if (!is.null(arg)) testthat::expect_identical(condition$arg, arg)
  invisible(condition)
}
