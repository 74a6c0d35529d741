test_that("counts are whole, sparse, named, and expected as the truth says", {
  sim <- simulate_contrast(200, n_target = 2000, n_background = 500, k_shared = 3, k_target = 2, share = 0.2, depth = 100, seed = 2)
  expect_true(methods::validObject(sim$target))
  expect_true(all(sim$target@x == round(sim$target@x)), all(sim$target@x > 0))
  expect_identical(dim(sim$background), c(200L, 500L))
  expect_identical(colnames(sim$w), c("shared1", "shared2", "shared3", "target1", "target2"))
  expect_equal(unname(colSums(sim$w)), rep(1, 5))
  expect_true(all(sim$h_background[c("target1", "target2"), ] == 0))
  expect_equal(sum(sim$h[4:5, ]) / sum(sim$h), 0.2)
  expected <- rowSums(sim$w %*% sim$h)
  # Poisson: within five standard deviations
  expect_true(all(abs(Matrix::rowSums(sim$target) - expected) < 5 * sqrt(expected + 1)))
  expect_equal(mean(Matrix::colSums(sim$target)), 100, tolerance = 0.05)
})

test_that("cells are labelled by what they use", {
  sim <- simulate_contrast(50, n_target = 40, n_background = 30, k_shared = 2, k_target = 3, share = 0.3, seed = 4)
  expect_identical(rownames(sim$cells), colnames(sim$target))
  expect_identical(rownames(sim$cells_background), colnames(sim$background))
  expect_identical(levels(sim$cells$program), c("target1", "target2", "target3", "none"))
  expect_identical(as.character(sim$cells$program), rownames(sim$h)[3:5][apply(sim$h[3:5, ], 2, which.max)])
  expect_true(all(sim$cells_background$program == "none"))
  expect_equal(sim$cells$depth, unname(colSums(sim$h)))
  expect_equal(sim$cells_background$depth, unname(colSums(sim$h_background)))
  both <- rbind(sim$cells, sim$cells_background)
  expect_identical(as.vector(table(both$set)), c(30L, 40L))
  for (none in list(simulate_contrast(20, 10, 5, k_target = 0), simulate_contrast(20, 10, 5, share = 0))) {
    expect_true(all(none$cells$program == "none"))
  }
  one <- simulate_contrast(20, 1, 0, k_shared = 0, k_target = 1, share = 1)
  expect_identical(as.character(one$cells$program), "target1")
  expect_null(one$cells_background)
})

test_that("the seed decides, and R's random numbers are untouched", {
  set.seed(1)
  before <- .Random.seed
  expect_identical(simulate_contrast(20, 10, 5, seed = 1), simulate_contrast(20, 10, 5, seed = 1))
  expect_false(identical(simulate_contrast(20, 10, 5, seed = 1), simulate_contrast(20, 10, 5, seed = 2)))
  expect_identical(.Random.seed, before)
  expect_null(simulate_contrast(20, 10, 0)$background)
})

test_that("numbers out of range are refused", {
  for (bad in list(
    list(n_features = 0), list(n_target = 0), list(n_background = -1), list(k_shared = 0), list(k_target = -1),
    list(share = 2), list(depth = 0), list(loading_shape = -1), list(use_shape = NA), list(depth_sd = -1), list(seed = 1:2), list(seed = "a")
  )) {
    expect_bcnmf_error(do.call(simulate_contrast, bad), names(bad))
  }
})

test_that("a simulation ends when it is told to, in the middle of a cell too", {
  withr::defer(setTimeLimit())
  before <- proc.time()[["elapsed"]]
  expect_error(
    {
      setTimeLimit(elapsed = 0.3, transient = TRUE)
      simulate_contrast(100, n_target = 10, n_background = 0, depth = 1e8)
    },
    "time limit"
  )
  expect_lt(proc.time()[["elapsed"]] - before, 3)
})
