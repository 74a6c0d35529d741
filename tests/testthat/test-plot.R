# Snapshots depend on ggplot2's drawing: other versions check only that plots can be built.
expect_drawn <- function(title, plot) {
  expect_s3_class(plot, "ggplot")
  expect_error(ggplot2::ggplotGrob(plot), NA)
  if (packageVersion("ggplot2") >= "3.4.0" && packageVersion("ggplot2") < "3.5.0") {
    vdiffr::expect_doppelganger(title, plot)
  } else {
    # Or testthat deletes it as one that no test needs.
    announce_snapshot_file(name = paste0(gsub("[^a-z0-9]+", "-", tolower(title)), ".svg"))
  }
}

test_that("convergence", {
  expect_drawn("convergence", plot(fake_fit()))
  short <- fake_fit(l = 0, sweeps = 10)
  short@misc$converged <- FALSE
  expect_drawn("convergence without background", plot(short))
  expect_drawn("convergence of no sweeps", plot(fake_fit(sweeps = 0)))
  expect_bcnmf_error(plot(fake_fit(), type = "loss"), "`type` must be \"convergence\"", arg = "type")
  empty <- fake_fit()
  empty@history <- empty@history[0, ]
  expect_bcnmf_error(plot(empty), "no history")
  expect_s3_class(plot(fake_fit()[1]), "ggplot")
})

test_that("summary by group", {
  fit <- fake_fit(n = 40, k = 5)
  groups <- rep(c("AML sample", "GMP", "LMPP", "MEP"), 10)
  expect_drawn("summary by group", plot(summary(fit, groups)))
  expect_drawn("summary target only", plot(summary(fit, groups, set = "target", stat = "sum")))
  expect_drawn("summary both labelled", plot(summary(fit, list(target = groups, background = rep(c("GMP", "other"), 4)))))
  expect_drawn("summary one factor", plot(summary(fit[1], groups)))
  many <- fake_fit(n = 80, l = 0, k = 20)
  long <- sprintf("a very long name of a cell type, number %02d", rep(1:40, 2))
  expect_drawn("summary 40 groups long names", plot(summary(many, long)))
  expect_drawn("summary by factor", plot(summary(fit)))
  table <- summary(fit, groups)
  expect_bcnmf_error(plot(table[c("factor", "value")]), "lacks the columns \"group\", \"set\"")
})

test_that("shares of every factor sum to 1, and a dead factor has none", {
  fit <- fit_of_uses(w = matrix(c(0.5, 0.5, 0, 0), 2), target = rbind(c(1, 3), c(0, 0)))
  drawn <- ggplot2::layer_data(plot(summary(fit, c("a", "b"))))
  expect_equal(sort(drawn$ymax - drawn$ymin), c(0, 0, 0.25, 0.75))
})

test_that("a summary stays plottable when a group is called as the background is", {
  fit <- fake_fit(n = 4)
  table <- summary(fit, c("background", "background", "a", "a"))
  expect_identical(group_keys(table)$label, c("a", "background", "background (background)"))
  # the labels of a summary's groups may hold anything
  expect_s3_class(plot(summary(fit, c("a|b", "a%b", "{a}", ""))), "ggplot")
})

test_that("colours are distinct from 1 to 40 groups and beyond, and keep apart from the background", {
  for (n in c(1, 2, 8, 9, 40, 60)) {
    colours <- group_colours(n)
    expect_length(colours, n)
    expect_false(background_grey %in% colours)
  }
  expect_identical(anyDuplicated(group_colours(40)), 0L)
})

test_that("biplot of features", {
  fit <- fake_fit(m = 60)
  expect_drawn("biplot features", biplot(fit))
  expect_drawn("biplot features grouped", biplot(fit, c("bcnmf1", "bcnmf3"), group_by = rep(c("a", "b", NA), 20)))
  expect_s3_class(biplot(fake_fit(names = FALSE)), "ggplot")
})

test_that("biplot of cells", {
  fit <- fake_fit(n = 60, l = 30)
  expect_drawn("biplot cells", biplot(fit, matrix = "h"))
  expect_drawn("biplot cells grouped", biplot(fit, c(3, 1), "h", rep(c("a", "b"), 30)))
  expect_drawn("biplot cells both grouped", biplot(fit, c(3, 1), "h", rep(c("a", "b", "c"), 30)))
  expect_drawn("biplot no background", biplot(fake_fit(l = 0), matrix = "h", group_by = rep(c("a", "b"), 6)))
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
  expect_bcnmf_error(biplot(fit, matrix = "h", group_by = 1:3), "length 12", arg = "group_by")
})
