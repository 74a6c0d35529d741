test_that("the fit is that of the matrices, and the reduction holds it", {
  object <- seurat_object()
  sim <- two_conditions()$sim
  features <- SeuratObject::VariableFeatures(object)
  reference <- bcnmf(sim$target[features, ], sim$background[features, ], k = 3, loss = "poisson", maxit = 20)
  fitted <- few(object)
  fit <- bcnmf_model(fitted)
  expect_same_model(fit, reference)
  expect_identical(rownames(fit$w), features)

  reduction <- fitted[["bcnmf"]]
  expect_identical(SeuratObject::Key(reduction), "BCNMF_")
  expect_identical(SeuratObject::DefaultAssay(reduction), "RNA")
  expect_equal(unname(SeuratObject::Loadings(reduction)), unname(fit$w))
  expect_identical(rownames(SeuratObject::Loadings(reduction)), features)
  expect_identical(SeuratObject::Stdev(reduction), unname(fit$d))
  embedding <- SeuratObject::Embeddings(reduction)
  expect_identical(rownames(embedding), colnames(object))
  expect_identical(colnames(embedding), paste0("BCNMF_", 1:3))
  expect_false(anyNA(embedding))
  expect_equal(unname(embedding), unname(embedding(fit)))
  for (normalise in c("L1", "z", "none")) {
    other <- SeuratObject::Embeddings(few(object, normalise = normalise), "bcnmf")
    expect_equal(unname(other), unname(embedding(fit, normalise)), info = normalise)
  }
})

test_that("nothing else in the object changes", {
  object <- seurat_object()
  before <- object
  fitted <- few(object)
  expect_identical(object, before)
  for (part in setdiff(methods::slotNames(object), c("reductions", "commands"))) {
    expect_identical(methods::slot(fitted, part), methods::slot(object, part), info = part)
  }
  expect_identical(names(fitted@commands), "bcnmf.RNA")
  expect_identical(SeuratObject::Command(fitted, "bcnmf.RNA", "k"), 3L)
  expect_identical(SeuratObject::Command(fitted, "bcnmf.RNA", "background"), "ctrl")
  expect_identical(SeuratObject::Command(fitted, "bcnmf.RNA", "maxit"), 20)
  # a second reduction beside the first
  both <- few(fitted, k = 2, reduction.name = "two", reduction.key = "TWO_")
  expect_identical(both[["bcnmf"]], fitted[["bcnmf"]])
  expect_identical(dim(bcnmf_model(both, "two"))[3], 2L)
})

test_that("background and target are levels, names or logical vectors", {
  object <- seurat_object()
  control <- object$condition == "ctrl"
  reference <- bcnmf_model(few(object))
  same <- function(...) expect_same_model(bcnmf_model(few(object, ...)), reference)
  same(split_by = NULL, background = colnames(object)[control])
  same(split_by = NULL, background = unname(control))
  same(target = "stim")
  same(target = colnames(object)[!control])
  same(background = unname(control))

  # cases and controls against controls
  all <- few(object, target = c("ctrl", "stim"))
  expect_identical(dim(bcnmf_model(all))[1:2], c(40L, 130L))
  expect_identical(ncol(bcnmf_model(all)$h_background), 50L)
  # without background
  plain <- bcnmf_model(bcnmf(object, k = 2, maxit = 5))
  expect_identical(ncol(plain$h_background), 0L)
  # a logical column is a column of levels
  object$control <- unname(control)
  expect_same_model(bcnmf_model(few(object, split_by = "control", background = TRUE)), reference)
})

test_that("cells that are neither are placed too, and missing labels are told", {
  object <- seurat_object()
  object$condition[c(1, 130)] <- NA
  expect_message(fitted <- few(object), "2 cells without a \"condition\" are not in the target")
  fit <- bcnmf_model(fitted)
  expect_identical(c(ncol(fit$h), ncol(fit$h_background)), c(79L, 49L))
  embedding <- SeuratObject::Embeddings(fitted, "bcnmf")
  expect_identical(rownames(embedding), colnames(object))
  expect_false(anyNA(embedding))
  placed <- fit$d * predict(fit, two_conditions()$counts[rownames(fit$w), c(1, 130)])
  expect_equal(unname(embedding[c(1, 130), ]), unname(t(placed) / sqrt(colSums(placed^2))))
})

