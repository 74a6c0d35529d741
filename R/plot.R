#' Plot how a fit converged
#'
#' The target's and the background's divergence and the objective after every sweep of the best start, in
#' panels of their own. The point marks where the fit stopped: filled when it had converged, open when it ran
#' out of sweeps. The random start itself (iteration 0) is left out, because it is orders of magnitude worse
#' than all that follows.
#'
#' @param x a `bcnmf` object.
#' @param type what to plot; `"convergence"` is the only type.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` for an unknown `type`, or when the fit holds no history.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' y <- matrix(rpois(60 * 30, 3), 60, 30)
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' plot(fit)
#' @method plot bcnmf
#' @export
plot.bcnmf <- function(x, type = "convergence", ...) {
  check_no_dots(...)
  check_choice(type, "convergence")
  table <- convergence_table(x)
  last <- table[table$iteration == max(table$iteration), ]
  converged <- isTRUE(x@misc$converged)
  plot <- ggplot(table, aes(.data$iteration, .data$value)) +
    # a line needs two points
    (if (max(table$iteration) > min(table$iteration)) geom_line(colour = group_palette[1], linewidth = 0.7)) +
    geom_point(data = last, shape = if (converged) 19 else 21, size = 2.5, colour = group_palette[6], fill = "white") +
    facet_wrap("measure", scales = "free_y", ncol = 1) +
    scale_y_continuous(labels = function(x) format(x, big.mark = ",", scientific = FALSE, trim = TRUE)) +
    labs(x = "sweep", y = "divergence, summed over all entries", subtitle = paste(strwrap(show_ending(x), 75), collapse = "\n")) +
    theme_bcnmf()
  # sweeps matter by order of magnitude once there are many
  plot + if (max(table$iteration) >= 30) scale_x_log10() else scale_x_continuous(breaks = whole_breaks)
}

convergence_table <- function(x, call = rlang::caller_env()) {
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

#' Plot which groups of cells use each factor
#'
#' For a summary by groups: one bar a factor, split into the groups' shares of its use. Background groups come
#' last, in paler colours; a background without labels is grey. For a summary by factor: the factors' shares
#' of the fit.
#'
#' Up to 40 groups get colours chosen for colour-blind readers. Add a `scale_fill_manual()` for others.
#'
#' @param x what [summary()][summary.bcnmf] of a `bcnmf` object returned.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when the columns that [summary()][summary.bcnmf] makes are missing.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' fit <- bcnmf(x, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' plot(summary(fit, group_by = rep(c("a", "b"), 20)))
#' @method plot bcnmf_summary
#' @export
plot.bcnmf_summary <- function(x, ...) {
  check_no_dots(...)
  if (all(c("factor", "share") %in% names(x))) return(plot_shares(x))
  missing <- setdiff(c("factor", "group", "set", "stat", "value"), names(x))
  if (length(missing) > 0) {
    abort_bcnmf(c(
      "{.arg x} lacks the column{?s} {.val {missing}}.",
      i = "Plot the data frame as {.fn summary} returned it."
    ), arg = "x", value = names(x))
  }
  keys <- group_keys(x)
  data <- as.data.frame(x)
  class(data) <- "data.frame"
  data$key <- factor(keys$label[match(key_id(x), keys$id)], levels = keys$label)
  total <- stats::ave(data$value, data$factor, FUN = sum)
  data$share <- ifelse(total > 0, data$value / total, 0)
  ggplot(data, aes(.data$factor, .data$share, fill = .data$key)) +
    # a white edge keeps neighbours apart whatever their colours
    geom_col(colour = "white", linewidth = 0.15, width = 0.85) +
    scale_fill_manual(
      values = stats::setNames(keys$colour, keys$label), labels = short_labels,
      guide = legend_guide(nrow(keys))
    ) +
    scale_y_continuous(labels = percent_labels, expand = expansion(c(0, 0.02))) +
    labs(x = NULL, y = sprintf("share of the factor's use (by %s)", data$stat[1]), fill = NULL) +
    theme_bcnmf() +
    theme(panel.grid.major.x = element_blank()) +
    factor_axis(levels(data$factor))
}

plot_shares <- function(x) {
  ggplot(x, aes(.data$factor, .data$share)) +
    geom_col(fill = group_palette[1], width = 0.85) +
    scale_y_continuous(labels = percent_labels, expand = expansion(c(0, 0.05))) +
    labs(x = NULL, y = "share of the fit") +
    theme_bcnmf() +
    theme(panel.grid.major.x = element_blank()) +
    factor_axis(levels(x$factor))
}

key_id <- function(x) paste(x$set, x$group, sep = "\r")

# One row per bar segment: its label and its colour, target groups first.
group_keys <- function(x) {
  keys <- unique(data.frame(set = x$set, group = as.character(x$group)))
  levels <- if (is.factor(x$group)) levels(x$group) else unique(keys$group)
  keys <- keys[order(keys$set != "target", match(keys$group, levels)), ]
  both <- all(c("target", "background") %in% keys$set)
  unlabelled <- keys$set == "background" & keys$group == "background"
  keys$id <- key_id(keys)
  keys$label <- ifelse(both & keys$set == "background" & !unlabelled,
    paste(keys$group, "(background)"), keys$group
  )
  clash <- unlabelled & keys$label %in% keys$label[keys$set == "target"]
  keys$label[clash] <- "background (background)"
  coloured <- unique(keys$group[!unlabelled])
  keys$colour <- label_colours(coloured)[keys$group]
  pale <- both & keys$set == "background"
  keys$colour[pale] <- lighten(keys$colour[pale])
  keys$colour[unlabelled] <- background_grey
  keys
}
