#' Plot how stable factors are over several fits
#'
#' One row per factor, in the model's order: a point for each fit, at the cosine of its copy of the factor with the consensus. Filled points were found
#' (cosine of at least `min_cosine`, the dashed line), open ones were left out. The bar is the stability, the mean cosine of the copies with each
#' other; beside it how many fits found the factor. Dead copies are at 0.
#'
#' @param x what [consensus()] returned.
#' @param sort order of the rows: `"model"`, or `"stability"` with the most stable factor on top.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` for an unknown `sort`.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' fits <- lapply(1:3, function(seed) bcnmf(x, k = 3, seed = seed, maxit = 50, verbose = FALSE))
#' plot(consensus(fits))
#' @method plot bcnmf_consensus
#' @export
plot.bcnmf_consensus <- function(x, sort = c("model", "stability"), ...) {
  check_no_dots(...)
  sort <- check_choice(sort, c("model", "stability"))
  factors <- x$factors
  if (sort == "stability") factors <- factors[order(-factors$stability), ]
  # the first row on top
  levels <- rev(as.character(factors$factor))
  factors$factor <- factor(factors$factor, levels = levels)
  copies <- x$copies
  copies$factor <- factor(copies$factor, levels = levels)
  copies$kind <- factor(ifelse(copies$found, "found", "left out"), levels = c("found", "left out"))
  kinds <- ifelse(factors$target_only, "target-only", "shared")
  copies$set <- kinds[match(copies$factor, factors$factor)]
  reserved <- any(factors$target_only)
  letters <- row_letters(length(levels), 3.7)
  # the part of the axis without points is left out, but never the line
  left <- max(0, floor(10 * min(copies$cosine, factors$stability, x$min_cosine - 0.1, na.rm = TRUE)) / 10)
  right <- 1 + 0.16 * (1 - left)
  ggplot(copies, aes(y = .data$factor)) +
    scale_y_discrete(limits = levels) +
    geom_segment(data = factors, aes(x = left, xend = 1, yend = .data$factor), colour = "grey92", linewidth = 0.5) +
    geom_vline(xintercept = x$min_cosine, linetype = "dashed", colour = "grey60", linewidth = 0.4) +
    geom_point(
      data = factors[!is.na(factors$stability), ], aes(.data$stability), shape = 124, size = if (length(levels) > 20) 4 else 6, colour = "grey20"
    ) +
    geom_point(aes(.data$cosine, colour = .data$set, shape = .data$kind), size = if (length(levels) > 20) 1.5 else 2.2, alpha = 0.65, stroke = 0.8) +
    geom_text(data = factors, aes(1 + 0.09 * (1 - left), label = sprintf("%d/%d", .data$n_found, .data$n_fits)), size = letters / 2.9, colour = "grey20") +
    scale_colour_manual(values = kind_colours, guide = if (reserved) "legend" else "none") +
    scale_shape_manual(values = c(found = 16, "left out" = 1), drop = FALSE) +
    scale_x_continuous(
      limits = c(left, right), breaks = pretty(c(left, 1), 4), expand = expansion(0.02),
      sec.axis = dup_axis(name = NULL, breaks = 1 + 0.09 * (1 - left), labels = "found in")
    ) +
    labs(x = "cosine with the consensus; bar: stability, the mean cosine of the fits with each other", y = NULL, colour = NULL, shape = NULL) +
    row_theme(letters)
}