test_that("one cell without a label is told", {
  object <- seurat_object()
  object$condition[1] <- NA
  expect_message(few(object), "1 cell without a \"condition\" is not in the target")
})

test_that("background cells are free to use target-only factors in the embedding, not in the model", {
  fitted <- few(seurat_object(), k_target = 1)
  fit <- bcnmf_model(fitted)
  expect_true(all(fit$h_background[fit$target_only, ] == 0))
  control <- fitted$condition == "ctrl"
  expect_true(any(SeuratObject::Embeddings(fitted, "bcnmf")[control, fit$target_only] > 0))
})

test_that("a second object or a matrix can be the background", {
  object <- seurat_object()
  control <- object$condition == "ctrl"
  stim <- object[, !control]
  ctrl <- object[, control]
  reference <- bcnmf_model(few(object))
  fitted <- few(stim, split_by = NULL, background = ctrl)
  expect_same_model(bcnmf_model(fitted), reference)
  expect_equal(ncol(fitted), 80)
  expect_identical(rownames(SeuratObject::Embeddings(fitted, "bcnmf")), colnames(stim))
  use <- summary(bcnmf_model(fitted), group_by = "condition")
  expect_identical(levels(use$group), c("stim", "ctrl"))

  counts <- two_conditions()$counts[, control]
  fitted <- few(stim, split_by = NULL, background = counts)
  expect_same_model(bcnmf_model(fitted), reference)
  expect_identical(levels(summary(bcnmf_model(fitted), group_by = "condition")$group), c("stim", "background"))

  expect_message(fitted <- few(stim, split_by = NULL, background = counts[-c(40, 50), ]), "1 of the 40 features is not in `background`.*\"gene40\"")
  expect_false("gene40" %in% rownames(bcnmf_model(fitted)$w))
  # in another order
  expect_same_model(bcnmf_model(few(stim, split_by = NULL, background = counts[rev(rownames(counts)), ])), reference)
  wrong <- counts
  rownames(wrong) <- paste0("x", seq_len(nrow(wrong)))
  expect_bcnmf_error(few(stim, split_by = NULL, background = wrong), "has none of the 40 features", "background")
  expect_bcnmf_error(few(stim, split_by = NULL, background = unname(counts)), "no row names", "background")
  expect_bcnmf_error(few(object, split_by = NULL, background = ctrl), "50 cell names in common", "background")
})

test_that("target = names the target, wherever it stands", {
  object <- seurat_object()
  control <- object$condition == "ctrl"
  reference <- bcnmf_model(few(object))
  fitted <- bcnmf(k = 3, target = object[, !control], background = object[, control], maxit = 20, verbose = FALSE)
  expect_same_model(bcnmf_model(fitted), reference)
  expect_bcnmf_error(bcnmf(k = 3), "The target is missing", "object")
})

test_that("a fit goes on from a model in an object", {
  object <- seurat_object()
  half <- bcnmf_model(few(object, maxit = 10, tol = 0, accelerate = FALSE))
  full <- bcnmf_model(few(object, maxit = 20, tol = 0, accelerate = FALSE))
  rest <- bcnmf_model(few(object, k = NULL, maxit = 10, init = half))
  expect_same_model(rest, full, tolerance = 1e-4)
  expect_identical(rest$loss, "poisson")
})

few_matrix <- function() {
  sim <- small_sim()
  bcnmf(sim$target, sim$background, k = 2, maxit = 2)
}

