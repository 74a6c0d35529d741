#' How much more the target uses each factor than the background
#'
#' Compares the factors' uses, `d * h`, between target and background cells. A ratio of means alone is easily
#' won by a factor that a handful of cells use strongly, so read it together with the AUC and the prevalence.
#'
#' Uses are in the units of the data: when target and background differ in sequencing depth, normalise the
#' data first, or every factor will look contrasted. For factors reserved for the target (`target_only`) the
#' background's use is 0 by construction, hence an infinite `log2_contrast` and an AUC near 1 that say nothing
#' about the data.
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
#'     \item{mean_target, mean_background}{mean uses, in the units of the data.}
#'     \item{prevalence}{share of the target cells in which the factor holds at least 5 % of the cell's total
#'       use.}
#'     \item{target_only}{was the factor reserved for the target?}
#'   }
#'   For a model without background the comparisons are `NA`. Printing rounds to three digits, see [plot()][plot.bcnmf_contrast]
#'   for a picture.
#' @section Errors: of class `bcnmf_error` when `fit` is not a `bcnmf` object.
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
  table$prevalence <- prevalence(fit, factors)
  table <- table[c(
    "factor", "log2_contrast", "auc", "mean_target", "mean_background", "prevalence",
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

prevalence <- function(fit, factors, at_least = 0.05) {
  total <- as.vector(crossprod(fit@h, fit@d))
  vapply(factors, function(i) {
    mean(total > 0 & fit@d[[i]] * fit@h[i, ] >= at_least * total)
  }, 0)
}
