# Methods of quality.R: a named list of functions of (data, seed, threads), each of which returns
#   w          loadings, features x factors
#   use        target cells x factors, raw
#   embedding  named list of what to cluster, target cells x anything
#   objective, target   what was minimised, and the target's part of it (NA where there is none)
#   fit        the bcnmf model, if it is one
# or NULL where the method does not apply. To add one: `methods[["name"]] <- function(data, seed, threads) ...`.

# A fit, or that of several seeds by the best objective, as a method's result.
bcnmf_result <- function(data, ..., background = data$background, seed, threads) {
  arguments <- list(data$target, background, ..., loss = data$loss, mask = data$mask, threads = threads, verbose = FALSE)
  arguments$seed <- seed # none where `init` is given
  from_fit(suppressWarnings(do.call(bcnmf::bcnmf, arguments), classes = "bcnmf_warning"))
}

from_fit <- function(fit) {
  list(
    w = fit$w, use = bcnmf::embedding(fit, "none", set = "target"),
    embedding = list(L2 = bcnmf::embedding(fit, "L2", set = "target"), z = z_scored(fit)),
    objective = fit$divergence[["objective"]], target = fit$divergence[["target"]], fit = fit
  )
}

# Of a model with several target-only factors those alone tell what the background does not have.
z_scored <- function(fit) {
  z <- bcnmf::embedding(fit, "z", set = "target")
  if (sum(fit$target_only) > 1) z[, fit$target_only, drop = FALSE] else z
}

# Seeds that no other repeat has.
ten_seeds <- function(seed) (seed - 1) * 10 + 1:10

ten_fits <- function(data, ..., background = data$background, seed, threads) {
  lapply(ten_seeds(seed), function(s) {
    suppressWarnings(bcnmf::bcnmf(
      data$target, background, ..., loss = data$loss, mask = data$mask, seed = s, threads = threads, verbose = FALSE
    ), classes = "bcnmf_warning")
  })
}

# Consensus of ten.
consensus_result <- function(data, ..., background = data$background, seed, threads) {
  fits <- ten_fits(data, ..., background = background, seed = seed, threads = threads)
  model <- bcnmf::consensus(fits, data$target, background, threads = threads, verbose = FALSE)$model
  from_fit(model)
}

# The embeddings of ten fits, which have no model of their own.
side_by_side <- function(data, ..., seed, threads) {
  fits <- ten_fits(data, ..., seed = seed, threads = threads)
  embedding <- list(L2 = bcnmf::embedding(fits, "L2", set = "target"), z = bcnmf::embedding(fits, "z", set = "target"))
  list(
    w = do.call(cbind, lapply(fits, function(fit) fit$w)), use = bcnmf::embedding(fits, "none", set = "target"), embedding = embedding,
    objective = NA_real_, target = NA_real_
  )
}

# The lambda with which target and background count the same.
equal_weight <- function(data) {
  size <- function(x) sum(if (data$loss == "mse") x^2 else x, na.rm = TRUE)
  size(data$target) / size(data$background)
}

target_only <- function(result, ...) {
  function(data, seed, threads) {
    if (!is.null(data$background)) {
      result(data, k = data$k_with, k_target = data$k_only, ..., seed = seed, threads = threads)
    }
  }
}

# Cells in rows, log-normalised where they are counts.
cells_by_features <- function(x, loss) {
  if (loss == "poisson") x <- log_normalise(x)
  t(as.matrix(x))
}

# PCA of the target (strength 0), and contrastive PCA (Abid et al. 2018): the leading eigenvectors of the target's covariance less
# `strength` times the background's. The spaces of several strengths come as a list.
contrastive_pca <- function(data, strengths) {
  # a covariance of all genes would not fit; the truth of simulations has fewer
  if (nrow(data$target) > 2000) {
    kept <- most_variable(if (data$loss == "poisson") log_normalise(data$target) else data$target)
    data$target <- data$target[kept, ]
    data$background <- data$background[kept, ]
  }
  x <- cells_by_features(data$target, data$loss)
  covariance <- stats::cov(x)
  background <- if (any(strengths > 0)) stats::cov(cells_by_features(data$background, data$loss))
  centred <- scale(x, scale = FALSE)
  lapply(strengths, function(strength) {
    difference <- if (strength > 0) covariance - strength * background else covariance
    w <- leading_vectors(difference, data$k)
    use <- centred %*% w
    list(w = w, use = use, embedding = list(L2 = unit_rows(use), z = scale(use)), objective = NA_real_, target = NA_real_, signed = TRUE)
  })
}

