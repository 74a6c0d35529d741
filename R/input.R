# From what a user gives to what the core reads: a double matrix or a dgCMatrix, features x cells.
# Sparse data are never made dense, doubles and dgCMatrix are passed on without a copy.

core_matrix <- function(x, arg, call) UseMethod("core_matrix")

#' @export
core_matrix.default <- function(x, arg, call) {
  # tables, and others whose class hides that they are matrices
  if (is.matrix(x) && is.object(x) && (is.numeric(x) || is.logical(x))) return(core_matrix(unclass(x), arg, call))
  refuse(x, "a numeric matrix, a sparse matrix of the Matrix package or a data frame of numbers", arg, call)
}

#' @export
core_matrix.matrix <- function(x, arg, call) {
  if (!is.numeric(x) && !is.logical(x)) {
    abort_bcnmf("{.arg {arg}} must hold numbers, but its type is {.cls {typeof(x)}}.", arg = arg, call = call)
  }
  if (!is.double(x)) storage.mode(x) <- "double"
  x
}

#' @export
core_matrix.data.frame <- function(x, arg, call) {
  numbers <- vapply(x, function(column) (is.numeric(column) || is.logical(column)) && !is.factor(column), NA)
  if (!all(numbers)) {
    wrong <- names(x)[!numbers]
    abort_bcnmf(c(
      "Every column of {.arg {arg}} must be numeric.",
      x = "{cli::qty(length(wrong))}Column{?s} {.val {utils::head(wrong, 5)}} {?is/are} not."
    ), arg = arg, call = call)
  }
  core_matrix(as.matrix(x), arg, call)
}

# Its values are left to the core, which checks them in place.
#' @export
core_matrix.dgCMatrix <- function(x, arg, call) check_shape(x, arg, call)

#' @export
core_matrix.Matrix <- function(x, arg, call) {
  convert_matrix(x, arg, call, function(x) {
    if (!methods::is(x, "sparseMatrix")) return(as.matrix(x))
    for (class in c("dMatrix", "generalMatrix", "CsparseMatrix")) x <- methods::as(x, class)
    x
  })
}

# Matrices on disk, of DelayedArray (HDF5Array too) and of BPCells, are read into memory, sparse where they are.

#' @export
core_matrix.DelayedMatrix <- function(x, arg, call) {
  convert_matrix(x, arg, call, function(x) if (DelayedArray::is_sparse(x)) methods::as(x, "dgCMatrix") else as.matrix(x))
}

#' @export
core_matrix.IterableMatrix <- function(x, arg, call) {
  convert_matrix(x, arg, call, function(x) methods::as(x, "dgCMatrix"))
}

convert_matrix <- function(x, arg, call, convert) {
  check_valid(x, arg, call)
  converted <- tryCatch(convert(x), error = function(e) {
    abort_bcnmf("{.arg {arg}}, a {.cls {class(x)}}, could not be read as a matrix of numbers: {conditionMessage(e)}", arg = arg, call = call)
  })
  core_matrix(converted, arg, call)
}

# Slots that contradict each other would have the Matrix package read and write beyond their ends. For what R is to compute with; the core looks itself.
check_valid <- function(x, arg, call) {
  if (isS4(x)) refuse_invalid(x, methods::validObject(x, test = TRUE, complete = TRUE), arg, call)
  invisible(x)
}

# Dimensions and their names alone, whatever the number of values.
check_shape <- function(x, arg, call) {
  valid <- methods::getValidity(methods::getClassDef("Matrix", package = "Matrix"))(x)
  refuse_invalid(x, valid, arg, call)
  x
}

refuse_invalid <- function(x, valid, arg, call) {
  if (isTRUE(valid)) return(invisible())
  abort_bcnmf("{.arg {arg}} is not a valid {.cls {class(x)[1]}}: {valid}.", arg = arg, call = call)
}

