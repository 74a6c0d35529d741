# With BCNMF_NEED_GPU=1 in the environment what needs a GPU, or the driver in src/rust/bcnmf-core/tests/emulator, must not skip.
gpu_status <- function() {
  devices <- bcnmf_devices()
  devices$status[devices$device == "cuda"]
}

skip_without_gpu <- function() {
  needed <- nzchar(Sys.getenv("BCNMF_NEED_GPU"))
  if (!needed) skip_if(gpu_status() != "ready", paste("no GPU:", gpu_status()))
}

sim <- simulate_contrast(60, n_target = 90, n_background = 70, k_shared = 2, k_target = 1, seed = 4)

test_that("devices are listed, with the reason why a GPU cannot be used", {
  devices <- bcnmf_devices()
  expect_named(devices, c("device", "name", "memory", "capability", "driver", "status"))
  expect_equal(devices$device[1:2], c("cpu", "cuda"))
  expect_equal(devices$status[1], "ready")
  if (gpu_status() == "ready") {
    expect_gt(devices$memory[2], 1e6)
    expect_match(devices$capability[2], "^[0-9]+[.][0-9]$")
  } else {
    expect_true(is.na(devices$name[2]) || nzchar(devices$status[2]))
  }
})

test_that("a device that is none is refused", {
  for (device in list("gpu", "cuda:0", c("cpu", "cuda"), NA_character_, 1, "cuda:1.5")) {
    expect_error(bcnmf(sim$target, k = 2, device = device), "must be .*cuda", class = "bcnmf_error")
  }
})

test_that("without a GPU, cuda is an error in one sentence and auto a line", {
  skip_if(gpu_status() == "ready", "there is a GPU")
  expect_error(bcnmf(sim$target, k = 2, device = "cuda"), "^`device = \"cuda\"` is not possible: [^.]*[.]$", class = "bcnmf_error")
  old <- options(bcnmf.device = "cuda")
  on.exit(options(old))
  expect_error(bcnmf(sim$target, k = 2), "is not possible", class = "bcnmf_error")
  expect_message(fit <- bcnmf(sim$target, k = 2, maxit = 3, device = "auto"), "device = \"cpu\"", class = "bcnmf_message")
  expect_silent(bcnmf(sim$target, k = 2, maxit = 3, device = "auto", verbose = FALSE))
  expect_equal(fit$device, "cpu")
  expect_equal(fit$w, bcnmf(sim$target, k = 2, maxit = 3, device = "cpu")$w)
})

test_that("a GPU takes the same way as the CPU", {
  skip_without_gpu()
  for (loss in c("mse", "poisson", "nb", "zinb")) {
    both <- lapply(c("cpu", "cuda"), function(device) {
      bcnmf(sim$target, sim$background, k = 3, alpha = 0.2, loss = loss, maxit = 8, tol = 0, seed = 1:2, device = device)
    })
    expect_equal(both[[2]]$device, "cuda")
    # the first estimates of zinb hang on the last digits, in single precision on the CPU as well
    some <- if (loss == "zinb") 50 else 1
    expect_equal(both[[1]]$history$objective, both[[2]]$history$objective, tolerance = some * 1e-4)
    expect_equal(both[[1]]$w, both[[2]]$w, tolerance = some * 1e-3)
    expect_equal(both[[1]]$h_background, both[[2]]$h_background, tolerance = some * 1e-3)
    expect_equal(both[[1]]$misc$dispersion, both[[2]]$misc$dispersion, tolerance = some * 1e-3)
    expect_equal(both[[1]]$restarts$objective, both[[2]]$restarts$objective, tolerance = some * 3e-4)
  }
})

test_that("what a GPU cannot do is refused before any work, and left to the CPU by auto", {
  skip_without_gpu()
  refused <- function(why, ...) {
    expect_error(bcnmf(sim$target, sim$background, k = 2, device = "cuda", ...), why, class = "bcnmf_error")
  }
  refused("masked entries", mask = "zeros")
  refused("mini-batches", batch_size = 20)
  refused("single precision", precision = "double")
  expect_error(bcnmf(sim$target, k = 2, device = "cuda:9"), "no GPU number 9", class = "bcnmf_error")
  # choices are made on the CPU, and what was chosen is fitted on the GPU
  expect_message(fit <- bcnmf(sim$target, sim$background, k = 3, loss = "poisson", maxit = 5, device = "cuda"), "k_target")
  expect_equal(fit$device, "cuda")
})

test_that("a fit that is continued, weights and size factors work on a GPU", {
  skip_without_gpu()
  fits <- lapply(c("cpu", "cuda"), function(device) {
    first <- bcnmf(sim$target, sim$background, k = 3, k_target = 1, loss = "poisson", maxit = 4, tol = 0, device = device)
    bcnmf(sim$target, sim$background, init = first, maxit = 4, device = device)
  })
  expect_equal(fits[[1]]$h, fits[[2]]$h, tolerance = 1e-3)
  fits <- lapply(c("cpu", "cuda"), function(device) {
    weights <- list(features = seq(0.5, 2, length.out = nrow(sim$target)), cells = rep(1:3, 30))
    bcnmf(sim$target, k = 2, weights = weights, size_factors = "library", L1 = 0.01, maxit = 6, tol = 0, device = device)
  })
  expect_equal(fits[[1]]$h, fits[[2]]$h, tolerance = 1e-3)
})
