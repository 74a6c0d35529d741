# A small problem with planted programs, the same for all tests.
small_sim <- function(...) {
  simulate_contrast(60, n_target = 80, n_background = 50, k_shared = 2, k_target = 1, share = 0.3, depth = 300, seed = 1, ...)
}

# Everything of two models that a user computes with.
expect_same_model <- function(a, b, tolerance = NULL) {
  for (part in c("w", "d", "h", "d_background", "h_background", "divergence")) {
    if (is.null(tolerance)) {
      testthat::expect_identical(methods::slot(a, part), methods::slot(b, part), info = part)
    } else {
      testthat::expect_equal(methods::slot(a, part), methods::slot(b, part), tolerance = tolerance, info = part)
    }
  }
}

real_data <- function(name) {
  data <- example_data(name, download = NA)
  if (is.null(data)) testthat::skip(sprintf("the data \"%s\" are not here (set BCNMF_DATA)", name))
  data
}

# Best cosine of each column of `truth` with a column of `w`.
best_cosine <- function(w, truth) {
  unit <- function(x) t(t(x) / sqrt(colSums(x^2)))
  apply(crossprod(unit(w), unit(truth)), 2, max)
}

# A sparse matrix with other slots, whether they fit or not.
broken_matrix <- function(good, ...) {
  slots <- list(...)
  for (name in names(slots)) attr(good, name) <- slots[[name]]
  good
}
