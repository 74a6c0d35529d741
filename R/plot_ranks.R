#' Plot the loss of held-out entries against the number of factors
#'
#' The loss for each number that was tried, with the standard error of its paired difference from the best one, whose loss is the dashed line. The filled point is
#' the number that was selected: the first whose bar reaches the line.
#'
#' @param x what [select_rank()] or [select_k_target()] returned.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when columns or rows are missing.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' plot(select_rank(x, k = 1:4, maxit = 30))
#' @method plot bcnmf_ranks
#' @export
plot.bcnmf_ranks <- function(x, ...) {
  check_no_dots(...)
  plot_losses(x, "k", "number of factors, k", "select_rank", rank_sentence)
}

#' @rdname plot.bcnmf_ranks
#' @method plot bcnmf_k_targets
#' @export
plot.bcnmf_k_targets <- function(x, ...) {
  check_no_dots(...)
  plot_losses(x, "k_target", "number of target-only factors, k_target", "select_k_target", function(table) wrapped(attr(x, "verdict")))
}

# `sentence`: of the table, what is said above.
plot_losses <- function(x, what, label, made_by, sentence) {
  x <- check_table(x, c(what, "loss", "excess", "excess_se", "best", "selected"), character(), made_by)
  check_rows_differ(x, what)
  least <- x$loss[x$best]
  # rows may have been left out, the best among them; one mask has no bars
  x$width <- if (length(least) == 1) x$excess_se * least else NA_real_
  bars <- x[!is.na(x$width) & !x$best, ]
  chosen <- x[x$selected, ]
  ggplot(x, aes(.data[[what]], .data$loss)) +
    geom_hline(yintercept = least, linetype = "dashed", colour = "grey60", linewidth = 0.4) +
    (if (nrow(x) > 1) geom_line(colour = group_palette[1], linewidth = 0.5, alpha = 0.5)) +
    geom_linerange(data = bars, aes(ymin = .data$loss - .data$width, ymax = .data$loss + .data$width), colour = group_palette[1], linewidth = 0.6) +
    geom_point(shape = 21, fill = "white", colour = group_palette[1], size = 2.2, stroke = 0.8) +
    geom_point(data = chosen, colour = group_palette[6], size = 3.4) +
    scale_x_continuous(breaks = rank_breaks(x[[what]])) +
    scale_y_continuous(labels = function(x) format(x, trim = TRUE)) +
    labs(x = label, y = "loss per held-out entry", subtitle = if (nrow(chosen)) sentence(x)) +
    theme_bcnmf() + theme(panel.grid.major.x = element_blank())
}

# All of them, while there is room.
rank_breaks <- function(k) if (length(k) <= 25 && max(k) <= 150) k else whole_breaks

# Which k, why, and whether to look further.
rank_sentence <- function(x) {
  k <- x$k[x$selected]
  best <- x$k[x$best]
  paste0(
    "k = ", k, ", ",
    if (length(best) == 0) "as selected"
    else if (best == k) "the least loss of held-out entries"
    else sprintf("within one standard error of the least loss of held-out entries, at k = %d", best),
    if (nrow(x) > 1 && k == max(x$k)) "; the largest that was tried"
  )
}

#' @method print bcnmf_ranks
#' @export
#' @noRd
print.bcnmf_ranks <- function(x, digits = 3, ...) {
  if (any(x$selected)) cat(rank_sentence(x), "\n\n", sep = "")
  print_losses(x, digits, ...)
  invisible(x)
}

#' @method print bcnmf_k_targets
#' @export
#' @noRd
print.bcnmf_k_targets <- function(x, digits = 3, ...) {
  print_losses(x, digits, ...)
  # some of the rows or columns have no verdict
  verdict <- attr(x, "verdict")
  if (!is.null(verdict)) cat("\n", sprintf("shared %.3f\n", attr(x, "shared")), verdict, "\n", sep = "")
  invisible(x)
}
