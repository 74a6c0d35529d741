tables <- function(fit = fake_fit()) {
  list(
    summary = summary(fit, rep(c("a", "b"), 6)), factors = summary(fit), contrast = contrast(fit),
    features = top_features(fit, 4), complete = top_features(fit, 4, complete = TRUE)
  )
}

test_that("rows and columns can be chosen, bound and joined as of any data frame", {
  for (table in tables()) {
    expect_s3_class(table, "data.frame")
    plain <- as.data.frame(table)
    expect_identical(class(plain), "data.frame")
    some <- table[as.integer(table$factor) <= 2, ]
    expect_identical(class(some), class(table))
    expect_s3_class(plot(some), "ggplot")
    expect_identical(as.data.frame(head(table, 2)), head(plain, 2))
    expect_equal(as.data.frame(rbind(head(table, 2), tail(table, -2))), plain)
    expect_s3_class(plot(rbind(head(table, 2), tail(table, -2))), "ggplot")
    expect_s3_class(plot(subset(table, factor == "bcnmf1")), "ggplot")
    expect_equal(merge(table, data.frame(factor = "bcnmf2", note = "x"))$note[1], "x")
    expect_identical(table[["factor"]], table$factor)
    # a table read from a file has text in place of factors
    table$factor <- as.character(table$factor)
    expect_s3_class(plot(table), "ggplot")
  }
})

test_that("dplyr's verbs keep what plot() needs", {
  skip_if_not_installed("dplyr")
  for (table in tables()) {
    part <- dplyr::filter(dplyr::mutate(table, note = 1), factor != "bcnmf1")
    expect_s3_class(plot(part), "ggplot")
    expect_equal(nrow(dplyr::bind_rows(table, table)), 2 * nrow(table))
  }
})

test_that("what can't be drawn is told", {
  for (table in tables()) {
    lost <- table[setdiff(names(table), "factor")]
    expect_bcnmf_error(plot(lost), "lacks the column", arg = "x")
    expect_bcnmf_error(plot(table["factor"]), "lacks the column", arg = "x")
    expect_bcnmf_error(plot(table[0, ]), "no rows", arg = "x")
    expect_bcnmf_error(plot(rbind(table, table)), "more than one row for factor bcnmf1", arg = "x")
  }
  expect_bcnmf_error(plot(tables()$summary[c("factor", "value")]), "lacks the columns \"group\", \"set\"")
})

test_that("printing rounds, the table does not", {
  fit <- fit_of_uses(w = diag(2), target = rbind(c(1, 1 / 3), c(1, 1)), background = rbind(c(1, 1), c(1, 1)))
  table <- contrast(fit)
  expect_output(print(table), "0\\.667")
  expect_output(print(table, digits = 6), "0\\.666667")
  expect_equal(table$mean_target[1], 2 / 3)
  for (one in tables()) expect_output(expect_invisible(print(one)))
})
