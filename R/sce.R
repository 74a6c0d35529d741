# SingleCellExperiment and SummarizedExperiment objects in, the same out.

#' Fit a SingleCellExperiment or SummarizedExperiment
#'
#' Fits the cells of an object of Bioconductor's containers and gives the object back with the result. Nothing else in the object changes.
#'
#' @details
#' Only the chosen features and cells are read, once; assays on disk (DelayedArray) too. For every cell, target, background or neither, the result has
#' the coefficients on the fitted basis; see the details of [bcnmf.Seurat()].
#'
#' Cells need no names, and names may repeat: a SingleCellExperiment keeps track of them. In a SummarizedExperiment such cells are known by their positions, so
#' do not subset or reorder it before you take the model out.
#'
#' @param object a SingleCellExperiment or SummarizedExperiment; the target when `background` is a second one.
#' @param split_by name of the column of `colData(object)` that tells target from background, such as `"condition"`.
#' @param assay name or number of the assay: `"counts"` for `loss = "poisson"`, `"logcounts"` for `loss = "mse"`.
#' @param features names or numbers of the features to fit, or a logical vector over all of them. By default those marked by `rowSubset(object)`, else all.
#' @param name name of the result in the object.
#' @param output `"matrix"`: the reduced dimension is a matrix, cells x factors, with the attributes `basis` (`w`) and `d`;
#'   `"LinearEmbeddingMatrix"`: an object of that class, which keeps both when it is subset.
#' @inheritParams bcnmf.Seurat
#' @return `object` with the result in `reducedDim(object, name)`. A SummarizedExperiment, which has no reduced dimensions, gets it in
#'   `metadata(object)[[name]]`.
#' @inheritSection bcnmf.Seurat Errors
#' @seealso [bcnmf_model()] to get the model back, [bcnmf()] for all settings.
#' @examplesIf requireNamespace("SingleCellExperiment", quietly = TRUE)
#' sim <- simulate_contrast(200, n_target = 150, n_background = 100, seed = 1)
#' sce <- SingleCellExperiment::SingleCellExperiment(
#'   list(counts = cbind(sim$target, sim$background)),
#'   colData = data.frame(condition = rep(c("stim", "ctrl"), c(150, 100)))
#' )
#'
#' sce <- bcnmf(sce, k = 6, split_by = "condition", background = "ctrl", k_target = 2, maxit = 50)
#' SingleCellExperiment::reducedDim(sce, "BCNMF")[1:3, ]
#'
#' fit <- bcnmf_model(sce)
#' summary(fit, group_by = "condition")
#' @method bcnmf SummarizedExperiment
#' @export
bcnmf.SummarizedExperiment <- function(object, k = NULL, split_by = NULL, background = NULL, target = NULL, assay = "counts",
                                       features = NULL, name = "BCNMF", loss = "poisson", normalise = c("L2", "L1", "z", "none"),
                                       output = c("matrix", "LinearEmbeddingMatrix"), ...) {
  call <- rlang::current_env()
  check_name(name, "name", call)
  output <- check_choice(output, c("matrix", "LinearEmbeddingMatrix"), call = call)
  single_cell <- methods::is(object, "SingleCellExperiment")
  if (output == "LinearEmbeddingMatrix" && !single_cell) {
    abort_bcnmf("A {.cls LinearEmbeddingMatrix} needs a {.cls SingleCellExperiment}, not a {.cls {class(object)[1]}}.",
      arg = "output", value = output, call = call
    )
  }
  source <- cell_source(object, assay, NULL, "object", call)
  if (missing(loss)) loss <- inherited_loss(list(...)$init, loss)
  result <- fit_cells(source, background, split_by, target, features, k, loss, normalise,
    read_background = function(background) cell_source(background, assay, NULL, "background", call),
    hint = "Take all: {.code features = rownames(object)}.", call = call, ...
  )
  fit <- result$fit
  fit@misc$call <- short_call(match.call())
  x <- result$embedding
  # Objects without column names are given none.
  rownames(x) <- colnames(object)
  if (output == "LinearEmbeddingMatrix") {
    x <- SingleCellExperiment::LinearEmbeddingMatrix(
      sampleFactors = x, featureLoadings = fit@w, factorData = S4Vectors::DataFrame(d = unname(fit@d), row.names = names(fit@d))
    )
  } else {
    attributes(x) <- c(attributes(x), list(basis = fit@w, d = fit@d))
  }
  if (single_cell) {
    SingleCellExperiment::reducedDim(object, name) <- x
    # where subsetting does not lose it, as it does attributes
    SingleCellExperiment::int_metadata(object)$bcnmf[[name]] <- fit
    # cells without names of their own are known by these when the object is subset
    if (!identical(source$cells, colnames(object))) SingleCellExperiment::int_colData(object)$bcnmf <- source$cells
  } else {
    S4Vectors::metadata(object)[[name]] <- structure(x, model = fit)
  }
  object
}

