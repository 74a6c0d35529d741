# RNA and proteins of the same cells: the proteins' counts are a hundred times as many.
two_sim <- function() {
  sim <- simulate_contrast(100, 200, 120, k_shared = 3, k_target = 1, share = 0.3, depth = 300, seed = 1)
  parts <- function(x) {
    protein <- as.matrix(x[81:100, ]) * 100
    rownames(protein) <- paste0("adt", 1:20)
    list(rna = x[1:80, ], protein = protein)
  }
  list(target = parts(sim$target), background = parts(sim$background), w = sim$w)
}

test_that("modalities are one matrix, unless they are weighted", {
  sim <- two_sim()
  one <- lapply(sim[c("target", "background")], function(x) rbind(as.matrix(x$rna), x$protein))
  none <- list(modalities = "none")
  for (loss in c("mse", "poisson")) {
    fit <- function(x, y, ...) bcnmf(x, y, k = 4, k_target = 1, loss = loss, maxit = 30, precision = "double", ...)
    expect_same_model(fit(sim$target, sim$background, weights = none), fit(one$target, one$background), tolerance = 1e-6)
    equal <- fit(sim$target, sim$background)
    size <- if (loss == "mse") function(x) sum(x^2) else sum
    per <- 1 / vapply(sim$target, size, 0)
    given <- list(features = rep(unname(per), c(80, 20)))
    expect_same_model(equal, fit(one$target, one$background, weights = given), tolerance = 1e-6)
    expect_same_model(equal, fit(sim$target, sim$background, weights = list(modalities = per)), tolerance = 1e-6)
    # the unit of a modality does not matter then, but for where a fit starts
    other <- sim
    other$target$protein <- other$target$protein * 64
    other$background$protein <- other$background$protein * 64
    expect_equal(fit(other$target, other$background)$h, equal$h, tolerance = 0.01)
  }
})

test_that("a model of modalities has their features, and does what others do", {
  sim <- two_sim()
  fit <- bcnmf(sim$target, sim$background, k = 4, k_target = 1, loss = "poisson", maxit = 300)
  expect_identical(rownames(fit$w), c(rownames(sim$target$rna), paste0("adt", 1:20)))
  expect_identical(levels(fit$modality), c("rna", "protein"))
  expect_named(fit$modality, rownames(fit$w))
  expect_output(print(fit), "rna (80 features), protein (20 features)", fixed = TRUE)
  both <- modalities(fit)
  expect_named(both, c("rna", "protein"))
  expect_identical(lapply(both, function(one) rownames(one$w)), split(rownames(fit$w), fit$modality)[c("rna", "protein")])
  for (one in both) expect_equal(unname(colSums(one$w)), rep(1, 4))
  expect_equal(both$rna$share + both$protein$share, stats::setNames(rep(1, 4), colnames(fit$w)))
  found <- rbind(both$rna$w * rep(both$rna$share, each = 80), both$protein$w * rep(both$protein$share, each = 20))
  expect_equal(found, fit$w)
  top <- top_features(fit, n = 5, modality = "protein")
  expect_true(all(startsWith(top$feature, "adt")) && nrow(top) == 20)
  expect_equal(predict(fit, sim$target), fit$h, tolerance = 0.02)
  table <- evaluate(fit, sim$target, sim$background)
  expect_equal(table$divergence, unname(fit$divergence[c("target", "background")]), tolerance = 1e-5)
  expect_identical(dim(residuals(fit, sim$target)), c(100L, 200L))
  # modalities are known by name
  other <- rev(sim$target)
  expect_identical(predict(fit, other), predict(fit, sim$target))
  expect_identical(evaluate(fit, other, rev(sim$background)), table)
  expect_identical(residuals(fit, other), residuals(fit, sim$target))
  high <- fitted(fit) > 5
  expect_identical(impute(fit, other, mask = high), impute(fit, sim$target, mask = high))
  for (wrong in list(other[1], c(other, other[1]), unname(other))) {
    expect_bcnmf_error(predict(fit, wrong), "the model's modalities, \"rna\" and \"protein\"", arg = "newdata")
  }
  on <- bcnmf(sim$target, sim$background, init = fit, maxit = 5, tol = 0)
  expect_lte(on$divergence[["objective"]], fit$divergence[["objective"]] * (1 + 1e-6))
  expect_identical(on$modality, fit$modality)
  expect_identical(bcnmf(other, sim$background, init = fit, maxit = 5, tol = 0)$w, on$w)
  ranks <- select_rank(sim$target, k = 2:4, loss = "poisson", masks = 1, maxit = 30)
  expect_equal(sum(ranks$selected), 1)
  fits <- lapply(1:2, function(seed) bcnmf(sim$target, k = 3, loss = "nb", seed = seed, maxit = 50))
  expect_identical(consensus(fits, target = other)$model$modality, fit$modality)
})

