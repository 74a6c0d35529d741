#' A fitted background-contrastive factorisation
#'
#' What [bcnmf()] returns. The target is approximated by `w %*% diag(d) %*% h`, the background by
#' `w %*% diag(d_background) %*% h_background`, with the same `w`. Slots, and the entries of `misc`,
#' are also reached by `$`; `names(fit)` lists them.
#'
#' A factor's *use* by a cell is `d * h` (target) or `d_background * h_background` (background). Because the
#' columns of `w` sum to 1, uses are in the units of the data and can be compared between target and
#' background: the uses of a cell add up to the fitted sum of its features. All summaries and plots show uses.
#'
#' @slot w matrix, features x factors, shared by target and background. Columns sum to 1 (0 for a dead
#'   factor).
#' @slot d numeric, one scale per factor: the factor's total use in the target. Decreasing in a fresh fit.
#' @slot h matrix, factors x target cells. Rows sum to 1 (0 for a dead factor).
#' @slot d_background numeric, as `d` for the background; of length 0 without background.
#' @slot h_background matrix, factors x background cells (no columns without background). Rows sum to 1,
#'   or to 0 for factors that the background may not use.
#' @slot target_only logical, one per factor: was the factor reserved for the target (`k_target`)?
#' @slot loss character, the divergence that was minimised; with several, the one of `"nb"` and `"zinb"` that serves all counts (`fit$loss` has that of each modality).
#' @slot alpha numeric, the contrast strength: the background's divergence is weighted by `-alpha`. 0 without
#'   contrast, `NA` for a model with target-only factors.
#' @slot beta numeric, `alpha` in units that do not depend on the size of the two data sets.
#' @slot lambda numeric, weight of the background in a model with target-only factors, otherwise `NA`.
#' @slot divergence numeric, named `target`, `background` and `objective`: sums over all entries. `NA` for
#'   what the model does not have, and after factors were dropped by `[`.
#' @slot history data frame, one row per sweep: `iteration` (0 is the start), `target`, `background`,
#'   `objective` (of an accelerated fit where `w` had gone on to; in the last row the model's) and `change`, the correlation distance of `w` to the sweep before.
#' @slot restarts data frame, one row per start: `start`, `objective`, `target`, `background`, `iterations`,
#'   `converged`, `failed`, `revived` (dead or duplicate factors that were started anew), `best`.
#' @slot misc list: the call, the settings, `iterations`, `converged`, `feature_mean`, `dead` and `duplicates` (factors that do nothing, see [bcnmf()]) and whatever verbs add
#'   (`subset`, `alignment`); `held`, the names of target-only factors whose loadings are those of a fit with `beside` factors, where `k` was too small to tell them (see [bcnmf()]); with `loss = "nb"` and `"zinb"` also `dispersion`, by feature (the variance of a count is `mu + dispersion * mu^2`), and `dispersion_background` where it is another; with
#'   `"zinb"` `dropout`, the probability that a count is lost, by feature or by target cell (`zi`), and `dropout_background`, where features of the background have their own, or by its cells;
#'   with a `mask` its kind and `masked`, where entries of target and background were missing (sparse, `NULL` for `"zeros"`); `weights` and `size_factors` as they were used; with several modalities `modality`, by feature, and `mixture`, the loss of each, if they have different ones.
#'
#' @param x,object a `bcnmf` object.
#' @param name name of a slot or of an entry of `misc`.
#' @param i factors to keep, in this order: positive or negative whole numbers, names, or a logical vector
#'   with one value per factor.
#' @param j,drop,... not used.
#'
#' @return `length()` is the number of factors, `dim()` is `c(features, target cells, factors)` and `dimnames()` a list of the three sets of names,
#'   `NULL` where the data had none. `$` returns the slot or entry. `[` returns a `bcnmf` object.
#' @seealso [summary()][summary.bcnmf], [contrast()], [top_features()], [biplot()][biplot.bcnmf], [align()].
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40, dimnames = list(paste0("gene", 1:60), NULL))
#' y <- matrix(rpois(60 * 30, 3), 60, 30, dimnames = list(paste0("gene", 1:60), NULL))
#' fit <- bcnmf(x, y, k = 3, seed = 1, maxit = 50, verbose = FALSE)
#' fit
#' dim(fit)
#' fit$d
#' fit[c(3, 1)]
#' @aliases bcnmf-class
#' @name bcnmf-class
#' @exportClass bcnmf
methods::setClass("bcnmf",
  slots = c(
    w = "matrix", d = "numeric", h = "matrix",
    d_background = "numeric", h_background = "matrix", target_only = "logical",
    loss = "character", alpha = "numeric", beta = "numeric", lambda = "numeric",
    divergence = "numeric", history = "data.frame", restarts = "data.frame", misc = "list"
  ),
  validity = function(object) {
    problems <- c(
      validate_shapes(object), validate_names(object),
      validate_values(object), validate_records(object)
    )
    if (length(problems)) problems else TRUE
  }
)

