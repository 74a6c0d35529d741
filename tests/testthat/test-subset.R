test_that("[ keeps all parts consistent", {
  fit <- fake_fit(k = 4, k_target = 1)
  some <- fit[c(4, 2)]
  expect_true(validObject(some))
  expect_identical(colnames(some$w), c("bcnmf4", "bcnmf2"))
  expect_identical(some$w, fit$w[, c(4, 2)])
  expect_identical(some$d, fit$d[c(4, 2)])
  expect_identical(some$h, fit$h[c(4, 2), ])
  expect_identical(some$h_background, fit$h_background[c(4, 2), ])
  expect_identical(unname(some$target_only), c(TRUE, FALSE))
  expect_true(all(is.na(some$divergence)))
  expect_true(some$misc$subset)
  expect_identical(fit[c("bcnmf4", "bcnmf2")], some)
  expect_identical(fit[c(FALSE, TRUE, FALSE, TRUE)], fit[c(2, 4)])
  expect_identical(fit[-1], fit[2:4])
  expect_identical(fit[factor("bcnmf2")], fit[2])
  expect_identical(fit[], fit)
  # reordering loses nothing
  expect_identical(fit[4:1]$divergence, fit$divergence)
  expect_null(fit[4:1]$misc$subset)
  expect_identical(fit[4:1][4:1], fit)
})

test_that("a model is as long as it has factors, so that what indexes by position loses none", {
  fit <- fake_fit(k = 4)
  expect_length(fit, 4)
  expect_identical(rev(fit), fit[4:1])
  expect_identical(fit[seq_along(fit)], fit)
})

test_that("[ with one factor works, with and without background", {
  for (fit in list(fake_fit(), fake_fit(l = 0), fake_fit(k = 1))) {
    one <- fit[1]
    expect_true(validObject(one))
    expect_identical(dim(one)[3], 1L)
    expect_output(show(one), "k = 1 factor,")
    expect_identical(one[1]$w, one$w)
  }
})

test_that("[ refuses what selects nothing, twice or elsewhere", {
  fit <- fake_fit()
  expect_bcnmf_error(fit[4], "asks for 4, but the model has 3 factors", arg = "i")
  expect_bcnmf_error(fit[0], "asks for 0")
  expect_bcnmf_error(fit[1.5], "asks for 1.5")
  expect_bcnmf_error(fit[c(-1, 1)], "all positive or all negative")
  expect_bcnmf_error(fit[NA], "without missing values")
  expect_bcnmf_error(fit["w"], "\"w\", which the model does not have")
  expect_bcnmf_error(fit[c(1, 1)], "\"bcnmf1\" more than once")
  expect_bcnmf_error(fit[c(TRUE, FALSE)], "2 logical values")
  expect_bcnmf_error(fit[integer()], "selects no factor")
  expect_bcnmf_error(fit[-(1:3)], "selects no factor")
  expect_bcnmf_error(fit[list(1)], "indices, names")
  expect_bcnmf_error(fit[1, 2], "one index")
  expect_bcnmf_error(fit[1, ], "one index")
  expect_bcnmf_error(fit[, 1], "one index")
})

test_that("[ refuses in the same words wherever it is called", {
  fit <- fake_fit()
  expect_bcnmf_error(eval(quote(fit[9])), "`i` asks for 9", arg = "i")
  expect_bcnmf_error(eval(quote(fit[1, 2])), "one index", arg = "j")
  expect_bcnmf_error(do.call("[", list(fit, 9)), "`i` asks for 9")
  expect_bcnmf_error(lapply(9, function(i) fit[i]), "`i` asks for 9")
  file <- withr::local_tempfile(lines = "fit[9]", fileext = ".R")
  expect_bcnmf_error(source(file, local = TRUE), "`i` asks for 9")
})

test_that("sort orders by scale and by contrast", {
  fit <- fake_fit(k = 5)
  expect_identical(sort(fit[5:1])$w, fit$w)
  expect_identical(sort(fit, decreasing = FALSE)$d, rev(fit$d))
  by_contrast <- sort(fit, by = "contrast")
  expect_false(is.unsorted(-contrast(by_contrast)$log2_contrast))
  expect_false(is.unsorted(-contrast(sort(fit, by = "auc"))$auc))
  expect_identical(contrast(sort(fit, by = "effect"))$rank, 1:5)
  # target-only factors are infinitely contrasted; dead ones last
  expect_identical(colnames(sort(fake_fit(k_target = 1), by = "contrast")$w)[1], "bcnmf3")
  dead <- fit_of_uses(
    w = matrix(c(0, 0, 1, 0), 2), target = rbind(c(0, 0), c(1, 2)), background = rbind(c(0, 0), c(9, 9))
  )
  for (decreasing in c(TRUE, FALSE)) {
    expect_identical(colnames(sort(dead, decreasing, by = "contrast")$w), c("bcnmf2", "bcnmf1"))
  }
  expect_identical(sort(fake_fit(k = 1)), fake_fit(k = 1))
  expect_bcnmf_error(sort(fit, by = "loss"), "by", arg = "by")
  expect_bcnmf_error(sort(fake_fit(l = 0), by = "contrast"), "needs a background", arg = "by")
})

test_that("head, as.list, dim and dimnames", {
  fit <- fake_fit()
  top <- head(fit, 2)
  expect_identical(top$w, fit$w[1:2, ])
  expect_identical(top$h, fit$h[, 1:2])
  expect_identical(top$h_background, fit$h_background[, 1:2])
  expect_identical(top$d, fit$d)
  expect_identical(dim(head(fit, -15)$w), c(5L, 3L))
  expect_identical(dim(head(fit)$h), c(3L, 6L))
  expect_named(head(fake_fit(l = 0, k = 1)), c("w", "d", "h"))
  expect_bcnmf_error(head(fit, "2"), "n", arg = "n")

  expect_named(as.list(fit), methods::slotNames("bcnmf"))
  expect_identical(as.list(fit)$h, fit$h)

  expect_identical(dim(fit), c(20L, 12L, 3L))
  expect_identical(nrow(fit), 20L)
  expect_identical(dimnames(fit), list(features = rownames(fit$w), cells = colnames(fit$h), factors = colnames(fit$w)))
  expect_identical(rownames(fit), rownames(fit$w))
  expect_null(dimnames(fake_fit(names = FALSE))$features)
  expect_output(str(fit), "bcnmf")
})
