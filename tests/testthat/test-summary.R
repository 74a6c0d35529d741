# Two factors: uses are easy to follow by hand.
simple <- function(...) {
  fit_of_uses(
    w = matrix(c(0.5, 0.5, 0, 0, 0.5, 0.5), 3),
    target = rbind(c(1, 3, 5, 7), c(2, 2, 0, 0)),
    background = rbind(c(4, 4), c(1, 0)),
    ...
  )
}

test_that("without groups: one row per factor", {
  table <- summary(simple())
  expect_s3_class(table, c("bcnmf_summary", "data.frame"), exact = TRUE)
  expect_named(table, c("factor", "d", "share", "log2_contrast", "auc", "effect", "prevalence", "target_only"))
  expect_equal(table$d, c(16, 4))
  expect_equal(table$share, c(0.8, 0.2))
  expect_equal(table$log2_contrast, log2(c(4 / 4, 1 / 0.5)))
  # use 1, 3 < 4 < 5, 7; and 2, 2, 0, 0 against 1, 0: 2 + 2 wins x 2, and two ties with 0
  expect_equal(table$auc, c(0.5, (4 + 2 * 0.5) / 8))
  expect_identical(levels(table$factor), colnames(simple()$w))
})

test_that("uses are summarised by group, for target and background", {
  table <- summary(simple(), group_by = c("b", "b", "a", "a"))
  expect_s3_class(table, c("bcnmf_summary", "data.frame"), exact = TRUE)
  expect_named(table, c("factor", "group", "set", "n", "stat", "value"))
  expect_identical(as.character(table$group), rep(c("a", "b", "background"), 2))
  expect_identical(table$set, rep(c("target", "target", "background"), 2))
  expect_identical(table$n, rep(2L, 6))
  expect_equal(table$value, c(6, 2, 4, 0, 2, 0.5))
  expect_equal(summary(simple(), c("b", "b", "a", "a"), stat = "sum")$value, c(12, 4, 8, 0, 4, 1))
  expect_equal(summary(simple(), c("b", "b", "b", "a"), stat = "median")$value, c(7, 3, 4, 0, 2, 0.5))
  # the shares that plot() draws
  target <- summary(simple(), c("b", "b", "a", "a"), set = "target")
  expect_equal(stats::ave(target$value, target$factor, FUN = function(v) v / sum(v)), c(0.75, 0.25, 0, 1))
})

test_that("groups may be given for both sets, as one vector or as a list", {
  fit <- simple()
  by_vector <- summary(fit, c("b", "b", "a", "a", "a", "c"))
  by_list <- summary(fit, list(target = c("b", "b", "a", "a"), background = c("a", "c")))
  expect_equal(by_vector, by_list)
  expect_identical(as.character(by_vector$group), rep(c("a", "b", "a", "c"), 2))
  expect_equal(by_vector$value, c(6, 2, 4, 4, 0, 2, 1, 0))
  background <- summary(fit, c("x", "y"), set = "background")
  expect_identical(unique(background$set), "background")
  expect_equal(background$value, c(4, 4, 1, 0))
  expect_equal(summary(fit, c("b", "b", "a", "a", "x", "y"), set = "background")$value, c(4, 4, 1, 0))
  only_background <- summary(fit, list(background = c("x", "y")))
  expect_identical(as.character(only_background$group)[1:3], c("target", "x", "y"))
})

test_that("factors keep their order of levels, empty ones are dropped, NA is a group", {
  fit <- simple()
  table <- summary(fit, factor(c("b", "b", "a", "a"), levels = c("z", "b", "a")), set = "target")
  expect_identical(levels(table$group), c("b", "a"))
  table <- summary(fit, c("b", NA, "a", NA), set = "target")
  expect_identical(levels(table$group), c("a", "b", "NA"))
  expect_equal(table$n[1:3], c(1L, 1L, 2L))
  expect_equal(summary(fit, addNA(factor(c("b", NA, "a", NA))), set = "target"), table)
  expect_identical(levels(summary(fit, c(TRUE, TRUE, FALSE, FALSE), set = "target")$group), c("FALSE", "TRUE"))
  expect_identical(levels(summary(fit, c(10, 2, 2, 10), set = "target")$group), c("2", "10"))
  expect_identical(as.character(summary(fit, rep(NA, 4), set = "target")$group), c("NA", "NA"))
})

