#' How stable factors are over several fits, and their consensus
#'
#' Another seed, or another part of the cells, gives another model. `consensus()` pairs the factors of several fits, tells for each how much the
#' fits agree on it, and makes one model of what they agree on. Factors that come and go with the seed are not to be interpreted, however
#' striking their genes.
#'
#' @details
#' Factors are paired one to one with the consensus by the cosine of their loadings, as by [align()], target-only ones (`k_target`) among themselves.
#' The consensus starts from the fit that agrees best with all others and is made anew until no pairing changes: of the paired factors (the
#' *copies* of a factor) the most typical one is taken, which has the most others with a cosine of at least `min_cosine`, then
#' the mean loading of the copies that are as close as that to the consensus. Copies that are not count as not found and do not enter the mean; a factor
#' that a fit left dead (all zero) is one of them, and has a cosine of 0 with everything. So a factor without agreement is not a blend of unlike programs,
#' but what most fits had in its place, and `n_found` tells how few these are. Fits that are stuck in a poor optimum often use two factors for one program: a copy
#' that has a cosine of 0.9 or more with another factor of the consensus is not taken for typical while there are others. The order of the fits does not matter.
#'
#' This is the idea of consensus NMF (Kotliar et al. 2019), with the assignment in place of k-means clustering (a fit has one copy of each factor, no more), and with the
#' mean in place of the median, which drops a program's traces in other factors and with them the counts that only these explain: in one of our trials
#' the median raised the objective by 7 %, the mean by 0.3 %.
#'
#' With the data the result has a model, for all verbs. All cells get the best coefficients for the consensus loadings, as by [predict()][predict.bcnmf]
#' (background cells without the target-only factors), then the fit goes on from there for `maxit` sweeps: a mean is no optimum, and ten sweeps took the objective from above that
#' of all fits to that of the better ones, while the loadings hardly moved (cosines of 0.99). With `maxit = 0` the model's loadings are the consensus itself. The
#' divergences are those of the data given, which may have more cells than each fit had: fit parts of the cells, then place all.
#' `bcnmf(target, background, init = result$model)` goes on to convergence.
#'
#' In simulations with target-only factors the consensus of ten fits found the planted programs as well as the best of them, and much better than the median one. With
#' `beta = 0.2`, where no two fits found the same, it was like the median one, and the fit with the best objective was better.
#' Stable is not the same as true: fits may agree on a contamination, and with `beta` of 1 or more on nothing of use. Where programs resemble each other (the loadings of
#' normalised expression do, by the genes that are high everywhere), take a larger `min_cosine` and look at the silhouette.
#'
#' @param fits a list of at least two models made by [bcnmf()], with the same features, `k`, `k_target`, loss and contrast. Their cells may differ.
#'   Note that `bcnmf(seed = 1:10)` is one model, the best of ten: fit each seed by itself, as in the example.
#' @param target,background data as in [bcnmf()], features x cells, for the consensus model. Without them there are loadings and tables, but no
#'   model. The background is needed where the fits had one.
#' @param min_cosine from which cosine on a fit's factor counts as the same as the consensus'.
#' @param mask which entries of the data are missing, as in [bcnmf()]; by default the fits' own `"NA"` or `"zeros"`. Weights are those of the first fit.
#' @param maxit sweeps by which the model is adapted to the data.
#' @inheritParams bcnmf
#' @return A list of class `bcnmf_consensus`:
#'   \describe{
#'     \item{w}{consensus loadings, features x factors; columns sum to 1 (0 where all copies are dead).}
#'     \item{model}{the consensus model, of class [`bcnmf`][bcnmf-class], its factors in the same order; `NULL` without data.}
#'     \item{factors}{a data frame, one row per factor, by decreasing `d` of the model (without data by their mean share of the fits), which is also what
#'       `as.data.frame()` returns: `factor`; `stability`, the mean cosine of its copies with each other, with the least and the largest in `stability_min` and
#'       `stability_max`; `silhouette`, the mean over its copies of `(b - a) / max(a, b)`, where `a` is the mean Euclidean distance of a copy, scaled to unit length, to the
#'       other copies, and `b` that to the copies of the factor nearest to it (1: tight and far from all others, below 0: closer to another factor; `NA` for one factor);
#'       `n_found`, the number of fits with a copy of cosine `min_cosine` or more with the consensus; `n_dead`, that of fits in which it is dead;
#'       `n_fits`; `target_only`. Dead copies count with a cosine of 0 in `stability`, which is `NA` where all are dead.}
#'     \item{fits}{a data frame, one row per fit in the order given: `fit` (its name in the list, or number), `start` (the seed), `objective`, `iterations`,
#'       `converged`, `agreement` (mean cosine of its factors with the consensus) and `n_found` (how many of them count as found).}
#'     \item{copies}{a data frame, one row per factor and fit: `factor`, `fit`, `copy` (the fit's own name for the factor), `cosine` with the consensus, `found`.}
#'     \item{min_cosine}{as given.}
#'   }
#' @section Errors: of class `bcnmf_error` for fewer than two models, models that differ in features, `k`, `k_target`, loss, contrast, or in whether they have a
#'   background, arguments out of range, a background that is missing or that the fits did not have, and data that [bcnmf()] refuses.
#' @references Kotliar et al. (2019), Identifying gene expression programs of cell-type identity and cellular activity with single-cell RNA-Seq, *eLife* 8.
#'   Rousseeuw (1987), Silhouettes: a graphical aid to the interpretation and validation of cluster analysis, *Journal of Computational and Applied Mathematics* 20.
#' @seealso [plot()][plot.bcnmf_consensus] of the result; [align()] for two models.
#' @examples
#' sim <- simulate_contrast(100, n_target = 150, n_background = 100, k_shared = 3, seed = 1)
#' fits <- lapply(1:4, function(seed) {
#'   bcnmf(sim$target, sim$background, k = 5, k_target = 2, loss = "poisson", maxit = 50, seed = seed)
#' })
#' stable <- consensus(fits, sim$target, sim$background)
#' stable
#' plot(stable)
#' contrast(stable$model)
#' @export
consensus <- function(fits, target = NULL, background = NULL, min_cosine = 0.8, maxit = 10, mask = NULL, threads = NULL, verbose = NULL) {
  call <- rlang::current_env()
  check_fits(fits, call)
  check_number(min_cosine, min = 0, max = 1, call = call)
  maxit <- check_count(maxit, min = 0, call = call)
  check_flag(verbose, null_ok = TRUE, call = call)
  check_consensus_data(fits, target, background, call)
  # what no order of the fits changes: by their agreement with all others, then by objective
  loadings <- lapply(fits, function(fit) unname(fit@w))
  reserved <- lapply(fits, function(fit) unname(fit@target_only))
  agreement <- signif(fit_agreement(loadings, reserved), 9)
  order <- order(-agreement, vapply(fits, function(fit) fit@divergence[["objective"]], 0))
  found <- find_consensus(loadings[order], reserved[order], min_cosine)
  found$partner[, order] <- found$partner
  found$w <- with_names(found$w, rownames(fits[[1]]@w), NULL)

  model <- NULL
  if (is.null(target)) {
    by_size <- order(-mean_shares(fits, found$partner))
  } else {
    threads <- resolve_threads(threads, call)
    mask <- inherited_mask(fits[[1]], mask, missing(mask), call)
    model <- place_consensus(found, fits, target, background, mask, maxit, threads, verbose, call)
    model@misc$call <- short_call(match.call(), quote(consensus))
    by_size <- partners_of_kind(cosine(model@w, found$w), unname(model@target_only), found$target_only)
  }
  found <- list(
    w = found$w[, by_size, drop = FALSE], partner = found$partner[by_size, , drop = FALSE],
    target_only = found$target_only[by_size]
  )
  colnames(found$w) <- paste0("bcnmf", seq_along(by_size))
  structure(
    c(list(w = found$w, model = model), consensus_tables(found, fits, loadings, min_cosine), min_cosine = min_cosine),
    class = "bcnmf_consensus"
  )
}

