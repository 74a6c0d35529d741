# Seurat objects in, Seurat objects out, for SeuratObject 4 (Assay) and 5 (Assay5, split layers).

#' Fit a Seurat object
#'
#' Fits the cells of a Seurat object and gives the object back with the result as a reduction, for `DimPlot()`, `FindNeighbors()`, `RunUMAP()`,
#' `VizDimLoadings()` and the other verbs of Seurat. Nothing else in the object changes.
#'
#' @details
#' Only the chosen features and cells are read, once. Layers that were split (Seurat 5) are read as if they were joined, and a feature that a layer
#' lacks counts as 0 there, as after `JoinLayers()`. Layers on disk (BPCells, DelayedArray) are read in the same way.
#'
#' Every cell of the object gets an embedding, those that are neither target nor background too. All are placed by one rule, the best
#' non-negative coefficients on the fitted basis. So background cells are free to use target-only factors in the embedding, although the model had closed
#' these to them: whether they would use them is worth seeing. The model itself, with the coefficients of the fit, is what `bcnmf_model()` returns.
#'
#' @param object a Seurat object; the target when `background` is a second one.
#' @param k number of factors, at most the number of features, or `"auto"`, see [bcnmf()].
#' @param split_by name of the column of the object's cell data (`object[[]]`) that tells target from background, such as `"condition"`.
#' @param background the background's cells: levels of `split_by`, names of cells, or a logical vector over the object's cells; or a second
#'   object (or matrix) of background cells, whose features are matched by name. `NULL`, without `split_by`, for plain NMF.
#' @param target the target's cells, given in the same ways. `NULL` for all cells that are not background. It may include the background's cells, as in
#'   cases and controls against controls.
#' @param assay name of the assay. By default the object's default assay.
#' @param layer which data of the assay: `"counts"` for `loss = "poisson"`, `"data"` for `loss = "mse"`.
#' @param features names of the features to fit. By default the assay's `VariableFeatures()`.
#' @param reduction.name,reduction.key name of the reduction in the object, and the prefix of its columns.
#' @param loss as in [bcnmf()].
#' @param normalise how cells' uses are normalised in the embedding, see [embedding()]. `"L2"` suits neighbours, clusters and UMAP; `"L1"`, shares, are
#'   easy to read; `"none"` gives uses in the units of the data.
#' @param ... further arguments of [bcnmf()]: `alpha`, `beta`, `k_target`, `seed`, `tol`, `maxit`, `threads`, ...
#' @return `object` with a reduction: embeddings of all cells, loadings (`w`), `d` as standard deviations, the model in its `misc`, and a logged
#'   command.
#' @section Errors: of class `bcnmf_error`, before any work: a column, level, cell, feature, assay or layer that does not exist (with those that do),
#'   an empty or ambiguous target or background, no variable features, fewer features than factors, and all errors of [bcnmf()].
#' @seealso [bcnmf_model()] to get the model back, [bcnmf()] for all settings.
#' @examplesIf requireNamespace("SeuratObject", quietly = TRUE)
#' sim <- simulate_contrast(200, n_target = 150, n_background = 100, seed = 1)
#' object <- SeuratObject::CreateSeuratObject(cbind(sim$target, sim$background))
#' object$condition <- rep(c("stim", "ctrl"), c(150, 100))
#'
#' object <- bcnmf(object,
#'   k = 6, split_by = "condition", background = "ctrl", k_target = 2,
#'   features = rownames(object), maxit = 50
#' )
#' object[["bcnmf"]]
#'
#' fit <- bcnmf_model(object)
#' summary(fit, group_by = "condition")
#' @method bcnmf Seurat
#' @export
bcnmf.Seurat <- function(object, k = NULL, split_by = NULL, background = NULL, target = NULL, assay = NULL, layer = "counts",
                         features = NULL, reduction.name = "bcnmf", reduction.key = "BCNMF_", loss = "poisson",
                         normalise = c("L2", "L1", "z", "none"), ...) {
  call <- rlang::current_env()
  rlang::check_installed("SeuratObject", "to fit Seurat objects.")
  check_name(reduction.name, "reduction.name", call)
  check_name(reduction.key, "reduction.key", call)
  if (reduction.name %in% SeuratObject::Assays(object)) {
    abort_bcnmf("{.arg reduction.name} is {.val {reduction.name}}, but that is an assay of the object.",
      arg = "reduction.name", value = reduction.name, call = call
    )
  }
  source <- cell_source(object, assay, layer, "object", call)
  if (missing(loss)) loss <- inherited_loss(list(...)$init, loss)
  result <- fit_cells(source, background, split_by, target, features, k, loss, normalise,
    read_background = function(background) {
      cell_source(background, if (methods::is(background, "Seurat")) source$assay, layer, "background", call)
    },
    hint = "Run {.code object <- Seurat::FindVariableFeatures(object)}, or take all: {.code features = rownames(object)}.",
    call = call, ...
  )
  fit <- result$fit
  fit@misc$call <- short_call(match.call())
  object[[reduction.name]] <- seurat_reduction(fit, result, source$assay, reduction.key)
  # Logged as Seurat's own verbs are, but without what is large.
  settings <- c(
    list(
      k = ncol(fit@w), split_by = split_by, background = if (is.null(dim(background))) background, target = target, assay = source$assay,
      layer = layer, features = result$features, reduction.name = reduction.name, reduction.key = reduction.key,
      loss = fit@loss, normalise = result$normalise
    ),
    Filter(function(x) is.atomic(x) && is.null(dim(x)), list(...))
  )
  name <- paste0("bcnmf.", source$assay)
  object[[name]] <- methods::new(methods::getClass("SeuratCommand", where = asNamespace("SeuratObject")),
    name = name, time.stamp = Sys.time(), assay.used = source$assay,
    call.string = paste(deparse(fit@misc$call), collapse = " "), params = Filter(Negate(is.null), settings)
  )
  object
}

