# Groups of cells as users give them: labels, data frames, names of columns.

# `group_by`, the argument `arg` of the user's, as one factor per set of cells that is wanted; NULL for a set that is not. The attribute
# `labelled` tells for each set whether it was given labels; without, its cells are one group.
resolve_groups <- function(fit, group_by, set, call = rlang::caller_env(), arg = "group_by") {
  group_by <- plain_labels(group_by)
  n <- ncol(fit@h)
  l <- ncol(fit@h_background)
  want_target <- set != "background"
  want_background <- set != "target" && l > 0
  group_by <- if (names_columns(fit, group_by)) {
    label_cells(fit, group_by, arg, call)
  } else {
    labels_by_name(fit, group_by, set, arg, call)
  }
  given <- if (is.list(group_by)) {
    group_list(group_by, arg, call)
  } else {
    split_groups(group_by, n, l, set, arg, call)
  }
  check_group_length(given$target, n, "target", arg, call)
  check_group_length(given$background, l, "background", arg, call)
  structure(
    list(
      target = if (want_target) as_groups(given$target, n, "target"),
      background = if (want_background) as_groups(given$background, l, "background")
    ),
    labelled = c(target = want_target && !is.null(given$target), background = want_background && !is.null(given$background))
  )
}

# Run-length encoded labels, as Bioconductor has them, written out.
decoded <- function(x) if (methods::is(x, "Rle")) S4Vectors::decode(x) else x

# The same of labels in a list or a DataFrame, which becomes base R's.
plain_labels <- function(x) {
  if (methods::is(x, "DataFrame")) {
    rows <- if (is.null(rownames(x))) seq_len(nrow(x)) else rownames(x)
    return(structure(lapply(as.list(x), decoded), names = names(x), class = "data.frame", row.names = rows))
  }
  if (is.list(x) && !is.data.frame(x)) lapply(x, decoded) else decoded(x)
}

# Labels in the order of the cells, as a list of the sets that they name, where their names are those of cells. Others stay in the order that
# they have.
labels_by_name <- function(fit, group_by, set, arg, call) {
  if (is.list(group_by) && !is.data.frame(group_by)) {
    cells <- list(target = colnames(fit@h), background = colnames(fit@h_background))
    for (which in intersect(names(cells), names(group_by))) {
      group_by[[which]] <- in_order_of(group_by[[which]], cells[[which]], "cells", arg, call)
    }
    return(group_by)
  }
  labels <- if (is.data.frame(group_by)) interact(group_by, arg, call) else group_by
  rows <- rows_by_name(fit, group_by, arg, call)
  found <- !is.na(rows)
  if (!any(found)) return(labels)
  sets <- cell_sets(fit)
  wanted <- set == "both" | sets == set
  # a set of which no cell is named has no labels, unless none that is wanted has
  if (any(found & wanted)) wanted <- wanted & sets %in% sets[found]
  refuse_lacking(cell_names(fit)[wanted & !found], "label", "cells", arg, call)
  lapply(split(rows[wanted], sets[wanted]), function(rows) labels[rows])
}

# Labels in the order of `names`, if these are among their names; as they are if none is.
in_order_of <- function(labels, names, of, arg, call) {
  at <- match_own_names(names, labels)
  if (all(is.na(at))) return(labels)
  refuse_lacking(names[is.na(at)], "label", of, arg, call)
  labels[at]
}

group_list <- function(group_by, arg, call) {
  unknown <- setdiff(rlang::names2(group_by), c("target", "background"))
  if (length(unknown) > 0) {
    abort_bcnmf(c(
      "A list given as {.arg {arg}} may hold {.val target} and {.val background}.",
      x = "It holds {.val {unknown}}."
    ), arg = arg, value = group_by, call = call)
  }
  for (name in names(group_by)) check_labels(group_by[[name]], arg, call)
  group_by
}

