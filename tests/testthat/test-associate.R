test_that("one row per factor, or per factor and group, in the model's order", {
  fit <- grouped_fit()
  table <- associate(fit, every_second(60))
  expect_s3_class(table, "data.frame", exact = TRUE)
  expect_named(table, c(
    "factor", "group", "reference", "test", "effect", "estimate", "std_error", "conf_low", "conf_high", "log2_ratio",
    "statistic", "df", "n", "p_value", "p_adjusted"
  ))
  expect_identical(as.character(table$factor), colnames(fit$w))
  expect_identical(levels(table$factor), colnames(fit$w))
  expect_identical(as.character(table$group), rep("treated", 4))
  expect_identical(table$reference, rep("control", 4))
  three <- rep(c("b", "c", "a"), 20)
  each <- associate(fit, three, compare = "each")
  expect_identical(as.character(each$factor), rep(colnames(fit$w), each = 3))
  expect_identical(as.character(each$group), rep(c("a", "b", "c"), 4))
  expect_identical(unique(each$reference), "rest")
  first <- associate(fit, three, compare = "first")
  expect_identical(as.character(first$group), rep(c("b", "c"), 4))
  expect_identical(unique(first$reference), "a")
  overall <- associate(fit, three)
  expect_identical(as.character(overall$group), rep(NA_character_, 4))
  expect_identical(levels(overall$group), c("a", "b", "c"))
  for (test in c("logistic", "pseudobulk")) {
    if (test == "pseudobulk") skip_if_not_installed("limma")
    samples <- if (test == "pseudobulk") rep(1:10, 6)
    other <- associate(fit, three, test, "each", sample_by = samples)
    expect_identical(other[1:3], each[1:3])
    expect_named(other, names(table))
  }
})

test_that("p-values are adjusted over all rows", {
  fit <- grouped_fit()
  groups <- rep(c("a", "b", "c"), 20)
  table <- associate(fit, groups, compare = "each")
  expect_equal(table$p_adjusted, p.adjust(table$p_value, "BH"))
  expect_equal(associate(fit, groups, compare = "each", adjust = "holm")$p_adjusted, p.adjust(table$p_value, "holm"))
  expect_equal(associate(fit, groups, compare = "each", adjust = "none")$p_adjusted, table$p_value)
})

test_that("the log2 ratio is that of means", {
  fit <- grouped_fit()
  groups <- rep(c("a", "b", "c"), c(10, 20, 30))
  means <- sapply(split(seq_len(60), groups), function(i) rowMeans(uses_of(fit)[, i]))
  for (test in c("rank", "logistic")) {
    first <- associate(fit, groups, test, "first", value = "use")
    expect_equal(first$log2_ratio, as.vector(t(log2(means[, 2:3] / means[, 1]))))
    each <- associate(fit, groups, test, "each", value = "use")
    rest <- rowMeans(uses_of(fit)[, groups != "b"])
    expect_equal(each$log2_ratio[each$group == "b"], unname(log2(means[, "b"] / rest)))
  }
})

test_that("shares are parts of a cell's total use, 0 in a cell without use", {
  target <- rbind(c(1, 3, 0, 2), c(1, 1, 0, 6))
  fit <- fit_of_uses(w = diag(2), target = target)
  share <- rbind(c(0.5, 0.75, 0, 0.25), c(0.5, 0.25, 0, 0.75))
  table <- associate(fit, c("a", "a", "b", "b"))
  expect_equal(table$estimate, c(auc(share[1, 3:4], share[1, 1:2]), auc(share[2, 3:4], share[2, 1:2])))
  expect_equal(table$log2_ratio, log2(rowMeans(share[, 3:4]) / rowMeans(share[, 1:2])))
  # what the updates leave over of a zero is a tie with 0
  residue <- fit_of_uses(w = diag(2), target = rbind(c(1, 1e-20, 1e-25, 1), c(1, 1, 1, 1)))
  expect_equal(associate(residue, c("a", "a", "b", "b"), value = "use")$estimate[1], 0.5)
})

test_that("without groups target is compared with background", {
  fit <- grouped_fit(l = 30)
  table <- associate(fit, value = "use")
  expect_equal(table$estimate, contrast(fit)$auc)
  expect_equal(table$log2_ratio, contrast(fit)$log2_contrast)
  expect_identical(as.character(table$group), rep("target", 4))
  expect_identical(table$reference, rep("background", 4))
  expect_identical(unique(table$n), 90)
  expect_bcnmf_error(associate(grouped_fit()), "needs a background", arg = "groups")
  expect_bcnmf_error(associate(fit, set = "target"), "needs `groups`", arg = "set")
})

