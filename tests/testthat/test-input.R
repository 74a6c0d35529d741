# What a user may get wrong, and the words that answer.

x <- matrix(c(1, 2, 0, 3, 4, 5, 6, 0, 7, 8, 9, 1), 4, dimnames = list(letters[1:4], NULL))
y <- x[, 1:2]

test_that("bad data are refused with the place and the value", {
  with_value <- function(value) {
    x[3, 2] <- value
    x
  }
  expect_bcnmf_error(bcnmf(with_value(NA), k = 1), "target must not hold missing.*row 3, column 2 \\(NA\\)")
  expect_bcnmf_error(bcnmf(with_value(NaN), k = 1), "missing.*\\(NaN\\)")
  whole <- with_value(NA)
  storage.mode(whole) <- "integer"
  expect_bcnmf_error(bcnmf(whole, k = 1), "\\(NA\\)")
  expect_bcnmf_error(bcnmf(whole > 0, k = 1), "\\(NA\\)")
  expect_bcnmf_error(bcnmf(with_value(Inf), k = 1), "infinite.*row 3, column 2 \\(Inf\\)")
  expect_bcnmf_error(bcnmf(with_value(-Inf), k = 1), "\\(-Inf\\)")
  expect_bcnmf_error(bcnmf(with_value(-1e300), k = 1), "\\(-1e300\\)")
  expect_bcnmf_error(bcnmf(with_value(-1), k = 1), "negative.*1 was found.*row 3, column 2 \\(-1\\)")
  expect_bcnmf_error(bcnmf(x, with_value(-1)[, 1:2], k = 1), "background must not hold negative")
  expect_bcnmf_error(bcnmf(with_value(1e200), k = 1), "rescale")
  expect_bcnmf_error(bcnmf(x * 1e-200, k = 1), "rescale")
  expect_bcnmf_error(bcnmf(x * 0, k = 1), "target has no positive value")
  expect_bcnmf_error(bcnmf(x, y * 0, k = 1), "background has no positive value")
  sparse <- methods::as(with_value(-2), "CsparseMatrix")
  expect_bcnmf_error(bcnmf(sparse, k = 1), "negative.*row 3, column 2")
})

test_that("a matrix of numbers is one whatever its class", {
  fit <- bcnmf(x, y, k = 1, alpha = 0.1, maxit = 3)
  for (as_other in list(as.table, I, noquote)) {
    expect_identical(bcnmf(as_other(x), as_other(y), k = 1, alpha = 0.1, maxit = 3)@w, fit@w)
    expect_identical(unname(predict(fit, as_other(x))), unname(predict(fit, x)))
  }
})

test_that("things that are not matrices of numbers are refused", {
  expect_bcnmf_error(bcnmf("x", k = 1), "target.*must be a numeric matrix", arg = "target")
  expect_bcnmf_error(bcnmf(NULL, k = 1), "target", arg = "target")
  expect_bcnmf_error(bcnmf(1:10, k = 1), "target", arg = "target")
  expect_bcnmf_error(bcnmf(list(x), k = 1), "not a list of length 1", arg = "target")
  expect_bcnmf_error(bcnmf(list(), k = 1), "not an empty list", arg = "target")
  expect_bcnmf_error(bcnmf(matrix(list(1, 2, 3, 4), 2, 2), k = 1), "must hold numbers, but its type is <list>", arg = "target")
  expect_bcnmf_error(bcnmf(array(1, 2:4), k = 1), "not an array of 2 x 3 x 4", arg = "target")
  expect_bcnmf_error(bcnmf(x, "y", k = 1), "background", arg = "background")
  expect_bcnmf_error(bcnmf(matrix("a", 2, 2), k = 1), "character", arg = "target")
  expect_bcnmf_error(bcnmf(x + 0i, k = 1), "complex", arg = "target")
  expect_bcnmf_error(bcnmf(data.frame(a = 1:2, b = c("u", "v")), k = 1), "\"b\"", arg = "target")
  expect_bcnmf_error(bcnmf(data.frame(a = 1:2, b = factor(1:2)), k = 1), "\"b\"", arg = "target")
  expect_bcnmf_error(bcnmf(x[0, ], k = 1), "empty.*0 rows", arg = "target")
  expect_bcnmf_error(bcnmf(x[, 0], k = 1), "empty.*0 columns", arg = "target")
  expect_bcnmf_error(bcnmf(x, y[, 0], k = 1), "empty", arg = "background")
})

