#' Fitted values and residuals
#'
#' `fitted()` is the model's reconstruction, `w %*% diag(d) %*% h` (each cell times its size factor, if it has one), as a dense matrix: ask for a part of it
#' when the data are large. With `loss = "zinb"` that is the rate of counts that are not lost, `mu`; `(1 - dropout) * mu` of them are expected. `residuals()` compares what is
#' expected with the data, which a model does not keep.
#'
#' Pearson residuals are divided by the standard deviation that the loss implies, up to a constant: the square
#' root of the fitted value for `"poisson"`, of that plus the dispersion times its square for `"nb"`, of `(1 - dropout) * mu * (1 + (dropout + dispersion) * mu)` for `"zinb"`; for `"mse"` it is constant and they equal the response residuals.
#' Where the fitted value is 0 they are 0 for a zero and `Inf` otherwise. Residuals of missing entries are `NA`.
#'
#' @param object a `bcnmf` object.
#' @param set `"target"` or `"background"`.
#' @param dropout with `loss = "zinb"`: `TRUE` for expected counts instead of rates.
#' @param features,cells rows and columns wanted, by index, name or logical vector; all by default.
#' @param data the data the model was fitted to, features x cells: a matrix, a sparse matrix of the Matrix
#'   package or a data frame of numbers. Always the whole of it; only the wanted part is made dense.
#' @param type `"response"` for `data - fitted`, or `"pearson"`.
#' @param ... not used.
#' @return A dense matrix, features x cells, with the data's names.
#' @section Errors: of class `bcnmf_error` when more than 2^31 - 1 entries are asked for, when `features` or
#'   `cells` do not exist, when the model has no background, and when `data` has other dimensions or names
#'   than the model.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' fit <- bcnmf(x, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' dim(fitted(fit, cells = 1:5))
#' sum(residuals(fit, x)^2)
#' @importFrom stats fitted
#' @method fitted bcnmf
#' @export
fitted.bcnmf <- function(object, set = c("target", "background"), features = NULL, cells = NULL, dropout = FALSE, ...) {
  check_no_dots(...)
  check_flag(dropout, arg = "dropout")
  part <- fitted_part(object, set, features, cells)
  mu <- reconstruct(object, part)
  if (dropout) expected(mu, object, part) else mu
}

#' @rdname fitted.bcnmf
#' @importFrom stats residuals
#' @method residuals bcnmf
#' @export
residuals.bcnmf <- function(object, data, set = c("target", "background"), type = c("response", "pearson"),
                            features = NULL, cells = NULL, ...) {
  check_no_dots(...)
  type <- check_choice(type, c("response", "pearson"))
  if (missing(data)) {
    abort_bcnmf("{.arg data} is missing: a model does not keep the data it was fitted to.", arg = "data")
  }
  part <- fitted_part(object, set, features, cells)
  observed <- observed_part(object, data, part)
  mu <- reconstruct(object, part)
  if (identical(object@misc$mask, "zeros")) observed[observed == 0] <- NA_real_
  places <- object@misc$masked[[part$set]]
  if (!is.null(places)) observed[missing_part(places, part)] <- NA_real_
  difference <- observed - expected(mu, object, part)
  if (type == "response") return(difference)
  pearson <- difference / sqrt(variance_function(object, part, mu, rlang::current_env()))
  pearson[which(difference == 0)] <- 0
  pearson
}

# Variance as a function of the mean; up to a constant for mse.
variance_function <- function(object, part, mu, call) {
  variance <- switch(object@loss,
    mse = 1,
    poisson = mu,
    nb = mu + part_dispersion(object, part) * mu^2,
    zinb = {
      kept <- expected(array(1, dim(mu)), object, part)
      kept * mu * (1 + (1 - kept + part_dispersion(object, part)) * mu)
    },
    abort_bcnmf("Pearson residuals are not defined for the loss {.val {object@loss}}.", arg = "type", value = object@loss, call = call)
  )
  losses <- feature_losses(object)
  if (!is.null(part$features)) losses <- losses[part$features]
  if (!is.null(losses)) variance[losses == "mse", ] <- 1
  variance
}