test_that("groups are those of summary(), but cells without labels are left out", {
  fit <- grouped_fit(l = 30)
  groups <- every_second(60)
  table <- associate(fit, groups)
  expect_identical(unique(table$n), 60)
  expect_equal(associate(fit, list(target = groups)), table)
  expect_equal(associate(fit, groups, set = "target"), table)
  expect_equal(associate(fit, c(groups, rep("x", 30)), set = "target"), table)
  expect_equal(associate(grouped_fit(l = 30), groups == "treated")$p_value, table$p_value)
  both <- associate(fit, c(groups, rep("background", 30)))
  expect_identical(unique(both$n), 90)
  expect_equal(associate(fit, list(target = groups, background = rep("background", 30)))$p_value, both$p_value)
  background <- associate(fit, list(background = rep(1:2, 15)))
  expect_identical(unique(background$n), 30)
  expect_equal(associate(fit, rep(1:2, 15), set = "background"), background)
})

test_that("labels and samples with the cells' names are matched by name", {
  fit <- grouped_fit(l = 30)
  cells <- c(sprintf("cell%d", 1:60), sprintf("control%d", 1:30))
  order <- withr::with_seed(3, sample(90))
  labels <- stats::setNames(rep_len(c("a", "b", "c"), 90), cells)
  expected <- associate(fit, unname(labels))
  expect_equal(associate(fit, labels[order]), expected)
  expect_equal(associate(fit, c(other = "d", labels[order])), expected)
  expect_equal(associate(fit, factor(labels[order], levels = c("a", "d", "b", "c"))), expected)
  expect_equal(associate(fit, rev(labels[1:60])), associate(fit, unname(labels[1:60])))
  expect_bcnmf_error(associate(fit, labels[-7]), "no label for 1 of the model's cells: \"cell7\"", arg = "groups")
  skip_if_not_installed("limma")
  samples <- stats::setNames(rep_len(1:7, 90), cells)
  by_sample <- function(samples) associate(fit, labels, "pseudobulk", sample_by = samples)
  expect_equal(by_sample(samples[order]), by_sample(unname(samples)))
  expect_equal(by_sample(data.frame(s = samples, row.names = cells)[order, , drop = FALSE]), by_sample(unname(samples)))
  expect_bcnmf_error(by_sample(samples[-(1:4)]), "no label for 4 .* \"cell1\", .*\\.\\.\\.", arg = "sample_by")
})

test_that("the first group is the first level; of sets labelled apart the background's own", {
  fit <- grouped_fit(l = 30)
  labels <- factor(rep(c("stim", "ctrl"), c(60, 30)), levels = c("stim", "ctrl"))
  expect_identical(associate(fit, labels)$reference[1], "stim")
  expect_identical(associate(fit, as.character(labels))$reference[1], "ctrl")
  expect_identical(associate(fit, list(target = rep("a", 60), background = rep("b", 30)))$reference[1], "b")
  apart <- list(target = rep(c("T", "B"), 30), background = rep(c("T", "B"), 15))
  expect_identical(associate(fit, apart)$reference[1], "B")
})

test_that("missing labels are left out and counted aloud", {
  fit <- grouped_fit()
  groups <- every_second(60)
  groups[c(1, 2, 7)] <- NA
  expect_message(table <- associate(fit, groups), "3 cells without a label are left out")
  expect_identical(unique(table$n), 57)
  groups[c(2, 7)] <- c("treated", "control")
  expect_message(associate(fit, groups), "1 cell without a label is left out")
  covariates <- list(age = c(NA, 2:60))
  expect_message(associate(fit, every_second(60), "logistic", covariates = covariates), "1 cell without a value of every covariate is")
})

test_that("neither the order of cells nor the names of groups matter", {
  fit <- grouped_fit()
  groups <- rep(c("a", "b", "c"), 20)
  order <- withr::with_seed(5, sample(60))
  shuffled <- fit
  shuffled@h <- fit@h[, order]
  renamed <- c(a = "x1", b = "x2", c = "x3")[groups]
  samples <- rep(1:10, 6)
  tests <- c("rank", "logistic", if (requireNamespace("limma", quietly = TRUE)) "pseudobulk")
  for (test in tests) {
    by <- function(x) if (test == "pseudobulk") x
    table <- associate(fit, groups, test, "each", sample_by = by(samples))
    expect_equal(associate(shuffled, groups[order], test, "each", sample_by = by(samples[order])), table)
    again <- associate(fit, unname(renamed), test, "each", sample_by = by(paste("s", samples)))
    expect_identical(levels(again$group), unname(c("x1", "x2", "x3")))
    expect_equal(again[-2], table[-2])
  }
})

