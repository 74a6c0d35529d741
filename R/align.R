#' Order a model's factors as in another model
#'
#' Factors come in no natural order, and another seed gives another one. `align()` pairs the factors of two
#' models, one to one, so that the sum of the cosines of their loadings is as large as possible (the
#' assignment problem), and reorders `object` accordingly. The factors keep their names. With unequal numbers of factors all
#' of the smaller model are paired; what `object` has left over comes last, in its own order.
#'
#' @param object a `bcnmf` object.
#' @param reference a `bcnmf` object, or a matrix of loadings (features x factors), with the same features as
#'   `object`. Where both have feature names these are matched, otherwise rows are taken to be in the same order.
#' @param ... not used.
#' @return `object` with its factors in the order of `reference`'s, and with `$alignment`, a data frame with one row per factor
#'   of `object` and the columns `factor`, `reference` (the factor it was paired with) and `cosine` (0 for a
#'   dead factor). `reference` and `cosine` are `NA` for a factor of `object` without partner; a factor of `reference` without
#'   partner has no row.
#' @section Errors: of class `bcnmf_error` when `reference` is neither a model nor a matrix of finite numbers with at least
#'   one column, or when the features differ.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' a <- bcnmf(x, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' b <- bcnmf(x, k = 3, seed = 2, maxit = 50, verbose = FALSE)
#' align(b, a)$alignment
#' align(b, a[1:2])$alignment
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
  partner <- best_partners(similarity)
  names <- colnames(loadings)
  if (is.null(names)) names <- as.character(seq_len(ncol(loadings)))
  index <- order(partner, na.last = TRUE)
  aligned <- select_factors(object, index)
  aligned@misc$alignment <- data.frame(
    factor = colnames(aligned@w), reference = names[partner[index]],
    cosine = similarity[cbind(partner[index], index)]
  )
  aligned
}

# For each column the row that it is paired with; NA for columns left over.
best_partners <- function(similarity) {
  # solve_LSAP takes no negative numbers, and no fewer columns than rows; a shift changes no assignment
  shifted <- similarity - min(0, similarity)
  if (nrow(shifted) > ncol(shifted)) return(as.integer(clue::solve_LSAP(t(shifted), maximum = TRUE)))
  partner <- rep(NA_integer_, ncol(shifted))
  partner[as.integer(clue::solve_LSAP(shifted, maximum = TRUE))] <- seq_len(nrow(shifted))
  partner
}

# The reference's loadings with rows in the order of the object's features.
reference_loadings <- function(object, reference, call = rlang::caller_env()) {
  w <- if (methods::is(reference, "bcnmf")) reference@w else reference
  if (!is.matrix(w) || !is.numeric(w) || ncol(w) == 0) {
    refuse(reference, "a bcnmf model or a numeric matrix of loadings", "reference", call)
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

# The rows of w, the argument `arg`, in the order of `features`, those of `of`.
match_features <- function(w, features, call, arg = "reference", of = "object") {
  if (is.null(features) || is.null(rownames(w)) || identical(features, rownames(w))) return(w)
  unknown <- setdiff(features, rownames(w))
  if (length(unknown) > 0) {
    first <- utils::head(unknown, 3)
    more <- if (length(unknown) > 3) ", ..." else ""
    abort_bcnmf("{.arg {arg}} lacks {length(unknown)} feature{?s} of {.arg {of}}: {.val {first}}{more}.",
      arg = arg, value = first, call = call
    )
  }
  # the same names in another order; with repeated names only the given order is safe
  if (anyDuplicated(features)) {
    abort_bcnmf("Repeated feature names can't be matched: give {.arg {arg}} and {.arg {of}} the same order of features.",
      arg = arg, value = features[anyDuplicated(features)], call = call
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
