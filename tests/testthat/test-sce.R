summarized <- function() {
  object <- sce_object()
  SummarizedExperiment::SummarizedExperiment(SummarizedExperiment::assays(object), colData = SummarizedExperiment::colData(object))
}

test_that("the fit is that of the matrices, and the reduced dimension holds it", {
  object <- sce_object()
  sim <- two_conditions()$sim
  reference <- bcnmf(sim$target, sim$background, k = 3, loss = "poisson", maxit = 20)
  fitted <- few(object)
  fit <- bcnmf_model(fitted)
  expect_same_model(fit, reference)
  x <- SingleCellExperiment::reducedDim(fitted, "BCNMF")
  expect_identical(attr(x, "basis"), fit$w)
  expect_identical(attr(x, "d"), fit$d)
  expect_equal(unname(x[, ]), unname(embedding(fit)))
  expect_identical(rownames(x), colnames(object))
  # nothing else changes
  changed <- fitted
  SingleCellExperiment::reducedDims(changed) <- list()
  SingleCellExperiment::int_metadata(changed)$bcnmf <- NULL
  expect_equal(changed, object)
  # the model survives subsetting and a file
  file <- withr::local_tempfile()
  saveRDS(fitted[, 1:100], file)
  some <- bcnmf_model(readRDS(file))
  expect_same_model(some, fit)
  expect_identical(levels(summary(some, group_by = "condition")$group), c("stim", "ctrl", "NA"))
  expect_identical(levels(summary(fit, group_by = "condition")$group), c("stim", "ctrl"))
})

test_that("a LinearEmbeddingMatrix on request", {
  fitted <- few(sce_object(), output = "LinearEmbeddingMatrix", name = "programs")
  x <- SingleCellExperiment::reducedDim(fitted, "programs")
  expect_s4_class(x, "LinearEmbeddingMatrix")
  fit <- bcnmf_model(fitted, "programs")
  expect_identical(SingleCellExperiment::featureLoadings(x), fit$w)
  expect_identical(SingleCellExperiment::factorData(x)$d, unname(fit$d))
  plain <- summarized()
  expect_bcnmf_error(few(plain, output = "LinearEmbeddingMatrix"), "needs a <SingleCellExperiment>", "output")
})

test_that("a SummarizedExperiment comes back as one", {
  object <- summarized()
  fitted <- few(object)
  expect_identical(class(fitted), class(object))
  expect_same_model(bcnmf_model(fitted), bcnmf_model(few(sce_object())))
  expect_identical(names(S4Vectors::metadata(fitted)), "BCNMF")
  expect_bcnmf_error(bcnmf_model(object), "no metadata", "name")
})

test_that("features are names, numbers, a logical vector, or those marked in the object", {
  object <- sce_object()
  reference <- bcnmf_model(few(object, features = paste0("gene", 1:30)))
  same <- function(object, ...) expect_same_model(bcnmf_model(few(object, ...)), reference)
  same(object, features = 1:30)
  same(object, features = rep(c(TRUE, FALSE), each = 30))
  SingleCellExperiment::rowSubset(object) <- 1:30
  same(object)
  expect_bcnmf_error(few(object, features = 61), "1 of the 1 `features` is not in assay \"counts\": \"61\"", "features")
  expect_bcnmf_error(few(object, features = 1:2), "There are 2", "features")
})

test_that("objects without names, with repeated names, and with odd cell data work", {
  object <- sce_object()
  reference <- bcnmf_model(few(object))
  bare <- object
  dimnames(bare) <- NULL
  fitted <- few(bare)
  expect_equal(unname(bcnmf_model(fitted)$w), unname(reference$w))
  expect_null(rownames(SingleCellExperiment::reducedDim(fitted)))
  batch <- summary(reference <- bcnmf_model(few(object)), group_by = "batch")
  expect_equal(summary(bcnmf_model(fitted), group_by = "batch"), batch)
  twice <- object
  colnames(twice) <- rep("cell", 130)
  expect_equal(summary(bcnmf_model(few(twice)), group_by = "batch"), batch)

  data <- SummarizedExperiment::colData(object)
  data$condition <- S4Vectors::Rle(data$condition)
  data$coded <- S4Vectors::Rle(factor(rep(c("a", "b"), 65), levels = c("b", "a")))
  data$matrix <- matrix(1, 130, 2)
  SummarizedExperiment::colData(object) <- data
  coded <- bcnmf_model(few(object))
  expect_same_model(coded, reference)
  expect_identical(levels(summary(coded, "coded")$group), c("b", "a"))
  expect_bcnmf_error(few(object, split_by = "matrix"), "no column \"matrix\"", "split_by")
  none <- object
  SummarizedExperiment::colData(none) <- NULL
  expect_bcnmf_error(few(none), "no column \"condition\".*none at all", "split_by")
  expect_same_model(bcnmf_model(few(none, split_by = NULL, background = data$condition == "ctrl")), reference)
})