test_that("labels with the cells' names are matched by name", {
  fit <- simple()
  labels <- c(cell1 = "b", cell2 = "b", cell3 = "a", cell4 = "a", control1 = "x", control2 = "y")
  expected <- summary(fit, unname(labels))
  mixed <- c(labels, other = "z")[c(5, 3, 7, 1, 6, 4, 2)]
  expect_equal(summary(fit, mixed), expected)
  expect_equal(summary(fit, factor(mixed)), expected)
  expect_equal(summary(fit, data.frame(g = mixed, row.names = names(mixed))), expected)
  two <- data.frame(g = unname(mixed), batch = rep(1:2, length.out = 7), row.names = names(mixed))
  expect_equal(summary(fit, two), summary(fit, `rownames<-`(two[names(labels), ], NULL)))
  expect_equal(summary(fit, list(target = rev(labels[1:4]), background = rev(labels[5:6]))), expected)
  # of one set
  expect_equal(summary(fit, rev(labels[1:4])), summary(fit, unname(labels[1:4])))
  expect_equal(summary(fit, mixed, set = "target"), summary(fit, unname(labels[1:4]), set = "target"))
  expect_equal(summary(fit, labels[6:5], set = "background"), summary(fit, c("x", "y"), set = "background"))
  expect_equal(summary(fit, labels[6:5]), summary(fit, list(background = c("x", "y"))))
})

test_that("labels with the names of some of the cells are refused", {
  fit <- simple()
  labels <- c(cell4 = "a", cell2 = "b", cell1 = "b", other = "a")
  expect_bcnmf_error(summary(fit, labels), "no label for 1 of the model's cells: \"cell3\"", arg = "group_by")
  expect_bcnmf_error(summary(fit, data.frame(g = labels, row.names = names(labels))), "\"cell3\"", arg = "group_by")
  expect_bcnmf_error(summary(fit, list(target = labels)), "\"cell3\"", arg = "group_by")
  all <- c(cell1 = "a", cell2 = "a", cell3 = "b", cell4 = "b", control2 = "c", other = "c")
  expect_bcnmf_error(summary(fit, all), "no label for 1 of the model's cells: \"control1\"", arg = "group_by")
  expect_error(summary(fit, all, set = "target"), NA)
  expect_bcnmf_error(summary(fit, all[1:4], set = "background"), "\"control1\" and \"control2\"", arg = "group_by")
})

test_that("labels without the cells' names are taken by position", {
  fit <- simple()
  labels <- c("b", "b", "a", "a")
  expected <- summary(fit, labels)
  expect_equal(summary(fit, stats::setNames(labels, letters[1:4])), expected)
  # names that R gave, and names that tell no cells apart
  expect_equal(summary(fit, data.frame(g = c("z", labels))[-1, , drop = FALSE]), expected)
  expect_equal(summary(fit, stats::setNames(labels, c("cell4", "cell3", "cell3", "cell1"))), expected)
  expect_equal(summary(fit, stats::setNames(labels, c("cell4", NA, "", ""))), expected)
  # cells without names, of one set or of both; or with names that repeat
  expect_equal(summary(simple(names = FALSE), stats::setNames(labels, 4:1)), summary(simple(names = FALSE), labels))
  half <- fit
  colnames(half@h_background) <- NULL
  expect_equal(summary(half, stats::setNames(c(labels, "x", "y"), 6:1)), summary(half, c(labels, "x", "y")))
  expect_equal(summary(half, stats::setNames(rev(labels), rev(colnames(half$h)))), summary(half, labels))
  repeated <- fit
  colnames(repeated@h) <- c("a", "a", "b", "b")
  expect_equal(summary(repeated, stats::setNames(labels, c("b", "a", "c", "d"))), summary(repeated, labels))
  colnames(repeated@h) <- c("control1", "control2", "a", "b")
  expect_equal(summary(repeated, stats::setNames(labels, colnames(repeated@h))), summary(repeated, labels))
  # which say that the order is another one, though
  expect_bcnmf_error(summary(repeated, stats::setNames(labels, rev(colnames(repeated@h)))), "these names repeat", arg = "group_by")
})

test_that("measured numbers are no labels", {
  fit <- fake_fit(n = 300, l = 0)
  measured <- withr::with_seed(1, stats::rnorm(300))
  refused <- function(labels) {
    expect_bcnmf_error(summary(fit, labels), "must be discrete.*different numbers.*cut\\(\\)", arg = "group_by")
  }
  refused(measured)
  refused(replace(measured, 1:3, NA))
  refused(replace(measured, 1:240, 0.5))
  refused(data.frame(batch = "a", score = measured))
  refused(list(target = measured))
  refused(seq_len(300))
  refused(round(measured * 1e6))
  expect_bcnmf_error(summary(fake_fit(n = 12), measured[1:12]), "12 different numbers for 12 labels", arg = "group_by")
  expect_bcnmf_error(associate(fit, measured), "300 different numbers", arg = "groups")
  expect_bcnmf_error(biplot(fit, matrix = "h", group_by = measured), "discrete", arg = "group_by")
  expect_bcnmf_error(biplot(fake_fit(m = 300), group_by = measured), "discrete", arg = "group_by")
  expect_bcnmf_error(plot(fit, type = "use", group_by = measured), "discrete", arg = "group_by")
  taken <- function(labels) expect_s3_class(summary(fit, labels), "bcnmf_summary")
  taken(rep_len(c(0.5, 1.5, NA), 300))
  taken(rep_len(1:150, 300))
  taken(cut(measured, 3))
  taken(factor(measured))
  taken(as.character(measured))
  taken(rep(NA_real_, 300))
  expect_s3_class(summary(fake_fit(n = 3), c(0.1, 0.2, 0.3)), "bcnmf_summary")
})

