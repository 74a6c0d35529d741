# Several modalities of the same cells, such as RNA and surface proteins: a list of matrices, stacked into one of all their features.

is_modalities <- function(x) is.list(x) && !is.object(x)

# The one matrix, and the modality of each of its features.
stack_modalities <- function(x, arg, call) {
  names <- rlang::names2(x)
  if (!length(x) || any(names == "") || anyDuplicated(names)) {
    refuse(names, "a list of matrices with different names, one a modality", arg, call)
  }
  parts <- Map(function(part, name) {
    what <- sprintf("%s$%s", arg, name)
    if (is_modalities(part)) refuse(part, "a matrix", what, call)
    check_dims(core_matrix(part, what, call), what, call)
  }, x, names)
  check_same_cells(parts, arg, call)
  sizes <- vapply(parts, nrow, 0L)
  modality <- factor(rep(names, sizes), levels = names)
  features <- Map(function(part, name) if (is.null(rownames(part))) paste0(name, seq_len(nrow(part))) else rownames(part), parts, names)
  features <- unlist(features, use.names = FALSE)
  # a gene and its protein may have one name
  if (anyDuplicated(features)) features <- paste(modality, features, sep = ":")
  cells <- Filter(Negate(is.null), lapply(parts, colnames))
  if (any(vapply(parts, methods::is, NA, "dgCMatrix"))) {
    parts <- lapply(parts, function(part) if (methods::is(part, "dgCMatrix")) part else methods::as(Matrix::Matrix(part, sparse = TRUE, doDiag = FALSE), "generalMatrix"))
  }
  stacked <- core_matrix(do.call(rbind, unname(lapply(parts, function(part) {
    dimnames(part) <- list(NULL, NULL)
    part
  }))), arg, call)
  dimnames(stacked) <- list(features, if (length(cells)) cells[[1]])
  list(matrix = stacked, modality = modality)
}

check_same_cells <- function(parts, arg, call) {
  first <- parts[[1]]
  for (name in names(parts)[-1]) {
    part <- parts[[name]]
    what <- sprintf("%s$%s", arg, name)
    if (ncol(part) != ncol(first)) {
      abort_bcnmf("Modalities are of the same cells: {.arg {arg}${names(parts)[1]}} has {ncol(first)} column{?s}, {.arg {what}} has {ncol(part)}.",
        arg = what, value = ncol(part), call = call
      )
    }
    at <- if (!is.null(colnames(first)) && !is.null(colnames(part))) which(colnames(first) != colnames(part))[1] else NA
    if (!is.na(at)) {
      abort_bcnmf("Modalities are of the same cells, in one order: column {at} of {.arg {what}} is {.val {colnames(part)[at]}}, and {.val {colnames(first)[at]}} in {.arg {arg}${names(parts)[1]}}.",
        arg = what, value = colnames(part)[at], call = call
      )
    }
  }
}

# The background's modalities in the target's order.
match_modalities <- function(target, background, call) {
  if (is_modalities(target) != is_modalities(background)) {
    abort_bcnmf("Both sets must be lists of modalities, or neither: {.arg background} is {if (is_modalities(background)) 'one' else 'none'}.",
      arg = "background", call = call
    )
  }
  if (!is_modalities(target)) return(background)
  if (!setequal(names(target), rlang::names2(background)) || length(target) != length(background)) {
    abort_bcnmf("{.arg background} must have the target's modalities, {.val {names(target)}}; it has {.val {rlang::names2(background)}}.",
      arg = "background", value = names(background), call = call
    )
  }
  background[names(target)]
}

# How often the features of each modality count: as often as makes the modalities of the target count the same, or as is said.
modality_weights <- function(wanted, x, modality, squares, call) {
  levels <- levels(modality)
  if (is.null(wanted) || identical(wanted, "equal")) {
    values <- if (squares) x^2 else x
    sizes <- Matrix::rowSums(values, na.rm = TRUE)
    sizes <- vapply(split(sizes, modality), sum, 0)
    # one of nothing but zeros has nothing to say
    per <- ifelse(sizes > 0, 1 / sizes, 0)
  } else if (identical(wanted, "none")) {
    per <- rep(1, length(levels))
  } else {
    ok <- is.numeric(wanted) && is.null(dim(wanted)) && length(wanted) == length(levels) && all(is.finite(wanted)) && all(wanted >= 0) && any(wanted > 0)
    if (!ok) refuse(wanted, sprintf("\"equal\", \"none\" or %d finite numbers of at least 0, not all 0", length(levels)), "weights$modalities", call)
    check_item_names(wanted, levels, "weights$modalities", call)
    per <- as.double(wanted)
  }
  unname(per[as.integer(modality)])
}

# `weights` as bcnmf() takes them, with those of modalities among those of features. Features' own weights alone are taken as they are.
with_modalities <- function(weights, x, modality, squares, call) {
  wanted <- if (is.list(weights)) weights[["modalities"]]
  if (is.null(modality)) {
    if (!is.null(wanted)) abort_bcnmf("{.arg weights} has {.field modalities}, but the data are no list of modalities.", arg = "weights", value = "modalities", call = call)
    return(weights)
  }
  own <- if (is.list(weights)) weights[["features"]]
  if (is.null(wanted) && !is.null(own)) return(weights)
  per <- modality_weights(wanted, x, modality, squares, call)
  own <- check_weight(own, nrow(x), rownames(x), "features", call)
  weights[["features"]] <- if (is.null(own)) per else own * per
  weights[["modalities"]] <- NULL
  weights
}

# What a model remembers of them.
modality_record <- function(modality, x) {
  if (!is.null(modality)) list(modality = stats::setNames(modality, rownames(x)))
}

#' The modalities of a model
#'
#' A model of several modalities (a list of matrices with the same cells, see [bcnmf()]) has one `h` and a `w` of all features. This takes `w` apart.
#'
#' @param fit a `bcnmf` object that was fitted to a list of modalities.
#' @return A list with an element for each modality: a list of `w`, its features x factors, columns summing to 1 (or 0, for a factor that has nothing there), and `share`, by factor, the part of the
#'   factor's loadings that is the modality's, as the data count: shares of a factor sum to 1.
#' @section Errors: of class `bcnmf_error` when `fit` is not a `bcnmf` object, or has no modalities.
#' @seealso [top_features()] with `modality`.
#' @examples
#' sim <- simulate_contrast(100, n_target = 200, n_background = 100, seed = 1)
#' target <- list(rna = sim$target[1:80, ], protein = sim$target[81:100, ])
#' background <- list(rna = sim$background[1:80, ], protein = sim$background[81:100, ])
#' fit <- bcnmf(target, background, k = 5, k_target = 1, loss = "poisson", maxit = 50)
#' lapply(modalities(fit), function(modality) dim(modality$w))
#' sapply(modalities(fit), `[[`, "share")
#' @export
modalities <- function(fit) {
  check_fit(fit)
  modality <- model_modality(fit, rlang::current_env())
  totals <- colSums(fit@w)
  lapply(split(seq_along(modality), modality), function(rows) {
    w <- fit@w[rows, , drop = FALSE]
    sums <- colSums(w)
    list(w = sweep(w, 2, ifelse(sums > 0, sums, 1), "/"), share = ifelse(totals > 0, sums / totals, NA_real_))
  })
}

model_modality <- function(fit, call) {
  modality <- fit@misc$modality
  if (is.null(modality)) abort_bcnmf("The model has no modalities: it was not fitted to a list of matrices.", arg = "fit", call = call)
  modality
}
