loss_of <- function(x, ..., verbose = FALSE) {
  found <- select_loss(x, k = 3, maxit = 80, ..., verbose = verbose)
  stats::setNames(found$loss, found$distribution)
}

test_that("the distribution that counts were drawn from is selected", {
  sim <- simulate_contrast(60, 600, 0, k_shared = 3, k_target = 0, depth = 300, seed = 1)
  chosen <- function(x) {
    found <- select_loss(x, k = 3, maxit = 80)
    found$distribution[found$selected]
  }
  expect_identical(chosen(sim$target), "poisson")
  dispersed <- dispersed_sim(600)
  expect_identical(chosen(dispersed$target), "nb")
  lossy <- lossy_sim(1500)
  # of large sizes and means, where dropout is not dispersion
  common <- lossy$size >= 2 & Matrix::rowMeans(lossy$target) > 1
  expect_identical(chosen(lossy$target[common, ]), "zinb")
  # whole numbers of one variance
  withr::local_seed(1)
  mu <- sim$w %*% sim$h
  x <- round(60 + 40 * mu / max(mu) + stats::rnorm(length(mu)))
  expect_identical(chosen(x), "mse")
})

test_that("the losses are log-likelihoods of what is held out, written down", {
  sim <- dispersed_sim(200, 120)
  places <- held_out_places(sim$target, 0.1, 1, FALSE)
  expect_equal(length(places$i) / length(sim$target), 0.1, tolerance = 0.1)
  expect_identical(as.matrix(sim$target)[cbind(places$i, places$j)], places$x)
  rate <- c(0.5, 2, 7)
  x <- c(0, 3, 5)
  at <- function(loss, ...) log_likelihood(x, rate, loss, ...)
  expect_equal(at("poisson"), stats::dpois(x, rate, log = TRUE))
  nb <- stats::dnbinom(x, size = 2, mu = rate, log = TRUE)
  expect_equal(at("nb", c(0.5, 0.5, 0)), c(nb[1:2], stats::dpois(5, 7, log = TRUE)))
  expect_equal(at("zinb", 0.5, 0.3), log(0.3 * (x == 0) + 0.7 * exp(nb)))
  # all counts together have a probability of 1
  for (error in c(0.01, 4)) expect_equal(sum(exp(log_likelihood(0:100, rep(3, 101), "mse", error = error))), 1)
  # far out there are digits yet
  expect_equal(log_likelihood(40, 3, "mse", error = 4), stats::dnorm(39.5, 3, 2, log = TRUE) - log(39.5 - 3) + log(4) , tolerance = 0.01)
})

test_that("a table, a verdict and a plot come out, from one seed always the same", {
  sim <- dispersed_sim(200, 120)
  found <- select_loss(sim$target, sim$background, k = 3, maxit = 40)
  expect_s3_class(found, "bcnmf_losses")
  expect_identical(found$distribution, c("poisson", "nb", "zinb", "mse"))
  expect_equal(sum(found$selected), 1)
  expect_identical(found, select_loss(sim$target, sim$background, k = 3, maxit = 40, threads = 1))
  expect_output(print(found), "nb: ")
  expect_s3_class(plot(found), "ggplot")
  expect_silent(ggplot2::ggplotGrob(plot(found)))
  one <- select_loss(sim$target, k = 2, losses = "nb", masks = 1, maxit = 10)
  expect_true(one$selected && is.na(one$se))
  expect_silent(ggplot2::ggplotGrob(plot(one)))
  sparse <- loss_of(sim$target)
  dense <- loss_of(as.matrix(sim$target))
  expect_equal(sparse, dense, tolerance = 1e-4)
})

test_that("bcnmf() takes the selected loss and keeps the table", {
  sim <- dispersed_sim(400)
  expect_message(fit <- bcnmf(sim$target, k = 3, loss = "auto", maxit = 30), "nb", class = "bcnmf_message")
  expect_identical(fit@loss, "nb")
  expect_s3_class(fit$losses, "bcnmf_losses")
  # what is no count has one loss
  expect_message(fit <- bcnmf(log1p(as.matrix(sim$target)), k = 3, loss = "auto", maxit = 5), "mse", class = "bcnmf_message")
  expect_identical(fit@loss, "mse")
  expect_error(plot(fit$losses), "nothing to plot", class = "bcnmf_error")
  masked <- as.matrix(sim$target)
  masked[cbind(1:60, 1:60)] <- NA
  expect_silent(fit <- bcnmf(masked, k = 3, loss = "auto", mask = "NA", maxit = 5, verbose = FALSE))
  expect_identical(fit@loss, "nb")
})

test_that("wrong comparisons are refused", {
  x <- dispersed_sim(30)$target
  expect_bcnmf_error(select_loss(x, losses = "gamma"), "mse", arg = "losses")
  expect_bcnmf_error(select_loss(x, losses = character()), "different names", arg = "losses")
  expect_bcnmf_error(select_loss(x, losses = c("nb", "nb")), "different names", arg = "losses")
  expect_bcnmf_error(select_loss(x, k = 100), "smaller side", arg = "k")
  expect_bcnmf_error(select_loss(x, tolerance = -1), "tolerance", arg = "tolerance")
  expect_bcnmf_error(select_loss(x, mask = "zeros"), "cannot be compared", arg = "mask")
})

test_that("relative differences are printed as decimals", {
  table <- data.frame(
    distribution = c("poisson", "nb", "zinb", "mse"), loss = c(2.28, 1.79, 1.7905, 1e300), se = NA_real_,
    excess = c(0.272234, 0, 0.000263, 5e299), excess_se = c(NA, 0, 0.00001512, 1), best = FALSE, selected = FALSE
  )
  lines <- utils::capture.output(printed <- print(structure(table, class = c("bcnmf_losses", "data.frame"))))
  shown <- c("0.2722 +NA", " 0.0000 +0.0000", " 0.0003 +0.0000", "5e\\+299 +1.0000")
  for (i in 1:4) expect_match(lines[i + 1], shown[i])
  expect_identical(printed$excess, table$excess)
  expect_output(print(structure(table, class = c("bcnmf_losses", "data.frame")), digits = 5), "0.000263 +0.000015")
  expect_output(print(structure(table[1:2], class = c("bcnmf_losses", "data.frame"))), "zinb")
  ranks <- cbind(k = 1:4, table[-1])
  expect_output(print(structure(ranks, class = c("bcnmf_ranks", "data.frame"))), " 0.0003 +0.0000")
})
