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

# Uses as they are, or as shares of each cell's total; a cell that uses nothing has shares of 0.
cell_values <- function(uses, value) normalise_uses(uses, if (value == "share") "L1" else "none")

# Names of the target's, then the background's cells; positions as strings where the data had none.
cell_names <- function(fit) {
  unlist(lapply(list(fit@h, fit@h_background), function(h) {
    if (is.null(colnames(h))) as.character(seq_len(ncol(h))) else colnames(h)
  }))
}

cell_sets <- function(fit) rep(c("target", "background"), c(ncol(fit@h), ncol(fit@h_background)))

# The row of a data frame for each of the target's, then the background's cells, by name (NA where there is none); NULL where data or
# cells have no names of their own. Row names that R numbered are no names.
rows_by_name <- function(fit, data) {
  names <- cell_names(fit)
  if (!is.character(attr(data, "row.names")) || is.null(colnames(fit@h)) || anyDuplicated(names)) return(NULL)
  match(names, rownames(data))
}

# Refuses rows by name of cells that are needed but not there.
check_no_cell_lacks <- function(fit, rows, needed, arg, call) {
  lacking <- cell_names(fit)[needed & is.na(rows)]
  if (length(lacking) == 0) return(invisible())
  more <- if (length(lacking) > 3) ", ..." else ""
  abort_bcnmf("{.arg {arg}} has no row for {length(lacking)} of the model's cells: {.val {utils::head(lacking, 3)}}{more}.",
    arg = arg, value = lacking, call = call
  )
}
