# Which cells of an object are target and which background, and its fit.

# Positions of the target's and the background's cells.
resolve_cells <- function(source, split_by, background, target, call) {
  labels <- split_labels(source, split_by, call)
  if (is.null(background) && !is.null(labels)) {
    abort_bcnmf(c(
      "{.arg background} is missing: which {.val {split_by}} are the background?",
      i = "There {?is/are} {.val {levels(labels)}}."
    ), arg = "background", call = call)
  }
  in_background <- pick_cells(background, "background", source, labels, split_by, call)
  in_target <- pick_cells(target, "target", source, labels, split_by, call)
  if (is.null(in_target)) {
    in_target <- setdiff(seq_along(source$cells), in_background)
    unknown <- if (!is.null(labels)) in_target[is.na(labels[in_target])]
    if (length(unknown)) {
      in_target <- setdiff(in_target, unknown)
      cli::cli_inform(c(i = "{length(unknown)} cell{?s} without a {.val {split_by}} {cli::qty(length(unknown))}{?is/are} not in the target."), class = "bcnmf_message")
    }
  }
  if (length(in_target) == 0) {
    abort_bcnmf(c("The target is empty.", x = "All {length(source$cells)} cells are in {.arg background}."), arg = "target", call = call)
  }
  if (setequal(in_target, in_background)) {
    abort_bcnmf("Target and background are the same {length(in_target)} cell{?s}: there is nothing to contrast.", arg = "background", call = call)
  }
  list(target = in_target, background = in_background)
}

split_labels <- function(source, split_by, call) {
  if (is.null(split_by)) return(NULL)
  if (!is_scalar(split_by) || !is.character(split_by)) {
    hint <- if (!is.null(dim(split_by))) c(i = "For a second object as background: {.code background = }.")
    abort_bcnmf(c("{.arg split_by} must be the name of a column of the object's cell data, not {describe_value(split_by)}.", hint),
      arg = "split_by", value = split_by, call = call
    )
  }
  if (!split_by %in% names(source$cell_data)) {
    abort_bcnmf(c(
      "The object's cell data have no column {.val {split_by}}.",
      i = if (length(source$cell_data)) "They have {.val {names(source$cell_data)}}." else "They have none at all."
    ), arg = "split_by", value = split_by, call = call)
  }
  column <- source$cell_data[[split_by]]
  if (!is.atomic(column) || !is.null(dim(column))) refuse(column, "a column of labels", "split_by", call)
  droplevels(as.factor(column))
}

# Positions of the cells that `x`, an argument, means: levels of `split_by`, names of cells or a logical vector.
pick_cells <- function(x, arg, source, labels, split_by, call) {
  if (is.null(x)) return(NULL)
  n <- length(source$cells)
  # as colData(object)$condition == "ctrl" may be
  if (methods::is(x, "Rle")) x <- as.vector(x)
  if (!is.atomic(x) || !is.null(dim(x)) || anyNA(x)) {
    refuse(x, "levels of `split_by`, names of cells or a logical vector without missing values", arg, call)
  }
  # a logical vector may be levels too, of a logical column
  are_levels <- all(as.character(x) %in% levels(labels))
  if (are_levels && !is.null(labels)) {
    cells <- which(labels %in% as.character(x))
  } else if (is.logical(x) && !are_levels) {
    if (length(x) != n) {
      abort_bcnmf("{.arg {arg}} has {length(x)} logical value{?s} for {n} cells.", arg = arg, value = x, call = call)
    }
    cells <- which(x)
  } else {
    cells <- unique(match(as.character(x), source$cells))
    if (anyNA(cells)) refuse_cells(x, arg, source, labels, split_by, call)
  }
  if (length(cells) == 0) abort_bcnmf("{.arg {arg}} is empty: it selects none of the {n} cells.", arg = arg, value = x, call = call)
  cells
}

refuse_cells <- function(x, arg, source, labels, split_by, call) {
  unknown <- as.character(x)[!as.character(x) %in% c(levels(labels), source$cells)]
  # a mixture of levels and cells
  if (length(unknown) == 0) unknown <- as.character(x)
  exist <- if (is.null(labels)) {
    "Without {.arg split_by} it must be cells of the object, which are called {first_few(source$cells)}."
  } else {
    "Column {.val {split_by}} has the {cli::qty(nlevels(labels))}level{?s} {.val {levels(labels)}}."
  }
  abort_bcnmf(c(
    "{.arg {arg}} names {first_few(unknown)}, but there is no such {if (is.null(labels)) 'cell' else 'level or cell'} in the object.",
    i = exist
  ), arg = arg, value = x, call = call)
}