test_that("features that differ are named", {
  expect_bcnmf_error(bcnmf(x, y[1:3, ], k = 1), "4 rows.*3", arg = "background")
  other <- y
  rownames(other)[2:3] <- c("u", "v")
  expect_bcnmf_error(bcnmf(x, other, k = 1), "2 row names differ, the first at row 2: \"b\" and \"c\".*\"u\" and \"v\"")
  expect_bcnmf_error(bcnmf(x, y[4:1, ], k = 1), "another order")
  expect_s4_class(bcnmf(x, unname(y), k = 1), "bcnmf")
})

test_that("a name that is NA is another name", {
  nameless <- x
  rownames(nameless)[3] <- NA
  expect_bcnmf_error(bcnmf(nameless, y, k = 1), "1 row name differs, the first at row 3: NA in the target, \"c\" in `background`", arg = "background")
  expect_bcnmf_error(bcnmf(x, nameless[, 1:2], k = 1), "\"c\" in the target, NA in `background`")
  expect_s4_class(bcnmf(nameless, nameless[, 1:2], k = 1, alpha = 0), "bcnmf")
  fit <- bcnmf(x, k = 1)
  expect_bcnmf_error(predict(fit, nameless), "the first at row 3", arg = "newdata")
  expect_bcnmf_error(residuals(fit, nameless), "Row 3 of `data` is NA", arg = "data")
  expect_bcnmf_error(bcnmf(x, k = 1, mask = is.na(nameless)), "Row 3 of the `mask` is NA", arg = "mask")
  named <- c(a = 1, b = 1, 1, d = 1)
  names(named)[3] <- NA
  expect_bcnmf_error(bcnmf(x, k = 1, weights = list(features = named)), "NA in place 3", arg = "weights$features")
  cells <- x
  colnames(cells) <- c("u", "v", "w")
  expect_bcnmf_error(bcnmf(list(a = cells, b = `colnames<-`(cells, c("u", NA, "w"))), k = 1), "column 2 of `target\\$b` is NA", arg = "target$b")
})

test_that("corrupt sparse matrices are refused, not read", {
  good <- methods::as(x, "CsparseMatrix")
  broken <- function(...) broken_matrix(good, ...)
  expect_bcnmf_error(bcnmf(broken(i = replace(good@i, 2, 99L)), k = 1), "slot i holds 99")
  expect_bcnmf_error(bcnmf(broken(i = replace(good@i, 2, -1L)), k = 1), "slot i holds -1")
  expect_bcnmf_error(bcnmf(broken(i = replace(good@i, 2, NA)), k = 1), "slot i holds NA")
  expect_bcnmf_error(bcnmf(broken(i = rev(good@i)), k = 1), "not a valid sparse matrix: column 1 holds row 3 after row 4")
  twice <- broken(i = replace(good@i, 2, good@i[1]))
  expect_bcnmf_error(bcnmf(twice, k = 1), "column 1 holds row 1 twice; Matrix::sparseMatrix\\(")
  mended <- Matrix::sparseMatrix(i = twice@i, p = twice@p, x = twice@x, dims = dim(twice), index1 = FALSE)
  expect_true(methods::validObject(mended))
  expect_identical(mended[1, 1], sum(good[1:2, 1]))
  expect_bcnmf_error(bcnmf(broken(p = rev(good@p)), k = 1), "slot p")
  expect_bcnmf_error(bcnmf(broken(p = replace(good@p, 2, 1000L)), k = 1), "slot p")
  expect_bcnmf_error(bcnmf(broken(p = good@p[-1]), k = 1), "slot p has length")
  expect_bcnmf_error(bcnmf(broken(x = good@x[-1]), k = 1), "slot x")
  expect_bcnmf_error(bcnmf(broken(x = as.character(good@x)), k = 1), "slot x")
  expect_bcnmf_error(bcnmf(broken(Dim = c(4L, 7L)), k = 1), "slot p has length")
  for (dim in list(c(-4L, 3L), c(4L, NA), integer(), c(4, 3))) expect_bcnmf_error(bcnmf(broken(Dim = dim), k = 1), "not a valid .*Dim", arg = "target")
  expect_bcnmf_error(bcnmf(broken(Dimnames = list("a", NULL)), k = 1), "not a valid .*Dimnames", arg = "target")
})

