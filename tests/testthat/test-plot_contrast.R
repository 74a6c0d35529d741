# Uses of four factors: more in the target, a handful of cells, target-only, dead.
mixed <- function() {
  target <- rbind(c(8, 8, 8, 8), c(0, 0, 0, 400), c(3, 3, 0, 0), 0)
  background <- rbind(c(2, 2, 9, 2), c(1, 1, 1, 1), 0, 0)
  fit <- fit_of_uses(fake_fit(k = 4)$w, target, background)
  fit@target_only[3] <- TRUE
  fit
}
rows <- function(plot) rev(plot$scales$get_scales("y")$limits)

test_that("the contrast is drawn", {
  expect_drawn("contrast", plot(contrast(mixed())))
  expect_drawn("contrast one factor", plot(contrast(fake_fit(k = 1))))
  expect_drawn("contrast 30 factors", plot(contrast(fake_fit(n = 60, l = 40, k = 30, k_target = 2))))
  expect_drawn("contrast no background", plot(contrast(fake_fit(l = 0))))
  expect_drawn("contrast target-only", plot(contrast(fake_fit(k = 2, k_target = 2))))
  expect_drawn("contrast nothing used", plot(contrast(kill(fake_fit(k = 2), 1:2))))
})

test_that("target-only factors first, dead ones last, the others by AUC or by ratio", {
  table <- contrast(mixed())
  expect_identical(rows(plot(table)), paste0("bcnmf", c(3, 1, 2, 4)))
  expect_identical(rows(plot(table, by = "contrast")), paste0("bcnmf", c(3, 2, 1, 4)))
  without <- fit_of_uses(fake_fit(k = 2)$w, rbind(c(1, 2), c(5, 5)))
  expect_identical(rows(plot(contrast(without))), c("bcnmf2", "bcnmf1"))
})

test_that("a mean of 0 is told, not drawn", {
  table <- contrast(mixed())
  ends <- contrast_ends(table)
  expect_identical(ends$notes$note, c("target-only", "not used"))
  expect_true(all(ends$points$use > 0))
  expect_equal(nrow(ends$points), 5)
  expect_identical(as.character(ends$pairs$factor), c("bcnmf1", "bcnmf2"))
  # residues of multiplicative updates count as 0, and would stretch the axis
  table$mean_background[1] <- 1e-200
  table$target_only[3] <- FALSE
  expect_identical(contrast_ends(table)$notes$note, c("no background use", "no background use", "not used"))
  table$mean_target[2] <- 0
  expect_identical(contrast_ends(table)$notes$note[2], "no target use")
})

test_that("an AUC that the model's form decides is not shown", {
  numbers <- contrast_numbers(contrast(mixed()), list(auc = 1, prevalence = 2), TRUE)
  expect_identical(numbers$text[numbers$column == "AUC"], c("0.75", "0.25", "-", "-"))
  expect_identical(numbers$text[numbers$column == "prevalence"], c("75%", "25%", "50%", "0%"))
})

test_that("mistakes are refused", {
  table <- contrast(mixed())
  expect_bcnmf_error(plot(table, by = "d"), "\"auc\" or \"contrast\"", arg = "by")
  expect_bcnmf_error(plot(table, type = "bars"), "Unknown argument")
})