# Of the wanted features.
part_dispersion <- function(object, part) {
  dispersion <- unname(dispersion_in(object, part$set))
  if (is.null(part$features)) dispersion else dispersion[part$features]
}

# Counts that are expected where these are the rates.
expected <- function(mu, object, part) times_kept(mu, object, part$set, part$features, part$cells)

# Which set, rows and columns are wanted; refuses what would not fit a dense matrix.
fitted_part <- function(object, set, features, cells, call = rlang::caller_env()) {
  set <- check_choice(set, c("target", "background"), call = call)
  if (set == "background") check_has_background(object, "The background's reconstruction", "set", set, call)
  h <- if (set == "target") object@h else object@h_background
  part <- list(
    set = set,
    features = element_index(features, nrow(object@w), rownames(object@w), "features", call),
    cells = element_index(cells, ncol(h), colnames(h), "cells", call)
  )
  rows <- if (is.null(part$features)) nrow(object@w) else length(part$features)
  columns <- if (is.null(part$cells)) ncol(h) else length(part$cells)
  if (as.double(rows) * columns > .Machine$integer.max) {
    abort_bcnmf(c(
      "{rows} features x {columns} cells are too many for a dense matrix of at most 2^31 - 1 entries.",
      i = "Ask for a part of them by {.arg features} or {.arg cells}."
    ), arg = "cells", value = c(rows, columns), call = call)
  }
  part
}

# NULL stays NULL, for "all".
element_index <- function(i, n, names, what, call) {
  if (!is.null(i)) resolve_index(i, n, names, what, arg = what, call = call)
}

reconstruct <- function(object, part) {
  d <- if (part$set == "target") object@d else object@d_background
  h <- if (part$set == "target") object@h else object@h_background
  w <- if (is.null(part$features)) object@w else object@w[part$features, , drop = FALSE]
  if (!is.null(part$cells)) h <- h[, part$cells, drop = FALSE]
  times_size(w %*% (d * h), object, part$set, part$cells)
}

# The wanted part of the data, dense, after checking that the data are the model's.
observed_part <- function(object, data, part, call = rlang::caller_env()) {
  h <- if (part$set == "target") object@h else object@h_background
  data <- in_model_order(data, object, "data", call)
  if (is_modalities(data)) data <- stack_modalities(order_modalities(data, object@misc$mixture), "data", call)$matrix
  if (is.data.frame(data)) data <- as.matrix(data)
  if (methods::is(data, "Matrix")) check_valid(data, "data", call)
  if (length(dim(data)) != 2 || !(is.numeric(data) || is.logical(data) || methods::is(data, "Matrix"))) {
    refuse(data, "a matrix of numbers", "data", call)
  }
  if (nrow(data) != nrow(object@w) || ncol(data) != ncol(h)) {
    abort_bcnmf(c(
      "{.arg data} must have the model's {nrow(object@w)} feature{?s} and {ncol(h)} {part$set} {cli::qty(ncol(h))}cell{?s}.",
      x = "It is {nrow(data)} x {ncol(data)}."
    ), arg = "data", value = dim(data), call = call)
  }
  differ <- names_that_differ(rownames(data), rownames(object@w))
  if (length(differ) > 0) {
    at <- differ[1]
    given <- rownames(data)[at]
    own <- rownames(object@w)[at]
    abort_bcnmf("Row {at} of {.arg data} is {.val {given}}, but the model's is {.val {own}}.",
      arg = "data", value = given, call = call
    )
  }
  if (!is.null(part$features)) data <- data[part$features, , drop = FALSE]
  if (!is.null(part$cells)) data <- data[, part$cells, drop = FALSE]
  data <- as.matrix(data)
  storage.mode(data) <- "double"
  data
}
