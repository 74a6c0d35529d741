test_that("align undoes a permutation", {
  fit <- fake_fit(m = 50, k = 5)
  mixed <- fit[c(3, 5, 1, 4, 2)]
  aligned <- align(mixed, fit)
  expect_identical(aligned$w, fit$w)
  expect_identical(aligned$h_background, fit$h_background)
  expect_identical(aligned$divergence, fit$divergence)
  expect_identical(aligned$alignment$factor, colnames(fit$w))
  expect_identical(aligned$alignment$reference, colnames(fit$w))
  expect_equal(aligned$alignment$cosine, rep(1, 5))
  # a later choice of factors drops the record
  expect_false("alignment" %in% names(aligned[1:2]))
})

test_that("align maximises the sum of cosines, not each one greedily", {
  object <- fit_of_uses(w = cbind(c(1, 0), c(0.6, 0.4)), target = diag(2))
  reference <- cbind(a = c(0.9, 0.3), b = c(1, 0))
  aligned <- align(object, reference)
  expect_identical(aligned$alignment$reference, c("a", "b"))
  expect_identical(aligned$alignment$factor, c("bcnmf2", "bcnmf1"))
})

test_that("one factor, a matrix of loadings, dead factors and negative loadings", {
  one <- fake_fit(k = 1)
  expect_equal(align(one, one)$alignment$cosine, 1)
  expect_identical(align(one, unname(one$w))$alignment$reference, "1")
  dead <- fit_of_uses(w = cbind(c(0, 0), c(0.5, 0.5)), target = rbind(c(0, 0), c(1, 1)))
  expect_equal(align(dead, cbind(c(1, 1), c(0, 0)))$alignment$cosine, c(1, 0))
  expect_equal(align(dead, cbind(c(-1, -1), c(1, 0)))$alignment$cosine, c(0, sqrt(0.5)))
  tiny <- fit_of_uses(w = cbind(c(1, 0)), target = t(c(1, 1)))
  expect_equal(align(tiny, cbind(c(1e-300, 0)))$alignment$cosine, 1)
})

test_that("with more factors than the reference, those left over come last in their own order", {
  fit <- fake_fit(m = 50, k = 5)
  aligned <- align(fit, fit[c(4, 2)])
  expect_identical(colnames(aligned$w), paste0("bcnmf", c(4, 2, 1, 3, 5)))
  expect_identical(aligned$alignment$factor, colnames(aligned$w))
  expect_identical(aligned$alignment$reference, c("bcnmf4", "bcnmf2", NA, NA, NA))
  expect_equal(aligned$alignment$cosine, c(1, 1, NA, NA, NA))
  # nothing was dropped
  expect_identical(aligned$divergence, fit$divergence)
  expect_identical(aligned$h_background["bcnmf5", ], fit$h_background["bcnmf5", ])
})

test_that("with fewer factors than the reference, all find a partner, in the reference's order", {
  fit <- fake_fit(m = 50, k = 5)
  aligned <- align(fit[c(5, 1, 3)], fit)
  expect_identical(aligned$alignment$reference, paste0("bcnmf", c(1, 3, 5)))
  expect_identical(aligned$alignment$factor, aligned$alignment$reference)
  expect_equal(aligned$alignment$cosine, rep(1, 3))
  one <- align(fit[4], fit)$alignment
  expect_identical(one$reference, "bcnmf4")
  expect_identical(align(fit, fit[4])$alignment$factor[1], "bcnmf4")
})

test_that("the sum of cosines is the largest also with unequal numbers", {
  w <- function(k, seed) fake_fit(m = 6, k = k, seed = seed)$w
  for (size in list(c(4, 3), c(3, 4), c(2, 4))) {
    object <- fake_fit(m = 6, k = size[1], seed = 1)
    reference <- w(size[2], 2)
    all <- cosine(reference, object$w)
    if (size[1] < size[2]) all <- t(all)
    # every way to choose an ordered set of columns, one per row
    choices <- as.matrix(expand.grid(rep(list(seq_len(ncol(all))), nrow(all))))
    choices <- choices[!apply(choices, 1, anyDuplicated), , drop = FALSE]
    best <- max(apply(choices, 1, function(j) sum(all[cbind(seq_along(j), j)])))
    expect_equal(sum(align(object, reference)$alignment$cosine, na.rm = TRUE), best)
  }
})

test_that("features are matched by name", {
  fit <- fake_fit(k = 3)
  shuffled <- fit$w[20:1, 3:1]
  aligned <- align(fit, shuffled)
  expect_equal(aligned$alignment$cosine, rep(1, 3))
  expect_identical(colnames(aligned$w), c("bcnmf3", "bcnmf2", "bcnmf1"))
  expect_equal(align(fake_fit(names = FALSE), fit)$alignment$cosine, rep(1, 3))
  wrong <- fit$w
  rownames(wrong)[2] <- "other"
  expect_bcnmf_error(align(fit, wrong), "lacks 1 feature of `object`: \"gene2\"")
})

test_that("models that can't be paired are refused, with the numbers", {
  fit <- fake_fit(k = 3)
  expect_bcnmf_error(align(fit, fit$w[, 0]), "numeric matrix of loadings, not a matrix of 20 x 0", arg = "reference")
  expect_bcnmf_error(align(fit, fake_fit(m = 21)), "20 features, `reference` has 21")
  expect_bcnmf_error(align(fit, "a"), "numeric matrix of loadings, not \"a\"")
  expect_bcnmf_error(align(fit, replace(fit$w, 1, NaN)), "not finite")
  expect_bcnmf_error(align(1, fit), "object", arg = "object")
})
