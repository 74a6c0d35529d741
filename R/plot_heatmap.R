# The heat map of a summary by groups: tiles of factors and groups.

plot_group_heatmap <- function(data, sort) {
  largest <- stats::ave(data$value, data$factor, FUN = max)
  data$relative <- ifelse(largest > 0, data$value / largest, 0)
  if (sort) data <- sort_along_diagonal(data)
  rows <- unique(data[c("set", "group")])
  letters <- row_letters(nrow(rows), 3.6)
  written <- nlevels(data$factor) <= 15 && nrow(rows) <= 20
  data$label <- sprintf("%.0f", 100 * data$relative)
  dark <- data$relative > 0.55
  sets <- intersect(c("target", "background"), data$set)
  data$set <- factor(data$set, levels = sets)
  plot <- ggplot(data, aes(.data$factor, .data$group, fill = .data$relative)) +
    geom_tile(colour = "white", linewidth = 0.3) +
    scale_fill_gradientn(colours = amount_colours, limits = c(0, 1), labels = percent_labels) +
    scale_x_discrete(expand = expansion(0)) +
    # the first group on top
    scale_y_discrete(limits = rev, labels = function(x) short_labels(x, 28), expand = expansion(0)) +
    labs(x = NULL, y = NULL, fill = sprintf("%s use, relative to the\ngroup that uses the factor most", sub("sum", "total", data$stat[1]))) +
    theme_bcnmf() +
    theme(
      panel.grid = element_blank(), legend.position = "bottom", legend.key.width = unit(2.5, "lines"),
      legend.title = element_text(size = 9, vjust = 1, margin = margin(r = 12)), axis.text.y = element_text(size = letters)
    ) +
    factor_axis(levels(data$factor), 6.4 - row_label_inches(data$group, letters) - (length(sets) - 1) * 0.9)
  if (written) {
    plot <- plot + geom_text(data = data[dark, ], aes(label = .data$label), colour = "white", size = 2.9) +
      geom_text(data = data[!dark, ], aes(label = .data$label), colour = "grey20", size = 2.9)
  }
  if (length(sets) < 2) return(plot)
  plot + facet_grid("set ~ .", scales = "free_y", space = "free_y") + set_strips(data)
}

# The longer side of the table follows the shorter one. Groups keep their order as the shorter one, because the user may have
# given it a meaning; factors have none but their size, and take one that brings those of the same groups together.
sort_along_diagonal <- function(data) {
  largest <- function(value) {
    values <- tapply(value, data[c("group", "factor")], max)
    replace(values, is.na(values), 0)
  }
  relative <- largest(data$relative)
  share <- largest(data$share)
  if (nrow(relative) > ncol(relative)) {
    together <- similar_order(t(relative))
    data$factor <- factor(data$factor, levels = levels(data$factor)[together])
    relative <- relative[, together, drop = FALSE]
    share <- share[, together, drop = FALSE]
    data$group <- factor(data$group, levels = levels(data$group)[diagonal_order(relative, share)])
  } else {
    data$factor <- factor(data$factor, levels = levels(data$factor)[diagonal_order(t(relative), t(share))])
  }
  data
}

similar_order <- function(rows) {
  if (nrow(rows) < 3) return(seq_len(nrow(rows)))
  stats::hclust(stats::dist(rows), "average")$order
}

# Rows by the column of their largest value, those with the largest share of it first; empty rows last.
diagonal_order <- function(relative, share) {
  top <- max.col(relative, ties.method = "first")
  order(rowSums(relative) == 0, top, -share[cbind(seq_along(top), top)])
}