# A target and a background that are two objects: all their cells, whose names must differ.
check_two_objects <- function(source, background, call) {
  shared <- intersect(source$cells, background$cells)
  if (length(shared)) {
    abort_bcnmf(c(
      "{.arg background} and the target have {length(shared)} cell name{?s} in common: {first_few(shared)}.",
      i = "If these are different cells, rename those of one object.",
      i = "If they are the same, give one object that has all cells, and the background's names as {.arg background}."
    ), arg = "background", value = utils::head(shared, 3), call = call)
  }
}

# Reads, fits, and places every cell of the object: list(fit, features, normalise, embedding), embedding cells x factors.
fit_cells <- function(source, background, split_by, target, features, k, loss, normalise, read_background, hint, call, ...) {
  normalise <- check_choice(normalise, normalisations, arg = "normalise", call = call)
  check_rank_given(k, list(...)$init, call)
  index <- list(target = resolve_features(source, features, k, hint, call))
  two_objects <- !is.null(dim(background))
  other <- source
  if (two_objects) {
    other <- read_background(background)
    check_two_objects(source, other, call)
    index <- common_features(source, other, index$target, call)
    labels <- split_labels(source, split_by, call)
    cells <- list(target = pick_cells(target, "target", source, labels, split_by, call), background = seq_along(other$cells))
    if (is.null(cells$target)) cells$target <- seq_along(source$cells)
  } else {
    cells <- resolve_cells(source, split_by, background, target, call)
    index$background <- index$target
  }
  x <- read_cells(source, index$target, cells$target, "target", call)
  y <- if (!is.null(cells$background)) read_cells(other, index$background, cells$background, "background", call)
  fit <- bcnmf.default(x, y, k = k, loss = loss, ...)
  rm(x, y)
  fit@misc$source <- list(assay = source$assay, layer = source$layer, split_by = split_by)
  if (two_objects) {
    # Its cell data would be lost, and its cells are not in the object returned, which is the target's.
    data <- if (is.null(other$cell_data)) data.frame(row.names = other$cells) else other$cell_data
    fit@misc$cell_data <- list(background = data)
    cells$background <- NULL
  }
  list(
    fit = fit, features = source$features[index$target], normalise = normalise,
    embedding = embed_cells(fit, source, index$target, cells, normalise, call, ...)
  )
}

holds_cells <- function(x) methods::is(x, "Seurat") || methods::is(x, "SummarizedExperiment")

# The model's features of all cells of another object, from where the model's own came from.
read_new_cells <- function(object, fit, call) {
  from <- fit@misc$source
  source <- cell_source(object, from$assay, if (is.null(from$layer)) "counts" else from$layer, "newdata", call)
  if (is.null(rownames(fit@w))) {
    abort_bcnmf("The model has no feature names: give {.arg newdata} as a matrix of its features.", arg = "newdata", call = call)
  }
  features <- match(rownames(fit@w), source$features)
  if (anyNA(features)) {
    lost <- rownames(fit@w)[is.na(features)]
    abort_bcnmf("{.arg newdata} lacks {length(lost)} of the model's {length(features)} features: {first_few(lost)}.",
      arg = "newdata", value = lost, call = call
    )
  }
  read_cells(source, features, seq_along(source$cells), "newdata", call)
}

# Every cell of the source by its use of every factor, normalised, cells x factors. All are placed by one rule, the best coefficients on the
# fitted basis; so background cells are free to use target-only factors here, which the model had closed to them.
embed_cells <- function(fit, source, features, cells, normalise, call, ...) {
  uses <- matrix(0, ncol(fit@w), length(source$cells))
  known <- cells$target
  if (!is.null(cells$background) && !any(fit@target_only)) {
    uses[, cells$background] <- fit@d_background * fit@h_background
    known <- c(known, cells$background)
  }
  uses[, cells$target] <- fit@d * fit@h
  rest <- setdiff(seq_along(source$cells), known)
  if (length(rest)) {
    settings <- list(...)[c("threads", "verbose")]
    new <- read_cells(source, features, rest, "object", call)
    # a matrix says nothing of cells that were not fitted
    mask <- if (isTRUE(fit@misc$mask %in% mask_kinds)) fit@misc$mask
    # nor do numbers; cells are normalised afterwards
    had <- fit@misc$size_factors
    size_factors <- if (!is.null(had) && is.null(had$reference)) rep(1, length(rest))
    uses[, rest] <- fit@d * predict(fit, new,
      mask = mask, size_factors = size_factors, threads = settings$threads, verbose = settings$verbose
    )
  }
  with_names(t(normalise_uses(uses, normalise)), source$cells, colnames(fit@w))
}
