#' Plot which groups of cells use each factor
#'
#' For a summary by groups, as `type` says:
#'
#' * `"bars"`: one bar a factor, split into the groups' shares of its use. Background groups come last, in paler colours; a
#'   background without labels is grey. Best for a dozen groups or fewer.
#' * `"heatmap"`: one tile a factor and group, background groups below the target's. The darker, the more the group uses the
#'   factor, relative to the group that uses it most (100 %, target and background together): so factors of any size
#'   compare. The numbers are written where there is room, up to 15 factors and 20 groups. Zero throughout for a dead factor.
#'
#' For a summary by factor: the factors' shares of the fit, with those reserved for the target in a colour of their own.
#'
#' In the heat map the longer side (factors or groups) is sorted along the shorter one: by where a factor, or group, has its
#' largest tile, then by the share of that tile in the factor's use. So dark tiles lie along the diagonal. Groups that are the shorter side
#' keep the order of their levels; factors that are the shorter side are ordered so that those used by the same groups lie
#' together (average linkage). `sort = FALSE` keeps the table's order of both.
#'
#' Up to 40 groups get colours chosen for colour-blind readers. More groups get a colour each too, but no one can tell so many apart: take the
#' heat map. Add a `scale_fill_manual()` for other colours.
#'
#' @param x what [summary()][summary.bcnmf] of a `bcnmf` object returned, or some of its rows.
#' @param type `"bars"` or `"heatmap"`; a summary by factor has only bars.
#' @param sort sort the rows or columns of a heat map?
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when the columns that [summary()][summary.bcnmf] makes are missing, when there are
#'   no rows, or several for one factor and group, and for a wrong `type` or `sort`.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' fit <- bcnmf(x, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' use <- summary(fit, group_by = rep(c("a", "b"), 20))
#' plot(use)
#' plot(use, type = "heatmap")
#' plot(summary(fit))
#' @method plot bcnmf_summary
#' @export
plot.bcnmf_summary <- function(x, type = c("bars", "heatmap"), sort = TRUE, ...) {
  check_no_dots(...)
  type <- check_choice(type, c("bars", "heatmap"))
  check_flag(sort)
  if (all(c("factor", "share") %in% names(x))) {
    if (type == "heatmap") {
      abort_bcnmf(c(
        "A heat map needs groups of cells, and {.arg x} is a summary by factor.",
        i = "Give them to {.code summary(fit, group_by = )}."
      ), arg = "type", value = type)
    }
    return(plot_shares(x))
  }
  data <- check_table(x, c("factor", "group", "set", "stat", "value"), c("factor", "group"), "summary")
  check_rows_differ(data, c("factor", "set", "group"))
  total <- stats::ave(data$value, data$factor, FUN = sum)
  data$share <- ifelse(total > 0, data$value / total, 0)
  if (type == "bars") plot_group_bars(data) else plot_group_heatmap(data, sort)
}

plot_group_bars <- function(data) {
  keys <- group_keys(data)
  data$key <- factor(keys$label[match(key_id(data), keys$id)], levels = keys$label)
  # a paler colour speaks for itself where the group's own colour is in the legend
  listed <- keys$label[!keys$pale | !keys$group %in% keys$group[!keys$pale]]
  ggplot(data, aes(.data$factor, .data$share, fill = .data$key)) +
    # a white edge keeps neighbours apart whatever their colours
    geom_col(colour = "white", linewidth = 0.15, width = 0.85) +
    scale_fill_manual(
      values = stats::setNames(keys$colour, keys$label), breaks = listed, labels = short_labels,
      guide = legend_guide(length(listed))
    ) +
    scale_y_continuous(labels = percent_labels, expand = expansion(c(0, 0.02))) +
    labs(
      x = NULL, y = sprintf("share of the factor's use (by %s)", data$stat[1]), fill = NULL,
      subtitle = if (length(listed) < nrow(keys)) "paler: the same groups of the background"
    ) +
    theme_bcnmf() +
    theme(panel.grid.major.x = element_blank()) +
    legend_theme(length(listed)) +
    factor_axis(levels(data$factor), 5.8 - legend_inches(listed))
}

plot_shares <- function(x, call = rlang::caller_env()) {
  data <- check_table(x, c("factor", "share"), "factor", "summary", call)
  check_rows_differ(data, "factor", call)
  reserved <- isTRUE(any(data$target_only))
  data$kind <- if (reserved) ifelse(data$target_only, "target-only", "shared") else "shared"
  ggplot(data, aes(.data$factor, .data$share, fill = .data$kind)) +
    geom_col(width = 0.85) +
    scale_fill_manual(values = kind_colours, guide = if (reserved) "legend" else "none") +
    scale_y_continuous(labels = percent_labels, expand = expansion(c(0, 0.05))) +
    labs(x = NULL, y = "share of the fit", fill = NULL) +
    theme_bcnmf() +
    theme(panel.grid.major.x = element_blank()) +
    legend_on_top() +
    factor_axis(levels(data$factor))
}

key_id <- function(x) paste(x$set, x$group, sep = "\r")

# One row per set and group: its label and its colour, target groups first.
group_keys <- function(x) {
  keys <- unique(data.frame(set = x$set, group = as.character(x$group)))
  levels <- label_levels(x$group)
  keys <- keys[order(keys$set != "target", match(keys$group, levels)), ]
  both <- all(c("target", "background") %in% keys$set)
  unlabelled <- keys$set == "background" & keys$group == "background"
  keys$id <- key_id(keys)
  keys$pale <- both & keys$set == "background" & !unlabelled
  keys$label <- ifelse(keys$pale, paste(keys$group, "(background)"), keys$group)
  clash <- unlabelled & keys$label %in% keys$label[keys$set == "target"]
  keys$label[clash] <- "background (background)"
  coloured <- unique(keys$group[!unlabelled])
  keys$colour <- label_colours(coloured)[keys$group]
  keys$colour[keys$pale] <- lighten(keys$colour[keys$pale])
  keys$colour[unlabelled] <- background_grey
  keys
}
