#' Plot two factors against each other
#'
#' Cells by their use of two factors (`matrix = "h"`) or features by their loadings (`matrix = "w"`).
#'
#' For cells the axes are uses, `d * h`, in the units of the data, and the background's cells are drawn too
#' as triangles, unless both factors are target-only. For features the axes are columns of `w`, and the features that stand out most are named.
#'
#' @param x a `bcnmf` object.
#' @param factors two factors, by index or by name.
#' @param matrix `"w"` for features, `"h"` for cells.
#' @param group_by colours: for `"h"` as in [summary()][summary.bcnmf], for `"w"` one label per feature, by name
#'   where labels have the features' names.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when `factors` are not two different factors of the model, when
#'   `matrix` is unknown or `group_by` has another length.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40, dimnames = list(paste0("gene", 1:60), NULL))
#' y <- matrix(rpois(60 * 30, 3), 60, 30, dimnames = list(paste0("gene", 1:60), NULL))
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' biplot(fit, factors = c(1, 3), matrix = "w")
#' biplot(fit, matrix = "h", group_by = rep(c("a", "b"), 20))
#' @importFrom stats biplot
#' @method biplot bcnmf
#' @export
biplot.bcnmf <- function(x, factors = c(1, 2), matrix = c("w", "h"), group_by = NULL, ...) {
  check_no_dots(...)
  matrix <- check_choice(matrix, c("w", "h"))
  factors <- check_two_factors(x, factors)
  if (matrix == "w") biplot_features(x, factors, group_by) else biplot_cells(x, factors, group_by)
}

check_two_factors <- function(fit, factors, call = rlang::caller_env()) {
  k <- ncol(fit@w)
  if (k < 2) {
    abort_bcnmf("A biplot needs two factors, and this model has only one.",
      arg = "factors", value = factors, call = call
    )
  }
  if (length(factors) != 2 || is.logical(factors)) {
    refuse(factors, "two factors", "factors", call)
  }
  factor_index(fit, factors, "factors", call)
}

biplot_features <- function(fit, factors, group_by, call = rlang::caller_env()) {
  axes <- colnames(fit@w)[factors]
  data <- data.frame(a = fit@w[, factors[1]], b = fit@w[, factors[2]], row.names = NULL)
  data$label <- feature_names(fit)
  plot <- ggplot(data, aes(.data$a, .data$b))
  if (is.null(group_by)) {
    plot <- plot + geom_point(colour = group_palette[1], alpha = point_alpha(nrow(data)), size = 1.5)
  } else {
    group_by <- plain_labels(group_by)
    check_labels(group_by, "group_by", call)
    group_by <- in_order_of(group_by, rownames(fit@w), "features", "group_by", call)
    if (length(group_by) != nrow(data)) {
      of_cells <- names_columns(fit, group_by) || length(group_by) %in% c(ncol(fit@h), ncol(fit@h) + ncol(fit@h_background))
      abort_bcnmf(c(
        "{.arg group_by} gives {length(group_by)} label{?s} for {nrow(data)} feature{?s}.",
        i = if (of_cells) "Groups of cells are for the plot of cells: {.code matrix = \"h\"}."
      ), arg = "group_by", value = group_by, call = call)
    }
    data$group <- as_groups(group_by, nrow(data), "feature")
    plot <- ggplot(data, aes(.data$a, .data$b, colour = .data$group)) +
      geom_point(alpha = point_alpha(nrow(data)), size = 1.5) +
      group_colour_scale(levels(data$group))
  }
  plot +
    geom_text(
      data = data[extreme_features(data$a, data$b), ], aes(label = short_labels(.data$label)), inherit.aes = TRUE,
      colour = "grey20", size = 3, vjust = -0.6, hjust = "inward", check_overlap = TRUE
    ) +
    scale_y_continuous(expand = expansion(c(0.05, 0.1))) +
    labs(x = paste(axes[1], "(loading)"), y = paste(axes[2], "(loading)"), colour = NULL) +
    theme_bcnmf() +
    legend_theme(if (is.null(group_by)) 1 else nlevels(data$group))
}