# Target and background (NULL without one) as the core reads them, with masks, weights and size factors as the arguments of bcnmf() have them. `reference`: what they must agree with
# in features, if not each other. Lists of matrices are stacked; `loss` is one for all or, named, one for each of them, and comes out as the core takes it.
read_sets <- function(target, background, call, arg = "target", reference = NULL, mask = NULL, weights = NULL,
                      size_factors = NULL, loss = NULL) {
  modality <- NULL
  losses <- check_losses(loss, target, call)
  if (!is.null(losses)) loss <- loss_family(losses)
  mixture <- if (length(unique(losses)) > 1) losses
  if (!is.null(background)) background <- match_modalities(target, background, call)
  if (is_modalities(target)) {
    names <- names(target)
    target <- order_modalities(target, mixture)
    background <- if (!is.null(background)) order_modalities(background, mixture)
    stacked <- stack_modalities(target, arg, call)
    target <- stacked$matrix
    modality <- factor(stacked$modality, levels = names)
    if (!is.null(background)) background <- stack_modalities(background, "background", call)$matrix
  }
  x <- check_dims(core_matrix(target, arg, call), arg, call)
  if (!is.null(reference)) check_same_features(reference, x, arg, call, reference = "model")
  y <- NULL
  if (!is.null(background)) {
    y <- check_dims(core_matrix(background, "background", call), "background", call)
    check_same_features(x, y, "background", call)
  }
  masks <- check_mask(mask, !is.null(y), call)
  if (!is.null(y)) masks <- share_mask(masks, mask, rownames(x), colnames(x), colnames(y))
  squares <- if (is.null(mixture)) is_mse(loss) else mixture[levels(modality)] == "mse"
  x <- mask_data(x, masks$target, arg, call)
  weights <- check_weights(with_modalities(weights, data_parts(x)$matrix, modality, squares, call), x, y, call)
  x <- weigh_data(x, weights$features, weights$cells)
  if (!is.null(y)) y <- weigh_data(mask_data(y, masks$background, "background", call), weights$features, weights$background)
  if (!is.null(mixture)) {
    x <- mix_data(x, unname(mixture[as.character(modality)]))
    if (!is.null(y)) y <- mix_data(y, data_parts(x)$losses)
  }
  size_factors <- check_size_factors(size_factors, x, y, arg, call)
  x <- scale_data(x, size_factors$target)
  if (!is.null(y)) y <- scale_data(y, size_factors$background)
  list(x = x, y = y, masks = masks, weights = weights, size_factors = size_factors, modality = modality, loss = loss, mixture = mixture)
}

check_dims <- function(x, arg, call) {
  if (any(dim(x) == 0)) {
    abort_bcnmf("{.arg {arg}} is empty: it has {nrow(x)} row{?s} and {ncol(x)} column{?s}.",
      arg = arg, value = dim(x), call = call
    )
  }
  invisible(x)
}

# Where names differ; NA is a name like any other.
names_that_differ <- function(ours, theirs) which(is.na(ours) != is.na(theirs) | (ours != theirs) %in% TRUE)

# `reference` names what `background`, the argument `arg`, must agree with.
check_same_features <- function(target, background, arg, call, reference = "target") {
  if (nrow(background) != nrow(target)) {
    abort_bcnmf(c(
      "{.arg {arg}} must have the same features (rows) as the {reference}.",
      x = "The {reference} has {nrow(target)} row{?s}, {.arg {arg}} has {nrow(background)}."
    ), arg = arg, value = nrow(background), call = call)
  }
  ours <- rownames(target)
  theirs <- rownames(background)
  if (is.null(ours) || is.null(theirs)) return(invisible(NULL))
  differ <- names_that_differ(ours, theirs)
  if (length(differ) == 0) return(invisible(NULL))
  first <- utils::head(differ, 3)
  hint <- if (setequal(ours, theirs) && !anyDuplicated(ours)) {
    "They are the same features in another order: use {.code {arg}[rownames({if (reference == 'model') 'fit$w' else 'target'}), ]}."
  } else {
    "Keep the features that both have, in one order."
  }
  abort_bcnmf(c(
    "{.arg {arg}} must have the same features as the {reference}, in the same order.",
    x = "{length(differ)} row name{?s} differ{?s/}, the first at row {first[1]}: {.val {ours[first]}} in the {reference}, {.val {theirs[first]}} in {.arg {arg}}.",
    i = hint
  ), arg = arg, value = theirs[first], call = call)
}
