# Counts of planted programs that vary more than Poisson's: sizes 0.5 to 8, the same for target and background.
dispersed_sim <- function(n_target = 400, n_background = 150) {
  sim <- simulate_contrast(60, n_target, n_background, k_shared = 2, k_target = 1, share = 0.3, depth = 300, seed = 1)
  withr::local_seed(1)
  size <- rep_len(c(0.5, 1, 2, 4, 8), 60)
  draw <- function(h) {
    mu <- sim$w %*% h
    counts <- Matrix::Matrix(stats::rnbinom(length(mu), size = size, mu = mu), nrow(mu), sparse = TRUE)
    dimnames(counts) <- list(rownames(sim$target), colnames(h))
    methods::as(counts, "CsparseMatrix")
  }
  list(target = draw(sim$h), background = draw(sim$h_background), size = size, w = sim$w)
}

# The same, of which some are lost: the features' part or the cells' part of them.
lossy_sim <- function(n_target = 400, n_background = 150, by = c("feature", "cell")) {
  by <- match.arg(by)
  sim <- dispersed_sim(n_target, n_background)
  withr::local_seed(2)
  lose <- function(x, dropout) {
    p <- if (by == "feature") dropout else rep(dropout, each = nrow(x))
    Matrix::drop0(x * stats::rbinom(length(x), 1, 1 - p))
  }
  lengths <- if (by == "feature") c(60, 60) else c(n_target, n_background)
  sim$dropout <- lapply(lengths, function(n) rep_len(c(0, 0.1, 0.3, 0.5), n))
  sim$target <- lose(sim$target, sim$dropout[[1]])
  sim$background <- lose(sim$background, sim$dropout[[2]])
  sim
}