test_that("proteins that some cells lack are missing", {
  sim <- two_sim()
  x <- sim$target
  x$protein[, 101:200] <- NA
  fit <- bcnmf(x, k = 3, loss = "poisson", mask = "NA", maxit = 100, seed = 1)
  truth <- bcnmf(sim$target, k = 3, loss = "poisson", maxit = 100, seed = 1)
  guess <- as.matrix(impute(fit, x))[81:100, 101:200]
  known <- sim$target$protein[, 101:200]
  expect_lt(sum((guess - known)^2), 0.5 * sum((known - rowMeans(x$protein[, 1:100]))^2))
  expect_true(all(best_cosine(fit$w, truth$w) > 0.8))
})

test_that("names are made where there are none, and told apart where they repeat", {
  x <- list(a = matrix(1:6 + 0, 3, 2), b = matrix(6:1 + 0, 3, 2))
  expect_identical(rownames(bcnmf(x, k = 1, maxit = 2)$w), c("a1", "a2", "a3", "b1", "b2", "b3"))
  rownames(x$a) <- rownames(x$b) <- c("CD3", "CD4", "CD8")
  colnames(x$b) <- c("cell1", "cell2")
  fit <- bcnmf(x, k = 1, maxit = 2)
  expect_identical(rownames(fit$w), paste(rep(c("a", "b"), each = 3), c("CD3", "CD4", "CD8"), sep = ":"))
  expect_identical(colnames(fit$h), c("cell1", "cell2"))
  # in any order
  reversed <- bcnmf(x, x[2:1], k = 1, alpha = 0.1, maxit = 2)
  expect_identical(rownames(reversed$w), rownames(fit$w))
})

test_that("wrong modalities are refused", {
  sim <- two_sim()
  x <- sim$target
  expect_bcnmf_error(bcnmf(unname(x), k = 2), "different names", arg = "target")
  expect_bcnmf_error(bcnmf(list(), k = 2), "different names", arg = "target")
  expect_bcnmf_error(bcnmf(list(rna = x), k = 2), "a matrix", arg = "target$rna")
  expect_bcnmf_error(bcnmf(list(rna = x$rna, protein = x$protein[, 1:9]), k = 2), "same cells", arg = "target$protein")
  moved <- x
  moved$protein <- moved$protein[, 200:1]
  expect_bcnmf_error(bcnmf(moved, k = 2), "in one order", arg = "target$protein")
  expect_bcnmf_error(bcnmf(x, sim$background$rna, k = 2), "or neither", arg = "background")
  expect_bcnmf_error(bcnmf(x, sim$background[1], k = 2), "must have the target's modalities", arg = "background")
  expect_bcnmf_error(bcnmf(x, k = 2, weights = list(modalities = c(1, -1))), "2 finite numbers", arg = "weights$modalities")
  expect_bcnmf_error(bcnmf(x, k = 2, weights = list(modalities = c(protein = 1, rna = 1))), "in place 1", arg = "weights$modalities")
  expect_bcnmf_error(bcnmf(x$rna, k = 2, weights = list(modalities = "equal")), "no list of modalities", arg = "weights")
  expect_bcnmf_error(bcnmf(x, k = 2, loss = c(rna = "poisson")), "one loss for each modality", arg = "loss")
  expect_bcnmf_error(bcnmf(x, k = 2, loss = c(rna = "poisson", adt = "mse")), "rna", arg = "loss")
  expect_bcnmf_error(bcnmf(x, k = 2, loss = c(rna = "poisson", protein = "mae")), "mse", arg = 'loss[["protein"]]')
  expect_bcnmf_error(bcnmf(x, k = 2, loss = c("poisson", "mse")), "one of", arg = "loss")
  expect_bcnmf_error(bcnmf(x$rna, k = 2, loss = c(rna = "poisson", protein = "mse")), "no list of them", arg = "loss")
  expect_bcnmf_error(bcnmf(x, k = 2, loss = c(rna = "poisson", protein = "mse"), dispersion = "global"), "have none", arg = "dispersion")
  expect_bcnmf_error(bcnmf(x, k = 2, loss = c(rna = "poisson", protein = "mse"), zi = "cell"), "zinb", arg = "zi")
  mixed <- bcnmf(x, k = 2, loss = c(rna = "poisson", protein = "mse"), maxit = 2)
  expect_bcnmf_error(bcnmf(rbind(x$rna, x$protein), init = mixed), "as a list of them", arg = "object")
  expect_bcnmf_error(modalities(bcnmf(x$rna, k = 2, maxit = 2)), "no modalities", arg = "fit")
  expect_bcnmf_error(top_features(bcnmf(x, k = 2, maxit = 2), modality = "atac"), "rna", arg = "modality")
  expect_bcnmf_error(top_features(bcnmf(x, k = 2, maxit = 2), modality = names(x)), "one name", arg = "modality")
  expect_bcnmf_error(predict(mixed, x["rna"]), "the model's modalities", arg = "newdata")
})

