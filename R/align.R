#' Order a model's factors as in another model
#'
#' Factors come in no natural order, and another seed gives another one. `align()` pairs the factors of two
#' models, one to one, so that the sum of the cosines of their loadings is as large as possible (the
#' assignment problem), and reorders `object` accordingly. The factors keep their names.
#'
#' @param object a `bcnmf` object.
#' @param reference a `bcnmf` object, or a matrix of loadings (features x factors), with as many factors as
#'   `object` and the same features. Where both have feature names these are matched, otherwise rows are taken
#'   to be in the same order.
#' @param ... not used.
#' @return `object` with its factors in the order of `reference`'s, and with `$alignment`, a data frame with
#'   the columns `factor` (of `object`), `reference` (the factor it was paired with) and `cosine` (0 for a
#'   dead factor).
#' @section Errors: of class `bcnmf_error` when the numbers of factors, or the features, differ.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' a <- bcnmf(x, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' b <- bcnmf(x, k = 3, seed = 2, maxit = 50, verbose = FALSE)
#' align(b, a)$alignment
#' @export
align <- function(object, reference, ...) UseMethod("align")

#' @method align default
#' @export
align.default <- function(object, reference, ...) check_fit(object)

#' @rdname align
#' @method align bcnmf
#' @export
align.bcnmf <- function(object, reference, ...) {
  check_no_dots(...)
  loadings <- reference_loadings(object, reference)
  similarity <- cosine(loadings, object@w)
  # solve_LSAP takes no negative numbers; a shift changes no assignment
  index <- as.integer(clue::solve_LSAP(similarity - min(0, similarity), maximum = TRUE))
  names <- colnames(loadings)
  if (is.null(names)) names <- as.character(seq_len(ncol(loadings)))
  aligned <- select_factors(object, index)
  aligned@misc$alignment <- data.frame(
    factor = colnames(aligned@w), reference = names,
    cosine = similarity[cbind(seq_along(index), index)]
  )
  aligned
}

# The reference's loadings with rows in the order of the object's features.
reference_loadings <- function(object, reference, call = rlang::caller_env()) {
  w <- if (methods::is(reference, "bcnmf")) reference@w else reference
  if (!is.matrix(w) || !is.numeric(w)) {
    refuse(reference, "a bcnmf model or a numeric matrix of loadings", "reference", call)
  }
  if (ncol(w) != ncol(object@w)) {
    larger <- if (ncol(w) > ncol(object@w)) "reference" else "object"
    abort_bcnmf(c(
      "Both models must have the same number of factors.",
      x = "{.arg object} has {ncol(object@w)}, {.arg reference} has {ncol(w)}.",
      i = "Choose factors first, as in {.code {larger}[1:{min(ncol(w), ncol(object@w))}]}."
    ), arg = "reference", value = ncol(w), call = call)
  }
  if (nrow(w) != nrow(object@w)) {
    abort_bcnmf("{.arg object} has {nrow(object@w)} feature{?s}, {.arg reference} has {nrow(w)}.",
      arg = "reference", value = nrow(w), call = call
    )
  }
  if (!all(is.finite(range(w)))) {
    abort_bcnmf("{.arg reference} holds values that are not finite.", arg = "reference", call = call)
  }
  match_features(w, rownames(object@w), call)
}

match_features <- function(w, features, call) {
  if (is.null(features) || is.null(rownames(w)) || identical(features, rownames(w))) return(w)
  unknown <- setdiff(features, rownames(w))
  if (length(unknown) > 0) {
    first <- utils::head(unknown, 3)
    more <- if (length(unknown) > 3) ", ..." else ""
    abort_bcnmf("{.arg reference} lacks {length(unknown)} feature{?s} of {.arg object}: {.val {first}}{more}.",
      arg = "reference", value = first, call = call
    )
  }
  # the same names in another order; with repeated names only the given order is safe
  if (anyDuplicated(features)) {
    abort_bcnmf("Repeated feature names can't be matched: give both models the same order of features.",
      arg = "reference", value = features[anyDuplicated(features)], call = call
    )
  }
  w[features, , drop = FALSE]
}

# Cosines between the columns of a and b; 0 where a column is zero.
cosine <- function(a, b) {
  unit <- function(m) {
    # scaled by the largest value first: squares of tiny loadings would underflow
    m <- sweep(m, 2, pmax(apply(abs(m), 2, max), .Machine$double.xmin), "/")
    norms <- sqrt(colSums(m^2))
    sweep(m, 2, ifelse(norms > 0, norms, 1), "/")
  }
  products <- unname(crossprod(unit(a), unit(b)))
  pmin(pmax(products, -1), 1)
}
