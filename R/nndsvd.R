# Starting loadings from a singular value decomposition, NNDSVD (Boutsidis and Gallopoulos 2008), found by randomised subspace iteration (Halko,
# Martinsson and Tropp 2011). Data are multiplied by thin matrices and nothing else, so sparse ones stay as they are.

# Steps of subspace iteration, and directions beyond those that are wanted.
nndsvd_rounds <- 3
nndsvd_spare <- 8

# Starting w for every seed, from checked data and what the core tells of them. The seeds share one decomposition and differ in what fills its zeros.
# They are filled high: what starts near zero takes many sweeps to leave it, and fits end in poorer optima.
# Of more than `most` cells of a set evenly spaced ones are looked at: all would cost time and memory, and tell a start nothing new.
nndsvd_starts <- function(x, y, settings, data, most = 5000) {
  parts <- data_parts(x)
  x <- filled_values(some_cells(x, most), data$feature_mean)
  if (!is.null(y)) y <- filled_values(some_cells(y, most), data$feature_mean_background)
  explained <- !is.null(y) && data$weight > 0
  share <- function(means) means / sum(means)
  profile <- share(data$feature_mean)
  if (explained) profile <- (profile + share(data$feature_mean_background)) / 2
  # counts vary as the root of their mean
  metric <- if (settings$loss %in% count_losses) sqrt(max(profile) / pmax(profile, 1e-12 * max(profile))) else rep(1, nrow(x))
  if (!is.null(parts$losses)) metric <- mixed_metric(parts, data$feature_mean)

  k <- settings$k
  # a background that is explained has the shared factors, the target what lies outside of their span
  shared <- if (explained && settings$k_target > 0) k - settings$k_target else 0
  first <- if (shared > 0) leading_vectors(y, metric, shared, NULL)
  then <- leading_vectors(x, metric, k - shared, first$u)
  w <- cbind(if (shared > 0) nonnegative_parts(first, shared), nonnegative_parts(then, k - shared))
  w <- columns_to_one(w / metric)
  lapply(random_starts(settings, nrow(w)), function(random) columns_to_one(pmax(w, random * profile)))
}

# The random numbers that the core's own starts are made of, features x factors, for every seed.
random_starts <- function(settings, rows) {
  starts <- lapply(settings$seed, function(seed) matrix(rs_uniform(seed, rows * settings$k), rows, settings$k, byrow = TRUE))
  stats::setNames(starts, seed_names(settings$seed))
}

# With a loss for each modality: half of the second derivative of each feature's divergence at its mean.
mixed_metric <- function(parts, feature_mean) {
  least <- 1e-12 * max(feature_mean)
  curvature <- ifelse(parts$losses == "mse", 1, 1 / (2 * pmax(feature_mean, least)))
  metric <- sqrt(curvature * if (is.null(parts$features)) 1 else parts$features)
  # features of no weight get loadings from the start all the same
  pmax(metric / max(metric), 1e-6)
}

# The `n` leading pairs of singular vectors of `metric * x` outside of the span of `settled`, or as many as there are.
leading_vectors <- function(x, metric, n, settled) {
  directions <- min(n + nndsvd_spare, dim(x))
  across <- function(q) as.matrix(Matrix::crossprod(x, metric * q))
  back <- function(z) metric * as.matrix(x %*% z)
  sketch <- matrix(rs_uniform(1, nrow(x) * directions) - 0.5, nrow(x))
  q <- orthonormal(sketch, settled)
  for (round in seq_len(nndsvd_rounds)) q <- orthonormal(back(orthonormal(across(q), NULL)), settled)
  if (ncol(q) == 0) return(list(u = q, v = matrix(0, ncol(x), 0)))
  parts <- svd(across(q))
  found <- seq_len(min(n, ncol(q)))
  list(u = q %*% parts$v[, found, drop = FALSE], v = parts$u[, found, drop = FALSE])
}

# An orthonormal basis of what the columns of `q` add to the orthonormal columns of `settled`.
orthonormal <- function(q, settled) {
  before <- if (is.null(settled)) 0 else ncol(settled)
  parts <- qr(cbind(settled, q))
  qr.Q(parts)[, before + seq_len(parts$rank - before), drop = FALSE]
}

# Of each pair of singular vectors the larger of its two non-negative parts; zeros for pairs that do not exist.
nonnegative_parts <- function(pairs, n) {
  size <- function(v) sqrt(colSums(v^2))
  up <- size(pmax(pairs$u, 0)) * size(pmax(pairs$v, 0))
  down <- size(pmin(pairs$u, 0)) * size(pmin(pairs$v, 0))
  sign <- ifelse(up >= down, 1, -1)
  parts <- pmax(t(t(pairs$u) * sign), 0)
  cbind(parts, matrix(0, nrow(parts), n - ncol(parts)))
}

columns_to_one <- function(w) {
  sums <- colSums(w)
  t(t(w) / ifelse(sums > 0, sums, 1))
}
