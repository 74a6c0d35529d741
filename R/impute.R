#' Fill in missing entries
#'
#' The fitted values of the entries that a model knew nothing of, because [bcnmf()] was given a `mask`.
#'
#' A prediction of a missing entry is as good as the programs that its feature and its cell take part in are known from what is there. A feature or cell without any known
#' entry is predicted to be 0. With size factors a cell's predictions are on its own scale.
#'
#' @param object a `bcnmf` object.
#' @param data the data the model was fitted to, features x cells, to fill in; or `NULL` for the predictions alone.
#' @param set `"target"` or `"background"`.
#' @param mask which entries are missing, as in [bcnmf()], for one set. By default those that were missing for the fit.
#' @param ... not used.
#' @return With `data`, the same with the fitted values in the missing entries: a sparse matrix where `data` are one and `mask` is not
#'   `"zeros"`, else a dense one. Without, a sparse matrix, features x cells, of the fitted values of the missing entries alone (all of them are stored).
#' @section Errors: of class `bcnmf_error` when the model was fitted without a mask and none is given, when its mask was `"zeros"` and no `data` are
#'   given (where they are zero is too much to keep), or `"NA"` is asked for without data, when the model has no background, and when `data` have other dimensions or
#'   names than the model.
#' @seealso [fitted()][fitted.bcnmf] for the whole reconstruction, [residuals()][residuals.bcnmf].
#' @examples
#' sim <- simulate_contrast(60, n_target = 100, n_background = 0, k_shared = 3, k_target = 0, seed = 1)
#' x <- log1p(as.matrix(sim$target))
#' holes <- matrix(seq_along(x) %% 7 == 0, nrow(x))
#' x[holes] <- NA
#' fit <- bcnmf(x, k = 3, mask = "NA")
#' fit
#' filled <- impute(fit, x)
#' cor(filled[holes], log1p(as.matrix(sim$target))[holes])
#' @export
impute <- function(object, ...) UseMethod("impute")

#' @method impute default
#' @export
impute.default <- function(object, ...) check_fit(object)

#' @rdname impute
#' @method impute bcnmf
#' @export
impute.bcnmf <- function(object, data = NULL, set = c("target", "background"), mask = NULL, ...) {
  call <- rlang::current_env()
  check_no_dots(..., call = call)
  set <- check_choice(set, c("target", "background"), call = call)
  if (set == "background") check_has_background(object, "Its imputation", "set", set, call)
  w <- object@w
  h <- times_size(if (set == "target") object@d * object@h else object@d_background * object@h_background, object, set)
  given <- !missing(mask)
  if (!given) mask <- object@misc$mask
  if (is.null(mask)) {
    abort_bcnmf(c("Nothing was missing: the model was fitted without a {.arg mask}.", i = "Give the {.arg mask} of the entries to predict, or use {.fn fitted}."),
      arg = "mask", call = call
    )
  }
  if (given) mask <- check_mask(mask, FALSE, call)$target
  names <- list(rownames(w), colnames(h))
  none <- methods::new("dgCMatrix", p = integer(ncol(h) + 1), Dim = c(nrow(w), ncol(h)), Dimnames = names)
  places <- if (given && !is_mask_kind(mask)) {
    mask_places(mask, none, "data", call)
  } else if (identical(mask, object@misc$mask) && mask != "zeros") {
    known <- object@misc$masked[[set]]
    if (is.null(known)) mask_places(none, none, "data", call) else known
  }
  if (is.null(data)) {
    if (is.null(places)) {
      abort_bcnmf(c(
        "{.arg data} is missing: the model does not keep where they are {if (mask == 'zeros') 'zero' else 'NA'}.",
        i = "With the data their missing entries are filled in; {.fn fitted} has all values."
      ), arg = "data", call = call)
    }
    return(values_at(places, w, h, names))
  }
  data <- in_model_order(data, object, "data", call)
  x <- data_parts(read_sets(data, NULL, call, arg = "data", reference = w, loss = loss_of_data(object, data))$x)$matrix
  check_valid(x, "data", call)
  if (ncol(x) != ncol(h)) {
    abort_bcnmf("{.arg data} has {ncol(x)} cell{?s}, but the model was fitted to {ncol(h)} in the {set}.", arg = "data", value = ncol(x), call = call)
  }
  if (identical(mask, "zeros")) {
    x <- as.matrix(x)
    lost <- which(is.na(x) | x == 0)
    x[lost] <- (w %*% h)[lost]
    return(x)
  }
  if (given) places <- missing_places(mask_data(x, mask, "data", call))
  fill_in(x, values_at(places, w, h, dimnames(x)))
}

# Fitted values at these places: a dgCMatrix that stores all of them, some cells at a time.
values_at <- function(places, w, h, names, most = 1e6) {
  values <- numeric(length(places@i))
  rows <- places@i + 1L
  columns <- rep.int(seq_len(ncol(h)), diff(places@p))
  for (start in seq(1, max(1, length(rows)), by = most)) {
    at <- seq(start, length.out = min(most, length(rows) - start + 1))
    values[at] <- rowSums(w[rows[at], , drop = FALSE] * t(h[, columns[at], drop = FALSE]))
  }
  methods::new("dgCMatrix", i = places@i, p = places@p, x = values, Dim = places@Dim, Dimnames = dimnames_or_none(names))
}

dimnames_or_none <- function(names) if (is.null(names)) list(NULL, NULL) else names

# A matrix with these values in their places.
fill_in <- function(x, values) {
  rows <- values@i + 1L
  columns <- rep.int(seq_len(ncol(x)), diff(values@p))
  if (!methods::is(x, "dgCMatrix")) {
    x[cbind(rows, columns)] <- values@x
    return(x)
  }
  # what is stored there goes, and the values come in its place
  entry <- function(rows, columns) (columns - 1) * nrow(x) + rows
  stored <- entry(x@i + 1L, rep.int(seq_len(ncol(x)), diff(x@p)))
  x@x[stored %in% entry(rows, columns)] <- 0
  Matrix::drop0(x) + values
}

# Where entries of the wanted part of a set were missing, as a logical matrix.
missing_part <- function(places, part) {
  if (!is.null(part$features)) places <- places[part$features, , drop = FALSE]
  if (!is.null(part$cells)) places <- places[, part$cells, drop = FALSE]
  as.matrix(places)
}