#' @export
cell_source.SummarizedExperiment <- function(object, assay, layer, arg, call) {
  if (is.null(assay)) assay <- "counts"
  assays <- SummarizedExperiment::assayNames(object)
  count <- length(SummarizedExperiment::assays(object, withDimnames = FALSE))
  if (is_number(assay)) {
    check_count(assay, max = count, arg = "assay", call = call)
  } else if (is.null(assays) && count > 0) {
    abort_bcnmf("The object's assays have no names: say which by its number, {.code assay = 1}.", arg = "assay", value = assay, call = call)
  } else {
    check_one_of(assay, assays, "assay", "The object has the assay{?s}", call)
  }
  new_source(
    cells = container_cells(object), features = rownames(object),
    layers = list(list(
      matrix = SummarizedExperiment::assay(object, assay, withDimnames = FALSE),
      rows = seq_len(nrow(object)), columns = seq_len(ncol(object))
    )),
    cell_data = plain_cell_data(object), assay = assay, layer = assay, variable = marked_features(object)
  )
}

# Names of the cells, which an object of this kind may lack or repeat; then those that bcnmf() gave them.
container_cells <- function(object) {
  given <- if (methods::is(object, "SingleCellExperiment")) SingleCellExperiment::int_colData(object)$bcnmf
  names <- if (is.null(given)) colnames(object) else given
  if (is.null(names)) paste0("cell_", seq_len(ncol(object))) else make.unique(names)
}

# The columns of the cell data that are plain vectors, which is all that labels can be.
plain_cell_data <- function(object) {
  columns <- lapply(as.list(SummarizedExperiment::colData(object)), decoded)
  columns <- Filter(function(column) is.atomic(column) && is.null(dim(column)), columns)
  if (length(columns) == 0) names(columns) <- character()
  structure(columns, class = "data.frame", row.names = container_cells(object))
}

marked_features <- function(object) {
  marked <- if (methods::is(object, "SingleCellExperiment")) {
    tryCatch(SingleCellExperiment::rowSubset(object, onAbsence = "none"), error = function(e) NULL)
  }
  if (is.null(marked)) seq_len(nrow(object)) else which(marked)
}

#' @rdname bcnmf_model
#' @method bcnmf_model SummarizedExperiment
#' @export
bcnmf_model.SummarizedExperiment <- function(object, name = "BCNMF", ...) {
  call <- rlang::current_env()
  check_no_dots(...)
  check_name(name, "name", call)
  single_cell <- methods::is(object, "SingleCellExperiment")
  names <- if (single_cell) SingleCellExperiment::reducedDimNames(object) else names(S4Vectors::metadata(object))
  model_of <- function(name) {
    if (single_cell) SingleCellExperiment::int_metadata(object)$bcnmf[[name]] else attr(S4Vectors::metadata(object)[[name]], "model")
  }
  fit <- if (name %in% names) model_of(name)
  if (is.null(fit)) {
    holds <- Filter(function(n) !is.null(model_of(n)), names)
    abort_no_model(name, holds, names, if (single_cell) "reduced dimension" else "metadata", call)
  }
  if (!single_cell) check_same_places(S4Vectors::metadata(object)[[name]], object, call)
  with_cell_data(fit, plain_cell_data(object))
}

# Cells that only their places tell apart are not known again in others.
check_same_places <- function(x, object, call) {
  unique_names <- !is.null(rownames(x)) && !anyDuplicated(rownames(x))
  if (unique_names || (nrow(x) == ncol(object) && identical(rownames(x), colnames(object)))) return(invisible())
  abort_bcnmf(c(
    "The object has other cells, or another order of them, than when the model was fitted, and their names do not tell them apart.",
    i = "Give the cells different names before {.fn bcnmf}, or take the model out before you subset the object."
  ), arg = "object", call = call)
}
