# Labels of a model's cells from the cell data of the object that it came from.

# Columns of the cell data for the cells of each set, list(target, background) of data frames; `columns` are names.
cell_columns <- function(fit, columns, arg, call) {
  sets <- list(target = colnames(fit@h), background = colnames(fit@h_background))
  data <- fit@misc$cell_data
  known <- unique(unlist(lapply(data, names)))
  unknown <- setdiff(columns, known)
  if (length(unknown)) {
    abort_bcnmf(c(
      "The cell data of the model's object have no column{?s} {.val {unknown}}.",
      i = "They have {.val {known}}."
    ), arg = arg, value = columns, call = call)
  }
  found <- lapply(names(sets), function(set) {
    rows <- match(sets[[set]], rownames(data[[set]]))
    if (length(rows) && all(is.na(rows)) && length(data[[set]])) {
      abort_bcnmf(c(
        "None of the model's {set} cells are in the object any more.",
        x = "The model's are called {.val {utils::head(sets[[set]], 3)}}, the object's {.val {utils::head(rownames(data[[set]]), 3)}}."
      ), arg = arg, value = columns, call = call)
    }
    table <- lapply(columns, function(name) {
      column <- data[[set]][[name]]
      if (is.null(column)) rep(NA, length(rows)) else column[rows]
    })
    structure(stats::setNames(table, columns), class = "data.frame", row.names = seq_along(rows))
  })
  stats::setNames(found, names(sets))
}
