# Entries that nobody knows, and features and cells that do not all count once. What is known of a data set beside its values travels with them, as
# an object of class `bcnmf_data`: list(matrix, missing, features, cells, size_factors, losses), where `missing` is "nan" (NA and NaN) or "zeros" (and zeros), or "none", `features` and
# `cells` are weights, or NULL, `size_factors` those of the cells, or NULL, and `losses` those of the features where they differ, or NULL. A data set that has none of this stays a plain matrix.

bcnmf_data <- function(matrix, missing = "none", features = NULL, cells = NULL, size_factors = NULL, losses = NULL) {
  if (missing == "none" && is.null(features) && is.null(cells) && is.null(size_factors) && is.null(losses)) return(matrix)
  structure(list(matrix = matrix, missing = missing, features = features, cells = cells, size_factors = size_factors, losses = losses), class = "bcnmf_data")
}

#' @export
dim.bcnmf_data <- function(x) dim(x$matrix)

#' @export
dimnames.bcnmf_data <- function(x) dimnames(x$matrix)

# Some of the cells.
#' @export
`[.bcnmf_data` <- function(x, i, j, drop = FALSE) {
  bcnmf_data(x$matrix[, j, drop = FALSE], x$missing, x$features, x$cells[j], x$size_factors[j], x$losses)
}

# The parts of a data set, whether it has more than values or not.
data_parts <- function(x) {
  if (inherits(x, "bcnmf_data")) unclass(x) else list(matrix = x, missing = "none", features = NULL, cells = NULL, size_factors = NULL, losses = NULL)
}

# How often each cell of a set, in its parts, counts.
cell_weights <- function(set) if (is.null(set$cells)) rep(1, ncol(set$matrix)) else set$cells

# The mean of all cells as one; NULL where entries are missing, as cells lack different ones.
mean_cell <- function(x) {
  set <- data_parts(x)
  weights <- cell_weights(set)
  if (set$missing != "none" || sum(weights) == 0) return(NULL)
  bcnmf_data(as.matrix(set$matrix %*% (weights / sum(weights))), features = set$features, losses = set$losses)
}

# The cells of two sets in one, without their names, and without size factors, which matter to penalties alone.
bind_cells <- function(x, y) {
  x <- data_parts(x)
  y <- data_parts(y)
  # names may differ, or repeat
  dimnames(x$matrix) <- dimnames(y$matrix) <- list(NULL, NULL)
  kinds <- setdiff(c(x$missing, y$missing), "none")
  bcnmf_data(
    core_matrix(cbind(x$matrix, y$matrix), "target", rlang::caller_env()), if (length(kinds)) kinds[1] else "none",
    x$features, if (!is.null(x$cells) || !is.null(y$cells)) c(cell_weights(x), cell_weights(y)),
    losses = x$losses
  )
}

# Plain values for what can do without the missing ones: in their place the feature's mean.
filled_values <- function(x, feature_mean) {
  set <- data_parts(x)
  if (set$missing != "nan") return(set$matrix)
  x <- set$matrix
  if (methods::is(x, "dgCMatrix")) {
    lost <- which(is.na(x@x))
    x@x[lost] <- feature_mean[x@i[lost] + 1]
  } else {
    lost <- which(is.na(x))
    x[lost] <- feature_mean[(lost - 1) %% nrow(x) + 1]
  }
  x
}

# --- masks -----------------------------------------------------------------------------------------------------------

mask_kinds <- c("NA", "zeros")
mask_texts <- "\"NA\", \"zeros\", a logical or sparse matrix of the data's shape, or a list of these for `target` and `background`"

# The masks of target and background, each NULL, "NA", "zeros" or a matrix.
check_mask <- function(mask, has_background, call) {
  if (is.null(mask) || is_mask_kind(mask)) return(list(target = mask, background = if (has_background) mask))
  if (is.list(mask) && !is.data.frame(mask)) {
    unknown <- setdiff(rlang::names2(mask), c("target", "background"))
    if (length(unknown) || anyDuplicated(names(mask)) || length(mask) == 0) refuse(mask, mask_texts, "mask", call)
    if (!is.null(mask$background) && !has_background) {
      abort_bcnmf("{.arg mask} has a {.field background}, but the data have none.", arg = "mask", value = "background", call = call)
    }
    for (one in mask) if (!is.null(one) && !is_mask_kind(one)) check_mask_matrix(one, call)
    zeros <- vapply(mask, identical, NA, "zeros")
    if (has_background && any(zeros) && !(all(zeros) && length(zeros) == 2)) {
      abort_bcnmf("The zeros of one set cannot be missing and those of the other not: {.code mask = \"zeros\"} is for both.", arg = "mask", value = "zeros", call = call)
    }
    return(list(target = mask$target, background = mask$background))
  }
  check_mask_matrix(mask, call)
  list(target = mask, background = NULL)
}

