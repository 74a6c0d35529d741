#' How well a model describes data
#'
#' The divergence of a model from the data it was fitted to, or from other data of the same shape, such as counts of the same cells. Factors alone are evaluated:
#' in the `divergence` of a fit that contrasts counts the background has its `ambient` rate too, and is smaller.
#'
#' @param object a `bcnmf` object.
#' @param target,background data of the model's features and cells, as in [bcnmf()]. Without `background` only the target is
#'   evaluated.
#' @param ... not used.
#' @param loss the loss to evaluate, by default the model's own (of each modality, if it has several).
#' @param mask which entries are missing, as in [bcnmf()]; by default the model's own `"NA"` or `"zeros"`.
#' @inheritParams bcnmf
#' @return A data frame with one row per set:
#'   \describe{
#'     \item{set}{`"target"` or `"background"`.}
#'     \item{loss}{the loss, or those of the modalities.}
#'     \item{divergence}{sum over all entries that are not missing, with the model's weights: squared errors for `"mse"`, generalised Kullback-Leibler divergence for `"poisson"`, its like for `"nb"` and `"zinb"` (with the model's dispersions and dropout).}
#'     \item{mean}{divergence per entry; for `"mse"` the mean squared error.}
#'     \item{explained}{part of the divergence of the mean profile model, in which all cells have the same profile and their own total, that the
#'       model explains: 1 is perfect, 0 no better, negative worse.}
#'   }
#' @section Errors: of class `bcnmf_error` for data of another shape or with bad values, or an unknown loss.
#' @examples
#' sim <- simulate_contrast(100, n_target = 200, n_background = 100, seed = 1)
#' fit <- bcnmf(sim$target, sim$background, k = 4, loss = "poisson", maxit = 100)
#' evaluate(fit, sim$target, sim$background)
#' evaluate(fit, sim$target, loss = "mse")
#' @export
evaluate <- function(object, ...) UseMethod("evaluate")

#' @method evaluate default
#' @export
evaluate.default <- function(object, ...) check_fit(object)

#' @rdname evaluate
#' @method evaluate bcnmf
#' @export
evaluate.bcnmf <- function(object, target, background = NULL, ..., loss = object$loss, mask = NULL, threads = NULL) {
  call <- rlang::current_env()
  check_no_dots(..., call = call)
  mask <- inherited_mask(object, mask, missing(mask), call)
  own <- missing(loss) || identical(loss, model_losses(object))
  loss <- if (own) object@loss else check_choice(loss, known_losses, arg = "loss", call = call)
  threads <- resolve_threads(threads, call)
  if (missing(target) || is.null(target)) {
    abort_bcnmf("{.arg target} is missing: a model does not keep the data it was fitted to.", arg = "target")
  }
  check_evaluated(object, loss, call)
  if (!is.null(background)) check_has_background(object, "Evaluating a background", "background", background, call)
  data <- list(target = target, background = background)
  h <- list(target = object@h * object@d, background = object@h_background * object@d_background)
  masks <- check_mask(mask, !is.null(background), call)
  if (!is.null(background)) masks <- share_mask(masks, mask, rownames(object@w), colnames(object@h), colnames(object@h_background))
  weights <- object@misc$weights
  cells <- list(target = weights$cells, background = weights$background)
  do.call(rbind, lapply(names(Filter(Negate(is.null), data)), function(set) {
    values <- in_model_order(data[[set]], object, set, call)
    sets <- read_sets(values, NULL, call, arg = set, reference = object@w, mask = list(target = masks[[set]]), loss = loss_of_data(object, values))
    x <- if (own) mix_sets(sets, object)$x else mix_data(sets$x, NULL)
    if (ncol(x) != ncol(h[[set]])) {
      abort_bcnmf(c(
        "{.arg {set}} has {ncol(x)} cell{?s}, but the model was fitted to {ncol(h[[set]])}.",
        i = "For the coefficients of new cells use {.fn predict}."
      ), arg = set, value = ncol(x), call = call)
    }
    x <- scale_data(weigh_data(x, weights$features, cells[[set]]), object@misc$size_factors[[set]])
    table <- evaluate_set(set, x, object, h[[set]], loss, threads, call)
    if (own) table$loss <- loss_label(model_losses(object))
    table
  }))
}

# A model has what its own loss needs besides the factors.
check_evaluated <- function(fit, loss, call) {
  if (has_dispersions(loss) && !has_dispersions(fit@loss)) {
    abort_bcnmf("The model has no dispersions: its loss is {.val {fit@loss}}.", arg = "loss", value = loss, call = call)
  }
  if (loss == "zinb" && fit@loss != "zinb") {
    abort_bcnmf("The model knows no dropout: its loss is {.val {fit@loss}}.", arg = "loss", value = loss, call = call)
  }
}

evaluate_set <- function(set, x, fit, h, loss, threads, call) {
  data <- look_at_data(x, NULL, fit_settings(k = 1, loss = loss, threads = threads, seed = 1), call, set)
  divergence <- divergence_of(x, fit@w, h, fit, set, loss, threads, call)
  mean_profile <- mean_profile_model(x, data)
  null <- divergence_of(scale_data(x, NULL), mean_profile$w, mean_profile$h, fit, set, loss, threads, call)
  data.frame(
    set = set, loss = loss, divergence = divergence, mean = divergence / (prod(dim(x)) - data$missing),
    explained = if (null > 0) 1 - divergence / null else NA_real_
  )
}

# One profile for all cells, each with its own total, of what counts as often as it does.
mean_profile_model <- function(x, data) {
  parts <- data_parts(x)
  features <- parts$features
  cells <- parts$cells
  weighted <- length(features) > 0 || length(cells) > 0
  # where entries are missing, the core has taken account of these
  if (!weighted || data$missing > 0) {
    return(list(w = matrix(data$feature_mean / sum(data$feature_mean)), h = t(data$cell_total)))
  }
  if (!length(cells)) cells <- rep(1, ncol(x))
  if (!length(features)) features <- rep(1, nrow(x))
  profile <- as.numeric(parts$matrix %*% cells)
  profile <- profile / max(sum(profile), .Machine$double.xmin)
  total <- as.numeric(Matrix::crossprod(parts$matrix, features)) / max(sum(features * profile), .Machine$double.xmin)
  list(w = matrix(profile), h = t(total))
}

# The core's divergence of given factors, with the model's dispersions and dropout: a fit of no sweeps.
divergence_of <- function(x, w, h, fit, set, loss, threads, call) {
  given <- list(k = ncol(w), loss = loss, maxit = 0, threads = threads, factors = list(w = unname(w), h = unname(h), h_background = numeric()))
  if (has_dispersions(loss)) given[c("dispersion", "sizes")] <- list("fixed", sizes_of(dispersion_in(fit, set)))
  if (loss == "zinb") given[c("zi", "dropout")] <- list(fit@misc$zi, as.double(dropout_in(fit, set)))
  rs_fit_result(run_fit(x, NULL, do.call(fit_settings, given), call))$outcomes[[1]]$target
}
