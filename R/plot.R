#' Plot how a fit converged, and how cells use its factors
#'
#' * `"convergence"`: the target's and the background's divergence and the objective after every sweep of the best start, in
#'   panels of their own. The point marks where the fit stopped: filled when it had converged, open when it ran
#'   out of sweeps. The random start itself (iteration 0) is left out, because it is orders of magnitude worse
#'   than all that follows.
#' * `"use"`: how the cells' uses of each factor, `d * h`, are distributed in target and background, or in groups: the
#'   quartiles (box) and the 5 % and 95 % quantiles (whiskers) on a square-root axis, which has room for zeros. Only these quantiles
#'   are drawn, however many cells there are. Up to four groups stand side by side; more have a row each in one panel per
#'   factor, and then only the first eight factors are drawn unless `factors` says otherwise.
#'
#' @param x a `bcnmf` object.
#' @param type what to plot: `"convergence"` or `"use"`.
#' @param group_by groups of cells for `"use"`, as in [summary()][summary.bcnmf]; by default target and background.
#' @param factors factors for `"use"`, by index, name or logical vector, in this order; by default all.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` for an unknown `type`, when the fit holds no history, and for a wrong `group_by` or
#'   `factors`, or one given where it is not used.
#' @seealso [plot()][plot.bcnmf_summary] of a summary by groups, [plot()][plot.bcnmf_contrast] of the contrast,
#'   [plot()][plot.bcnmf_top_features] of the top features, [biplot()][biplot.bcnmf].
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' y <- matrix(rpois(60 * 30, 3), 60, 30)
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' plot(fit)
#' plot(fit, type = "use")
#' plot(fit, type = "use", group_by = rep(c("a", "b"), 20), factors = 1:2)
#' @method plot bcnmf
#' @export
plot.bcnmf <- function(x, type = c("convergence", "use"), group_by = NULL, factors = NULL, ...) {
  check_no_dots(...)
  type <- check_choice(type, c("convergence", "use"))
  if (type == "use") return(plot_use(x, group_by, factors))
  given <- c(group_by = !is.null(group_by), factors = !is.null(factors))
  if (any(given)) {
    unused <- names(given)[given][1]
    abort_bcnmf("{.arg {unused}} is for {.code type = \"use\"}.", arg = unused, value = get(unused))
  }
  plot_convergence(x)
}

plot_convergence <- function(x, call = rlang::caller_env()) {
  table <- convergence_table(x, call)
  last <- table[table$iteration == max(table$iteration), ]
  converged <- isTRUE(x@misc$converged)
  several <- max(table$iteration) > min(table$iteration)
  plot <- ggplot(table, aes(.data$iteration, .data$value)) +
    # a line needs two points
    (if (several) geom_line(colour = group_palette[1], linewidth = 0.7)) +
    geom_point(data = last, shape = if (converged) 19 else 21, size = 2.5, colour = group_palette[6], fill = "white") +
    facet_wrap("measure", scales = "free_y", ncol = 1) +
    # the axis around a single value has no other marks of meaning
    scale_y_continuous(breaks = if (several) waiver() else unique(table$value), labels = distinct_labels) +
    labs(x = "sweep", y = "divergence, summed over all entries", subtitle = wrapped(show_ending(x))) +
    theme_bcnmf()
  # sweeps matter by order of magnitude once there are many
  plot + if (max(table$iteration) >= 30) scale_x_log10() else scale_x_continuous(breaks = whole_breaks)
}

convergence_table <- function(x, call) {
  history <- x@history
  if (nrow(history) == 0) {
    abort_bcnmf("This model holds no history to plot.", arg = "x", call = call)
  }
  if (any(history$iteration > 0)) history <- history[history$iteration > 0, ]
  measures <- c(target = "target", background = "background", objective = "objective")
  # without background the objective is the target's divergence (and the penalties)
  known <- vapply(history[measures], function(v) any(is.finite(v)), NA)
  if (!known[["background"]] && isTRUE(all.equal(history$target, history$objective))) {
    known[["objective"]] <- FALSE
  }
  measures <- measures[known]
  data.frame(
    iteration = rep(history$iteration, times = length(measures)),
    measure = factor(rep(measures, each = nrow(history)), levels = measures),
    value = unlist(history[measures], use.names = FALSE)
  )
}