# Counts of RNA, and proteins in another unit, so that they are no counts; these come first.
mixed_sim <- function() {
  sim <- two_sim()
  parts <- function(x) list(protein = x$protein / 70, rna = x$rna)
  list(target = parts(sim$target), background = parts(sim$background), w = sim$w)
}
mixed_losses <- c(rna = "nb", protein = "mse")

test_that("each modality can have its own loss", {
  sim <- mixed_sim()
  expect_silent(fit <- bcnmf(sim$target, sim$background, k = 4, k_target = 1, loss = mixed_losses, maxit = 300, verbose = FALSE))
  expect_identical(fit$loss, mixed_losses[c("protein", "rna")])
  expect_output(print(fit), "loss protein: mse, rna: nb", fixed = TRUE)
  expect_identical(glance(fit)$loss, "protein: mse, rna: nb")
  # squared errors come last in w, modalities as they were given
  expect_identical(rownames(fit$w), c(rownames(sim$target$rna), rownames(sim$target$protein)))
  expect_identical(levels(fit$modality), c("protein", "rna"))
  expect_identical(rownames(modalities(fit)$protein$w), rownames(sim$target$protein))
  # the simulation's features are RNA first too
  expect_true(all(best_cosine(fit$w[1:80, ], sim$w[1:80, ]) > 0.9))
  expect_true(all(fit$dispersion[1:80] >= 0) && any(fit$dispersion[1:80] > 0) && all(fit$dispersion[81:100] == 0))
  on <- bcnmf(sim$target, sim$background, init = fit, maxit = 5, tol = 0)
  expect_lte(on$divergence[["objective"]], fit$divergence[["objective"]] * (1 + 1e-4))
  expect_identical(on$loss, fit$loss)
})

test_that("the objective is the sum of both divergences", {
  sim <- mixed_sim()
  losses <- c(rna = "poisson", protein = "mse")
  per <- c(protein = 3, rna = 0.5)
  fit <- bcnmf(sim$target, sim$background, k = 3, alpha = 0.2, ambient = 0, loss = losses, weights = list(modalities = per), maxit = 30, precision = "double")
  # only the ratios of weights matter
  weight <- rep(per[c("rna", "protein")], c(80, 20))
  weight <- weight / mean(weight)
  of_set <- function(set, x) {
    mu <- fitted(fit, set)
    x <- rbind(as.matrix(x$rna), x$protein)
    kl <- ifelse(x > 0, x * log(x / mu), 0) - x + mu
    sum(weight * ifelse(rep(1:100 > 80, ncol(x)), (x - mu)^2, kl))
  }
  target <- of_set("target", sim$target)
  background <- of_set("background", sim$background)
  expect_equal(unname(fit$divergence), c(target, background, target - 0.2 * background), tolerance = 1e-8)
  expect_equal(evaluate(fit, sim$target, sim$background)$divergence, c(target, background), tolerance = 1e-6)
  expect_equal(evaluate(fit, rbind(sim$target$rna, sim$target$protein))$divergence, target, tolerance = 1e-6)
  size <- function(x) 0.5 * sum(x$rna) + 3 * sum(x$protein^2)
  expect_equal(fit$beta, 0.2 * size(sim$background) / size(sim$target), tolerance = 1e-6)
})

