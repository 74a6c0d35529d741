# plot(fit, type = "use"): how the cells' uses of the factors are distributed, by set or group. Quantiles are taken first:
# a picture of a hundred thousand cells is no larger than one of a hundred.

# Up to this many groups are boxes side by side, on one axis for all factors; more get a row each, in one panel per factor.
use_side_by_side <- 4
use_panels <- 8

plot_use <- function(fit, group_by, factors, call = rlang::caller_env()) {
  index <- if (is.null(factors)) seq_len(ncol(fit@w)) else factor_index(fit, factors, "factors", call)
  groups <- resolve_groups(fit, if (is.null(group_by)) list() else group_by, "both", call)
  n_groups <- sum(lengths(lapply(groups, levels)))
  k <- length(index)
  by_row <- n_groups > use_side_by_side
  if (by_row && is.null(factors)) index <- utils::head(index, use_panels)
  table <- use_quantiles(fit, index, groups)
  plot <- if (by_row) plot_use_rows(table) else plot_use_boxes(table)
  plot + labs(
    subtitle = wrapped(
      "box: the middle half of the cells; whiskers: 5% to 95%", first_of(length(index), k, "factors (`factors` takes others)")
    ), fill = NULL
  )
}

use_quantiles <- function(fit, index, groups) {
  uses <- clear_uses(fit)
  tables <- lapply(names(groups)[lengths(groups) > 0], function(set) {
    of_set <- which(cell_sets(fit) == set)
    cells <- split(seq_along(groups[[set]]), groups[[set]])
    do.call(rbind, lapply(index, function(i) {
      use <- uses[i, of_set]
      quantiles <- vapply(cells, function(j) {
        stats::quantile(use[j], c(0.05, 0.25, 0.5, 0.75, 0.95), names = FALSE)
      }, numeric(5))
      data.frame(
        factor = colnames(fit@w)[i], set = set, group = names(cells),
        q5 = quantiles[1, ], q25 = quantiles[2, ], q50 = quantiles[3, ], q75 = quantiles[4, ], q95 = quantiles[5, ]
      )
    }))
  })
  table <- do.call(rbind, tables)
  table$factor <- factor(table$factor, levels = colnames(fit@w)[index])
  table$group <- factor(table$group, levels = unique(unlist(lapply(groups, levels))))
  table
}

plot_use_boxes <- function(table) {
  keys <- group_keys(table)
  table$key <- factor(keys$label[match(key_id(table), keys$id)], levels = keys$label)
  side <- position_dodge(0.75)
  ggplot(table, aes(.data$factor, fill = .data$key)) +
    # two vectorised layers: a box plot draws its boxes one by one, and takes seconds for hundreds
    geom_linerange(aes(ymin = .data$q5, ymax = .data$q95), position = side, linewidth = 0.3, colour = "grey25", key_glyph = "rect") +
    geom_crossbar(
      aes(y = .data$q50, ymin = .data$q25, ymax = .data$q75),
      position = side, width = 0.7, linewidth = 0.3, colour = "grey25", key_glyph = "rect"
    ) +
    scale_fill_manual(
      # paler than elsewhere: the medians are drawn on top
      values = stats::setNames(lighten(keys$colour, 0.25), keys$label), labels = short_labels,
      guide = if (nrow(keys) > 1) guide_legend(ncol = if (sum(nchar(keys$label)) > 60) 2) else "none"
    ) +
    scale_y_sqrt(limits = c(0, NA), breaks = square_breaks, labels = use_labels, expand = expansion(c(0, 0.05))) +
    labs(x = NULL, y = "use by a cell, square-root axis") +
    theme_bcnmf() +
    theme(panel.grid.major.x = element_blank()) +
    legend_on_top() +
    factor_axis(levels(table$factor))
}

plot_use_rows <- function(table) {
  sets <- intersect(c("target", "background"), table$set)
  table$set <- factor(table$set, levels = sets)
  rows <- nrow(unique(table[c("set", "group")]))
  ggplot(table, aes(y = .data$group, fill = .data$set)) +
    geom_linerange(aes(xmin = .data$q5, xmax = .data$q95), linewidth = 0.3, colour = "grey25") +
    geom_crossbar(
      aes(.data$q50, xmin = .data$q25, xmax = .data$q75),
      orientation = "y", width = 0.7, linewidth = 0.3, colour = "grey25"
    ) +
    facet_grid(set ~ factor, scales = "free", space = "free_y") +
    scale_fill_manual(values = c(target = group_palette[5], background = background_grey), guide = "none") +
    scale_x_sqrt(limits = c(0, NA), breaks = two_breaks, labels = use_labels, expand = expansion(c(0, 0.15))) +
    scale_y_discrete(limits = rev, labels = function(x) short_labels(x, 28)) +
    labs(x = "use by a cell, square-root axis", y = NULL) +
    theme_bcnmf() +
    set_strips(table) +
    theme(
      axis.text.y = element_text(size = row_letters(rows, 3.6)), axis.text.x = element_text(size = 7),
      strip.text.x = element_text(size = 8.5), panel.grid.major.y = element_blank(), panel.spacing.x = unit(12, "pt")
    )
}

# Round numbers at about equal distances on a square-root axis.
square_breaks <- function(limits) unique(signif(pretty(c(0, sqrt(limits[2])))^2, 1))

use_labels <- function(x) with_thousands(x, drop0trailing = TRUE)