test_that("columns of the cell data group by name, as they are now", {
  fitted <- few(seurat_object())
  fit <- bcnmf_model(fitted)
  expect_identical(
    summary(fit, group_by = "condition"),
    summary(fit, group_by = list(target = rep("stim", 80), background = rep("ctrl", 50)))
  )
  batch <- summary(fit, group_by = "batch", set = "target")
  expect_identical(batch, summary(fit, group_by = factor(rep(c("b2", "b1"), 40), c("b2", "b1")), set = "target"))

  both <- summary(fit, group_by = c("condition", "batch"))
  expect_identical(levels(both$group), c("stim / b2", "stim / b1", "ctrl / b2", "ctrl / b1"))
  expect_identical(paste(both$condition, both$batch, sep = " / "), as.character(both$group))
  expect_identical(both[1:6], summary(fit, group_by = fitted[[]][c("condition", "batch")])[1:6])
  expect_s3_class(biplot(fit, c(1, 2), "h", group_by = "condition"), "ggplot")

  # labels that bring the cells' names, those of a larger object too
  expect_identical(summary(fit, group_by = rev(fitted$batch)), summary(fit, group_by = "batch"))
  expect_identical(summary(fit, group_by = c(other = "b3", rev(fitted$condition))), summary(fit, group_by = unname(fitted$condition)))

  fitted$new <- rep_len(c("x", NA), 130)
  expect_identical(levels(summary(bcnmf_model(fitted), group_by = "new")$group), c("x", "NA"))
  expect_bcnmf_error(summary(fit, group_by = "nw"), "no column \"nw\".*\"condition\"", "group_by")
  expect_bcnmf_error(summary(fit, group_by = c("condition", "nw")), "no column \"nw\"", "group_by")
  expect_bcnmf_error(summary(few_matrix(), group_by = "condition"), "bcnmf_model\\(object\\)", "group_by")
  # cells that were renamed, or that the object lost
  renamed <- bcnmf_model(SeuratObject::RenameCells(fitted, add.cell.id = "run1"))
  expect_identical(colnames(renamed$h), paste0("run1_", colnames(fit$h)))
  expect_equal(summary(renamed, group_by = "batch"), summary(fit, group_by = "batch"))
  some <- bcnmf_model(fitted[, 1:100])
  expect_identical(levels(summary(some, group_by = "condition")$group), c("stim", "ctrl", "NA"))
  fit@misc$cell_data$target <- data.frame(condition = "a", row.names = "other")
  expect_bcnmf_error(summary(fit, group_by = "condition"), "None of the model's target cells", "group_by")
})

test_that("predict() reads the model's features from another object", {
  object <- seurat_object()
  fit <- bcnmf_model(few(object))
  counts <- two_conditions()$counts
  expect_identical(predict(fit, object), predict(fit, counts[rownames(fit$w), ]))
  expect_bcnmf_error(predict(fit, object[2:60, ]), "lacks 1 of the model's 40 features: \"gene1\"", "newdata")
})