test_that("one loss by name is one loss, and counts of several kinds are possible", {
  sim <- two_sim()
  fit <- function(loss, ...) bcnmf(sim$target, k = 3, loss = loss, maxit = 20, ...)
  expect_identical(fit(c(rna = "poisson", protein = "poisson"))$w, fit("poisson")$w)
  expect_identical(fit(list(protein = "nb", rna = "nb"))$loss, "nb")
  both <- fit(c(rna = "zinb", protein = "poisson"), zi = "cell")
  expect_length(both$dropout, 200)
  expect_true(all(both$dispersion[81:100] == 0))
  rates <- fitted(both)
  kept <- fitted(both, dropout = TRUE) / rates
  expect_equal(kept[81:100, ], array(1, c(20, 200)), ignore_attr = TRUE)
  expect_equal(kept[1, rates[1, ] > 0], (1 - unname(both$dropout))[rates[1, ] > 0], ignore_attr = TRUE)
  by_feature <- fit(c(rna = "zinb", protein = "nb"))
  expect_true(all(by_feature$dropout[81:100] == 0) && any(by_feature$dropout[1:80] > 0))
})

test_that("everything else knows the losses of modalities", {
  sim <- mixed_sim()
  fit <- function(...) bcnmf(sim$target, sim$background, k = 4, k_target = 1, loss = mixed_losses, ...)
  model <- fit(maxit = 200)
  expect_equal(predict(model, sim$target), model$h, tolerance = 0.02)
  stacked <- rbind(sim$target$rna, sim$target$protein)
  expect_equal(predict(model, stacked), predict(model, sim$target))
  expect_equal(residuals(model, sim$target), residuals(model, stacked))
  pearson <- residuals(model, sim$target, type = "pearson", features = 79:82)
  response <- residuals(model, sim$target, features = 79:82)
  expect_equal(pearson[3:4, ], response[3:4, ])
  mu <- fitted(model, features = 79)
  expect_equal(pearson[1, ], response[1, ] / sqrt(mu + model$dispersion[[79]] * mu^2)[1, ])
  models <- lapply(1:2, function(seed) fit(seed = seed, maxit = 60))
  for (target in list(sim$target, stacked)) {
    background <- if (is.list(target)) sim$background else rbind(sim$background$rna, sim$background$protein)
    together <- consensus(models, target = target, background = background)$model
    expect_identical(together$loss, model$loss)
    expect_identical(together$modality, model$modality)
  }
  expect_bcnmf_error(consensus(list(models[[1]], bcnmf(sim$target, sim$background, k = 4, k_target = 1, loss = c(rna = "poisson", protein = "mse"), maxit = 5))), "same loss", arg = "fits")
  for (init in c("nndsvd", "random")) expect_s4_class(bcnmf(sim$target, k = 3, loss = mixed_losses, init = init, maxit = 5), "bcnmf")
  ranks <- select_rank(sim$target, k = 2:4, loss = mixed_losses, masks = 1, maxit = 30)
  expect_equal(sum(ranks$selected), 1)
  path <- alpha_path(sim$target, sim$background, k = 3, beta = c(0, 0.2), loss = mixed_losses, maxit = 30)
  expect_true(all(is.finite(path$target)))
  expect_equal(sum(select_k_target(sim$target, sim$background, k = 4, k_target = 0:1, loss = mixed_losses, masks = 1)$selected), 1)
  online <- fit(batch_size = 50, maxit = 20)
  expect_true(all(is.finite(online$w)))
})

test_that("missing entries, weights and size factors go with losses of modalities", {
  sim <- mixed_sim()
  x <- sim$target
  x$protein[, 101:200] <- NA
  fit <- bcnmf(x, k = 3, loss = mixed_losses, mask = "NA", maxit = 150, seed = 1)
  guess <- as.matrix(impute(fit, x))[81:100, 101:200]
  known <- sim$target$protein[, 101:200]
  expect_lt(sum((guess - known)^2), 0.5 * sum((known - rowMeans(x$protein[, 1:100]))^2))
  # what is masked has no say, nor in how often a modality counts
  odd <- sim$target
  odd$protein[, 101:200] <- 1e300
  hidden <- rbind(matrix(FALSE, 20, 200), matrix(FALSE, 80, 200))
  hidden[81:100, 101:200] <- TRUE
  masked <- bcnmf(odd, k = 3, loss = mixed_losses, mask = hidden, maxit = 150, seed = 1)
  expect_identical(masked$w, fit$w)
  sized <- bcnmf(sim$target, k = 3, loss = mixed_losses, size_factors = "library", maxit = 50, precision = "double")
  plain <- bcnmf(sim$target, k = 3, loss = mixed_losses, maxit = 50, precision = "double")
  expect_equal(sized$w, plain$w, tolerance = 1e-6)
  expect_equal(predict(sized, sim$target), sized$h, tolerance = 0.05)
  expect_s4_class(bcnmf(sim$target, k = 3, loss = mixed_losses, weights = list(cells = rep(c(0, 1), 100)), maxit = 20), "bcnmf")
})