test_that("matrices on disk and in blocks give the same fit", {
  skip_if_not_installed("DelayedArray")
  object <- sce_object()
  reference <- bcnmf_model(few(object))
  counts <- SummarizedExperiment::assay(object, "counts")
  delayed <- object
  SummarizedExperiment::assay(delayed, "counts") <- DelayedArray::DelayedArray(counts)
  expect_same_model(bcnmf_model(few(delayed)), reference)
  SummarizedExperiment::assay(delayed, "counts") <- DelayedArray::DelayedArray(as.matrix(counts))
  expect_same_model(bcnmf_model(few(delayed)), reference, tolerance = 1e-4)
  expect_same_model(bcnmf(DelayedArray::DelayedArray(counts), k = 3, maxit = 5), bcnmf(counts, k = 3, maxit = 5))
  skip_if_not_installed("HDF5Array")
  SummarizedExperiment::assay(delayed, "counts") <- methods::as(counts, "HDF5Array")
  expect_same_model(bcnmf_model(few(delayed)), reference, tolerance = 1e-4)
})

test_that("a second object is the background, and predict() takes objects", {
  object <- sce_object()
  control <- object$condition == "ctrl"
  fitted <- few(object[, !control], split_by = NULL, background = object[, control])
  fit <- bcnmf_model(fitted)
  expect_same_model(fit, bcnmf_model(few(object)))
  expect_equal(ncol(fitted), 80)
  expect_message(few(object[, !control], split_by = NULL, background = object[-3, control]), "\"gene3\"")
  bare <- object[, control]
  rownames(bare) <- NULL
  expect_bcnmf_error(few(object[, !control], split_by = NULL, background = bare), "none of the 60 features", "background")
  expect_bcnmf_error(few(object, split_by = NULL, background = object), "in common", "background")
  expect_equal(predict(fit, object), predict(fit, two_conditions()$counts))
})

test_that("what does not exist is refused, with what does", {
  object <- sce_object()
  expect_bcnmf_error(few(object, assay = "logcounts"), "\"logcounts\", which does not exist.*\"counts\"", "assay")
  expect_bcnmf_error(few(object, assay = 2), "between 1 and 1", "assay")
  expect_bcnmf_error(few(object, split_by = "cond"), "\"condition\" and \"batch\"", "split_by")
  expect_bcnmf_error(few(object, background = "control"), "levels \"ctrl\" and \"stim\"", "background")
  expect_bcnmf_error(few(object, name = NA), "one name", "name")
  expect_bcnmf_error(bcnmf_model(object), "no reduced dimension", "name")
  expect_bcnmf_error(bcnmf_model(few(object), "PCA"), "one called \"BCNMF\"", "name")
})

test_that("cells without names of their own are known again in another order", {
  object <- sce_object()
  n <- ncol(object)
  order <- rev(seq_len(n))
  object$half <- ifelse(seq_len(n) %% 3 == 0, "a", "b")
  expected <- summary(bcnmf_model(few(object)), group_by = "half")
  for (names in list(NULL, rep_len(paste0("cell", 1:70), n))) {
    colnames(object) <- names
    fitted <- few(object)
    same <- function(object) expect_equal(summary(bcnmf_model(object), group_by = "half"), expected)
    same(fitted[, order])
    same(few(fitted, name = "again")[, order])
    some <- summary(bcnmf_model(fitted[, 70:n]), group_by = "half", set = "background")
    expect_equal(some$value, expected$value[expected$set == "background"])
    expect_identical(colnames(fitted), names)
  }
})

test_that("a SummarizedExperiment whose cells cannot be known again is refused", {
  object <- summarized()
  n <- ncol(object)
  expect_identical(dim(bcnmf_model(few(object)[, n:1])), dim(bcnmf_model(few(object))))
  for (names in list(NULL, rep_len(paste0("cell", 1:70), n))) {
    colnames(object) <- names
    fitted <- few(object)
    expect_s4_class(bcnmf_model(fitted), "bcnmf")
    expect_bcnmf_error(bcnmf_model(fitted[, -1]), "names do not tell them apart", "object")
  }
  expect_bcnmf_error(bcnmf_model(fitted[, n:1]), "names do not tell them apart", "object")
})

test_that("assays without names are asked for by number", {
  object <- summarized()
  names(SummarizedExperiment::assays(object)) <- NULL
  expect_bcnmf_error(few(object), "no names.*assay = 1", "assay")
  expect_same_model(bcnmf_model(few(object, assay = 1)), bcnmf_model(few(sce_object())))
})