# A matrix that has the names of both sets' cells, as that of an object has, is for both.
share_mask <- function(masks, mask, features, target, background) {
  named <- length(features) && length(target) && length(background) && !is.null(dim(mask)) && ncol(mask) > length(target)
  if (named && all(features %in% rownames(mask)) && all(c(target, background) %in% colnames(mask))) masks$background <- mask
  masks
}

is_mask_kind <- function(mask) is.character(mask) && is_scalar(mask) && mask %in% mask_kinds

check_mask_matrix <- function(mask, call) {
  if (is.data.frame(mask)) mask <- as.matrix(mask)
  ok <- methods::is(mask, "Matrix") || (is.matrix(mask) && (is.logical(mask) || is.numeric(mask)))
  if (!ok) refuse(mask, mask_texts, "mask", call)
  check_valid(mask, "mask", call)
}

# A set whose entries are missing where `mask` says so. Values there are replaced by NA, in a copy, so that nothing can see them.
mask_data <- function(x, mask, arg, call) {
  if (is.null(mask)) return(x)
  if (is_mask_kind(mask)) return(bcnmf_data(x, if (mask == "NA") "nan" else "zeros"))
  check_valid(x, arg, call)
  places <- mask_places(mask, x, arg, call)
  sparse <- methods::is(x, "dgCMatrix")
  if (sparse) {
    # The sum of NA and anything is NA, and where neither matrix stores a value there is none.
    lost <- methods::new("dgCMatrix", p = places@p, i = places@i, x = rep(NA_real_, length(places@i)), Dim = places@Dim)
    dimnames(lost) <- dimnames(x)
    x <- x + lost
    others <- sum(is.na(x@x)) - length(places@i)
  } else {
    x[cbind(places@i + 1L, rep(seq_len(ncol(x)), diff(places@p)))] <- NA_real_
    others <- sum(is.na(x)) - length(places@i)
  }
  if (others > 0) {
    abort_bcnmf(c(
      "{.arg {arg}} has {others} missing value{?s} that {.arg mask} does not cover.",
      i = "Set it to {.code mask | is.na({arg})}."
    ), arg = "mask", value = others, call = call)
  }
  bcnmf_data(x, "nan")
}

# Where a mask of a set's shape, or one with its names, is not zero: an ngCMatrix.
mask_places <- function(mask, x, arg, call) {
  if (is.data.frame(mask)) {
    # names that R made up say nothing
    made_up <- c(.row_names_info(mask) < 0, identical(names(mask), paste0("V", seq_along(mask))))
    mask <- as.matrix(mask)
    dimnames(mask)[made_up] <- list(NULL)
  }
  if (!identical(dim(mask), dim(x))) {
    named <- !is.null(dimnames(x)) && all(rownames(x) %in% rownames(mask)) && all(colnames(x) %in% colnames(mask)) &&
      length(rownames(x)) > 0 && length(colnames(x)) > 0
    if (!named) {
      abort_bcnmf(c(
        "The {.arg mask} of {.arg {arg}} is {nrow(mask)} x {ncol(mask)}, but the data are {nrow(x)} x {ncol(x)}.",
        i = "A larger mask is matched by row and column names, where it has those of the data."
      ), arg = "mask", value = dim(mask), call = call)
    }
    mask <- mask[rownames(x), colnames(x), drop = FALSE]
  }
  for (side in 1:2) {
    ours <- dimnames(x)[[side]]
    theirs <- dimnames(mask)[[side]]
    at <- if (!is.null(ours) && !is.null(theirs)) names_that_differ(ours, theirs)[1] else NA
    if (!is.na(at)) {
      abort_bcnmf("{c('Row', 'Column')[side]} {at} of the {.arg mask} is {.val {theirs[at]}}, but that of {.arg {arg}} is {.val {ours[at]}}.",
        arg = "mask", value = theirs[at], call = call
      )
    }
  }
  if (anyNA(if (methods::is(mask, "sparseMatrix") && methods::.hasSlot(mask, "x")) mask@x else if (is.matrix(mask)) mask)) {
    abort_bcnmf("{.arg mask} has missing values itself.", arg = "mask", call = call)
  }
  dimnames(mask) <- list(NULL, NULL)
  mask <- if (methods::is(mask, "Matrix")) methods::as(mask, "CsparseMatrix") else methods::as(mask != 0, "CsparseMatrix")
  mask <- Matrix::drop0(methods::as(mask, "generalMatrix"))
  methods::as(mask, "nMatrix")
}

