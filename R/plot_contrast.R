#' Plot how much more the target uses each factor than the background
#'
#' One row per factor: its mean use by target and by background cells on a logarithmic axis, the AUC and the prevalence (see
#' [contrast()]) as numbers beside it. Where one of the two means is 0, the row says so instead of drawing an infinite
#' ratio: factors reserved for the target are marked, and their AUC, which says nothing, is left out. Means below a
#' millionth of the largest one are drawn as 0.
#'
#' Target-only factors come first, by their mean use in the target, and factors that no cell uses last. The others are sorted by AUC, because a ratio of
#' means is easily won by a handful of cells, or by `log2_contrast`; without background by their mean use.
#'
#' @param x what [contrast()] returned, or some of its rows.
#' @param by sort by `"auc"` or by `"contrast"`.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when a column that [contrast()] makes is missing, when there are no rows, or several
#'   for one factor, and for an unknown `by`.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' y <- matrix(rpois(60 * 30, 3), 60, 30)
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' plot(contrast(fit))
#' @method plot bcnmf_contrast
#' @export
plot.bcnmf_contrast <- function(x, by = c("auc", "contrast"), ...) {
  check_no_dots(...)
  by <- check_choice(by, c("auc", "contrast"))
  columns <- c("factor", "log2_contrast", "auc", "mean_target", "mean_background", "prevalence", "target_only")
  data <- check_table(x, columns, "factor", "contrast")
  check_rows_differ(data, "factor")
  data <- data[contrast_order(data, by), ]
  # the first row on top
  data$factor <- factor(data$factor, levels = rev(as.character(data$factor)))
  ends <- contrast_ends(data)
  room <- contrast_room(ends)
  has_background <- !all(is.na(data$mean_background))
  numbers <- contrast_numbers(data, room, has_background)
  letters <- row_letters(nrow(data), 3.7)
  plot <- ggplot(ends$points, aes(y = .data$factor)) +
    # keeps a row for factors without points
    scale_y_discrete(limits = levels(data$factor)) +
    # a line along each row, but not through what is written there
    geom_segment(
      data = data, aes(x = room$from, xend = room$to, yend = .data$factor), colour = "grey92", linewidth = 0.5
    ) +
    geom_segment(
      data = ends$pairs, aes(x = .data$mean_target, xend = .data$mean_background, yend = .data$factor),
      colour = "grey70", linewidth = 0.9
    ) +
    geom_point(aes(.data$use, colour = .data$set, shape = .data$set), size = if (nrow(data) > 20) 2 else 2.8, stroke = 1) +
    geom_text(
      data = ends$notes, aes(room$left, label = .data$note), hjust = 0, size = letters / 3, colour = "grey30"
    ) +
    geom_text(data = numbers, aes(.data$x, label = .data$text), size = letters / 2.9, colour = "grey20") +
    scale_colour_manual(values = c(target = group_palette[1], background = "grey45")) +
    scale_shape_manual(values = c(target = 16, background = 2)) +
    scale_x_log10(
      breaks = room$breaks, labels = function(x) with_thousands(x, drop0trailing = TRUE, scientific = 4),
      limits = c(room$left, room$right), expand = expansion(0.02),
      sec.axis = dup_axis(name = NULL, breaks = unique(numbers$x), labels = unique(numbers$column))
    ) +
    labs(x = "mean use by a cell, in the units of the data (logarithmic)", y = NULL, colour = NULL, shape = NULL) +
    row_theme(letters)
  # ggplot2 3.5 warns of scales whose guides have nothing to show
  if (has_background && nrow(ends$points)) plot else plot + guides(colour = "none", shape = "none")
}

contrast_order <- function(data, by) {
  reserved <- data$target_only %in% TRUE
  key <- if (all(is.na(data$auc))) data$mean_target else if (by == "auc") data$auc else data$log2_contrast
  key[reserved] <- data$mean_target[reserved]
  used <- pmax(data$mean_target, data$mean_background, na.rm = TRUE) > 0
  order(!used, !reserved, -key, -data$log2_contrast, na.last = TRUE)
}

# What is drawn of each row: points, the line between two of them, and a note in place of a mean that is 0.
contrast_ends <- function(data) {
  means <- c("mean_target", "mean_background")
  floor <- 1e-6 * max(0, unlist(data[means]), na.rm = TRUE)
  data[means][data[means] <= floor] <- 0
  points <- data.frame(
    factor = rep(data$factor, 2), use = unlist(data[means], use.names = FALSE),
    set = factor(rep(c("target", "background"), each = nrow(data)), levels = c("target", "background"))
  )
  none <- data$mean_target == 0
  none_background <- data$mean_background %in% 0
  data$note <- ifelse(none & (none_background | is.na(data$mean_background)), "not used",
    ifelse(data$target_only, "target-only",
      ifelse(none, "no target use", ifelse(none_background, "no background use", NA))
    )
  )
  list(
    points = points[points$use %in% points$use[which(points$use > 0)], ],
    pairs = data[!none & !none_background & !is.na(data$mean_background), ],
    notes = data[!is.na(data$note), ]
  )
}

# Where things are along the logarithmic axis: notes left of the means, numbers right of them.
contrast_room <- function(ends) {
  range <- if (nrow(ends$points)) log10(range(ends$points$use)) else c(0, 0)
  range <- range + c(-1, 1) * max(0, 0.3 - diff(range)) / 2
  span <- diff(range)
  longest <- max(0, nchar(ends$notes$note))
  list(
    from = 10^range[1], to = 10^(range[2] + span * 0.06),
    left = 10^(range[1] - span * (0.05 + longest * 0.017)), auc = 10^(range[2] + span * 0.15),
    prevalence = 10^(range[2] + span * 0.32), right = 10^(range[2] + span * 0.4),
    breaks = grDevices::axisTicks(range, log = TRUE, nint = 5)
  )
}

contrast_numbers <- function(data, room, has_background) {
  column <- function(name, x, text) data.frame(factor = data$factor, column = name, x = x, text = text)
  # an AUC that the model's form decides is not news
  auc <- ifelse(data$target_only | is.na(data$auc) | is.na(data$log2_contrast), "-", sprintf("%.2f", data$auc))
  rbind(
    if (has_background) column("AUC", room$auc, auc),
    column("prevalence", room$prevalence, sprintf("%.0f%%", 100 * data$prevalence))
  )
}