split_groups <- function(group_by, n, l, set, arg, call) {
  check_labels(group_by, arg, call)
  m <- length(group_by)
  # subsetting a factor keeps its levels, and with them the order of groups
  if (set == "background" && m == l) return(list(background = group_by))
  if (l > 0 && m == n + l) {
    return(list(target = group_by[seq_len(n)], background = group_by[n + seq_len(l)]))
  }
  if (m == n && set != "background") return(list(target = group_by))
  own <- if (set == "background") c("background cell" = l) else c("target cell" = n)
  allowed <- sprintf("%d (one per %s)", own, names(own))
  if (l > 0) allowed <- c(allowed, sprintf("%d (target, then background)", n + l))
  abort_bcnmf(c(
    "{.arg {arg}} must have length {paste(allowed, collapse = ' or ')}.",
    x = "It has length {m}.",
    i = if (m == 1 && is.character(group_by)) "Columns are found by name for the model of an object: {.code bcnmf_model(object)}."
  ), arg = arg, value = group_by, call = call)
}

check_labels <- function(x, arg, call) {
  if (!is.null(x) && (!is.atomic(x) || !is.null(dim(x)))) {
    refuse(x, "a vector of labels", arg, call)
  }
  if (is_measured(x)) {
    abort_bcnmf(c(
      "Labels must be discrete, but {.arg {arg}} has {length(unique(x))} different numbers for {length(x)} labels.",
      i = "{.code cut()} makes groups of numbers; {.code factor()} says that each number is a group of its own."
    ), arg = arg, value = x, call = call)
  }
}

# Numbers that measure something rather than name a group: many that are not whole, or one, whole or not, for nearly every cell.
is_measured <- function(x) {
  if (!is.numeric(x)) return(FALSE)
  x <- x[!is.na(x)]
  n <- length(unique(x))
  if (all(x == round(x))) return(n > 50 && 2 * n > length(x))
  n > 50 || (n > 10 && n == length(x))
}

check_group_length <- function(x, n, which, arg, call) {
  if (!is.null(x) && length(x) != n) {
    abort_bcnmf("{.arg {arg}} gives {length(x)} label{?s} for {n} {which} {cli::qty(n)}cell{?s}.",
      arg = arg, value = x, call = call
    )
  }
}

as_groups <- function(x, n, otherwise) {
  if (is.null(x)) return(factor(rep(otherwise, n)))
  groups <- droplevels(as.factor(x))
  labels <- levels(groups)[as.integer(groups)]
  levels <- levels(groups)[!is.na(levels(groups))]
  if (anyNA(labels)) {
    labels[is.na(labels)] <- "NA"
    levels <- union(levels, "NA")
  }
  factor(labels, levels = levels)
}

# Is `group_by` meant as names of columns? Labels are as many as cells, or called as these.
names_columns <- function(fit, group_by) {
  n <- c(ncol(fit@h), ncol(fit@h_background), ncol(fit@h) + ncol(fit@h_background))
  is.character(group_by) && is.null(dim(group_by)) && !is.null(fit@misc$cell_data) &&
    (all(group_by %in% names(fit@misc$cell_data$target)) || (!length(group_by) %in% n && all(is.na(rows_by_name(fit, group_by)))))
}

# Labels by several columns at once, "stim / CD14", in the order of the first column's levels, then of the second's.
interact <- function(columns, arg = "group_by", call = rlang::caller_env()) {
  if (length(columns) == 0) refuse(columns, "labels, or a data frame with at least one column", arg, call)
  for (column in columns) check_labels(column, arg, call)
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
label_cells <- function(fit, columns, arg, call) {
  found <- cell_columns(fit, columns, arg, call)
  labels <- interact(do.call(rbind, found), arg, call)
  n <- nrow(found$target)
  # a background that came as a matrix has no labels
  labelled <- ncol(fit@h_background) > 0 && any(columns %in% names(fit@misc$cell_data$background))
  list(target = labels[seq_len(n)], background = if (labelled) labels[-seq_len(n)])
}
