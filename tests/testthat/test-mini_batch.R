batches <- function(..., target = small_sim()$target, background = small_sim()$background, k = 4) {
  bcnmf(target, background, k = k, loss = "poisson", verbose = FALSE, ...)
}

test_that("few passes in mini-batches come nearer to the end than as many sweeps", {
  sim <- simulate_contrast(150, 2000, 1000, k_shared = 3, k_target = 2, share = 0.2, depth = 800, seed = 1)
  fit <- function(...) batches(target = sim$target, background = sim$background, k = 5, k_target = 2, tol = 0, ...)$divergence[["objective"]]
  full <- fit(maxit = 200)
  online <- fit(maxit = 3, batch_size = 50)
  expect_lt(online, 1.02 * full)
  expect_lt(online, fit(maxit = 3))
})

test_that("the planted programs are found in one pass", {
  sim <- simulate_contrast(150, 2000, 1000, k_shared = 3, k_target = 2, share = 0.2, depth = 800, seed = 1)
  fit <- batches(target = sim$target, background = sim$background, k = 5, k_target = 2, maxit = 1, batch_size = 50)
  cosines <- crossprod(fit$w, sim$w) / outer(sqrt(colSums(fit$w^2)), sqrt(colSums(sim$w^2)))
  expect_true(all(apply(cosines, 2, max) > 0.95))
  own <- startsWith(colnames(sim$w), "target")
  expect_true(all(apply(cosines[fit$target_only, own], 2, max) > 0.95))
  expect_true(all(fit$h_background[fit$target_only, ] == 0))
})

test_that("one seed gives the same bits whatever else runs, and W that waits for the pass is the full batch's", {
  one <- batches(alpha = 0.1, batch_size = 7, maxit = 4, seed = 2, threads = 1)
  both <- batches(alpha = 0.1, batch_size = 7, maxit = 4, seed = 1:2, threads = 2)
  expect_identical(both$restarts$objective[2], one$restarts$objective)
  expect_same_model(batches(alpha = 0.1, batch_size = 7, maxit = 4, seed = 2, threads = 2), one)
  pass <- batches(alpha = 0.1, batch_size = 7, update = "pass", maxit = 10, precision = "double", tol = 1e-8)
  full <- batches(alpha = 0.1, maxit = 10, precision = "double", accelerate = FALSE)
  expect_equal(pass$w, full$w, tolerance = 1e-8)
  expect_equal(pass$history, full$history, tolerance = 1e-8)
})

test_that("a model tells of its batches, goes on with them, and with full sweeps", {
  fit <- batches(k_target = 1, batch_size = 10, maxit = 2)
  expect_identical(fit$batch_size, 10)
  expect_output(print(fit), "after 2 passes in batches of 10")
  expect_output(print(batches(k_target = 1, maxit = 2)), "after 2 sweeps, last change")
  more <- batches(init = fit, maxit = 2)
  expect_identical(c(more$batch_size, nrow(more$history)), c(10, 5))
  full <- batches(init = fit, batch_size = NULL, maxit = 30)
  expect_null(full$batch_size)
  expect_lt(full$divergence[["objective"]], fit$divergence[["objective"]])
  expect_output(print(full), "32 sweeps")
  # the default tolerance is one of the objective
  expect_identical(c(fit$tol, full$tol), c(1e-3, 1e-8))
  # passes end as full sweeps do
  expect_identical(batches(k_target = 1, batch_size = 10, update = "pass", maxit = 2)$tol, 1e-8)
  ended <- batches(k_target = 1, batch_size = 10)
  expect_true(ended$restarts$converged[1] && ended$restarts$iterations[1] < 1000)
})

test_that("full sweeps follow mini-batches that moved W after the pass", {
  fit <- batches(k_target = 1, batch_size = 10, update = "pass", maxit = 2)
  expect_identical(batches(init = fit, maxit = 1)$update, "pass")
  full <- batches(init = fit, batch_size = NULL, maxit = 2)
  expect_null(full@misc$batch_size)
  expect_null(full@misc$update)
})

test_that("batches of any size, and bad ones", {
  for (size in c(1, 59, 1e6)) expect_true(all(is.finite(batches(k_target = 1, batch_size = size, maxit = 2)$w)))
  for (size in list(0, -1, 1.5, NA, "many", c(1, 2))) expect_bcnmf_error(batches(batch_size = size), "batch_size", arg = "batch_size")
  expect_bcnmf_error(batches(batch_size = 10, update = "cell"), "\"batch\"", arg = "update")
  expect_bcnmf_error(batches(update = "pass"), "needs a `batch_size`", arg = "update")
})
