#' The model in an object
#'
#' Gets the model back from an object that [bcnmf()] returned, with the object's cell data as they are now, so that [summary()][summary.bcnmf],
#' [biplot()][biplot.bcnmf] and [associate()] take names of their columns.
#'
#' @param object a Seurat object, SingleCellExperiment or SummarizedExperiment; a `bcnmf` model is returned as it is.
#' @param name name of the reduction or reduced dimension.
#' @param ... not used.
#' @return A model of class [`bcnmf`][bcnmf-class].
#' @section Errors: of class `bcnmf_error` when the object holds no model of that name, with the names it has, and when a SummarizedExperiment
#'   has other cells than it had, without names that tell them apart.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' fit <- bcnmf(x, k = 2, maxit = 20)
#' identical(bcnmf_model(fit), fit)
#' @examplesIf requireNamespace("SeuratObject", quietly = TRUE)
#' sim <- simulate_contrast(100, n_target = 100, n_background = 50, seed = 1)
#' object <- SeuratObject::CreateSeuratObject(sim$target)
#' object <- bcnmf(object, k = 3, features = rownames(object), maxit = 20)
#' object$depth <- ifelse(object$nCount_RNA > 400, "deep", "shallow")
#' summary(bcnmf_model(object), group_by = "depth")
#' @export
bcnmf_model <- function(object, ...) UseMethod("bcnmf_model")

#' @rdname bcnmf_model
#' @method bcnmf_model bcnmf
#' @export
bcnmf_model.bcnmf <- function(object, ...) {
  check_no_dots(...)
  object
}

#' @method bcnmf_model default
#' @export
bcnmf_model.default <- function(object, ...) {
  refuse(object, "a Seurat object, SingleCellExperiment or SummarizedExperiment", "object", rlang::current_env())
}

abort_no_model <- function(name, holds, names, kind, call) {
  abort_bcnmf(c(
    "The object has no bcnmf model called {.val {name}}.",
    i = if (length(holds)) {
      "It has {cli::qty(length(holds))}{?one/some} called {.val {holds}}."
    } else if (length(names)) {
      "It has the {kind}{cli::qty(length(names))}{?/s} {.val {names}}, without a model. Has {.fn bcnmf} been run on it?"
    } else {
      "It has no {kind}. Has {.fn bcnmf} been run on it?"
    }
  ), arg = "name", value = name, call = call)
}

# The cell data of the object, for both sets; those of a background that was an object of its own stay.
with_cell_data <- function(fit, cell_data) {
  background <- fit@misc$cell_data$background
  fit@misc$cell_data <- list(target = cell_data, background = if (is.null(background)) cell_data else background)
  fit
}

# A call to keep in the model, of the verb whatever the method; whole data sets that do.call() has put into it are left out.
short_call <- function(call, verb = quote(bcnmf)) {
  call[[1]] <- verb
  for (i in seq_along(call)[-1]) {
    value <- call[[i]]
    if (!is.language(value) && (!is.atomic(value) || length(value) > 20)) {
      call[[i]] <- as.name(sprintf("<%s>", class(value)[1]))
    }
  }
  call
}

# A continued fit keeps its loss, unless another is given.
inherited_loss <- function(init, loss) if (methods::is(init, "bcnmf")) init@loss else loss
