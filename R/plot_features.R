#' Plot the features that make up each factor
#'
#' `"bars"` has a panel for each factor, with its features sorted by what they were ranked by; panels have axes of their own,
#' and of lifts a line marks 1, the mean profile. A feature may be in several panels, a factor without features has none.
#'
#' `"dots"` has a row for each feature and a column for each factor: the area of a dot is the loading, its colour the
#' lift (where the model holds it). Features are sorted by the factor in which they rank highest, then by that
#' rank, so that each factor's own features lie together. Only `top_features(complete = TRUE)` knows how much *other* factors have of a
#' feature; of other tables the picture shows the top features alone, and says so.
#'
#' @param x what [top_features()] returned, or some of its rows.
#' @param type `"bars"` or `"dots"`.
#' @param n features per factor to draw, best first. By default as many as can be read at 7 x 5 inches; a subtitle tells when
#'   these are not all.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when a column that [top_features()] makes is missing, when there are no features, or two
#'   of the same factor and rank, for an unknown `type` and a wrong `n`.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40, dimnames = list(paste0("gene", 1:60), NULL))
#' fit <- bcnmf(x, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' plot(top_features(fit, n = 5, by = "lift"))
#' plot(top_features(fit, n = 5, complete = TRUE), type = "dots")
#' @method plot bcnmf_top_features
#' @export
plot.bcnmf_top_features <- function(x, type = c("bars", "dots"), n = NULL, ...) {
  check_no_dots(...)
  type <- check_choice(type, c("bars", "dots"))
  n <- check_count(n, null_ok = TRUE)
  data <- check_table(x, c("factor", "rank", "feature", "loading", "lift", "by"), "factor", "top_features")
  top <- data[!is.na(data$rank), ]
  if (nrow(top) == 0) abort_bcnmf("{.arg x} has no features to plot.", arg = "x", value = x)
  check_rows_differ(top, c("factor", "rank"))
  by <- unique(top$by)
  if (length(by) > 1) {
    abort_bcnmf("{.arg x} has features ranked by {.val {by}}: plot one by one.", arg = "x", value = x)
  }
  if (type == "bars") plot_feature_bars(top, by, n) else plot_feature_dots(data, n)
}

plot_feature_bars <- function(top, by, n) {
  top$factor <- droplevels(top$factor)
  panels <- nlevels(top$factor)
  columns <- if (panels <= 3) panels else ceiling(sqrt(panels))
  rows <- ceiling(panels / columns)
  # strip and axis of a panel take 0.45 inches, a feature at least a tenth
  drawn <- if (is.null(n)) max(1, floor(10 * (4.5 / rows - 0.45))) else n
  all <- max(top$rank)
  top <- top[top$rank <= drawn, ]
  letters <- max(5, min(9.5 - columns * 0.6, 72 * (4.5 / rows - 0.45) / min(drawn, all) * 0.9))
  top$value <- top[[by]]
  top <- top[order(top$value), ]
  # the same feature may be in several panels, at different places
  top$row <- factor(seq_len(nrow(top)))
  characters <- max(7, min(28, floor(2.8 / columns / character_inches(letters))))
  labels <- stats::setNames(short_labels(top$feature, characters), top$row)
  ggplot(top, aes(.data$value, .data$row)) +
    geom_col(fill = group_palette[1], width = 0.75) +
    (if (by == "lift") geom_vline(xintercept = 1, linetype = "dashed", colour = "grey30", linewidth = 0.3)) +
    facet_wrap("factor", scales = "free", ncol = columns) +
    scale_y_discrete(labels = labels) +
    scale_x_continuous(breaks = two_breaks, labels = function(x) format(x, trim = TRUE, drop0trailing = TRUE), expand = expansion(c(0, 0.08))) +
    labs(x = if (by == "lift") "lift over the mean profile" else "loading", y = NULL, subtitle = first_of(drawn, all, "features of each factor")) +
    theme_bcnmf() +
    theme(
      panel.grid.major.y = element_blank(), axis.text.y = element_text(size = letters),
      axis.text.x = element_text(size = min(8, 10 - columns * 0.6)), strip.text = element_text(size = 10 - columns * 0.4)
    )
}

plot_feature_dots <- function(data, n) {
  drawn <- if (is.null(n)) readable_rank(data) else n
  all <- max(data$rank, na.rm = TRUE)
  shown <- unique(data$feature[which(data$rank <= drawn)])
  data <- data[data$feature %in% shown & data$loading > 0, ]
  owned <- data[order(data$rank, as.integer(data$factor)), ]
  owned <- owned[!duplicated(owned$feature), ]
  order <- owned$feature[order(as.integer(owned$factor), owned$rank)]
  data$feature <- factor(data$feature, levels = rev(order))
  # only a completed table has rows without a rank
  complete <- anyNA(data$rank) || nlevels(data$factor) == 1
  notes <- c(
    first_of(drawn, all, "features of each factor"),
    if (!complete) "empty: not among the factor's top features"
  )
  size <- max(1.2, min(7, 130 / nlevels(data$factor), 130 / length(order)))
  has_lift <- !all(is.na(data$lift))
  dots <- if (has_lift) geom_point(aes(colour = log2(.data$lift))) else geom_point(colour = group_palette[1])
  plot <- ggplot(data, aes(.data$factor, .data$feature, size = .data$loading)) +
    dots +
    scale_size_area(max_size = size, guide = guide_legend(order = 1)) +
    # a dead factor keeps its column
    scale_x_discrete(drop = FALSE) +
    scale_y_discrete(labels = function(x) short_labels(x, 28)) +
    labs(x = NULL, y = NULL, size = "loading", subtitle = wrapped(notes)) +
    theme_bcnmf() +
    theme(axis.text.y = element_text(size = row_letters(length(order))), panel.grid.major = element_line(linewidth = 0.25)) +
    factor_axis(levels(data$factor), 3.8)
  if (!has_lift) return(plot)
  plot + scale_colour_gradientn(
    colours = lift_colours, limits = c(-1, 1) * max(1, abs(log2(data$lift)), na.rm = TRUE),
    breaks = whole_breaks, labels = function(x) ifelse(x < 0, paste0("1/", 2^-x), 2^x), name = "lift"
  )
}

# The largest rank up to which all features of all factors make at most 45 rows.
readable_rank <- function(data, rows = 45) {
  ranks <- sort(unique(data$rank))
  count <- vapply(ranks, function(r) length(unique(data$feature[which(data$rank <= r)])), 0L)
  max(1, ranks[count <= rows])
}

two_breaks <- function(limits) {
  breaks <- pretty(c(0, limits[2]), 3)
  c(0, max(breaks[breaks <= limits[2]]))
}