test_that("matrices that R reads before the core are refused where they are corrupt", {
  sim <- small_sim()
  good <- sim$target
  triplets <- methods::as(good, "TsparseMatrix")
  by_row <- methods::as(good, "RsparseMatrix")
  expect_bcnmf_error(bcnmf(broken_matrix(triplets, i = replace(triplets@i, 2, 100000000L)), k = 2), "not a valid <dgTMatrix>.*'i' slot", arg = "target")
  expect_bcnmf_error(bcnmf(good, broken_matrix(by_row, j = replace(by_row@j, 2, 100000000L)), k = 2), "not a valid <dgRMatrix>.*'j' slot", arg = "background")
  expect_bcnmf_error(bcnmf(broken_matrix(methods::as(good, "unpackedMatrix"), x = 1), k = 2), "not a valid <dgeMatrix>.*'x' slot", arg = "target")

  fit <- bcnmf(good, sim$background, k = 3, k_target = 1, maxit = 5)
  start <- methods::as(Matrix::Matrix(fit$w, sparse = TRUE), "generalMatrix")
  bad <- function(x) {
    list(
      broken_matrix(x, i = replace(x@i, 2, 100000000L)), broken_matrix(x, p = rev(x@p)),
      broken_matrix(x, p = replace(x@p, 2, 1000000000L)), broken_matrix(x, x = x@x[-1])
    )
  }
  for (one in c(bad(good), broken_matrix(good, Dim = integer()))) {
    expect_bcnmf_error(residuals(fit, one), "not a valid", arg = "data")
    expect_bcnmf_error(residuals(fit, one, cells = 1:2), "not a valid", arg = "data")
    expect_bcnmf_error(impute(fit, one, mask = good > 5), "not a valid", arg = "data")
    expect_bcnmf_error(impute(fit, one, mask = "zeros"), "not a valid", arg = "data")
    expect_bcnmf_error(bcnmf(one, k = 2, mask = good > 5), "not a valid", arg = "target")
    expect_bcnmf_error(bcnmf(good, k = 2, mask = one), "not a valid", arg = "mask")
    expect_bcnmf_error(bcnmf(list(a = good, b = one), k = 2), "not a valid", arg = "target$b")
  }
  for (one in bad(start)) expect_bcnmf_error(bcnmf(good, k = 3, init = one), "not a valid", arg = "init")
})

test_that("corrupt layers of an object are refused", {
  sim <- small_sim()
  read <- function(...) {
    layers <- list(...)
    at <- split(seq_len(80), rep(seq_along(layers), each = 80 / length(layers)))
    layers <- Map(function(x, columns) list(matrix = x, rows = 1:60, columns = columns), layers, at)
    read_cells(new_source(colnames(sim$target), rownames(sim$target), layers), 1:60, 1:80, "object", NULL)
  }
  by_row <- methods::as(sim$target, "RsparseMatrix")
  expect_bcnmf_error(read(broken_matrix(by_row, j = replace(by_row@j, 2, 100000000L))), "object.*not a valid")
  half <- sim$target[, 1:40]
  expect_bcnmf_error(read(broken_matrix(half, i = replace(half@i, 2, 100000000L)), as.matrix(half)), "object.*not a valid")
})

test_that("arguments out of range are refused with their name and value", {
  cases <- list(
    k = list(NULL, 0, -1, 2.5, "2", NA, c(1, 2), Inf, 4, TRUE),
    alpha = list(-1, NA, "1", Inf, c(0, 1)),
    beta = list(-0.1, NaN, "a"),
    k_target = list(-1, 0.5, NA, 2),
    loss = list("kl", NA, 1, c("mse", "mse")),
    seed = list(NA, 1.5, "1", integer(), Inf, NULL),
    tol = list(-1, NA, "0", c(1, 2)),
    maxit = list(0, -5, 1.5, NA, Inf, "10"),
    L1 = list(-1, NA, c(1, 2, 3), "0", Inf),
    L2 = list(-1, NaN),
    precision = list("half", NA, 2),
    threads = list(0, -1, 1.5, NA, "2"),
    verbose = list(NA, "yes", 1),
    init = list("svd", x[, 1, drop = FALSE][1:2, , drop = FALSE], -x[, 1:2], list(), 5)
  )
  for (arg in names(cases)) {
    for (value in cases[[arg]]) {
      args <- list(x, y, k = 2)
      args[arg] <- list(value)
      condition <- expect_bcnmf_error(do.call(bcnmf, args))
      expect_match(conditionMessage(condition), if (arg == "init") "init|starting" else arg, fixed = arg != "init")
    }
  }
})