# The features with the largest loadings on either axis; most extreme first, so that they win the room for labels.
extreme_features <- function(a, b, n = 8) {
  scaled <- function(v) if (max(v) > 0) v / max(v) else v
  a <- scaled(a)
  b <- scaled(b)
  top <- unique(c(utils::head(order(-a), n), utils::head(order(-b), n)))
  top <- top[pmax(a, b)[top] > 0]
  top[order(-pmax(a, b)[top])]
}

biplot_cells <- function(fit, factors, group_by, call = rlang::caller_env()) {
  axes <- colnames(fit@w)[factors]
  # of two target-only factors the background uses none: its cells would all lie in the corner
  has_background <- ncol(fit@h_background) > 0 && !all(fit@target_only[factors])
  uses <- function(h, d) {
    data.frame(a = d[[factors[1]]] * h[factors[1], ], b = d[[factors[2]]] * h[factors[2], ], row.names = NULL)
  }
  target <- uses(fit@h, fit@d)
  groups <- if (is.null(group_by)) {
    list(target = as_groups(NULL, nrow(target), "target"))
  } else {
    resolve_groups(fit, group_by, "both", call)
  }
  target$group <- as.character(groups$target)
  target$set <- rep("target", nrow(target))
  levels <- levels(groups$target)
  data <- target
  grey <- character()
  if (has_background) {
    background <- uses(fit@h_background, fit@d_background)
    in_background <- groups$background
    if (is.null(in_background)) in_background <- as_groups(NULL, nrow(background), "background")
    background$group <- as.character(in_background)
    background$set <- "background"
    if (identical(levels(in_background), "background") && !"background" %in% levels) grey <- "background"
    levels <- union(levels, levels(in_background))
    # the background first, so that it lies below
    data <- rbind(background, target)
  }
  data$group <- factor(data$group, levels = levels)
  data$set <- factor(data$set, levels = c("target", "background"))
  # one legend will do where the colour already tells the background apart
  shapes <- stats::setNames(ifelse(levels %in% grey, 2, 16), levels)
  two_legends <- has_background && length(grey) == 0
  ggplot(data, aes(.data$a, .data$b, colour = .data$group, shape = .data$set)) +
    geom_point(alpha = point_alpha(nrow(data)), size = 1.6) +
    group_colour_scale(levels, grey, shape = unname(shapes), hide = length(levels) == 1) +
    scale_shape_manual(
      values = c(target = 16, background = 2),
      guide = if (two_legends) guide_legend(override.aes = list(alpha = 1, size = 2, colour = "grey30")) else "none"
    ) +
    labs(
      x = paste(axes[1], "(use)"), y = paste(axes[2], "(use)"), colour = NULL, shape = NULL,
      subtitle = target_only_note(fit, factors)
    ) +
    theme_bcnmf() +
    legend_theme(length(levels))
}

# Why the background is on an axis, or not there at all.
target_only_note <- function(fit, factors) {
  reserved <- colnames(fit@w)[factors][fit@target_only[factors]]
  if (length(reserved) == 0 || ncol(fit@h_background) == 0) return(NULL)
  if (length(reserved) == 2) return("both factors are target-only: background cells, which can't use them, are not drawn")
  sprintf("%s is target-only: background cells can't use it", reserved)
}

group_colour_scale <- function(levels, grey = character(), shape = 16, hide = FALSE) {
  scale_colour_manual(
    values = label_colours(levels, grey), labels = short_labels, drop = FALSE,
    guide = if (hide) "none" else legend_guide(length(levels), override.aes = list(alpha = 1, size = 2, shape = shape))
  )
}

point_alpha <- function(n) if (n > 20000) 0.25 else if (n > 2000) 0.5 else 0.8
