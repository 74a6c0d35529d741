test_that("convergence", {
  expect_drawn("convergence", plot(fake_fit()))
  short <- fake_fit(l = 0, sweeps = 10)
  short@misc$converged <- FALSE
  expect_drawn("convergence without background", plot(short))
  expect_drawn("convergence of no sweeps", plot(fake_fit(sweeps = 0)))
  expect_bcnmf_error(plot(fake_fit(), type = "loss"), "\"convergence\" or \"use\"", arg = "type")
  empty <- fake_fit()
  empty@history <- empty@history[0, ]
  expect_bcnmf_error(plot(empty), "no history")
  expect_s3_class(plot(fake_fit()[1]), "ggplot")
})

test_that("colours are distinct from 1 to 40 groups and beyond, and keep apart from the background", {
  for (n in c(1, 2, 8, 9, 40, 41, 60, 300)) {
    colours <- group_colours(n)
    expect_length(colours, n)
    expect_false(anyNA(colours))
    expect_false(background_grey %in% colours)
    expect_identical(anyDuplicated(colours), 0L)
  }
  # the same ones however many follow
  expect_identical(group_colours(300)[1:60], group_colours(60))
})

test_that("biplot of features", {
  fit <- fake_fit(m = 60)
  expect_drawn("biplot features", biplot(fit))
  expect_drawn("biplot features grouped", biplot(fit, c("bcnmf1", "bcnmf3"), group_by = rep(c("a", "b", NA), 20)))
  expect_s3_class(biplot(fake_fit(names = FALSE)), "ggplot")
})

test_that("labels of divergences differ", {
  y_labels <- function(plot) {
    scale <- ggplot2::ggplot_build(plot)$layout$panel_params[[1]]$y
    scale$get_labels()[!is.na(scale$get_breaks())]
  }
  one <- fake_fit(sweeps = 1, l = 0)
  one@history[2, c("target", "objective")] <- 175107.014
  expect_identical(y_labels(plot(one)), "175,107")
  close <- fake_fit(sweeps = 5, l = 0)
  close@history$target <- close@history$objective <- 175106.9 + 0.02 * 0:5
  expect_gt(length(y_labels(plot(close))), 2)
  expect_identical(anyDuplicated(y_labels(plot(close))), 0L)
  expect_identical(distinct_labels(c(1e6, NA, 2e6)), c("1,000,000", "NA", "2,000,000"))
  expect_identical(distinct_labels(72811.045 + c(0, 2.5, 5) / 1000), c("72,811.0450", "72,811.0475", "72,811.0500"))
  expect_length(distinct_labels(numeric()), 0)
  # where decimals have a comma
  withr::local_options(OutDec = ",")
  expect_identical(expect_silent(distinct_labels(c(1234.5, 2234))), c("1,234.5", "2,234.0"))
  expect_identical(expect_silent(use_labels(c(0.5, 1234.5))), c("0.5", "1,234.5"))
})

test_that("biplots match labels by name", {
  fit <- fake_fit(m = 6, n = 6, l = 0)
  groups <- c("a", "b", "b", "c", "a", "c")
  of_features <- stats::setNames(groups, sprintf("gene%d", 1:6))
  expect_equal(biplot(fit, group_by = rev(of_features))$data, biplot(fit, group_by = groups)$data)
  expect_equal(biplot(fit, group_by = c(of_features, other = "d"))$data, biplot(fit, group_by = groups)$data)
  expect_equal(biplot(fit, group_by = stats::setNames(groups, letters[1:6]))$data, biplot(fit, group_by = groups)$data)
  expect_bcnmf_error(biplot(fit, group_by = of_features[-2]), "no label for 1 of the model's features: \"gene2\"", arg = "group_by")
  of_cells <- stats::setNames(groups, sprintf("cell%d", 1:6))
  expect_equal(biplot(fit, matrix = "h", group_by = rev(of_cells))$data, biplot(fit, matrix = "h", group_by = groups)$data)
  expect_equal(
    plot(fit, type = "use", group_by = rev(of_cells))$data, plot(fit, type = "use", group_by = groups)$data
  )
})

test_that("biplot of cells", {
  fit <- fake_fit(n = 60, l = 30)
  expect_drawn("biplot cells", biplot(fit, matrix = "h"))
  expect_drawn("biplot cells grouped", biplot(fit, c(3, 1), "h", rep(c("a", "b"), 30)))
  expect_drawn("biplot cells both grouped", biplot(fit, c(3, 1), "h", rep(c("a", "b", "c"), 30)))
  expect_drawn("biplot no background", biplot(fake_fit(l = 0), matrix = "h", group_by = rep(c("a", "b"), 6)))
})

test_that("biplot says why the background is not there, or on an axis", {
  fit <- fake_fit(n = 60, l = 30, k = 4, k_target = 2)
  expect_drawn("biplot one target-only", biplot(fit, c(1, 4), "h"))
  both <- biplot(fit, 3:4, "h", rep(c("a", "b"), 30))
  expect_drawn("biplot two target-only", both)
  expect_equal(nrow(both$data), 60)
  expect_match(both$labels$subtitle, "not drawn")
  expect_null(biplot(fit, 1:2, "h")$labels$subtitle)
})

test_that("biplot of 40 groups", {
  fit <- fake_fit(n = 200, l = 30)
  expect_drawn("biplot 40 groups", biplot(fit, 1:2, "h", long_names(rep(1:40, 5))))
})

test_that("biplot refuses what it can't draw", {
  fit <- fake_fit()
  expect_bcnmf_error(biplot(fake_fit(k = 1)), "only one", arg = "factors")
  expect_bcnmf_error(biplot(fit, 1), "two factors, not 1", arg = "factors")
  expect_bcnmf_error(biplot(fit, c(1, 1)), "more than once")
  expect_bcnmf_error(biplot(fit, c(1, 4)), "asks for 4, but the model has 3 factors")
  expect_bcnmf_error(biplot(fit, c("bcnmf1", "x")), "\"x\"")
  expect_bcnmf_error(biplot(fit, c(TRUE, TRUE)), "two factors")
  expect_bcnmf_error(biplot(fit, matrix = "x"), "\"w\" or \"h\"", arg = "matrix")
  expect_bcnmf_error(biplot(fit, group_by = 1:3), "3 labels for 20 features", arg = "group_by")
  expect_bcnmf_error(biplot(fit, group_by = seq_len(ncol(fit$h))), "plot of cells.*matrix = \"h\"", arg = "group_by")
  expect_bcnmf_error(biplot(fit, matrix = "h", group_by = 1:3), "length 12", arg = "group_by")
})