test_that("target-only factors are not tested against background cells", {
  fit <- fake_fit(n = 20, l = 16, k_target = 1)
  expect_warning(table <- associate(fit), "\"bcnmf3\" is not tested.*circular", class = "bcnmf_warning")
  expect_identical(is.na(table$p_value), c(FALSE, FALSE, TRUE))
  expect_true(all(is.na(table[3, c("estimate", "log2_ratio", "statistic", "n", "p_adjusted")])))
  expect_equal(table$p_adjusted[1:2], p.adjust(table$p_value[1:2], "BH"))
  expect_warning(associate(fit, rep(c("a", "b"), 18), "logistic"), "circular", class = "bcnmf_warning")
  expect_silent(inside <- associate(fit, rep(c("a", "b"), 10)))
  expect_false(anyNA(inside$p_value))
  expect_warning(associate(fake_fit(n = 20, l = 16, k_target = 2)), "Target-only factors .* are not tested")
})

test_that("factors without differences between cells have nothing to test", {
  dead <- fit_of_uses(w = matrix(c(0.5, 0.5, 0, 0), 2), target = rbind(c(1:7, 3), rep(0, 8)))
  for (test in c("rank", "logistic")) {
    table <- associate(dead, rep(c("a", "b"), 4), test, value = "use")
    expect_identical(is.na(table$p_value), c(FALSE, TRUE))
    expect_equal(table$p_adjusted[1], table$p_value[1])
  }
})

test_that("one factor, one cell a group, 40 groups, no names", {
  one <- fake_fit(k = 1, l = 0)
  groups <- every_second(12)
  expect_warning(table <- associate(one, groups), "all shares are 1", class = "bcnmf_warning")
  expect_identical(table$p_value, NA_real_)
  expect_true(is.finite(associate(one, groups, value = "use")$p_value))
  for (test in c("rank", "logistic")) suppressWarnings({
    expect_identical(associate(one, groups, test)$p_value, NA_real_)
    lonely <- associate(fake_fit(n = 3), c("a", "a", "b"), test)
    expect_true(all(is.finite(lonely$p_value)))
  })
  expect_identical(associate(fake_fit(n = 2), c("a", "b"))$n, rep(2, 3))
  many <- associate(fake_fit(n = 80, l = 0, names = FALSE), rep(1:40, 2), compare = "each")
  expect_identical(nrow(many), 120L)
  expect_false(anyNA(many$p_value))
  expect_identical(levels(many$group), as.character(1:40))
})

test_that("mistakes are refused", {
  fit <- grouped_fit(l = 30)
  groups <- every_second(60)
  expect_bcnmf_error(associate("fit", groups), "made by bcnmf", arg = "fit")
  expect_bcnmf_error(associate(fit, groups, test = "t"), "\"rank\", \"logistic\" or \"pseudobulk\"", arg = "test")
  expect_bcnmf_error(associate(fit, groups, compare = "all"), "\"overall\"", arg = "compare")
  expect_bcnmf_error(associate(fit, groups, value = "h"), "\"share\" or \"use\"", arg = "value")
  expect_bcnmf_error(associate(fit, groups, set = "all"), "\"both\"", arg = "set")
  expect_bcnmf_error(associate(fit, groups, adjust = "bh"), "\"BH\"", arg = "adjust")
  expect_bcnmf_error(associate(fit, groups, conf_level = 95), "conf_level", arg = "conf_level")
  expect_bcnmf_error(associate(fit, groups, min_cells = 0), "at least 1", arg = "min_cells")
  error <- expect_bcnmf_error(associate(fit, 1:3), "`groups` must have length 60", arg = "groups")
  expect_identical(as.character(error$call[[1]]), "associate")
  expect_bcnmf_error(associate(fit, list(target = "a")), "`groups` gives 1 label for 60 target cells", arg = "groups")
  expect_bcnmf_error(associate(fit, list(targets = groups)), "given as `groups`", arg = "groups")
  expect_bcnmf_error(associate(fit, mean), "vector of labels", arg = "groups")
  expect_bcnmf_error(associate(fit, rep("a", 60)), "All 60 are \"a\"", arg = "groups")
  expect_bcnmf_error(suppressMessages(associate(fit, rep(NA, 60))), "There is none", arg = "groups")
  expect_bcnmf_error(associate(fake_fit(n = 1), "a"), "at least two groups")
  expect_bcnmf_error(associate(fit, groups, covariates = list(a = 1:60)), "test = \"logistic\"", arg = "covariates")
  expect_bcnmf_error(associate(fit, groups, sample_by = rep(1:6, 10)), "test = \"pseudobulk\"", arg = "sample_by")
  expect_bcnmf_error(associate(fit, groups, "logistic", sample_by = rep(1:6, 10)), "independent", arg = "sample_by")
})