validate_shapes <- function(object) {
  k <- ncol(object@w)
  say <- function(ok, what) if (!ok) sprintf("%s (k = %d)", what, k)
  c(
    say(k >= 1, "w must have at least one column"),
    say(length(object@d) == k, "d must have one value per column of w"),
    say(nrow(object@h) == k, "h must have one row per column of w"),
    say(nrow(object@h_background) == k, "h_background must have one row per column of w"),
    say(
      length(object@d_background) == if (ncol(object@h_background) > 0) k else 0,
      "d_background must have one value per factor, and none without background"
    ),
    say(
      length(object@target_only) == k && !anyNA(object@target_only),
      "target_only must be TRUE or FALSE for every factor"
    )
  )
}

validate_names <- function(object) {
  names_w <- colnames(object@w)
  if (is.null(names_w) || anyNA(names_w) || anyDuplicated(names_w)) {
    return("columns of w must have unique names")
  }
  others <- list(
    d = names(object@d), h = rownames(object@h), target_only = names(object@target_only),
    h_background = rownames(object@h_background)
  )
  if (length(object@d_background)) others$d_background <- names(object@d_background)
  differ <- !vapply(others, identical, NA, names_w)
  if (any(differ)) {
    sprintf("factor names of %s differ from those of w", paste(names(others)[differ], collapse = ", "))
  }
}

validate_values <- function(object) {
  # min and max see every value without a logical copy of a large matrix
  fine <- function(x) length(x) == 0 || (is.numeric(x) && isTRUE(min(x) >= 0) && is.finite(max(x)))
  parts <- c("w", "d", "h", "d_background", "h_background")
  bad <- parts[!vapply(parts, function(p) fine(methods::slot(object, p)), NA)]
  c(
    if (length(bad)) {
      sprintf("%s must hold finite, non-negative numbers", paste(bad, collapse = ", "))
    },
    if (nrow(object@h_background) == length(object@target_only) && ncol(object@h_background) > 0 &&
      isTRUE(any(object@h_background[which(object@target_only), ] > 0))) {
      "target-only factors must have zero rows in h_background"
    }
  )
}

validate_records <- function(object) {
  single <- c("loss", "alpha", "beta", "lambda")
  bad <- single[vapply(single, function(p) length(methods::slot(object, p)) != 1, NA)]
  missing_columns <- function(slot, needed) {
    missing <- setdiff(needed, names(methods::slot(object, slot)))
    if (length(missing)) sprintf("%s lacks %s", slot, paste(missing, collapse = ", "))
  }
  c(
    if (length(bad)) sprintf("%s must be of length 1", paste(bad, collapse = ", ")),
    if (!identical(names(object@divergence), c("target", "background", "objective"))) {
      "divergence must be named target, background, objective"
    },
    missing_columns("history", c("iteration", "target", "background", "objective", "change")),
    missing_columns("restarts", c(
      "start", "objective", "target", "background", "iterations", "converged", "best"
    ))
  )
}

slot_names <- function(x) methods::slotNames(class(x))

#' @rdname bcnmf-class
#' @export
methods::setMethod("names", "bcnmf", function(x) c(slot_names(x), setdiff(names(x@misc), slot_names(x))))

#' @rdname bcnmf-class
#' @export
methods::setMethod("$", "bcnmf", function(x, name) {
  # the slot has the one that serves all counts
  if (name == "loss") return(model_losses(x))
  if (name %in% slot_names(x)) return(methods::slot(x, name))
  if (name %in% names(x@misc)) return(x@misc[[name]])
  abort_bcnmf(c(
    "A bcnmf model has no part {.val {name}}.",
    i = "It has {.val {names(x)}}."
  ), arg = "name", value = name, call = NULL)
})

#' @importFrom utils .DollarNames
#' @method .DollarNames bcnmf
#' @export
#' @noRd
.DollarNames.bcnmf <- function(x, pattern = "") grep(pattern, names(x), value = TRUE)
