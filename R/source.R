# Where the cells of an object come from: names, cell data, and the matrices, of which only the asked-for part is read.

# What bcnmf() needs to know of an object that holds cells, whatever its class. A list:
#   cells, features  names, in the object's order (features may be NULL where there are none)
#   cell_data        data frame, one row per cell, or NULL
#   layers           list of list(matrix, rows, columns): a part of the data, features x cells, and where its rows and
#                    columns are in the object
#   variable         positions of the features that the object itself would take, or NULL
#   assay, layer     what was read, for messages
cell_source <- function(object, assay, layer, arg, call) UseMethod("cell_source")

# A plain matrix, as background of an object.
#' @export
cell_source.default <- function(object, assay, layer, arg, call) {
  x <- check_dims(core_matrix(object, arg, call), arg, call)
  if (is.null(rownames(x))) {
    abort_bcnmf("{.arg {arg}} has no row names: its features cannot be matched with the object's.", arg = arg, call = call)
  }
  new_source(
    cells = if (is.null(colnames(x))) paste0("background_", seq_len(ncol(x))) else colnames(x), features = rownames(x),
    layers = list(list(matrix = x, rows = seq_len(nrow(x)), columns = seq_len(ncol(x))))
  )
}

new_source <- function(cells, features, layers, cell_data = NULL, variable = NULL, assay = NULL, layer = NULL) {
  list(
    cells = cells, features = features, layers = layers, cell_data = cell_data, variable = variable,
    assay = assay, layer = layer
  )
}

# Chosen features of chosen cells (positions in the source, in the order wanted) as what the core reads. Memory: the result;
# a layer that is not a dgCMatrix is first cut down to what is wanted, by its own class, which may read it from disk.
read_cells <- function(source, features, cells, arg, call) {
  layer <- column <- rep(NA_integer_, length(source$cells))
  for (l in seq_along(source$layers)) {
    at <- source$layers[[l]]$columns
    layer[at] <- l
    column[at] <- seq_along(at)
  }
  layer <- layer[cells]
  column <- column[cells]
  if (anyNA(layer)) {
    lost <- source$cells[cells[is.na(layer)]]
    abort_bcnmf(
      "{length(lost)} of the {arg}'s cells {cli::qty(length(lost))}{?has/have} no data in layer {.val {source$layer}} of assay {.val {source$assay}}: {first_few(lost)}.",
      arg = "layer", value = source$layer, call = call
    )
  }
  names <- list(source$features[features], source$cells[cells])
  used <- sort(unique(layer))
  only <- source$layers[[used[1]]]
  # without a second copy
  rows <- match(features, only$rows)
  if (length(used) == 1 && is.matrix(only$matrix) && !anyNA(rows)) {
    x <- core_matrix(only$matrix[rows, column, drop = FALSE], arg, call)
    return(with_names(x, names[[1]], names[[2]]))
  }
  parts <- lapply(used, function(l) {
    columns <- sort(unique(column[layer == l]))
    cut_layer(source$layers[[l]], features, columns, arg, call)
  })
  where <- cbind(layer = match(layer, used), column = NA_integer_)
  for (l in seq_along(used)) {
    at <- where[, "layer"] == l
    where[at, "column"] <- match(column[at], parts[[l]]$columns)
  }
  maps <- lapply(parts, function(part) match(part$rows, features))
  matrices <- lapply(parts, `[[`, "matrix")
  if (all(vapply(matrices, methods::is, NA, "dgCMatrix"))) {
    slots <- core_call(rs_gather(matrices, maps, where[, "layer"], where[, "column"]), call)
    return(methods::new("dgCMatrix",
      p = slots$p, i = slots$i, x = slots$x, Dim = c(length(features), length(cells)), Dimnames = names
    ))
  }
  for (part in matrices) check_valid(part, arg, call)
  x <- matrix(0, length(features), length(cells), dimnames = names)
  for (l in seq_along(used)) {
    at <- where[, "layer"] == l
    known <- which(!is.na(maps[[l]]))
    x[maps[[l]][known], at] <- as.matrix(matrices[[l]][known, where[at, "column"], drop = FALSE])
  }
  x
}

