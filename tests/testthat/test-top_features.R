planted <- function() {
  w <- cbind(c(0.6, 0.3, 0.1, 0, 0), c(0.7, 0.0499, 0.05, 0.2, 0.0001))
  fit <- fit_of_uses(w = w, target = rbind(c(1, 1), c(1, 1)))
  fit@misc$feature_mean <- c(70, 15, 10, 5, 0.000001)
  fit
}

test_that("by loading", {
  table <- top_features(planted(), n = 2)
  expect_s3_class(table, c("bcnmf_top_features", "data.frame"), exact = TRUE)
  expect_named(table, c("factor", "rank", "feature", "loading", "lift", "by"))
  expect_identical(table$feature, c("gene1", "gene2", "gene1", "gene4"))
  expect_identical(table$rank, c(1L, 2L, 1L, 2L))
  expect_equal(table$loading, c(0.6, 0.3, 0.7, 0.2))
  expect_identical(levels(table$factor), c("bcnmf1", "bcnmf2"))
})

test_that("by lift, a feature that hardly occurs does not win", {
  table <- top_features(planted(), n = 2, by = "lift")
  expect_identical(table$feature[c(1, 3)], c("gene2", "gene4"))
  c <- lift_pseudo_weight / 5
  expect_equal(table$lift[3], (0.2 + c) / (0.05 + c), tolerance = 1e-6)
  # a loading as in the mean profile has lift 1
  expect_equal(feature_lift(c(0.2, 0.8), c(0.2, 0.8)), c(1, 1))
})

test_that("factors are chosen by index, name or logical, in the order asked for", {
  fit <- fake_fit()
  table <- top_features(fit, 1, factors = c("bcnmf3", "bcnmf1"))
  expect_identical(as.character(table$factor), c("bcnmf3", "bcnmf1"))
  expect_identical(levels(table$factor), c("bcnmf3", "bcnmf1"))
  expect_identical(top_features(fit, 1, factors = c(3, 1)), table)
  expect_identical(top_features(fit[c(3, 1)], 1), table)
  expect_bcnmf_error(top_features(fit, factors = 9), "asks for 9", arg = "factors")
})

test_that("fewer features than asked for, none, no names, no profile", {
  expect_equal(nrow(top_features(fake_fit(m = 4), 10)), 12)
  expect_equal(nrow(top_features(planted(), 10)), 3 + 5)
  dead <- fit_of_uses(w = matrix(0, 3, 1), target = t(c(0, 0)))
  expect_equal(nrow(top_features(dead)), 0)
  expect_named(top_features(dead), names(top_features(planted())))
  unnamed <- fake_fit(names = FALSE)
  expect_identical(top_features(unnamed, 1)$feature, as.character(apply(unnamed$w, 2, which.max)))
  bare <- fake_fit()
  bare@misc$feature_mean <- NULL
  expect_true(all(is.na(top_features(bare)$lift)))
  expect_bcnmf_error(top_features(bare, by = "lift"), "mean profile", arg = "by")
})

test_that("a complete table has every listed feature in every factor", {
  table <- top_features(planted(), n = 2, complete = TRUE)
  ranked <- top_features(planted(), n = 2)
  expect_equal(as.data.frame(table[!is.na(table$rank), ]), as.data.frame(ranked), ignore_attr = TRUE)
  added <- table[is.na(table$rank), ]
  expect_identical(as.character(added$factor), c("bcnmf1", "bcnmf2"))
  expect_identical(added$feature, c("gene4", "gene2"))
  expect_equal(added$loading, c(0, 0.0499))
  wide <- xtabs(loading ~ feature + factor, table)
  expect_equal(unclass(wide), planted()$w[rownames(wide), ], ignore_attr = TRUE)
  # a dead factor has only added rows, and features of the same name stay apart
  dead <- fit_of_uses(w = cbind(c(0.5, 0.5, 0), 0), target = diag(2))
  rownames(dead@w) <- c("a", "a", "b")
  table <- top_features(dead, complete = TRUE)
  expect_identical(table$rank, c(1L, 2L, NA, NA))
  expect_identical(table$feature, rep("a", 4))
  expect_equal(nrow(top_features(fake_fit(), 1, complete = TRUE, factors = 2)), 1)
})

test_that("mistakes are refused", {
  expect_bcnmf_error(top_features(fake_fit(), complete = "yes"), "TRUE or FALSE", arg = "complete")
  expect_bcnmf_error(top_features(fake_fit(), 0), "at least 1", arg = "n")
  expect_bcnmf_error(top_features(fake_fit(), by = "w"), "loading", arg = "by")
  expect_bcnmf_error(top_features("fit"), "made by bcnmf", arg = "fit")
})
