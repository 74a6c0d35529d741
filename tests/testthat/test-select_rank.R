planted <- function(k_target = 0, n_background = 0, k_shared = 4) {
  simulate_contrast(100, 200, n_background, k_shared = k_shared, k_target = k_target, share = 0.3, depth = 600, seed = 2)
}

quick <- function(...) select_rank(..., maxit = 60, threads = 2, verbose = FALSE)

expect_ranks <- function(x, k) {
  expect_s3_class(x, c("bcnmf_ranks", "data.frame"), exact = TRUE)
  expect_named(x, c("k", "loss", "se", "excess", "excess_se", "best", "selected"))
  expect_identical(x$k, as.integer(k))
  expect_identical(c(sum(x$best), sum(x$selected)), c(1L, 1L))
  expect_identical(which(x$best), which.min(x$loss))
  expect_identical(x$excess[x$best], 0)
  expect_equal(x$excess, x$loss / min(x$loss) - 1)
  expect_lte(x$k[x$selected], x$k[x$best])
  expect_true(all(is.finite(x$loss)), all(x$loss > 0))
}

ranks_of <- function(losses, k) structure(loss_table(losses, k, "k"), class = c("bcnmf_ranks", "data.frame"))

chosen <- function(x) x$k[x$selected]

test_that("the planted number of programs is found", {
  sim <- planted()
  for (loss in c("mse", "poisson")) {
    ranks <- quick(sim$target, k = 2:8, loss = loss)
    expect_ranks(ranks, 2:8)
    expect_lte(abs(chosen(ranks) - 4), 1)
    # without the fourth program much is missing, and that is no matter of the mask
    expect_gt(ranks$excess[1], 10 * ranks$excess_se[1])
  }
})

test_that("with a background, shared and target-only programs are counted", {
  sim <- planted(k_target = 2, n_background = 150, k_shared = 3)
  for (k_target in c(0, 2)) {
    ranks <- quick(sim$target, sim$background, k = 3:8, k_target = k_target, loss = "poisson")
    expect_ranks(ranks, 3:8)
    expect_lte(abs(chosen(ranks) - 5), 1)
  }
})

test_that("both sets count the same, whatever their size", {
  sim <- planted(n_background = 150)
  one <- quick(sim$target, sim$target, k = 3, masks = 1)
  plain <- quick(sim$target, k = 3, masks = 1)
  expect_equal(one$loss, plain$loss, tolerance = 0.2)
  # a unit of the background's own changes nothing
  a <- quick(sim$target, sim$background, k = 4, masks = 1)
  b <- quick(sim$target, 8 * sim$background, k = 4, masks = 1)
  expect_equal(a$loss, b$loss, tolerance = 1e-3)
})

test_that("the same bits every time, and R's random numbers are not touched", {
  sim <- small_sim()
  set.seed(5)
  before <- .Random.seed
  a <- quick(sim$target, sim$background, k = c(4, 2, 3, 3), k_target = 1)
  expect_identical(.Random.seed, before)
  expect_ranks(a, 2:4)
  b <- select_rank(sim$target, sim$background, k = 2:4, k_target = 1, maxit = 60, threads = 1, verbose = FALSE)
  expect_identical(a, b)
  # each k and each mask for itself
  one <- quick(sim$target, sim$background, k = 3, k_target = 1, masks = 1, seed = 2)
  all <- held_out_losses(sim$target, sim$background, data.frame(k = 2:4, k_target = 1L), list(
    loss = "mse", masks = 3L, maxit = 60L, threads = 1L, seed = 1
  ), progress_bar(FALSE, ""), NULL)
  expect_identical(one$loss, all[2, 2])
  expect_equal(a$loss, colMeans(all))
})

test_that("one mask takes the least loss", {
  ranks <- quick(small_sim()$target, k = 1:5, masks = 1)
  expect_ranks(ranks, 1:5)
  expect_true(all(is.na(ranks$se)), all(is.na(ranks$excess_se)))
  expect_identical(ranks$best, ranks$selected)
  expect_drawn("ranks one mask", plot(ranks))
})

test_that("the smallest k within one standard error is taken", {
  losses <- rbind(c(5, 2.1, 2.0, 2.3), c(6, 3.0, 3.0, 3.3), c(7, 3.9, 4.0, 4.3))
  table <- ranks_of(losses, c(1L, 2L, 5L, 9L))
  expect_identical(table$k[table$best], 2L)
  expect_identical(table$k[table$selected], 2L)
  losses[, 2] <- losses[, 2] + c(0.2, -0.05, 0.1)
  table <- ranks_of(losses, c(1L, 2L, 5L, 9L))
  difference <- losses[, 2] - losses[, 3]
  expect_equal(table$excess[2], mean(difference) / 3)
  expect_equal(table$excess_se[2], stats::sd(difference) / sqrt(3) / 3)
  expect_identical(table$k[table$best], 5L)
  expect_identical(table$k[table$selected], 2L)
  expect_output(print(table), "k = 2, within one standard error .*, at k = 5")
  expect_output(print(ranks_of(losses[, 1:2], 1:2)), "k = 2, the least loss .*; the largest that was tried")
})

test_that("k that are tried by default depend on the data", {
  expect_identical(default_ranks(0, 100), seq(2, 20))
  expect_identical(default_ranks(4, 8), seq(5, 8))
  expect_identical(default_ranks(0, 1), 1L)
  expect_identical(default_ranks(30, 100), 31L)
  x <- small_sim()$target
  expect_ranks(quick(x[1:5, ], masks = 1), 2:5)
  expect_ranks(quick(x, masks = 1, most = 4), 2:4)
})

