# The tables that plot() draws are data frames with a class of their own: rows and columns can be chosen, bound and joined
# as of any other, and what a plot needs of them is checked when it is drawn.

# `x` as a plain data frame with at least `columns`; its rows are labelled by factors in the order that the picture takes.
check_table <- function(x, columns, labels, made_by, call = rlang::caller_env()) {
  missing <- setdiff(columns, names(x))
  if (length(missing) > 0) {
    abort_bcnmf(c(
      "{.arg x} lacks the column{?s} {.val {missing}}.",
      i = "Plot the data frame as {.fn {made_by}} returned it."
    ), arg = "x", value = names(x), call = call)
  }
  x <- as.data.frame(x)
  if (nrow(x) == 0) abort_bcnmf("{.arg x} has no rows to plot.", arg = "x", value = x, call = call)
  # a table that went through other hands may have lost its factors, and a part of one has levels without rows
  for (name in labels) x[[name]] <- droplevels(factor(x[[name]], levels = label_levels(x[[name]])))
  x
}

label_levels <- function(x) if (is.factor(x)) levels(x) else unique(x)

# Rows of two models, bound together, would be drawn over each other.
check_rows_differ <- function(x, keys, call = rlang::caller_env()) {
  twice <- which(duplicated(x[keys]))
  if (length(twice) > 0) {
    which <- paste(keys, vapply(x[twice[1], keys, drop = FALSE], as.character, ""), collapse = ", ")
    abort_bcnmf(c(
      "{.arg x} has more than one row for {which}.",
      i = "Plot the tables of several models one by one."
    ), arg = "x", value = x, call = call)
  }
}

# Printing rounds, the table does not.
print_table <- function(x, digits, ...) {
  print(as.data.frame(x), digits = digits, ...)
  invisible(x)
}

# Losses of held-out entries: relative differences as decimals, which compare with each other and with a tolerance.
print_losses <- function(x, digits, ...) {
  table <- as.data.frame(x)
  relative <- intersect(c("excess", "excess_se"), names(table))
  table[relative] <- lapply(table[relative], function(x) {
    ifelse(is.na(x) | x < 1e6, sprintf("%.*f", as.integer(digits + 1), x), sprintf("%.*g", as.integer(digits), x))
  })
  print(table, digits = digits, row.names = FALSE, ...)
}

#' @method print bcnmf_summary
#' @export
#' @noRd
print.bcnmf_summary <- function(x, digits = 3, ...) print_table(x, digits, ...)

#' @method print bcnmf_contrast
#' @export
#' @noRd
print.bcnmf_contrast <- function(x, digits = 3, ...) print_table(x, digits, ...)

#' @method print bcnmf_top_features
#' @export
#' @noRd
print.bcnmf_top_features <- function(x, digits = 3, ...) print_table(x, digits, ...)