test_that("counts beyond what R can count are refused", {
  expect_bcnmf_error(bcnmf(x, y, k = 2, k_target = 2^31), "one whole number between 0 and 2147483647", arg = "k_target")
  expect_bcnmf_error(select_rank(x, k = c(2, 3e9)), "whole numbers between 1 and 2147483647", arg = "k")
  expect_bcnmf_error(select_rank(x, k = 1e300), "whole numbers between 1 and 2147483647, not 1e\\+300", arg = "k")
  expect_bcnmf_error(select_rank(x, k = 0), "whole numbers of at least 1, not 0", arg = "k")
  expect_bcnmf_error(select_k_target(x, y, k = 2, k_target = 2^31), "whole numbers between 0 and 2147483647", arg = "k_target")
})

test_that("arguments that contradict each other are refused", {
  expect_bcnmf_error(bcnmf(x, k = 2, alpha = 1), "alpha.*needs a.*background")
  expect_bcnmf_error(bcnmf(x, k = 2, beta = 1), "needs a.*background")
  expect_bcnmf_error(bcnmf(x, k = 2, k_target = 1), "needs a.*background")
  expect_bcnmf_error(bcnmf(x, y, k = 2, alpha = 1, beta = 1), "not both")
  expect_bcnmf_error(bcnmf(x, y, k = 2, alpha = 1, k_target = 1), "two different ways")
  expect_bcnmf_error(bcnmf(x, y, k = 2, lambda = 1), "needs.*k_target")
  expect_bcnmf_error(bcnmf(x, y, k = 2, k_target = 2), "less than")
  expect_bcnmf_error(bcnmf(x, y, k = 4), "smaller side is 3")
  expect_bcnmf_error(bcnmf(x, y, k = 2, maxiter = 10), "Unknown argument.*maxiter")
  expect_s4_class(bcnmf(x, k = 2, alpha = 0, maxit = 2), "bcnmf")
})

test_that("a model of other data is not continued", {
  fit <- bcnmf(x, y, k = 2, maxit = 3)
  expect_bcnmf_error(bcnmf(x[, 1:2], y, init = fit), "3 target cells, and 2 are needed")
  expect_bcnmf_error(bcnmf(x, init = fit), "2 background cells")
  expect_bcnmf_error(bcnmf(x[1:3, ], y[1:3, ], init = fit), "The model has 4 rows")
  expect_bcnmf_error(bcnmf(x, y, k = 1, init = fit), "2 factors, and 1")
})

test_that("odd shapes and values give a model or an error of ours", {
  withr::local_seed(1)
  values <- c(0, 0, 0, 1, 2, 5, 1e-300, 5e-324, 1e-5, 1e5, 1e99, 1e300, -1, NA, NaN, Inf)
  for (trial in 1:300) {
    likely <- if (trial %% 3) 1:10 else seq_along(values)
    make <- function(rows, columns) {
      x <- matrix(sample(values[likely], rows * columns, TRUE), rows, columns)
      if (trial %% 2) x else methods::as(x, "CsparseMatrix")
    }
    rows <- sample(0:5, 1)
    target <- make(rows, sample(0:5, 1))
    background <- if (stats::runif(1) < 0.6) make(sample(c(rows, rows, rows, 2), 1), sample(0:4, 1))
    result <- tryCatch(
      suppressWarnings(bcnmf(target, background,
        k = sample(1:4, 1), loss = sample(c("mse", "poisson"), 1), maxit = sample(c(1, 50), 1),
        precision = sample(c("single", "double"), 1), threads = 1,
        alpha = if (!is.null(background)) sample(c(0, 0.3, 5, 1e10), 1)
      )),
      bcnmf_error = function(e) e
    )
    if (methods::is(result, "bcnmf")) {
      expect_true(methods::validObject(result))
      expect_false(anyNA(result$history$target))
    } else {
      expect_s3_class(result, "bcnmf_error")
    }
  }
})
