test_that("uses side by side", {
  fit <- fake_fit(n = 60, l = 40, k = 5, k_target = 1)
  expect_drawn("use", plot(fit, type = "use"))
  expect_drawn("use by group", plot(fit, type = "use", group_by = rep(c("a", "b"), 30)))
  expect_drawn("use no background", plot(fake_fit(l = 0), type = "use"))
  expect_drawn("use 30 factors", plot(fake_fit(n = 60, l = 40, k = 30), type = "use"))
  expect_drawn("use dead factor", plot(kill(fit, 2), type = "use", factors = c(3, 2)))
  expect_drawn("use one cell", plot(fake_fit(n = 1, l = 0, k = 1), type = "use"))
})

test_that("many groups have a row each", {
  fit <- fake_fit(n = 200, l = 40, k = 10)
  expect_drawn("use of 40 groups", plot(fit, type = "use", group_by = long_names(rep(1:40, 5))))
  both <- list(target = rep(letters[1:5], 40), background = rep(c("a", "x"), 20))
  plot <- plot(fit, type = "use", group_by = both, factors = c("bcnmf9", "bcnmf2"))
  expect_drawn("use of groups in both", plot)
  expect_identical(levels(plot$data$factor), c("bcnmf9", "bcnmf2"))
  expect_match(plot(fit, type = "use", group_by = both)$labels$subtitle, "the first 8 of 10")
  # what was asked for is not cut
  expect_equal(nlevels(plot(fit, type = "use", group_by = both, factors = 1:10)$data$factor), 10)
})

test_that("quantiles are those of the uses", {
  fit <- fake_fit(n = 50, l = 30, k = 3)
  groups <- rep(c("a", "b"), 25)
  data <- plot(fit, type = "use", group_by = groups)$data
  expect_equal(nrow(data), 9)
  use <- unname(fit$d[2] * fit$h[2, groups == "b"])
  row <- data[data$factor == "bcnmf2" & data$group == "b", ]
  expect_equal(unlist(row[c("q5", "q25", "q50", "q75", "q95")], use.names = FALSE), unname(quantile(use, c(0.05, 0.25, 0.5, 0.75, 0.95))))
  background <- data[data$factor == "bcnmf1" & data$set == "background", ]
  expect_equal(background$q50, median(fit$d_background[1] * fit$h_background[1, ]))
})

test_that("mistakes are refused", {
  fit <- fake_fit()
  expect_bcnmf_error(plot(fit, type = "use", factors = 9), "asks for 9", arg = "factors")
  expect_bcnmf_error(plot(fit, type = "use", group_by = 1:3), "length 12", arg = "group_by")
  expect_bcnmf_error(plot(fit, factors = 1), "`factors` is for `type = \"use\"`", arg = "factors")
  expect_bcnmf_error(plot(fit, group_by = rep("a", 12)), "`group_by` is for", arg = "group_by")
})
