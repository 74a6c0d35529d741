# The same simulated cells, stimulated and control, in the classes that users have.

two_conditions <- function() {
  sim <- small_sim()
  n <- c(ncol(sim$target), ncol(sim$background))
  list(
    counts = cbind(sim$target, sim$background), sim = sim,
    cells = data.frame(
      condition = rep(c("stim", "ctrl"), n), batch = factor(rep_len(c("b2", "b1"), sum(n)), levels = c("b2", "b1")),
      row.names = c(colnames(sim$target), colnames(sim$background))
    )
  )
}

seurat_object <- function(variable = 40) {
  skip_if_not_installed("SeuratObject")
  data <- two_conditions()
  object <- SeuratObject::CreateSeuratObject(data$counts, meta.data = data$cells)
  if (variable) SeuratObject::VariableFeatures(object) <- rev(rownames(data$counts)[seq_len(variable)])
  object
}

sce_object <- function() {
  skip_if_not_installed("SingleCellExperiment")
  data <- two_conditions()
  SingleCellExperiment::SingleCellExperiment(list(counts = data$counts), colData = data$cells)
}

# A fit of few sweeps, of stimulated against control cells.
few <- function(object, ..., k = 3, maxit = 20, split_by = "condition", background = "ctrl", verbose = FALSE) {
  bcnmf(object, k = k, maxit = maxit, split_by = split_by, background = background, verbose = verbose, ...)
}