# A layer as the core reads it, with only the features and columns that are wanted; a dgCMatrix stays as it is, because it can be
# gathered from in place.
cut_layer <- function(layer, features, columns, arg, call) {
  if (methods::is(layer$matrix, "dgCMatrix")) {
    return(list(matrix = layer$matrix, rows = layer$rows, columns = seq_len(ncol(layer$matrix))))
  }
  check_valid(layer$matrix, arg, call)
  rows <- which(layer$rows %in% features)
  list(
    matrix = core_matrix(layer$matrix[rows, columns, drop = FALSE], arg, call),
    rows = layer$rows[rows], columns = columns
  )
}

# Positions of the features to fit: as asked, else those that the object holds to be variable.
resolve_features <- function(source, features, k, hint, call) {
  if (is.null(features)) {
    if (length(source$variable) == 0) {
      abort_bcnmf(c("{.arg features} is missing, and the object names no variable features.", i = hint), arg = "features", call = call)
    }
    index <- source$variable
  } else {
    index <- feature_index(source, features, call)
  }
  if (is_number(k) && length(index) < k) {
    abort_bcnmf(c(
      "There must be at least as many {.arg features} as factors, {.arg k} = {k}.",
      x = "There {?is/are} {length(index)}."
    ), arg = "features", value = features, call = call)
  }
  index
}

feature_index <- function(source, features, call) {
  n <- length(source$features)
  if (is.factor(features)) features <- as.character(features)
  fine <- (is.character(features) || is.numeric(features) || is.logical(features)) && is.null(dim(features)) && !anyNA(features)
  if (!fine || length(features) == 0) {
    refuse(features, "names or numbers of features, or a logical vector over all of them", "features", call)
  }
  if (is.logical(features)) {
    if (length(features) != n) {
      abort_bcnmf("{.arg features} has {length(features)} logical value{?s} for {n} features.", arg = "features", value = features, call = call)
    }
    return(which(features))
  }
  index <- if (is.character(features)) match(features, source$features) else match(features, seq_len(n))
  if (anyNA(index)) {
    abort_bcnmf(c(
      "{sum(is.na(index))} of the {length(index)} {.arg features} {cli::qty(sum(is.na(index)))}{?is/are} not in assay {.val {source$assay}}: {first_few(features[is.na(index)])}.",
      i = "It has {n} feature{?s}{if (!is.null(source$features)) ', called '}{if (!is.null(source$features)) first_few(source$features)}."
    ), arg = "features", value = features[is.na(index)], call = call)
  }
  unique(index)
}

# The features that two sources have in common, matched by name; `index` are those wanted of the first.
common_features <- function(source, background, index, call) {
  names <- source$features[index]
  if (is.null(names)) {
    abort_bcnmf("The object has no feature names: they are needed to match it with {.arg background}.", arg = "background", call = call)
  }
  twice <- names[duplicated(names)]
  if (length(twice)) {
    abort_bcnmf("Repeated feature names cannot be matched with those of {.arg background}: {first_few(unique(twice))}.",
      arg = "features", value = twice, call = call
    )
  }
  theirs <- match(names, background$features)
  lost <- names[is.na(theirs)]
  if (length(lost) == length(names)) {
    abort_bcnmf(c(
      "{.arg background} has none of the {length(names)} feature{?s}.",
      x = "The object's are called {first_few(names)}, those of {.arg background} {first_few(background$features)}."
    ), arg = "background", value = utils::head(background$features, 3), call = call)
  }
  if (length(lost)) {
    cli::cli_inform(c(
      i = "{length(lost)} of the {length(names)} features {cli::qty(length(lost))}{?is/are} not in {.arg background} and {?was/were} left out: {first_few(lost)}."
    ), class = "bcnmf_message")
  }
  list(target = index[!is.na(theirs)], background = theirs[!is.na(theirs)])
}
