#' Summarise a model by factor, and by group of cells
#'
#' Without `group_by`, one row per factor: its share of the fit and its contrast. With `group_by`, how much
#' every group of cells uses every factor; `plot()` of that draws each factor's shares.
#'
#' What is summarised is the use `d * h` (and `d_background * h_background`), so that target and background
#' can be compared. Uses below 1e-9 of a factor's largest count as 0. A group's share of a factor, as drawn by `plot()`, is `value / sum(value)` within the
#' factor: with `stat = "mean"` groups of different size count alike.
#'
#' @param object a `bcnmf` object.
#' @param group_by groups of cells: a factor, character, logical or numeric vector with one value per target
#'   cell, or per target and then background cell; or a list with `target`, `background` or both. For a model out of
#'   an object ([bcnmf_model()]) also the name of a column of its cell data. Several columns, by name or as a data frame (or Bioconductor's `DataFrame`)
#'   with one row per cell, group by all their combinations. `Rle` labels are as good as others. Where labels have names (of a vector, rows of a data frame) that are
#'   the cells' names, they are matched by name: they may come in any order, and those of other cells are left out; names
#'   that no cell has are ignored. Cells that
#'   are not given a group form one group, `"background"` (or `"target"`). Missing labels form the group
#'   `"NA"`. `NULL` gives the table by factor.
#' @param stat how the uses in a group are summarised: `"mean"`, `"sum"` or `"median"`.
#' @param set which cells: `"both"`, `"target"` or `"background"`. With `"background"`, `group_by` may have
#'   one value per background cell.
#' @param ... not used.
#'
#' @return Without `group_by` a data frame of class `bcnmf_summary` with columns `factor`, `d`, `share` (of
#'   the sum of `d`), `log2_contrast`, `auc`, `effect`, `prevalence` (the part of the target's cells that
#'   use the factor) and `target_only` (see [contrast()]). With `group_by` one with a
#'   row per factor and group: `factor` and `group` (factors, in the order of the model and of the levels),
#'   `set` (`"target"` or `"background"`), `n` (cells), `stat` and `value`; when several columns group, these too.
#' @section Errors: of class `bcnmf_error` when `stat` or `set` is unknown, when `group_by` has another
#'   length, names some of the cells only or holds measured numbers instead of labels, or when the background of a model without one is asked for.
#' @seealso [plot.bcnmf_summary()]
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' y <- matrix(rpois(60 * 30, 3), 60, 30)
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' summary(fit)
#' summary(fit, group_by = rep(c("a", "b"), 20), stat = "mean")
#' @method summary bcnmf
#' @export
summary.bcnmf <- function(object, group_by = NULL, stat = c("mean", "sum", "median"),
                          set = c("both", "target", "background"), ...) {
  check_no_dots(...)
  stat <- check_choice(stat, c("mean", "sum", "median"))
  set <- check_choice(set, c("both", "target", "background"))
  if (set == "background") check_has_background(object, "A summary of the background", "set", set)
  if (is.null(group_by)) return(summarise_factors(object))

  group_by <- plain_labels(group_by)
  groups <- resolve_groups(object, group_by, set)
  uses <- clear_uses(object)
  sets <- names(groups)[lengths(groups) > 0]
  parts <- lapply(stats::setNames(sets, sets), function(set) {
    summarise_groups(uses[, cell_sets(object) == set, drop = FALSE], colnames(object@w), groups[[set]], stat, set)
  })
  levels <- unique(unlist(lapply(groups, base::levels)))
  table <- do.call(rbind, unname(parts))
  table$group <- factor(table$group, levels = levels)
  table <- table[order(table$factor, match(table$set, names(parts)), table$group), ]
  rownames(table) <- NULL
  table <- add_group_columns(table, object, group_by)
  class(table) <- c("bcnmf_summary", "data.frame")
  table
}

# Where several columns make the groups, these columns too.
add_group_columns <- function(table, fit, group_by) {
  if (length(group_by) < 2 || !(is.data.frame(group_by) || names_columns(fit, group_by))) return(table)
  columns <- if (is.data.frame(group_by)) {
    group_by
  } else {
    do.call(rbind, cell_columns(fit, group_by, "group_by", rlang::caller_env()))
  }
  parts <- label_parts(columns)
  new <- setdiff(names(columns), names(table))
  # labels of other cells are no levels
  table[new] <- droplevels(parts[match(table$group, parts$label), new, drop = FALSE])
  table
}

summarise_factors <- function(object) {
  table <- contrast_table(object, seq_len(ncol(object@w)))
  table$d <- unname(object@d)
  table$share <- unname(use_share(object@d))
  table <- table[c("factor", "d", "share", "log2_contrast", "auc", "effect", "prevalence", "target_only")]
  class(table) <- c("bcnmf_summary", "data.frame")
  table
}

summarise_groups <- function(uses, factors, groups, stat, set) {
  n <- as.vector(table(groups))
  values <- if (stat == "median") {
    vapply(seq_along(n), function(g) {
      apply(uses[, as.integer(groups) == g, drop = FALSE], 1, stats::median)
    }, numeric(nrow(uses)))
  } else {
    sums <- t(rowsum(t(uses), as.integer(groups)))
    if (stat == "sum") sums else sweep(sums, 2, n, "/")
  }
  data.frame(
    factor = factor(rep(factors, times = length(n)), levels = factors),
    group = rep(levels(groups), each = length(factors)),
    set = set,
    n = rep(n, each = length(factors)),
    stat = stat,
    value = as.vector(values)
  )
}