test_that("one factor, one cell a group, one cell in all", {
  for (stat in c("mean", "sum", "median")) {
    one <- summary(fake_fit(k = 1), group_by = seq_len(12), stat = stat)
    expect_equal(nrow(one), 13)
    expect_equal(one$value[1:12], unname(fake_fit(k = 1)$d * fake_fit(k = 1)$h[1, ]))
    expect_equal(nrow(summary(fake_fit(n = 1, l = 0, k = 1), "a", stat = stat)), 1)
  }
  expect_equal(nrow(summary(fake_fit(k = 1, l = 0))), 1)
  expect_equal(summary(fake_fit(k = 1, l = 0))$log2_contrast, NA_real_)
})

test_that("sums over groups are d", {
  fit <- fake_fit(n = 50, k = 4)
  table <- summary(fit, rep(letters[1:5], 10), stat = "sum", set = "target")
  expect_equal(as.vector(tapply(table$value, table$factor, sum)), unname(fit$d))
})

test_that("noise is no use", {
  # two in a hundred target cells use factor 2, and no background cell
  target <- rbind(rep(1:2, 50), c(1, 1, rep(4e-15, 98)))
  background <- rbind(1:4, rep(4e-15, 4))
  fit <- fit_of_uses(matrix(0.5, 2, 2), target, background)
  groups <- rep(c("a", "b"), each = 50)
  for (stat in c("median", "mean", "sum")) {
    table <- summary(fit, groups, stat = stat)
    expect_identical(table$value[table$factor == "bcnmf2" & table$group != "a"], c(0, 0), info = stat)
  }
  medians <- summary(fit, groups, stat = "median")
  expect_identical(medians$value[medians$factor == "bcnmf2"], c(0, 0, 0))
  expect_equal(medians$value[medians$factor == "bcnmf1"], c(1.5, 1.5, 2.5))
  expect_identical(plot(medians)$data$share[4:6], c(0, 0, 0))
  boxes <- plot(fit, type = "use", group_by = groups)$data
  expect_identical(unlist(boxes[boxes$factor == "bcnmf2" & boxes$set == "background", c("q5", "q50", "q95")], use.names = FALSE), c(0, 0, 0))
})

test_that("mistakes are refused", {
  fit <- simple()
  expect_bcnmf_error(summary(fit, rep("a", 4), stat = "max"), "one of \"mean\", \"sum\" or \"median\", not \"max\"", arg = "stat")
  expect_bcnmf_error(summary(fit, rep("a", 4), stat = NULL), "stat")
  expect_bcnmf_error(summary(fit, set = "all"), "set")
  expect_bcnmf_error(summary(fit, rep("a", 5)), "length 4 \\(one per target cell\\) or 6", arg = "group_by")
  expect_bcnmf_error(summary(fit, list(target = "a")), "1 label for 4 target cells")
  expect_bcnmf_error(summary(fit, list(targets = rep("a", 4))), "targets")
  expect_bcnmf_error(summary(fit, list(rep("a", 4))), "target")
  expect_bcnmf_error(summary(fit, data.frame(a = 1:5)), "length 4 \\(one per target cell\\)", arg = "group_by")
  expect_bcnmf_error(summary(fit, data.frame(row.names = 1:4)), "at least one column", arg = "group_by")
  expect_bcnmf_error(summary(fit, data.frame(a = I(matrix(1:8, 4)))), "a vector of labels")
  expect_bcnmf_error(summary(fit, mean), "a vector of labels")
  expect_bcnmf_error(summary(fake_fit(l = 0), set = "background"), "needs a background")
  expect_bcnmf_error(summary(fit, c("a", "b", "c"), set = "background"), "2 \\(one per background cell\\)")
})

test_that("contrast compares uses, and says what it can't", {
  table <- contrast(simple())
  expect_equal(table$mean_target, c(4, 1))
  expect_equal(table$mean_background, c(4, 0.5))
  expect_equal(table$prevalence, c(1, 0.5))
  none <- contrast(fake_fit(l = 0))
  expect_true(all(is.na(none$auc)))
  expect_true(all(is.na(none$mean_background)))
  reserved <- contrast(fake_fit(k_target = 1))
  expect_identical(reserved$target_only, c(FALSE, FALSE, TRUE))
  expect_identical(reserved$log2_contrast[3], Inf)
  expect_identical(reserved$mean_background[3], 0)
})