seurat_reduction <- function(fit, result, assay, key) {
  # keys end in an underscore, which Seurat would add with a warning
  names <- paste0(sub("_?$", "_", key), seq_len(ncol(fit@w)))
  SeuratObject::CreateDimReducObject(
    embeddings = with_names(result$embedding, rownames(result$embedding), names),
    loadings = with_names(fit@w, result$features, names),
    stdev = unname(fit@d), key = key, assay = assay,
    # with the names that the model knows the cells by: RenameCells() changes those of the embedding alone
    misc = list(model = fit, cells = rownames(result$embedding))
  )
}

#' @export
cell_source.Seurat <- function(object, assay, layer, arg, call) {
  assays <- SeuratObject::Assays(object)
  if (is.null(assay)) assay <- SeuratObject::DefaultAssay(object)
  check_one_of(assay, assays, "assay", "The object has the assay{?s}", call)
  data <- object[[assay]]
  check_name(layer, "layer", call)
  parts <- seurat_layers(data, layer)
  if (length(parts) == 0) {
    exist <- seurat_layer_names(data)
    abort_bcnmf(c(
      "Assay {.val {assay}} has no layer {.val {layer}}, or an empty one.",
      i = if (length(exist)) "It has {.val {exist}}." else "All its layers are empty."
    ), arg = "layer", value = layer, call = call)
  }
  features <- rownames(data)
  cells <- colnames(data)
  layers <- lapply(parts, function(part) {
    list(matrix = part$matrix, rows = match(part$features, features), columns = match(part$cells, cells))
  })
  cell_data <- object[[]]
  new_source(
    cells = cells, features = features, layers = layers, assay = assay, layer = layer,
    cell_data = if (identical(rownames(cell_data), cells)) cell_data else cell_data[cells, , drop = FALSE],
    variable = match(seurat_variable(data), features)
  )
}

# The verbs of SeuratObject 5, or NULL in version 4; looked up, so that the package is checked with either.
seurat5 <- function(verb) {
  if (verb %in% getNamespaceExports("SeuratObject")) getExportedValue("SeuratObject", verb)
}

seurat_layer_names <- function(assay) {
  layers <- seurat5("Layers")
  if (!is.null(layers)) return(layers(assay))
  Filter(function(slot) length(SeuratObject::GetAssayData(assay, slot = slot)) > 0, c("counts", "data", "scale.data"))
}

# A layer of an assay, or the layers "counts.1", "counts.2", ... that it was split into, each with its feature and cell names.
seurat_layers <- function(assay, layer) {
  names <- seurat_layer_names(assay)
  chosen <- if (layer %in% names) layer else names[startsWith(names, paste0(layer, "."))]
  # "scale.data" is no part of a split layer "scale"
  chosen <- setdiff(chosen, if (layer == "scale") "scale.data")
  parts <- lapply(chosen, function(name) {
    if (methods::is(assay, "Assay")) {
      read <- seurat5("LayerData")
      matrix <- if (is.null(read)) SeuratObject::GetAssayData(assay, slot = name) else read(assay, layer = name)
      return(list(matrix = matrix, features = rownames(matrix), cells = colnames(matrix)))
    }
    list(
      matrix = seurat5("LayerData")(assay, layer = name, fast = TRUE),
      features = seurat5("Features")(assay, layer = name), cells = SeuratObject::Cells(assay, layer = name)
    )
  })
  Filter(function(part) length(part$features) > 0 && length(part$cells) > 0, parts)
}

# Variable features; those that there are none of are no reason to warn.
seurat_variable <- function(assay) {
  found <- suppressWarnings(tryCatch(SeuratObject::VariableFeatures(assay), error = function(e) NULL))
  intersect(as.character(unlist(found)), rownames(assay))
}

#' @rdname bcnmf_model
#' @method bcnmf_model Seurat
#' @export
bcnmf_model.Seurat <- function(object, name = "bcnmf", ...) {
  call <- rlang::current_env()
  check_no_dots(...)
  reductions <- SeuratObject::Reductions(object)
  check_name(name, "name", call)
  fit <- if (name %in% reductions) SeuratObject::Misc(object[[name]], "model")
  if (is.null(fit)) {
    holds <- Filter(function(r) methods::is(SeuratObject::Misc(object[[r]], "model"), "bcnmf"), reductions)
    abort_no_model(name, holds, reductions, "reduction", call)
  }
  with_cell_data(rename_cells(fit, SeuratObject::Misc(object[[name]], "cells"), SeuratObject::Cells(object[[name]])), object[[]])
}

# A model whose object's cells were renamed, all and in the same order.
rename_cells <- function(fit, old, new) {
  # Seurat 5 names the names
  new <- unname(new)
  if (length(old) != length(new) || identical(old, new)) return(fit)
  named <- function(h) {
    at <- match(colnames(h), old)
    # the cells of a second object have other names
    if (length(at) && !anyNA(at)) colnames(h) <- new[at]
    h
  }
  fit@h <- named(fit@h)
  fit@h_background <- named(fit@h_background)
  fit
}