# Mean cosine of each fit's factors with their partners in the other fits.
fit_agreement <- function(loadings, reserved) {
  n <- length(loadings)
  agreement <- matrix(0, n, n)
  for (i in seq_len(n - 1)) {
    for (j in seq(i + 1, n)) {
      similarity <- cosine(loadings[[i]], loadings[[j]])
      partner <- partners_of_kind(similarity, reserved[[i]], reserved[[j]])
      agreement[i, j] <- agreement[j, i] <- mean(similarity[cbind(seq_along(partner), partner)])
    }
  }
  rowSums(agreement) / (n - 1)
}

# For each row of the similarity the column that it is paired with, target-only ones with target-only ones.
partners_of_kind <- function(similarity, reserved, reserved_columns) {
  # no sum of cosines makes up for a pair of unlike kinds
  best_partners(t(similarity - (2 * ncol(similarity)) * outer(reserved, reserved_columns, `!=`)))
}

# Consensus loadings (features x factors) and the partner of each in every fit (factors x fits, positions in the fit).
find_consensus <- function(loadings, reserved, min_cosine, most = 30) {
  w <- loadings[[1]]
  partner <- NULL
  # settles after a few rounds; a cycle is thinkable, so their number is limited
  for (round in seq_len(most)) {
    before <- list(partner, w)
    partner <- vapply(seq_along(loadings), function(i) {
      partners_of_kind(cosine(w, loadings[[i]]), reserved[[1]], reserved[[i]])
    }, integer(ncol(w)))
    partner <- matrix(partner, ncol(w))
    copies <- lapply(seq_len(ncol(w)), function(j) copies_of(loadings, partner[j, ]))
    # of two factors that are the same, that with less agreement gives way to what else the fits have
    for (j in order(vapply(copies, function(w) signif(mean(cosine(w, w)), 9), 0))) {
      w[, j] <- typical_loading(copies[[j]], w[, -j, drop = FALSE], min_cosine)
    }
    if (identical(list(partner, w), before)) break
  }
  list(w = w, partner = partner, target_only = reserved[[1]])
}