test_that("factors are ranked by the difference of means in standard deviations", {
  # two in a hundred cells use factor 1, all cells factor 2 a little more than the background; factor 3 is used alike
  target <- rbind(rep(c(500, 0), c(2, 98)), rep(c(5, 7), 50), rep(1:2, 50))
  background <- rbind(rep(c(1, 0), c(2, 98)), rep(c(3, 5), 50), rep(1:2, 50))
  fit <- fit_of_uses(fake_fit(k = 3)$w, target, background)
  table <- contrast(fit)
  d <- function(x, y) (mean(x) - mean(y)) / sqrt((mean((x - mean(x))^2) + mean((y - mean(y))^2)) / 2)
  expect_equal(table$effect, vapply(1:3, function(i) d(target[i, ], background[i, ]), 0))
  expect_identical(table$rank, c(2L, 1L, 3L))
  # the ratio of means is won by the two cells; no use by a part p of the cells is worth more than this
  expect_identical(which.max(table$log2_contrast), 1L)
  expect_lt(table$effect[1], sqrt(2 * 0.02 / 0.98))
  expect_equal(contrast(sort(fit, by = "effect"))$rank, 1:3)
  expect_equal(summary(fit)$effect, table$effect)

  # target-only factors: sqrt(2) over the coefficient of variation
  fit <- fit_of_uses(fake_fit(k = 1)$w, t(c(1, 2, 6)), t(c(0, 0)))
  fit@target_only[] <- TRUE
  expect_equal(contrast(fit)$effect, sqrt(2) * 3 / sqrt(mean(c(4, 1, 9))))
  # one cell each has no spread; a dead factor and a model without background have nothing to rank
  one <- fit_of_uses(fake_fit(k = 2)$w, cbind(c(3, 0)), cbind(c(1, 0)))
  expect_identical(contrast(one)$effect, c(Inf, NA))
  expect_identical(contrast(one)$rank, c(1L, NA))
  none <- contrast(fake_fit(l = 0))
  expect_true(all(is.na(none$effect)), all(is.na(none$rank)))
})

test_that("a dead factor has no contrast and no share", {
  dead <- fit_of_uses(
    w = matrix(c(0.5, 0.5, 0, 0), 2), target = rbind(c(1, 2), c(0, 0)), background = rbind(c(1, 1), c(0, 0))
  )
  table <- contrast(dead)
  expect_identical(table$log2_contrast[2], NA_real_)
  expect_equal(table$auc[2], 0.5)
  expect_equal(table$prevalence[2], 0)
  expect_equal(summary(dead)$share, c(1, 0))
  expect_output(show(dead), "bcnmf2")
})

test_that("the AUC is the rank statistic, with ties", {
  withr::local_seed(1)
  x <- sample(0:5, 40, TRUE)
  y <- sample(0:7, 30, TRUE)
  by_rank <- (sum(rank(c(x, y))[1:40]) - 40 * 41 / 2) / (40 * 30)
  expect_equal(auc(x, y), by_rank)
  expect_equal(auc(y, x), 1 - by_rank)
  expect_equal(auc(1, 1), 0.5)
  # uses that are zero but for the updates' residue are ties
  noise <- fit_of_uses(
    w = matrix(1, 1, 1), target = t(c(1, 1e-20, 1e-25)), background = t(c(1, 1e-30, 1e-40))
  )
  expect_equal(contrast(noise)$auc, 0.5)
})

test_that("labels may be those of Bioconductor", {
  skip_if_not_installed("S4Vectors")
  fit <- simple()
  labels <- factor(c("b", "b", "a", "a", "a", "b"), levels = c("b", "a"))
  coded <- S4Vectors::Rle(labels)
  expect_identical(summary(fit, coded), summary(fit, labels))
  by_set <- list(target = labels[1:4], background = labels[5:6])
  expect_identical(summary(fit, lapply(by_set, S4Vectors::Rle)), summary(fit, by_set))
  batch <- c(1, 2, 1, 2, 1, 2)
  columns <- S4Vectors::DataFrame(label = coded, batch = batch)
  expect_identical(summary(fit, columns), summary(fit, data.frame(label = labels, batch = batch)))
  expect_identical(associate(fit, coded, set = "target"), associate(fit, labels, set = "target"))
  expect_identical(biplot(fit, matrix = "w", group_by = S4Vectors::Rle(c("x", "y", "x")))$data, biplot(fit, matrix = "w", group_by = c("x", "y", "x"))$data)
  expect_bcnmf_error(summary(fit, S4Vectors::Rle(c("a", "b"))), "length", "group_by")
})