test_that("what does not exist is refused, with what does", {
  object <- seurat_object()
  expect_bcnmf_error(few(object, split_by = "cond"), "no column \"cond\".*\"condition\"", "split_by")
  expect_bcnmf_error(few(object, split_by = object), "For a second object as background", "split_by")
  expect_bcnmf_error(few(object, split_by = c("a", "b")), "must be the name of a column", "split_by")
  expect_bcnmf_error(few(object, background = "control"), "names \"control\".*levels \"ctrl\" and \"stim\"", "background")
  expect_bcnmf_error(few(object, background = NULL), "is missing.*\"ctrl\" and \"stim\"", "background")
  expect_bcnmf_error(few(object, target = "control"), "names \"control\"", "target")
  expect_bcnmf_error(few(object, target = "ctrl"), "same 50 cells", "background")
  expect_bcnmf_error(few(object, background = c("ctrl", "stim")), "target is empty", "target")
  expect_bcnmf_error(few(object, background = rep(FALSE, 130)), "`background` is empty", "background")
  expect_bcnmf_error(few(object, background = rep(TRUE, 3)), "3 logical values for 130 cells", "background")
  expect_bcnmf_error(few(object, background = NA), "without missing values", "background")
  expect_bcnmf_error(few(object, background = list(1)), "levels of `split_by`", "background")
  expect_bcnmf_error(few(object, split_by = NULL, background = "zzz"), "no such cell.*\"target_1\"", "background")
  expect_bcnmf_error(few(object, assay = "X"), "\"X\", which does not exist.*\"RNA\"", "assay")
  expect_bcnmf_error(few(object, layer = "data2"), "no layer \"data2\".*\"counts\"", "layer")
  expect_bcnmf_error(few(object, layer = "scale.data"), "no layer \"scale.data\"", "layer")
  expect_bcnmf_error(few(object, features = c("gene1", "foo")), "1 of the 2 `features` is not in assay \"RNA\": \"foo\"", "features")
  expect_bcnmf_error(few(object, features = c("gene1", "gene2")), "at least as many `features`.*There are 2", "features")
  expect_bcnmf_error(few(object, features = character()), "names or numbers of features", "features")
  expect_bcnmf_error(few(object, features = rep(TRUE, 3)), "3 logical values for 60 features", "features")
  expect_bcnmf_error(few(seurat_object(0)), "no variable features.*FindVariableFeatures", "features")
  expect_bcnmf_error(few(object, k = NULL), "`k`, the number of factors, is missing", "k")
  expect_bcnmf_error(few(object, reduction.name = ""), "must be one name", "reduction.name")
  expect_bcnmf_error(few(object, reduction.name = "RNA"), "is an assay", "reduction.name")
  expect_bcnmf_error(few(object, normalise = "l2"), "\"L2\", \"L1\", \"z\" or \"none\"", "normalise")
  expect_bcnmf_error(few(object, foo = 1), "Unknown argument `foo`")
  expect_bcnmf_error(bcnmf_model(object), "no bcnmf model called \"bcnmf\".*no reduction", "name")
  expect_bcnmf_error(bcnmf_model(few(object), "pca"), "It has one called \"bcnmf\"", "name")
  expect_bcnmf_error(bcnmf_model(1), "must be a Seurat object", "object")
})

test_that("dense assays, all features in another order, a single feature", {
  object <- seurat_object()
  object <- SeuratObject::SetAssayData(object, "data", log1p(as.matrix(two_conditions()$counts)))
  fit <- bcnmf_model(few(object, layer = "data", loss = "mse"))
  sim <- two_conditions()$sim
  features <- SeuratObject::VariableFeatures(object)
  expect_same_model(fit, bcnmf(log1p(as.matrix(sim$target[features, ])), log1p(as.matrix(sim$background[features, ])), k = 3, maxit = 20))
  expect_identical(dim(bcnmf_model(few(object, k = 1, features = "gene7"))), c(1L, 80L, 1L))
})

test_that("Seurat's own verbs take the reduction", {
  skip_if_not_installed("Seurat")
  object <- Seurat::NormalizeData(seurat_object(), verbose = FALSE)
  object <- few(object)
  object <- Seurat::FindNeighbors(object, reduction = "bcnmf", dims = 1:3, verbose = FALSE)
  object <- Seurat::FindClusters(object, verbose = FALSE)
  expect_true("seurat_clusters" %in% names(object[[]]))
  expect_s3_class(summary(bcnmf_model(object), group_by = "seurat_clusters"), "bcnmf_summary")
  object <- suppressWarnings(Seurat::RunUMAP(object, reduction = "bcnmf", dims = 1:3, verbose = FALSE))
  expect_false(anyNA(SeuratObject::Embeddings(object, "umap")))
  object <- Seurat::ScaleData(object, features = rownames(object), verbose = FALSE)
  expect_s3_class(Seurat::DimPlot(object, reduction = "bcnmf", group.by = "condition"), "ggplot")
  expect_s3_class(Seurat::FeaturePlot(object, "BCNMF_2"), "ggplot")
  expect_s3_class(Seurat::VizDimLoadings(object, dims = 1:2, reduction = "bcnmf"), "ggplot")
  expect_s3_class(Seurat::ElbowPlot(object, ndims = 3, reduction = "bcnmf"), "ggplot")
  drawn <- Seurat::DimHeatmap(object, dims = 1, reduction = "bcnmf", cells = 30, fast = FALSE)
  expect_s3_class(drawn, "ggplot")
  # and goes through subset() and a file
  some <- subset(object, cells = colnames(object)[1:90])
  expect_identical(nrow(SeuratObject::Embeddings(some, "bcnmf")), 90L)
  file <- withr::local_tempfile()
  saveRDS(object, file)
  expect_same_model(bcnmf_model(readRDS(file)), bcnmf_model(object))
})

