test_that("bars", {
  expect_drawn("feature bars", plot(top_features(fake_fit(m = 60))))
  expect_drawn("feature bars by lift", plot(top_features(fake_fit(m = 60), n = 4, by = "lift")))
  long <- fake_fit(m = 60, k = 30)
  rownames(long@w) <- sprintf("ENSG%09d-a-long-name-%02d", 1:60, 1:60)
  expect_drawn("feature bars 30 factors long names", plot(top_features(long)))
  expect_drawn("feature bars one factor", plot(top_features(long[1], n = 40)))
  expect_drawn("feature bars dead factor", plot(top_features(kill(fake_fit(), 2))))
})

test_that("dots", {
  fit <- fake_fit(m = 60)
  expect_drawn("feature dots", plot(top_features(fit, n = 6, complete = TRUE), "dots"))
  expect_drawn("feature dots incomplete", plot(top_features(fit, n = 6, by = "lift"), "dots"))
  expect_drawn("feature dots 30 factors", plot(top_features(fake_fit(m = 200, k = 30), complete = TRUE), "dots"))
  expect_drawn("feature dots one factor", plot(top_features(fit[1]), "dots"))
  expect_drawn("feature dots dead factor", plot(top_features(kill(fit, 2), 3, complete = TRUE), "dots"))
  bare <- fit
  bare@misc$feature_mean <- NULL
  expect_drawn("feature dots no lift", plot(top_features(bare, 3, complete = TRUE), "dots"))
})

test_that("bars fall within each panel, also where panels share features", {
  w <- cbind(c(0.6, 0.3, 0.1), c(0.2, 0.3, 0.5))
  plot <- plot(top_features(fit_of_uses(w, diag(2))))
  drawn <- ggplot2::layer_data(plot)
  # from the lowest bar up
  by_panel <- split(drawn[order(drawn$y), "x"], drawn$PANEL[order(drawn$y)])
  expect_equal(by_panel, list(`1` = c(0.1, 0.3, 0.6), `2` = c(0.2, 0.3, 0.5)))
})

test_that("dots are sorted by the factor in which a feature ranks highest", {
  w <- cbind(c(0.6, 0.3, 0.1, 0), c(0.2, 0.05, 0.45, 0.3))
  table <- top_features(fit_of_uses(w, diag(2)), n = 2, complete = TRUE)
  data <- plot(table, "dots")$data
  expect_identical(rev(levels(data$feature)), c("gene1", "gene2", "gene3", "gene4"))
  # a loading of 0 has no dot
  expect_equal(nrow(data), 7)
})

test_that("what is left out is said, and n brings it back", {
  table <- top_features(fake_fit(m = 60, k = 30))
  expect_match(plot(table)$labels$subtitle, "the first 4 of 10 features")
  expect_null(plot(table, n = 10)$labels$subtitle)
  expect_equal(nrow(plot(table, n = 10)$data), 300)
  expect_match(plot(table[table$rank <= 3, ], "dots")$labels$subtitle, "not among the factor's\\stop features")
  expect_null(plot(top_features(fake_fit(), 2, complete = TRUE), "dots")$labels$subtitle)
  expect_identical(readable_rank(data.frame(rank = c(1, 2, 1, 2), feature = c("a", "b", "b", "c")), rows = 2), 1)
  # more factors than rows: one feature each all the same
  expect_identical(readable_rank(data.frame(rank = 1, feature = letters), rows = 2), 1)
})

test_that("mistakes are refused", {
  table <- top_features(fake_fit())
  expect_bcnmf_error(plot(table, "tiles"), "\"bars\" or \"dots\"", arg = "type")
  expect_bcnmf_error(plot(table, n = 0), "at least 1", arg = "n")
  expect_bcnmf_error(plot(top_features(kill(fake_fit(), 1:3))), "no rows to plot", arg = "x")
  expect_bcnmf_error(plot(table[c("factor", "feature")]), "lacks the columns \"rank\"")
  mixture <- rbind(top_features(fake_fit(), factors = 1), top_features(fake_fit(), factors = 2, by = "lift"))
  expect_bcnmf_error(plot(mixture), "ranked by \"loading\" and \"lift\"")
})
