#' Project new cells on a fitted basis
#'
#' Finds for each new cell the coefficients that describe it best with the fitted `w`, which is not changed. Each cell is iterated to
#' convergence on its own, so the result does not depend on which cells come together.
#'
#' @param object a `bcnmf` object.
#' @param newdata new cells, features x cells, as in [bcnmf()]; the features must be those of the model, in the same order
#'   (of a model of several modalities: a list of these, or one matrix of all features in the order of `w`). Or a Seurat object,
#'   SingleCellExperiment or SummarizedExperiment, of which the model's features are read by name, from the assay and layer that the model's own
#'   cells came from (`"counts"` for a model of matrices).
#' @param ... not used.
#' @param mask which entries are missing, as in [bcnmf()]; by default the model's own `"NA"` or `"zeros"`.
#' @param size_factors one a new cell, as in [bcnmf()]; needed where the model was fitted with numbers. For a model with `"library"` the default is the cells' sums
#'   relative to the mean of its target.
#' @param tol a cell is done when no coefficient changes by more than this part of its largest one.
#' @param maxit most steps per cell.
#' @inheritParams bcnmf
#' @return A matrix, factors x new cells, on the scale of `object$h`: `newdata ~ w %*% diag(d) %*% result`. For the cells that the
#'   model was fitted to it agrees with `object$h` as far as the fit had converged, if it had no penalties.
#' @section Errors: of class `bcnmf_error` for other features than the model's, bad values, or arguments out of range.
#' @examples
#' sim <- simulate_contrast(100, n_target = 200, n_background = 100, seed = 1)
#' fit <- bcnmf(sim$target[, 1:150], k = 4, loss = "poisson", maxit = 100)
#' h <- predict(fit, sim$target[, 151:200])
#' dim(h)
#' @importFrom stats predict
#' @method predict bcnmf
#' @export
predict.bcnmf <- function(object, newdata, ..., mask = NULL, size_factors = NULL, tol = 1e-6, maxit = 2000, threads = NULL, verbose = NULL) {
  call <- rlang::current_env()
  check_no_dots(..., call = call)
  if (missing(newdata)) {
    abort_bcnmf("{.arg newdata} is missing: a model does not keep the data it was fitted to.", arg = "newdata")
  }
  tol <- check_number(tol, min = 0, arg = "tol", call = call)
  maxit <- check_count(maxit, arg = "maxit", call = call)
  check_flag(verbose, null_ok = TRUE, arg = "verbose", call = call)
  threads <- resolve_threads(threads, call)
  newdata <- if (holds_cells(newdata)) read_new_cells(newdata, object, call) else in_model_order(newdata, object, "newdata", call)
  mask <- inherited_mask(object, mask, missing(mask), call)
  sets <- read_sets(newdata, NULL, call,
    arg = "newdata", reference = object@w, mask = mask, weights = model_weights(object, NULL, NULL), loss = loss_of_data(object, newdata)
  )
  x <- mix_sets(sets, object)$x
  x <- scale_data(x, new_size_factors(object, size_factors, x, call))
  size <- list(cells = ncol(object@h), total = object@misc$total[["target"]])
  h <- project(x, object@w, object, size, tol, maxit, threads, verbose, call)
  # A dead factor has no scale; its coefficients are zero.
  with_names(ifelse(object@d > 0, 1 / object@d, 0) * h, colnames(object@w), colnames(x))
}

# The coefficients of cells on the basis w, factors x cells, such that `x ~ w %*% result`. Loss and penalties are `fit`'s; what scales the
# penalties is the size of the target that w was fitted to.
project <- function(x, w, fit, size, tol, maxit, threads, verbose, call) {
  settings <- list(
    loss = fit@loss, L1 = fit@misc$L1, L2 = fit@misc$L2, k = ncol(w),
    cells = size$cells, total = size$total, tol = tol, maxit = maxit, threads = threads,
    sizes = if (has_dispersions(fit@loss)) sizes_of(dispersion_in(fit, "target")) else numeric(),
    zi = if (fit@loss == "zinb") fit@misc$zi else "feature",
    # cells have their own, which are found with their coefficients
    dropout = if (fit@loss == "zinb" && fit@misc$zi == "feature") as.double(dropout_in(fit, "target")) else numeric(),
    dropout_background = numeric()
  )
  project_cells(x, w, settings, verbose, call)
}

# The same with settings as the core takes them.
project_cells <- function(x, w, settings, verbose, call) {
  session <- core_call(rs_project_new(x, w, settings), call)
  drive_or_leave(function(seconds) rs_project_advance(session, seconds), progress_bar(verbose, "Projecting"), call)
  core_call(rs_project_result(session), call)
}