test_that("wrong covariates are refused", {
  fit <- grouped_fit(l = 30)
  logistic <- function(covariates, groups = every_second(60)) associate(fit, groups, "logistic", covariates = covariates)
  expect_bcnmf_error(logistic(1:60), "data frame or a named list", arg = "covariates")
  expect_bcnmf_error(logistic(list()), "data frame or a named list", arg = "covariates")
  expect_bcnmf_error(logistic(list(1:60)), "a name of its own", arg = "covariates")
  expect_bcnmf_error(logistic(list(a = 1:60, b = 1:59)), "a: 60, b: 59", arg = "covariates")
  expect_bcnmf_error(logistic(list(a = 1:59)), "one row per cell: 60 or 90", arg = "covariates")
  expect_bcnmf_error(logistic(list(a = 1:60), rep(c("a", "b"), 45)), "one row per cell: 90", arg = "covariates")
  expect_bcnmf_error(logistic(data.frame(a = I(as.list(1:60)))), "numbers or labels", arg = "covariates$a")
  expect_bcnmf_error(logistic(list(a = c(Inf, 1:59))), "finite", arg = "covariates$a")
  expect_bcnmf_error(logistic(list(a = every_second(60))), "covariates` alone tell", arg = "covariates")
})

test_that("a cell of an object that is in both sets counts once, and is known by name", {
  object <- sce_object()
  fit <- bcnmf_model(few(object, target = c("stim", "ctrl"), alpha = 0.1))
  condition <- stats::setNames(object$condition, colnames(object))
  n_background <- sum(condition == "ctrl")
  apart <- associate(fit, unname(condition), set = "target")
  expect_message(once <- associate(fit, "condition"), paste(n_background, "cells of both sets are counted once, in the target"))
  expect_equal(once, apart)
  expect_equal(suppressMessages(associate(fit, rev(condition))), apart)
  expect_message(table <- associate(fit), paste(n_background, "cells of both sets are counted once, in the background"))
  expect_identical(table$n, rep(as.double(ncol(object)), 3))
  depth <- data.frame(depth = log(fit$d %*% fit$h)[1, ], row.names = colnames(object))
  logistic <- function(covariates) associate(fit, "batch", "logistic", set = "target", covariates = covariates)
  expect_equal(logistic(depth[rev(colnames(object)), , drop = FALSE]), logistic(list(depth = unname(depth[colnames(fit$h), ]))))
})

test_that("names that target and background have both are not matched, and not ignored", {
  fit <- grouped_fit(l = 30)
  colnames(fit@h_background) <- colnames(fit@h)[1:30]
  labels <- stats::setNames(every_second(60), colnames(fit@h))
  expect_equal(associate(fit, labels), associate(fit, unname(labels)))
  expect_bcnmf_error(associate(fit, rev(labels)), "these names repeat", arg = "groups")
  expect_equal(associate(fit, list(target = rev(labels))), associate(fit, labels))
  both <- c(labels, labels[1:30])
  expect_equal(associate(fit, both), associate(fit, unname(both)))
  expect_bcnmf_error(associate(fit, rev(both)), "these names repeat", arg = "groups")
  depth <- stats::setNames(sqrt(1:60), names(labels))
  logistic <- function(covariates) associate(fit, labels, "logistic", covariates = covariates)
  expect_equal(logistic(list(depth = depth)), logistic(list(depth = unname(depth))))
  expect_bcnmf_error(logistic(list(depth = rev(depth))), "these names repeat", arg = "covariates$depth")
  expect_bcnmf_error(augment(fit, data.frame(depth = rev(depth))), "these names repeat", arg = "data")
})
