#' How much more the target uses each factor than the background
#'
#' Compares the factors' uses, `d * h`, between target and background cells. `rank` says where to look first.
#'
#' @details
#' A ratio of means is easily won by a factor that a handful of cells use strongly. So factors are ranked by `effect`, the difference of the means in
#' standard deviations: a factor that only a part `p` of the target's cells uses has at most about `sqrt(2 * p)`, 0.2 for 2 % of the cells,
#' however strongly they use it. Measured on blood cells with and without interferon (`example_data("pbmc_stim")`, `k = 10`, five seeds each of several ways to fit):
#' of 33 fits with an interferon program, `effect` ranked it first in 32 (and in the last one its other half, as it was split in two), the AUC in 27, the ratio of means
#' in 4. In ten fits of counts, stimulated against control cells without target-only factors, a contamination with haemoglobin in 1 % of the cells came first
#' 9 times by the ratio, once by the AUC, never by `effect`.
#'
#' Read `auc` and `prevalence` beside it. The AUC compares typical cells, and with a contrast strength it tends to be low for all factors:
#' the basis describes the background badly, and its cells then use a little of everything.
#'
#' For factors reserved for the target (`target_only`) the background's use is 0 by construction, hence an infinite `log2_contrast` and an AUC near
#' 1 that say nothing about the data. Their `effect` is `sqrt(2)` times the mean over the standard deviation of the target's use: large for what all target cells use
#' alike, small for what a few do. In the blood cells it was 2.0 for the interferon program, 0.7 for what only myeloid cells make of it, 0.1 for the haemoglobin, and
#' hardly changed when the background was free to use these factors, by `fit$d * predict(fit, background)` (the AUC of the haemoglobin was 0.94 even then). Where that
#' use is not far below the target's, the program is shared after all, and `k` too small.
#'
#' Uses are in the units of the data: when target and background differ in sequencing depth, normalise the
#' data first, or every factor will look contrasted.
#'
#' @param fit a `bcnmf` object.
#'
#' @return A data frame of class `bcnmf_contrast` with one row per factor, in the order of the model:
#'   \describe{
#'     \item{factor}{name, a factor in the model's order.}
#'     \item{log2_contrast}{log2 of mean target use over mean background use. `Inf` where the background's use
#'       is exactly 0, `NA` where both are.}
#'     \item{auc}{probability that a random target cell uses the factor more than a random background cell,
#'       ties counted as a half (the area under the ROC curve). Uses below 1e-9 of the factor's largest count
#'       as 0.}
#'     \item{effect}{mean target use minus mean background use, over the square root of the mean of the two variances (Cohen's d). `NA` for a factor
#'       that no cell uses.}
#'     \item{rank}{1 for the largest `effect`; equal ones in the order of the model.}
#'     \item{mean_target, mean_background}{mean uses, in the units of the data.}
#'     \item{prevalence}{share of the target cells in which the factor holds at least 5 % of the cell's total
#'       use.}
#'     \item{target_only}{was the factor reserved for the target?}
#'   }
#'   For a model without background the comparisons are `NA`. Printing rounds to three digits, see [plot()][plot.bcnmf_contrast]
#'   for a picture.
#' @section Errors: of class `bcnmf_error` when `fit` is not a `bcnmf` object.
#' @references Cohen (1988), *Statistical Power Analysis for the Behavioral Sciences* (the standardised difference).
#' @seealso [sort()][sort.bcnmf] with `by = "effect"` puts the factors into the order of `rank`; [associate()] tests other groups of cells.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' y <- matrix(rpois(60 * 30, 3), 60, 30)
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' contrast(fit)
#' plot(contrast(fit))
#' @export
contrast <- function(fit) {
  check_fit(fit)
  factors <- seq_len(ncol(fit@w))
  table <- contrast_table(fit, factors)
  table$mean_target <- unname(fit@d * rowMeans(fit@h))
  table$mean_background <- if (ncol(fit@h_background)) {
    unname(fit@d_background * rowMeans(fit@h_background))
  } else {
    NA_real_
  }
  table$rank <- rank(-table$effect, na.last = "keep", ties.method = "first")
  table <- table[c(
    "factor", "log2_contrast", "auc", "effect", "rank", "mean_target", "mean_background", "prevalence",
    "target_only"
  )]
  class(table) <- c("bcnmf_contrast", "data.frame")
  table
}

# The part of the contrast that print() and summary() show too, for some of the factors.
contrast_table <- function(fit, factors, with_auc = TRUE) {
  names <- colnames(fit@w)
  table <- data.frame(
    factor = factor(names[factors], levels = names),
    log2_contrast = log2_contrast(fit, factors)
  )
  if (with_auc) table$auc <- vapply(factors, function(i) factor_auc(fit, i), 0)
  table$effect <- factor_effects(fit, factors)
  table$prevalence <- prevalence(fit, factors)
  table$target_only <- unname(fit@target_only[factors])
  table
}

log2_contrast <- function(fit, factors) {
  if (ncol(fit@h_background) == 0) return(rep(NA_real_, length(factors)))
  target <- fit@d[factors] * rowMeans(fit@h[factors, , drop = FALSE])
  background <- fit@d_background[factors] * rowMeans(fit@h_background[factors, , drop = FALSE])
  ratio <- log2(target) - log2(background)
  unname(ifelse(target == 0 & background == 0, NA_real_, ratio))
}

factor_auc <- function(fit, i) {
  if (ncol(fit@h_background) == 0) return(NA_real_)
  target <- fit@d[[i]] * fit@h[i, ]
  background <- fit@d_background[[i]] * fit@h_background[i, ]
  floor <- use_floor * max(target, background)
  target[target < floor] <- 0
  background[background < floor] <- 0
  auc(target, background)
}

# P(x > y) + P(x = y) / 2 by counting, without ranking the two together.
auc <- function(x, y) {
  y <- sort(y)
  below <- findInterval(x, y, left.open = TRUE)
  upto <- findInterval(x, y)
  (mean(below) + mean(upto)) / (2 * length(y))
}

# Differences of mean uses in standard deviations.
factor_effects <- function(fit, factors) {
  if (ncol(fit@h_background) == 0) return(rep(NA_real_, length(factors)))
  moments <- function(use) {
    middle <- mean(use)
    c(middle, mean((use - middle)^2))
  }
  vapply(factors, function(i) {
    target <- moments(fit@d[[i]] * fit@h[i, ])
    background <- moments(fit@d_background[[i]] * fit@h_background[i, ])
    effect <- (target[1] - background[1]) / sqrt((target[2] + background[2]) / 2)
    if (is.nan(effect)) NA_real_ else effect
  }, 0)
}

prevalence <- function(fit, factors, at_least = 0.05) {
  total <- as.vector(crossprod(fit@h, fit@d))
  vapply(factors, function(i) {
    mean(total > 0 & fit@d[[i]] * fit@h[i, ] >= at_least * total)
  }, 0)
}