test_that("split layers are read as if joined (Seurat 5)", {
  skip_if_not_installed("SeuratObject", "5.0.0")
  object <- seurat_object()
  reference <- few(object)
  split <- object
  split[["RNA"]] <- split(split[["RNA"]], f = split$batch)
  expect_setequal(SeuratObject::Layers(split), c("counts.b1", "counts.b2"))
  SeuratObject::VariableFeatures(split) <- SeuratObject::VariableFeatures(object)
  before <- split
  fitted <- few(split)
  expect_identical(split, before)
  expect_same_model(bcnmf_model(fitted), bcnmf_model(reference))
  expect_identical(SeuratObject::Embeddings(fitted, "bcnmf"), SeuratObject::Embeddings(reference, "bcnmf"))
  expect_identical(SeuratObject::Layers(fitted), SeuratObject::Layers(split))

  # layers with different features: absent ones count as 0, as after JoinLayers()
  a <- object[1:50, object$batch == "b1"]
  b <- object[11:60, object$batch == "b2"]
  merged <- merge(a, b)
  fit <- function(x) bcnmf_model(few(x, features = paste0("gene", 1:60)))
  joined <- SeuratObject::JoinLayers(merged)
  expect_same_model(fit(merged), fit(joined))
})

test_that("an old assay in a new object is read too (Seurat 5)", {
  skip_if_not_installed("SeuratObject", "5.0.0")
  object <- seurat_object()
  old <- object
  suppressWarnings(old[["RNA"]] <- methods::as(object[["RNA"]], "Assay"))
  SeuratObject::VariableFeatures(old) <- SeuratObject::VariableFeatures(object)
  expect_same_model(bcnmf_model(few(old)), bcnmf_model(few(object)))
})

test_that("an assay with fewer cells than its object is embedded for its own (Seurat 5)", {
  skip_if_not_installed("SeuratObject", "5.0.0")
  object <- seurat_object()
  counts <- two_conditions()$counts
  object[["ADT"]] <- suppressWarnings(SeuratObject::CreateAssay5Object(counts[1:20, 1:120]))
  fitted <- few(object, assay = "ADT", features = paste0("gene", 1:20))
  expect_identical(rownames(SeuratObject::Embeddings(fitted, "bcnmf")), colnames(object)[1:120])
})

test_that("associate() takes the object's columns", {
  object <- seurat_object()
  object$donor <- rep_len(sprintf("d%d", 1:5), 130)
  object$depth <- log(object$nCount_RNA)
  fit <- bcnmf_model(few(object))
  by_hand <- associate(fit, list(target = rep("stim", 80), background = rep("ctrl", 50)))
  expect_identical(associate(fit, "condition"), by_hand)
  expect_identical(levels(by_hand$group), c("ctrl", "stim"))
  with_depth <- associate(fit, "batch", test = "logistic", covariates = "depth")
  expect_identical(with_depth, associate(fit, object$batch, test = "logistic", covariates = list(depth = object$depth)))
  expect_bcnmf_error(associate(fit, "cond"), "no column \"cond\"", "groups")
  expect_bcnmf_error(associate(fit, "batch", test = "logistic", covariates = "cond"), "no column \"cond\"", "covariates")
  skip_if_not_installed("limma")
  paired <- associate(fit, "condition", test = "pseudobulk", sample_by = "donor")
  expect_identical(unique(paired$test), "limma_t")
  expect_equal(unique(paired$n), 10)
})