copies_of <- function(loadings, positions) {
  matrix(unlist(Map(function(w, i) w[, i], loadings, positions)), ncol = length(loadings))
}

# From this cosine on two factors are one program twice. Factors of real cells come close to it: 0.8 would merge some.
same_program <- 0.9

# The mean of those copies that agree with it; sums to 1. Most copies decide, but not for one of the `others` once more.
typical_loading <- function(copies, others, min_cosine, most = 20) {
  copies <- copies[, colSums(copies) > 0, drop = FALSE]
  if (ncol(copies) == 0) return(numeric(nrow(copies)))
  similarity <- cosine(copies, copies)
  near <- is_found(similarity, min_cosine)
  again <- rowSums(is_found(cosine(copies, others), max(min_cosine, same_program))) > 0
  core <- order(again, -rowSums(near), -signif(rowSums(similarity), 9))[1]
  kept <- near[, core]
  for (round in seq_len(most)) {
    centre <- matrix(rowMeans(copies[, kept, drop = FALSE]))
    near <- is_found(as.vector(cosine(centre, copies)), min_cosine)
    if (identical(near, kept) || !any(near)) break
    kept <- near
  }
  as.vector(centre)
}

# Equal loadings have a cosine of 1 only up to rounding.
is_found <- function(cosine, min_cosine) cosine >= min_cosine - 1e-9

# Each factor's part of the fits, on average.
mean_shares <- function(fits, partner) {
  shares <- vapply(fits, function(fit) unname(use_share(fit@d)), numeric(nrow(partner)))
  rowMeans(matrix(shares[cbind(as.vector(partner), as.vector(col(partner)))], nrow(partner)))
}
