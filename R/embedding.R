#' Cells by their use of the factors, for neighbours, clustering and UMAP
#'
#' Raw uses of cells differ by depth before they differ by anything else, and large factors outweigh small ones; distances between them are the worst choice.
#' `embedding()` gives the uses `d * h` normalised.
#'
#' * `"L2"`: each cell is scaled to length 1. Euclidean distances are then those of the angle between cells (the cosine), whatever their depth.
#' * `"L1"`: each cell's uses are divided by their sum: shares, which are easy to read.
#' * `"z"`: each factor is centred and scaled to variance 1 over the cells, so that small factors count like large ones.
#' * `"none"`: uses in the units of the data.
#'
#' The reductions of Seurat and SingleCellExperiment objects hold the same, see [bcnmf.Seurat()].
#'
#' **Several fits**, from other seeds or other parts of the features, agree on which cells are alike even where they cut programs differently. Given as a list, their
#' embeddings are put side by side: squared distances are then the sums of those in each fit. For clustering this keeps more than
#' the best fit or a [consensus()] of their factors, whose single factors are easier to read.
#'
#' @param fit a `bcnmf` object, or a list of several of the same cells.
#' @param normalise how uses are normalised, see Details. A cell that uses nothing, or a factor that does not vary, is 0.
#' @param set which cells: `"both"` (target, then background), `"target"` or `"background"`.
#' @return A matrix, cells x factors; of several fits with one column for each factor of each fit, `"fit1_bcnmf1"` and so on, or by the list's names.
#' @section Errors: of class `bcnmf_error` for unknown choices, the background of a model without one, or fits of other cells.
#' @seealso [augment()][augment.bcnmf] for a data frame.
#' @examples
#' sim <- simulate_contrast(100, n_target = 120, n_background = 80, seed = 1)
#' fit <- bcnmf(sim$target, sim$background, k = 4, loss = "poisson", maxit = 50)
#' x <- embedding(fit, set = "target")
#' rowSums(x^2)[1:3]
#' kmeans(x, 3)$size
#'
#' # what several fits agree on
#' fits <- lapply(1:3, function(seed) bcnmf(sim$target, sim$background, k = 4, loss = "poisson", maxit = 50, seed = seed))
#' dim(embedding(fits, set = "target"))
#' @export
embedding <- function(fit, normalise = c("L2", "L1", "z", "none"), set = c("both", "target", "background")) {
  normalise <- check_choice(normalise, normalisations)
  set <- check_choice(set, c("both", "target", "background"))
  if (is.list(fit) && !is.data.frame(fit)) return(joint_embedding(fit, normalise, set, rlang::current_env()))
  check_fit(fit)
  if (set == "background") check_has_background(fit, "An embedding of the background", "set", set)
  sets <- cell_sets(fit)
  wanted <- set == "both" | sets == set
  uses <- cell_uses(fit)[, wanted, drop = FALSE]
  named <- !is.null(colnames(fit@h))
  with_names(t(normalise_uses(uses, normalise)), if (named) cell_names(fit)[wanted], colnames(fit@w))
}

# The embeddings of several fits side by side.
joint_embedding <- function(fits, normalise, set, call) {
  if (length(fits) == 0) refuse(fits, "a model made by bcnmf(), or a list of such models", "fit", call)
  for (i in seq_along(fits)) check_fit(fits[[i]], arg = sprintf("fit[[%d]]", i), call = call)
  parts <- lapply(fits, embedding, normalise = normalise, set = set)
  for (i in seq_along(parts)) {
    if (nrow(parts[[i]]) == nrow(parts[[1]]) && identical(rownames(parts[[i]]), rownames(parts[[1]]))) next
    abort_bcnmf(c(
      "All models must have the same cells, in the same order.",
      x = "{.code fit[[{i}]]} has {nrow(parts[[i]])} of them, {.code fit[[1]]} {nrow(parts[[1]])}, or their names differ."
    ), arg = "fit", call = call)
  }
  names <- rlang::names2(fits)
  names <- ifelse(names == "", paste0("fit", seq_along(fits)), names)
  columns <- Map(function(name, part) paste0(name, "_", colnames(part)), names, parts)
  with_names(do.call(cbind, unname(parts)), rownames(parts[[1]]), unlist(columns, use.names = FALSE))
}

normalisations <- c("L2", "L1", "z", "none")

# Uses, factors x cells; a cell or factor without scale becomes 0.
normalise_uses <- function(uses, normalise) {
  by_cell <- function(uses, size) uses / rep(ifelse(size > 0, size, 1), each = nrow(uses))
  switch(normalise,
    none = uses,
    L1 = by_cell(uses, colSums(uses)),
    L2 = {
      # by the largest first: squares of tiny uses would underflow
      uses <- by_cell(uses, apply(uses, 2, max))
      by_cell(uses, sqrt(colSums(uses^2)))
    },
    z = {
      mean <- rowMeans(uses)
      centred <- uses - mean
      sd <- sqrt(rowSums(centred^2) / max(1, ncol(uses) - 1))
      # what rounding leaves of a constant is no variation
      ifelse(sd > 1e-12 * mean, 1 / sd, 0) * centred
    }
  )
}
