#' A model as tidy tables
#'
#' The verbs of the generics package (broom's) for a model: `tidy()` a part of it as a long table, `glance()` the fit in one
#' row, `augment()` one row per cell. All return plain data frames and change no value of the model.
#'
#' @param x a `bcnmf` object.
#' @param matrix what to list: the `"factors"`, the loadings `"w"`, or the uses `"h"` of target and background.
#' @param zeros keep loadings and uses that are exactly 0? Without them tables of sparse models are shorter.
#' @param data a data frame to add to, `NULL` for none: one row per target and then background cell, or per target cell only (the
#'   background is then left out). Where both it and the model have names of cells, rows are matched by name: they may come
#'   in any order, and those of other cells are left out.
#' @param value a factor's `"share"` of the cell's total use, or the `"use"` itself, `d * h`, in the units of the data.
#' @param ... not used.
#'
#' @return
#' `tidy(x)`: one row per factor with `factor`, `d`, `share` (of the sum of `d`), and the columns of [contrast()].
#'
#' `tidy(x, "w")`: `feature` (its name, or its row number as a string), `factor`, `loading`; one row per feature and factor.
#'
#' `tidy(x, "h")`: `cell` (its name, or its number within its set as a string), `set` (`"target"` or `"background"`), `factor`,
#' `use`; one row per cell and factor.
#'
#' `glance(x)`: one row with `n_features`, `n_target`, `n_background`, `k`, `k_target`, `loss`, `alpha`, `beta`, `lambda`,
#' `divergence_target`, `divergence_background`, `objective` (see [bcnmf-class]), `iterations`, `converged`, `interrupted`, `starts`
#' and `best_start` (the seed, or the name of the start, of this model). What the model does not have is `NA`.
#'
#' `augment(x)`: the columns of `data`, `.cell`, `.set`, one column per factor with its value, and `.top`, the factor with the
#' largest use (the first of equal ones, `NA` for a cell that uses none). Rows are the target's, then the background's cells.
#' Shares of a cell sum to 1, or are all 0 where it uses nothing.
#' @section Errors: of class `bcnmf_error` when `matrix` or `value` is unknown, when `data` has another number of rows, lacks some of the
#'   cells, or has columns of the names that are to be added.
#' @seealso [summary()][summary.bcnmf], [contrast()], [top_features()], [associate()].
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' y <- matrix(rpois(60 * 30, 3), 60, 30)
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' tidy(fit)
#' head(tidy(fit, "w"))
#' head(tidy(fit, "h"))
#' glance(fit)
#' head(augment(fit, data.frame(batch = rep(1:2, 20))))
#' @name tidiers
NULL

#' @importFrom generics tidy
#' @export
generics::tidy

#' @importFrom generics glance
#' @export
generics::glance

#' @importFrom generics augment
#' @export
generics::augment

#' @rdname tidiers
#' @method tidy bcnmf
#' @export
tidy.bcnmf <- function(x, matrix = c("factors", "w", "h"), zeros = TRUE, ...) {
  check_no_dots(...)
  matrix <- check_choice(matrix, c("factors", "w", "h"))
  check_flag(zeros)
  switch(matrix,
    factors = tidy_factors(x),
    w = tidy_loadings(x, zeros),
    h = tidy_uses(x, zeros)
  )
}

tidy_factors <- function(x) {
  table <- contrast(x)
  cbind(table["factor"], d = unname(x@d), share = unname(use_share(x@d)), table[-1])
}

tidy_loadings <- function(x, zeros) {
  factors <- colnames(x@w)
  table <- data.frame(
    feature = rep(feature_names(x), times = length(factors)),
    factor = factor(rep(factors, each = nrow(x@w)), levels = factors), loading = as.vector(x@w)
  )
  if (zeros) table else without_rows(table, table$loading == 0)
}

tidy_uses <- function(x, zeros) {
  factors <- colnames(x@w)
  sets <- cell_sets(x)
  table <- data.frame(
    cell = rep(cell_names(x), each = length(factors)), set = rep(sets, each = length(factors)),
    factor = factor(rep(factors, times = length(sets)), levels = factors), use = as.vector(cell_uses(x))
  )
  if (zeros) table else without_rows(table, table$use == 0)
}

without_rows <- function(table, drop) {
  table <- table[!drop, ]
  rownames(table) <- NULL
  table
}

#' @rdname tidiers
#' @method glance bcnmf
#' @export
glance.bcnmf <- function(x, ...) {
  check_no_dots(...)
  or_na <- function(value, missing) if (length(value) == 1) value else missing
  data.frame(
    n_features = nrow(x@w), n_target = ncol(x@h), n_background = ncol(x@h_background),
    k = ncol(x@w), k_target = sum(x@target_only), loss = loss_label(model_losses(x)),
    alpha = x@alpha, beta = x@beta, lambda = x@lambda,
    divergence_target = x@divergence[["target"]], divergence_background = x@divergence[["background"]],
    objective = x@divergence[["objective"]],
    iterations = or_na(x@misc$iterations, NA_real_), converged = or_na(x@misc$converged, NA),
    interrupted = or_na(x@misc$interrupted, NA), starts = nrow(x@restarts),
    best_start = or_na(as.character(x@restarts$start[which(x@restarts$best)]), NA_character_)
  )
}

#' @rdname tidiers
#' @method augment bcnmf
#' @export
augment.bcnmf <- function(x, data = NULL, value = c("share", "use"), ...) {
  check_no_dots(...)
  value <- check_choice(value, c("share", "use"))
  uses <- cell_uses(x)
  factors <- colnames(x@w)
  top <- max.col(t(uses), ties.method = "first")
  top[colSums(uses) == 0] <- NA
  values <- as.data.frame(t(cell_values(uses, value)))
  names(values) <- factors
  table <- cbind(
    data.frame(.cell = cell_names(x), .set = cell_sets(x)), values,
    .top = factor(factors[top], levels = factors)
  )
  if (is.null(data)) return(table)
  if (!is.data.frame(data)) refuse(data, "a data frame", "data", rlang::current_env())
  taken <- intersect(names(data), names(table))
  if (length(taken) > 0) {
    abort_bcnmf("{.arg data} already has the column{?s} {.val {taken}}, which would be added.", arg = "data", value = taken)
  }
  rows <- rows_of_cells(x, data)
  cbind(data[rows, , drop = FALSE], table[seq_along(rows), , drop = FALSE])
}

# The rows of `data` that belong to the model's cells: all of them, or the target's only.
rows_of_cells <- function(x, data, call = rlang::caller_env()) {
  target <- cell_sets(x) == "target"
  rows <- rows_by_name(x, data, "data", call)
  if (!is.null(rows)) {
    only_target <- all(is.na(rows[!target]))
    check_no_cell_lacks(x, rows, target | !only_target, "data", call)
    return(if (only_target) rows[target] else rows)
  }
  if (nrow(data) %in% c(sum(target), length(target))) return(seq_len(nrow(data)))
  allowed <- if (all(target)) {
    length(target)
  } else {
    sprintf("%d (target) or %d (target, then background)", sum(target), length(target))
  }
  abort_bcnmf(c("{.arg data} must have one row per cell, {allowed}.", x = "It has {nrow(data)}."),
    arg = "data", value = dim(data), call = call
  )
}