test_that("ranks are drawn", {
  ranks <- ranks_of(rbind(c(9, 6, 4, 3.9, 4.2), c(9.5, 6.2, 4.1, 4.1, 4.6), c(9, 6.4, 4.2, 4.0, 4.9)), 2:6)
  expect_drawn("ranks", plot(ranks))
  expect_drawn("ranks without the best", plot(ranks[!ranks$best, ]))
  expect_drawn("ranks of one k", plot(ranks[3, ]))
})

test_that("bcnmf(k = \"auto\") takes what is selected", {
  sim <- planted(k_target = 1, n_background = 100, k_shared = 2)
  x <- sim$target[1:9, ]
  y <- sim$background[1:9, ]
  expect_message(
    fit <- bcnmf(x, y, k = "auto", k_target = 1, maxit = 20),
    "k = [0-9]+.* by held-out entries.*select_rank", class = "bcnmf_message"
  )
  expect_silent(bcnmf(x, y, k = "auto", k_target = 1, maxit = 20, verbose = FALSE))
  expect_ranks(fit$ranks, 2:9)
  expect_identical(fit$ranks, select_rank(x, y, k_target = 1, verbose = FALSE))
  expect_identical(ncol(fit$w), chosen(fit$ranks))
  expect_same_model(fit, bcnmf(x, y, k = chosen(fit$ranks), k_target = 1, maxit = 20, verbose = FALSE))
  expect_false("ranks" %in% names(bcnmf(x, k = 2, maxit = 5, verbose = FALSE)))
  suppressMessages(plain <- bcnmf(x, k = "auto", init = "nndsvd", maxit = 20, verbose = FALSE))
  expect_identical(plain$ranks, select_rank(x, verbose = FALSE))
  # before any work
  expect_bcnmf_error(bcnmf(x, y, k = "auto", init = fit), "cannot start from given factors", arg = "k")
  expect_bcnmf_error(bcnmf(x, y, k = "auto", seed = fit$w), "cannot start from given factors", arg = "k")
  expect_bcnmf_error(bcnmf(x, y, k = "auto", k_target = 9), "less than `k` = 9", arg = "k_target")
  expect_bcnmf_error(bcnmf(x, y, k = "auto", alpha = -1), "at least 0", arg = "alpha")
  expect_bcnmf_error(bcnmf(x, y, k = "automatic"), "whole number", arg = "k")
})

test_that("objects that hold cells take k = \"auto\" too", {
  skip_if_not_installed("SingleCellExperiment")
  counts <- planted(k_shared = 2)$target[1:6, ]
  object <- SingleCellExperiment::SingleCellExperiment(list(counts = counts))
  expect_message(
    result <- bcnmf(object, k = "auto", features = rownames(counts), maxit = 20), "held-out", class = "bcnmf_message"
  )
  fit <- bcnmf_model(result)
  expect_identical(ncol(fit$w), chosen(fit$ranks))
})

test_that("Seurat objects take k = \"auto\" too", {
  skip_if_not_installed("SeuratObject")
  counts <- planted(k_shared = 2)$target[1:6, ]
  object <- SeuratObject::CreateSeuratObject(counts)
  expect_message(
    result <- bcnmf(object, k = "auto", features = rownames(counts), maxit = 20), "held-out", class = "bcnmf_message"
  )
  expect_identical(ncol(bcnmf_model(result)$w), chosen(bcnmf_model(result)$ranks))
})

test_that("mistakes are refused, data that are not counts are told", {
  x <- small_sim()$target
  refused <- function(message, arg, ...) expect_bcnmf_error(quick(x, ...), message, arg = arg)
  refused("whole numbers of at least 1, not a numeric vector", "k", k = c(2, 2.5))
  refused("whole numbers of at least 1, not 0", "k", k = 0)
  refused("whole numbers", "k", k = "auto")
  refused("whole numbers", "k", k = NULL)
  refused("`k` has 61, .* is 60", "k", k = 2:61)
  refused("`k` has 6, .* is 5", "k", k = 2:6, most = 5)
  refused("needs a `background`", "k_target", k_target = 1)
  refused("less than `k` = 2", "k_target", background = x, k = 2:4, k_target = 2)
  refused("same features", "background", background = x[-1, ])
  refused("at least 1, not 0", "masks", masks = 0)
  refused("at least 1, not 0", "most", most = 0)
  refused("one whole number", "seed", seed = 1:2)
  refused("\"mse\", \"poisson\", \"nb\" or \"zinb\"", "loss", loss = "kl")
  expect_bcnmf_error(select_rank(x, maxit = 0), "at least 1", arg = "maxit")
  expect_bcnmf_error(select_rank(x, verbose = 2), "TRUE or FALSE", arg = "verbose")
  expect_bcnmf_error(select_rank("x"), "numeric matrix", arg = "target")
  negative <- x
  negative[3, 70] <- -1
  expect_bcnmf_error(quick(negative, most = 3), "negative")
  expect_warning(quick(x / 2, k = 2, masks = 1, loss = "poisson"), "not whole numbers", class = "bcnmf_warning")
  ranks <- quick(x, k = 2:3)
  expect_bcnmf_error(plot(ranks, type = "bars"), "Unknown argument")
  expect_bcnmf_error(plot(ranks[c("k", "loss")]), "lacks the column")
  expect_bcnmf_error(plot(rbind(ranks, ranks)), "more than one row")
})
