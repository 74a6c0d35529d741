# Uses of factors by cells, the common currency of target and background.

# Multiplicative updates never reach 0, and others stop at a floor: without a floor, as part of a factor's largest use, cells that do not
# use the factor would be ranked by noise.
use_floor <- 1e-9

# d * h, factors x cells: the target's, then the background's.
cell_uses <- function(fit) {
  uses <- unname(fit@d * fit@h)
  if (ncol(fit@h_background) == 0) return(uses)
  cbind(uses, unname(fit@d_background * fit@h_background))
}

# The same with 0 for what is noise.
clear_uses <- function(fit) {
  uses <- cell_uses(fit)
  uses * (uses >= use_floor * apply(uses, 1, max))
}

# Uses as they are, or as shares of each cell's total; a cell that uses nothing has shares of 0.
cell_values <- function(uses, value) normalise_uses(uses, if (value == "share") "L1" else "none")

# Names of the target's, then the background's cells; positions as strings where the data had none.
cell_names <- function(fit) {
  unlist(lapply(list(fit@h, fit@h_background), function(h) {
    if (is.null(colnames(h))) as.character(seq_len(ncol(h))) else colnames(h)
  }))
}

cell_sets <- function(fit) rep(c("target", "background"), c(ncol(fit@h), ncol(fit@h_background)))

# Where the names of `x`, a vector or a data frame, have each of `names` (NA where they do not); NULL where either has none that tell its
# items apart. Row names that R numbered are no names.
match_own_names <- function(names, x) {
  own <- own_names(x)
  if (is.null(own) || is.null(names) || anyDuplicated(own) || anyDuplicated(names)) return(NULL)
  match(names, own)
}

own_names <- function(x) if (!is.data.frame(x)) names(x) else if (is.character(attr(x, "row.names"))) rownames(x)

# The item of a vector, or row of a data frame, for each of the target's, then the background's cells, by name. With the argument's name and call
# it refuses items in another order that cannot be told apart.
rows_by_name <- function(fit, data, arg = NULL, call = NULL) {
  names <- if (!is.null(colnames(fit@h))) cell_names(fit)
  # a cell of an object may be in both sets
  distinct <- if (is.null(fit@misc$source)) names else unique(names)
  rows <- match_own_names(distinct, data)
  if (is.null(rows)) {
    if (!is.null(names) && !is.null(arg)) check_in_order(fit, own_names(data), names, arg, call)
    return(NULL)
  }
  rows <- rows[match(names, distinct)]
  # numbers that stand for names are none
  if (is.null(colnames(fit@h_background))) rows[cell_sets(fit) == "background"] <- NA
  rows
}

# Names of cells that repeat say nothing but that items are in another order.
check_in_order <- function(fit, own, names, arg, call) {
  sets <- cell_sets(fit)
  cells <- Filter(function(cells) setequal(own, cells) && length(own) == length(cells), list(names, names[sets == "target"], names[sets == "background"]))
  if (length(own) == 0 || length(cells) == 0 || any(vapply(cells, identical, NA, as.character(own)))) return(invisible())
  abort_bcnmf(c(
    "{.arg {arg}} has the names of the cells in another order, but these names repeat, so it cannot be matched.",
    i = "Put it into the order of the model's cells, target then background."
  ), arg = arg, value = own, call = call)
}

# Refuses rows by name of cells that are needed but not there.
check_no_cell_lacks <- function(fit, rows, needed, arg, call) {
  refuse_lacking(cell_names(fit)[needed & is.na(rows)], "row", "cells", arg, call)
}

# Refuses what has no `item` for some of the model's cells or features, those called `lacking`.
refuse_lacking <- function(lacking, item, of, arg, call) {
  if (length(lacking) == 0) return(invisible())
  more <- if (length(lacking) > 3) ", ..." else ""
  abort_bcnmf("{.arg {arg}} has no {item} for {length(lacking)} of the model's {of}: {.val {utils::head(lacking, 3)}}{more}.",
    arg = arg, value = lacking, call = call
  )
}
