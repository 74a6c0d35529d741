# A model's parts: choosing and ordering factors, sizes and names, heads and lists.

# Positive positions for `i`: whole numbers, names or a logical vector over n things called `what`. The order asked
# for is kept; every misuse is an error that names the value.
resolve_index <- function(i, n, names, what, arg, call) {
  if (is.factor(i)) i <- as.character(i)
  if (!is.atomic(i) || is.null(i) || !is.null(dim(i)) || anyNA(i)) {
    refuse(i, "indices, names or a logical vector without missing values", arg, call)
  }
  if (is.character(i)) return(index_of_names(i, names, what, arg, call))
  if (is.logical(i)) {
    if (length(i) != n) {
      abort_bcnmf("{.arg {arg}} has {length(i)} logical value{?s} for {n} {what}.", arg = arg, value = i, call = call)
    }
    return(which(i))
  }
  if (!is.numeric(i)) refuse(i, "indices, names or a logical vector", arg, call)
  wrong <- utils::head(i[i != round(i) | i == 0 | abs(i) > n], 3)
  if (length(wrong) > 0) {
    abort_bcnmf("{.arg {arg}} asks for {wrong}, but the model has {n} {what}.", arg = arg, value = i, call = call)
  }
  if (any(i < 0) && any(i > 0)) refuse(i, "all positive or all negative", arg, call)
  seq_len(n)[i]
}

index_of_names <- function(i, names, what, arg, call) {
  index <- match(i, names)
  if (!anyNA(index)) return(index)
  unknown <- utils::head(i[is.na(index)], 3)
  hint <- if (is.null(names)) {
    "The model's {what} have no names."
  } else {
    "Its {what} are called {.val {utils::head(names, 3)}}{if (length(names) > 3) ', ...'}."
  }
  abort_bcnmf(c("{.arg {arg}} names {.val {unknown}}, which the model does not have.", i = hint),
    arg = arg, value = i, call = call
  )
}

# Different factors of a model, at least one.
factor_index <- function(fit, i, arg = rlang::caller_arg(i), call = rlang::caller_env()) {
  force(arg)
  names <- colnames(fit@w)
  k <- length(names)
  index <- resolve_index(i, k, names, if (k == 1) "factor" else "factors", arg, call)
  if (length(index) == 0) {
    abort_bcnmf("{.arg {arg}} selects no factor.", arg = arg, value = i, call = call)
  }
  if (anyDuplicated(index)) {
    twice <- unique(names[index[duplicated(index)]])
    abort_bcnmf("{.arg {arg}} selects {.val {twice}} more than once.", arg = arg, value = i, call = call)
  }
  index
}

#' @rdname bcnmf-class
#' @aliases [,bcnmf-method
#' @details `fit[i]` keeps or reorders factors. `w`, `d`, `h` and their background counterparts stay
#'   consistent; the settings, the history and the table of restarts still describe the whole fit. When
#'   factors are dropped the divergence is unknown (`NA`), and `misc$subset` is `TRUE`.
#' @export
methods::setMethod("[", "bcnmf", function(x, i, j, ..., drop = TRUE) {
  # the caller of a method of a primitive may be no function: below eval() there is no call to show
  call <- NULL
  if (!missing(j) || nargs() - (!missing(drop)) > 2) {
    abort_bcnmf(c(
      "A bcnmf model takes one index, the factors: {.code fit[i]}.",
      i = "For features or cells index a part, as in {.code fit$w[i, ]} or {.code fit$h[, j]}."
    ), arg = "j", call = call)
  }
  if (missing(i)) return(x)
  select_factors(x, factor_index(x, i, "i", call))
})

select_factors <- function(x, index) {
  dropped <- length(index) < ncol(x@w)
  has_background <- length(x@d_background) > 0
  x@w <- x@w[, index, drop = FALSE]
  x@d <- x@d[index]
  x@h <- x@h[index, , drop = FALSE]
  if (has_background) x@d_background <- x@d_background[index]
  x@h_background <- x@h_background[index, , drop = FALSE]
  x@target_only <- x@target_only[index]
  x@misc$alignment <- NULL
  if (!is.null(x@misc$dead)) x <- note_degenerate(x)
  if (dropped) {
    x@divergence[] <- NA_real_
    x@misc$subset <- TRUE
  }
  x
}

#' Order, inspect and take apart a model
#'
#' @param x a `bcnmf` object.
#' @param decreasing largest first?
#' @param by order the factors by `"d"` (their total use in the target), by `"contrast"` (log2 of mean target
#'   over mean background use), by `"auc"` or by `"effect"`, the standardised difference that also ranks the factors in [contrast()]. Factors
#'   without a value come last, equal ones keep their order.
#' @param n number of features and of cells; negative for all but the last `-n`.
#' @param ... not used.
#'
#' @return `sort()` a `bcnmf` object. `head()` a list of the first `n` rows of `w`, all of `d`, and the first
#'   `n` columns of `h`, and of `h_background` with `d_background` where there is a background. `as.list()` a
#'   list of all slots.
#' @section Errors: of class `bcnmf_error` when `by` is unknown, or needs a background that the model does not
#'   have.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' y <- matrix(rpois(60 * 30, 3), 60, 30)
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' sort(fit, by = "effect")
#' head(fit, 2)
#' names(as.list(fit))
#' @method sort bcnmf
#' @export
sort.bcnmf <- function(x, decreasing = TRUE, by = c("d", "contrast", "auc", "effect"), ...) {
  check_no_dots(...)
  check_flag(decreasing)
  by <- check_choice(by, c("d", "contrast", "auc", "effect"))
  if (by != "d") check_has_background(x, "Sorting by contrast", "by", by)
  factors <- seq_len(ncol(x@w))
  key <- switch(by,
    d = x@d,
    contrast = log2_contrast(x, factors),
    auc = vapply(factors, function(i) factor_auc(x, i), 0),
    effect = factor_effects(x, factors)
  )
  select_factors(x, order(key, decreasing = decreasing, na.last = TRUE, method = "radix"))
}

#' @rdname sort.bcnmf
#' @importFrom utils head
#' @method head bcnmf
#' @export
head.bcnmf <- function(x, n = 6L, ...) {
  check_no_dots(...)
  n <- check_count(n, min = -.Machine$integer.max)
  columns <- function(h) h[, utils::head(seq_len(ncol(h)), n), drop = FALSE]
  parts <- list(w = utils::head(x@w, n), d = x@d, h = columns(x@h))
  if (ncol(x@h_background) > 0) {
    parts$d_background <- x@d_background
    parts$h_background <- columns(x@h_background)
  }
  parts
}

#' @rdname sort.bcnmf
#' @method as.list bcnmf
#' @export
as.list.bcnmf <- function(x, ...) {
  check_no_dots(...)
  names <- slot_names(x)
  stats::setNames(lapply(names, function(name) methods::slot(x, name)), names)
}

# As `[` has it: rev() and the like index from 1 to the length.
#' @rdname bcnmf-class
#' @export
methods::setMethod("length", "bcnmf", function(x) ncol(x@w))

#' @rdname bcnmf-class
#' @export
methods::setMethod("dim", "bcnmf", function(x) c(nrow(x@w), ncol(x@h), ncol(x@w)))

#' @rdname bcnmf-class
#' @export
methods::setMethod("dimnames", "bcnmf", function(x) {
  list(features = rownames(x@w), cells = colnames(x@h), factors = colnames(x@w))
})
