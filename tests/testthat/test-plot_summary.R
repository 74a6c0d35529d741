test_that("summary by group", {
  fit <- fake_fit(n = 40, k = 5)
  groups <- rep(c("AML sample", "GMP", "LMPP", "MEP"), 10)
  expect_drawn("summary by group", plot(summary(fit, groups)))
  expect_drawn("summary target only", plot(summary(fit, groups, set = "target", stat = "sum")))
  expect_drawn("summary both labelled", plot(summary(fit, list(target = groups, background = rep(c("GMP", "other"), 4)))))
  expect_drawn("summary one factor", plot(summary(fit[1], groups)))
  many <- fake_fit(n = 80, l = 0, k = 20)
  long <- long_names(rep(1:40, 2))
  expect_drawn("summary 40 groups long names", plot(summary(many, long)))
  expect_drawn("summary 40 groups in both", plot(summary(fake_fit(n = 80, l = 40, k = 6), list(target = long, background = long[1:40]))))
})

test_that("summary by factor", {
  expect_drawn("summary by factor", plot(summary(fake_fit(n = 40, k = 5))))
  expect_drawn("summary by factor target-only", plot(summary(fake_fit(k = 30, k_target = 3))))
  expect_bcnmf_error(plot(summary(fake_fit()), "heatmap"), "needs groups", arg = "type")
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

test_that("a background group needs no place in the legend where the target has the same group", {
  table <- summary(fake_fit(), list(target = rep(c("a", "b"), 6), background = rep(c("a", "x"), 4)))
  plot <- plot(table)
  expect_identical(plot$scales$get_scales("fill")$breaks, c("a", "b", "x (background)"))
  expect_match(plot$labels$subtitle, "paler")
  expect_null(plot(summary(fake_fit(), rep("a", 12)))$labels$subtitle)
})

test_that("heat map", {
  # seven programs of one kind of cell each, and what all share
  kinds <- rep(1:7, 10)
  target <- rbind(t(outer(kinds, c(5, 3, 1, 7, 2, 6, 4), "==")) * 40 + 5, 20 + seq_len(70) %% 3)
  target[3, kinds == 6] <- 30
  fit <- fit_of_uses(fake_fit(k = 8)$w, target, target[, 1:14] / 2)
  expect_drawn("heat map", plot(summary(fit, paste("kind", kinds)), "heatmap"))
  expect_drawn("heat map unsorted", plot(summary(fit, paste("kind", kinds)), "heatmap", sort = FALSE))
  both <- list(target = paste("kind", kinds), background = rep(c("kind 1", "other"), 7))
  expect_drawn("heat map both labelled", plot(summary(fit[1:3], both), "heatmap"))
  expect_drawn("heat map one factor one group", plot(summary(fit[1], rep("a", 70), set = "target"), "heatmap"))
  expect_drawn("heat map dead factor", plot(summary(kill(fit, 2), paste("kind", kinds), stat = "sum"), "heatmap"))
  many <- fake_fit(n = 80, l = 0, k = 30)
  expect_drawn("heat map 40 groups", plot(summary(many, long_names(rep(1:40, 2))), "heatmap"))
})

test_that("tiles are relative to the group that uses the factor most", {
  fit <- fit_of_uses(w = diag(2), target = rbind(c(1, 4), c(300, 100)), background = rbind(c(2, 2), c(600, 600)))
  table <- summary(fit, c("a", "b"))
  tiles <- plot(table, "heatmap")$data
  expect_equal(tiles$relative, table$value / c(4, 4, 4, 600, 600, 600))
  # scaling a factor changes nothing
  fit@d <- fit@d * c(1, 100)
  fit@d_background <- fit@d_background * c(1, 100)
  expect_equal(plot(summary(fit, c("a", "b")), "heatmap")$data$relative, tiles$relative)
})

test_that("a heat map's longer side is sorted along the diagonal", {
  expect_identical(diagonal_order(rbind(c(0, 1), c(0, 0), c(0.2, 0.1), c(1, 0.5)), rbind(c(0, 1), 0, c(0.1, 0), c(0.9, 0))), c(4L, 3L, 1L, 2L))
  # three factors, two groups: groups keep the order of their levels
  fit <- fit_of_uses(w = diag(3), target = rbind(c(1, 9), c(9, 2), c(9, 1)))
  data <- plot(summary(fit, factor(c("z", "a"), levels = c("z", "a"))), "heatmap")$data
  expect_identical(levels(data$factor), c("bcnmf3", "bcnmf2", "bcnmf1"))
  expect_identical(levels(data$group), c("z", "a"))
  # two factors, three groups: these are sorted
  fit <- fit_of_uses(w = diag(2), target = rbind(c(1, 9, 5), c(9, 1, 1)))
  data <- plot(summary(fit, c("a", "b", "c")), "heatmap")$data
  expect_identical(levels(data$group), c("b", "c", "a"))
  expect_identical(levels(data$factor), c("bcnmf1", "bcnmf2"))
  unsorted <- plot(summary(fit, c("a", "b", "c")), "heatmap", sort = FALSE)$data
  expect_identical(levels(unsorted$group), c("a", "b", "c"))
})

test_that("mistakes are refused", {
  table <- summary(fake_fit(), rep(c("a", "b"), 6))
  expect_bcnmf_error(plot(table, "tiles"), "\"bars\" or \"heatmap\"", arg = "type")
  expect_bcnmf_error(plot(table, "heatmap", sort = 1), "TRUE or FALSE", arg = "sort")
  expect_bcnmf_error(plot(table, kind = "bars"), "Unknown argument")
})