# Algebraically largest; irlba finds the largest in size, so what is below 0 is shifted away first.
leading_vectors <- function(symmetric, k) {
  if (nrow(symmetric) <= 1000 || !requireNamespace("irlba", quietly = TRUE)) {
    return(eigen(symmetric, symmetric = TRUE)$vectors[, seq_len(k), drop = FALSE])
  }
  set.seed(1)
  top <- irlba::partial_eigen(symmetric, n = 1, symmetric = FALSE)$values
  diag(symmetric) <- diag(symmetric) + abs(top)
  set.seed(1)
  irlba::partial_eigen(symmetric, n = k, symmetric = TRUE)$vectors
}

unit_rows <- function(x) {
  size <- sqrt(rowSums(x^2))
  x / ifelse(size > 0, size, 1)
}

# Of the small list the strength that the labels or the truth like best: in favour of the method, which leaves that choice to the eye.
cpca_strengths <- c(0.5, 1, 2, 5, 10, 50)

best_by_label <- function(spaces, data, seed) {
  value <- vapply(spaces, function(space) {
    scores <- score(space, data, seed)
    max(c(scores[["ari_L2"]], scores[["ari_z"]], scores[["auc"]], scores[["own"]]), -Inf, na.rm = TRUE)
  }, 0)
  spaces[[which.max(value)]]
}

# What the counts can tell at most: each gene's loadings by maximum likelihood, for one who knows every cell's coefficients.
known_coefficients <- function(data, passes = 500) {
  counts <- as.matrix(cbind(data$target, data$background))
  h <- data$truth_h
  w <- matrix(rowSums(counts) / sum(h), nrow(counts), nrow(h))
  size <- rowSums(h)
  # every gene for itself is a concave problem, so that Lee and Seung's updates end at its maximum
  for (pass in seq_len(passes)) w <- w * tcrossprod(counts / pmax(w %*% h, .Machine$double.xmin), h) / rep(size, each = nrow(w))
  list(w = w, use = t(h), embedding = NULL, objective = NA_real_, target = NA_real_)
}

methods <- list(
  "plain NMF" = function(data, seed, threads) bcnmf_result(data, k = data$k, background = NULL, seed = seed, threads = threads),
  "bcnmf default" = function(data, seed, threads) {
    if (!is.null(data$background)) bcnmf_result(data, k = data$k, seed = seed, threads = threads)
  },
  "target-only" = target_only(bcnmf_result),
  "target-only: random starts" = target_only(bcnmf_result, init = "random"),
  # by default the background counts twice as much
  "target-only: equal weights" = target_only(function(data, ...) bcnmf_result(data, lambda = equal_weight(data), ...)),
  "paper" = function(data, seed, threads) {
    if (is.null(data$paper_alpha)) return(NULL)
    bcnmf_result(data, k = data$k, alpha = data$paper_alpha, maxit = 100, tol = 0, steps = 1, ambient = 0, seed = seed, threads = threads)
  },
  # principal components know no missing values
  "PCA" = function(data, seed, threads) if (is.null(data$mask)) contrastive_pca(data, 0)[[1]],
  "contrastive PCA" = function(data, seed, threads) {
    if (!is.null(data$background) && is.null(data$mask)) best_by_label(contrastive_pca(data, cpca_strengths), data, seed)
  },
  "from the truth" = function(data, seed, threads) {
    if (!is.null(data$truth) && data$k == ncol(data$truth)) {
      bcnmf_result(data, k = data$k, k_target = sum(data$own), init = data$truth, seed = NULL, threads = threads)
    }
  },
  "known coefficients" = function(data, seed, threads) if (!is.null(data$truth_h) && data$k == ncol(data$truth)) known_coefficients(data),
  "plain NMF: best of ten" = function(data, seed, threads) {
    bcnmf_result(data, k = data$k, background = NULL, seed = ten_seeds(seed), threads = threads)
  },
  "plain NMF: consensus of ten" = function(data, seed, threads) {
    consensus_result(data, k = data$k, background = NULL, seed = seed, threads = threads)
  },
  "default: consensus of ten" = function(data, seed, threads) {
    if (!is.null(data$background)) consensus_result(data, k = data$k, seed = seed, threads = threads)
  },
  "target-only: best of ten" = target_only(function(data, ..., seed, threads) {
    bcnmf_result(data, ..., seed = ten_seeds(seed), threads = threads)
  }),
  "target-only: consensus of ten" = target_only(consensus_result),
  "target-only: embeddings of ten and equal weights" = target_only(function(data, ...) side_by_side(data, lambda = equal_weight(data), ...)),
  "target-only: embeddings of ten random starts and equal weights" = target_only(
    function(data, ...) side_by_side(data, lambda = equal_weight(data), init = "random", ...)
  ),
  "plain NMF: embeddings of ten" = function(data, seed, threads) side_by_side(data, k = data$k, background = NULL, seed = seed, threads = threads)
)
