# Labels of a model's cells from the cell data of the object that it came from.

# Is `group_by` meant as names of columns? Labels are as many as cells.
names_columns <- function(fit, group_by) {
  n <- c(ncol(fit@h), ncol(fit@h_background), ncol(fit@h) + ncol(fit@h_background))
  is.character(group_by) && is.null(dim(group_by)) && !is.null(fit@misc$cell_data) &&
    (!length(group_by) %in% n || all(group_by %in% names(fit@misc$cell_data$target)))
}

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

# Labels by several columns at once, "stim / CD14", in the order of the first column's levels, then of the second's.
interact <- function(columns, call = rlang::caller_env()) {
  if (length(columns) == 0) refuse(columns, "labels, or a data frame with at least one column", "group_by", call)
  for (column in columns) check_labels(column, call)
  if (length(columns) == 1) return(as.factor(columns[[1]]))
  factors <- lapply(columns, as_groups, n = nrow(columns), otherwise = "")
  label <- do.call(paste, c(lapply(factors, as.character), sep = " / "))
  position <- do.call(order, c(lapply(factors, as.integer), list(label)))
  factor(label, levels = unique(label[position]))
}

# One row a label of interact(), with the values that make it up.
label_parts <- function(columns) {
  parts <- lapply(columns, as_groups, n = nrow(columns), otherwise = "")
  parts <- data.frame(label = interact(columns), parts, check.names = FALSE)
  parts[!duplicated(parts$label), ]
}

# Labels of the cells of both sets by columns of the cell data.
label_cells <- function(fit, columns, call) {
  found <- cell_columns(fit, columns, "group_by", call)
  labels <- interact(do.call(rbind, found))
  n <- nrow(found$target)
  # a background that came as a matrix has no labels
  labelled <- ncol(fit@h_background) > 0 && any(columns %in% names(fit@misc$cell_data$background))
  list(target = labels[seq_len(n)], background = if (labelled) labels[-seq_len(n)])
}
