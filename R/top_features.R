# Weight of the uniform profile mixed into a loading and into the mean profile before their ratio is taken, in units of
# 1 / number of features. Both profiles sum to 1, so a feature of average abundance has 1 / M: with weight 1 it is
# shrunk half way, a feature of a hundredth of it by a factor of a hundred, and abundant ones hardly at all.
lift_pseudo_weight <- 1

#' The features that make up each factor
#'
#' Ranks features by their loading, or by their lift: how much larger the loading is than the feature's part
#' of the target's mean profile. Loadings rank what a factor consists of, and are led by features that are
#' abundant everywhere; lift ranks what sets a factor apart.
#'
#' Lift is `(w + c) / (p + c)`, where `w` is the loading (the factor's loadings sum to 1), `p` the feature's
#' mean in the target divided by the sum of all means, and `c = 1 / M` with `M` features. The constant keeps
#' features that hardly occur from winning by a ratio of two tiny numbers; a lift of 1 means as in the mean
#' profile.
#'
#' @param fit a `bcnmf` object.
#' @param n number of features per factor; all when there are fewer.
#' @param by rank by `"loading"` or by `"lift"`.
#' @param factors factors to list, by index, name or logical vector; all by default.
#' @param complete add what every factor has of the other factors' top features, too? So that each listed feature has a row for
#'   each listed factor, as a dot plot or a matrix needs. The added rows have no rank (`NA`) and come after the ranked ones.
#' @param modality name of a modality, for its features alone; see [modalities()].
#' @return A data frame of class `bcnmf_top_features` with the columns `factor` (a factor in the order asked for), `rank`, `feature` (its
#'   name, or its row number as a string when the data had no names), `loading`, `lift` (`NA` when the
#'   model does not hold the mean profile) and `by`, what was ranked. Features with a loading of 0 have no rank, so a dead factor has
#'   no rows, or only added ones. Printing rounds to three digits, see [plot()][plot.bcnmf_top_features] for pictures.
#' @section Errors: of class `bcnmf_error` for a wrong `n` or `complete`, an unknown `by` or factor.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40, dimnames = list(paste0("gene", 1:60), NULL))
#' fit <- bcnmf(x, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' top_features(fit, n = 3)
#' top_features(fit, n = 3, by = "lift", factors = 2)
#'
#' # features x factors
#' xtabs(loading ~ feature + factor, top_features(fit, n = 2, complete = TRUE))
#' @export
top_features <- function(fit, n = 10, by = c("loading", "lift"), factors = NULL, complete = FALSE, modality = NULL) {
  check_fit(fit)
  n <- check_count(n)
  by <- check_choice(by, c("loading", "lift"))
  check_flag(complete)
  index <- if (is.null(factors)) seq_len(ncol(fit@w)) else factor_index(fit, factors)
  profile <- mean_profile(fit)
  if (by == "lift" && is.null(profile)) {
    abort_bcnmf("Lift needs the target's mean profile, which this model does not hold.", arg = "by", value = by)
  }
  listed_features <- rep(TRUE, nrow(fit@w))
  if (!is.null(modality)) {
    all <- model_modality(fit, rlang::current_env())
    listed_features <- all == check_one_of(modality, levels(all), "modality", "The model has the modalit{?y/ies}", rlang::current_env())
  }
  labels <- feature_names(fit)
  chosen <- colnames(fit@w)[index]
  ranked <- lapply(index, function(i) {
    loading <- unname(fit@w[, i])
    lift <- if (is.null(profile)) rep(NA_real_, length(loading)) else feature_lift(loading, profile)
    order <- order(if (by == "lift") lift else loading, decreasing = TRUE, method = "radix")
    list(loading = loading, lift = lift, order = order, top = utils::head(order[loading[order] > 0 & listed_features[order]], n))
  })
  listed <- if (complete) unique(unlist(lapply(ranked, `[[`, "top")))
  tables <- Map(function(name, one) {
    added <- setdiff(one$order[one$order %in% listed], one$top)
    rows <- c(one$top, added)
    data.frame(
      factor = factor(rep(name, length(rows)), levels = chosen),
      rank = c(seq_along(one$top), rep(NA_integer_, length(added))),
      feature = labels[rows], loading = one$loading[rows], lift = one$lift[rows], by = rep(by, length(rows))
    )
  }, chosen, ranked)
  table <- do.call(rbind, unname(tables))
  class(table) <- c("bcnmf_top_features", "data.frame")
  table
}

feature_lift <- function(loading, profile, weight = lift_pseudo_weight) {
  c <- weight / length(profile)
  (loading + c) / (profile + c)
}

# The target's mean profile, summing to 1; NULL when the model does not hold it.
mean_profile <- function(fit) {
  mean <- fit@misc$feature_mean
  if (is.null(mean) || length(mean) != nrow(fit@w)) return(NULL)
  total <- sum(mean)
  unname(if (total > 0) mean / total else mean)
}

feature_names <- function(fit) {
  names <- rownames(fit@w)
  if (is.null(names)) as.character(seq_len(nrow(fit@w))) else names
}
