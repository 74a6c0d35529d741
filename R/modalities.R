# Several modalities of the same cells, such as RNA and surface proteins: a list of matrices, stacked into one of all their features.

is_modalities <- function(x) is.list(x) && !is.object(x) && is.null(dim(x))

# The one matrix, and the modality of each of its features.
stack_modalities <- function(x, arg, call) {
  names <- rlang::names2(x)
  if (!length(x) || any(names == "") || anyDuplicated(names)) {
    refuse(if (is.null(names(x))) x else names, "a list of matrices with different names, one a modality", arg, call)
  }
  parts <- Map(function(part, name) {
    what <- sprintf("%s$%s", arg, name)
    if (is_modalities(part)) refuse(part, "a matrix", what, call)
    check_valid(check_dims(core_matrix(part, what, call), what, call), what, call)
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
    at <- if (!is.null(colnames(first)) && !is.null(colnames(part))) names_that_differ(colnames(first), colnames(part))[1] else NA
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

# --- losses ----------------------------------------------------------------------------------------------------------

# The loss of each modality, named, where they are said and differ; else NULL.
check_losses <- function(loss, target, call) {
  loss <- if (is.list(loss)) unlist(loss) else loss
  if (!is.character(loss) || is.null(names(loss))) return(NULL)
  if (!is_modalities(target)) {
    abort_bcnmf("{.arg loss} names modalities, but the data are no list of them.", arg = "loss", value = loss, call = call)
  }
  if (!setequal(names(loss), names(target)) || anyDuplicated(names(loss))) {
    abort_bcnmf("{.arg loss} must have one loss for each modality, {.val {names(target)}}; it names {.val {names(loss)}}.", arg = "loss", value = names(loss), call = call)
  }
  loss <- loss[names(target)]
  for (name in names(loss)) check_choice(loss[[name]], known_losses, arg = sprintf("loss[[\"%s\"]]", name), call = call)
  loss
}

# The loss that serves all counts, as the core takes it; `loss` itself where it is one for all.
loss_family <- function(loss) {
  if (length(unique(loss)) == 1) return(unname(loss[1]))
  if ("zinb" %in% loss) "zinb" else "nb"
}

# The core wants features with squared errors last.
order_modalities <- function(x, losses) if (is.null(losses)) x else x[order(losses[names(x)] == "mse")]

# The loss of each of a model's features, where they differ; else NULL.
feature_losses <- function(fit) {
  if (!is.null(fit@misc$mixture)) unname(fit@misc$mixture[as.character(fit@misc$modality)])
}

# A set whose features have these losses, or, of NULL, one for all.
mix_data <- function(x, losses) {
  set <- data_parts(x)
  bcnmf_data(set$matrix, set$missing, set$features, set$cells, set$size_factors, losses)
}

# What read_sets() is told of a model's losses, for data that may be a list of its modalities or one matrix.
loss_of_data <- function(fit, data) if (is_modalities(data) || is.null(fit@misc$mixture)) model_losses(fit)

# A list of a model's modalities in the order that these have there; other data as they are.
in_model_order <- function(data, fit, arg, call) {
  modality <- fit@misc$modality
  if (is.null(modality) || !is_modalities(data)) return(data)
  if (!setequal(levels(modality), rlang::names2(data)) || length(data) != nlevels(modality)) {
    abort_bcnmf("{.arg {arg}} must have the model's modalities, {.val {levels(modality)}}; it has {.val {rlang::names2(data)}}.",
      arg = arg, value = names(data), call = call
    )
  }
  data[levels(modality)]
}

# Sets as a model with a loss for each modality needs them, whether they came as lists or not.
mix_sets <- function(sets, fit) {
  if (is.null(fit@misc$mixture)) return(sets)
  sets$x <- mix_data(sets$x, feature_losses(fit))
  if (!is.null(sets$y)) sets$y <- mix_data(sets$y, feature_losses(fit))
  sets$modality <- unname(fit@misc$modality)
  sets$mixture <- fit@misc$mixture
  sets
}

# The loss of a model's features as a user knows it: one, or one for each modality.
model_losses <- function(fit) if (is.null(fit@misc$mixture)) fit@loss else fit@misc$mixture

# The same as one text.
loss_label <- function(losses) if (is.null(names(losses))) losses else paste(sprintf("%s: %s", names(losses), losses), collapse = ", ")

# --- weights ---------------------------------------------------------------------------------------------------------

# How often the features of each modality count: as often as makes the modalities of the target count the same, or as is said. `squares`: of which modalities the
# size is a sum of squares, one for all or one for each.
modality_weights <- function(wanted, x, modality, squares, call) {
  levels <- levels(modality)
  if (is.null(wanted) || identical(wanted, "equal")) {
    size <- function(values) vapply(split(Matrix::rowSums(values, na.rm = TRUE), modality), sum, 0)
    # squares are a copy of the data: only where they are asked for
    sizes <- if (all(squares)) size(x^2) else if (!any(squares)) size(x) else ifelse(squares, size(x^2), size(x))
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
modality_record <- function(sets) {
  if (is.null(sets$modality)) return(NULL)
  c(list(modality = stats::setNames(sets$modality, rownames(sets$x))), if (!is.null(sets$mixture)) list(mixture = sets$mixture))
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