# What a model remembers of its masks: the kind where that says it all, else where entries were missing.
mask_record <- function(masks, x, y) {
  kinds <- Filter(Negate(is.null), masks)
  if (length(kinds) == 0) return(NULL)
  kind <- if (all(vapply(kinds, is_mask_kind, NA)) && length(unique(unlist(kinds))) == 1) kinds[[1]] else "matrix"
  list(mask = kind, masked = list(target = missing_places(x), background = if (!is.null(y)) missing_places(y)))
}

# An ngCMatrix of the entries that are NA; NULL for a set that lacks none, or that lacks its zeros, which would be too many to keep.
missing_places <- function(x) {
  set <- data_parts(x)
  if (set$missing != "nan") return(NULL)
  x <- set$matrix
  if (methods::is(x, "dgCMatrix")) {
    lost <- which(is.na(x@x))
    counts <- findInterval(x@p, lost)
    return(methods::new("ngCMatrix", i = x@i[lost], p = as.integer(counts), Dim = dim(x)))
  }
  lost <- which(is.na(x)) - 1
  columns <- floor(lost / nrow(x))
  methods::new("ngCMatrix",
    i = as.integer(lost - columns * nrow(x)), p = as.integer(c(0, cumsum(tabulate(columns + 1, ncol(x))))), Dim = dim(x)
  )
}

# The mask to use with a model's data unless one is given.
inherited_mask <- function(fit, mask, missing_mask, call) {
  if (!missing_mask || is.null(fit@misc$mask)) return(mask)
  if (fit@misc$mask %in% mask_kinds) return(fit@misc$mask)
  abort_bcnmf(c("The model was fitted with a {.arg mask} matrix.", i = "Give the {.arg mask} of these data, or {.code mask = NULL} if nothing is missing."),
    arg = "mask", call = call
  )
}

# --- weights ---------------------------------------------------------------------------------------------------------

# Weights of features, target cells and background cells, with a mean of 1; NULL for those that are not given.
check_weights <- function(weights, x, y, call) {
  none <- list(features = NULL, cells = NULL, background = NULL)
  if (is.null(weights)) return(none)
  what <- "a list of `features`, `cells` (of the target) and `background` (its cells)"
  if (!is.list(weights) || is.data.frame(weights) || length(weights) == 0) refuse(weights, what, "weights", call)
  unknown <- setdiff(rlang::names2(weights), names(none))
  if (length(unknown) || anyDuplicated(names(weights))) refuse(names(weights), what, "weights", call)
  if (!is.null(weights$background) && is.null(y)) {
    abort_bcnmf("{.arg weights} has a {.field background}, but the data have none.", arg = "weights", value = "background", call = call)
  }
  none$features <- check_weight(weights$features, nrow(x), rownames(x), "features", call)
  none$cells <- check_weight(weights$cells, ncol(x), colnames(x), "cells", call)
  if (!is.null(y)) none$background <- check_weight(weights$background, ncol(y), colnames(y), "background", call)
  none
}

check_weight <- function(weight, n, names, what, call) {
  if (is.null(weight)) return(NULL)
  arg <- sprintf("weights$%s", what)
  ok <- is.numeric(weight) && is.null(dim(weight)) && length(weight) == n && all(is.finite(weight)) && all(weight >= 0) && any(weight > 0)
  if (!ok) refuse(weight, sprintf("%d finite numbers of at least 0, not all 0", n), arg, call)
  check_item_names(weight, names, arg, call)
  as.double(weight) / mean(weight)
}

# Numbers that have names must have those of the features or cells.
check_item_names <- function(x, names, arg, call) {
  at <- if (!is.null(names(x)) && !is.null(names)) names_that_differ(names(x), names)[1] else NA
  if (!is.na(at)) {
    abort_bcnmf("{.arg {arg}} has {.val {names(x)[at]}} in place {at}, but the data have {.val {names[at]}}.",
      arg = arg, value = names(x)[at], call = call
    )
  }
}

# A set with its weights.
weigh_data <- function(x, features, cells) {
  set <- data_parts(x)
  bcnmf_data(set$matrix, set$missing, features, cells, losses = set$losses)
}

# A model's weights for these data, as bcnmf() takes them: those of cells where they are the model's own.
model_weights <- function(fit, target, background) {
  weights <- fit@misc$weights
  # an empty list is refused later, with the data
  cells <- function(set) ncol(if (is_modalities(set) && length(set)) set[[1]] else set)
  own <- function(set, weights) if (!is.null(set) && identical(length(weights), cells(set))) weights
  found <- list(features = weights$features, cells = own(target, weights$cells), background = own(background, weights$background))
  found <- Filter(Negate(is.null), found)
  if (length(found)) found
}

# What a model remembers of them.
weight_record <- function(weights) {
  given <- Filter(Negate(is.null), weights)
  if (length(given)) list(weights = given)
}
