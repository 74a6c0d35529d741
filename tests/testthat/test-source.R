gathered <- function(counts, cut, features, cells) {
  layers <- lapply(cut, function(part) {
    list(matrix = counts[part$rows, part$columns, drop = FALSE], rows = part$rows, columns = part$columns)
  })
  source <- new_source(colnames(counts), rownames(counts), layers, assay = "RNA", layer = "counts")
  read_cells(source, features, cells, "target", NULL)
}

test_that("gathering is indexing, for any cut into layers and any choice", {
  withr::local_seed(1)
  for (i in 1:40) {
    m <- sample(1:12, 1)
    n <- sample(1:15, 1)
    counts <- Matrix::rsparsematrix(m, n, 0.4, repr = "C", rand.x = function(n) rpois(n, 2))
    dimnames(counts) <- list(sprintf("g%d", seq_len(m)), sprintf("c%d", seq_len(n)))
    # every column in one layer, in any order; layers may lack rows, which then are empty
    layer_of <- sample(3, n, replace = TRUE)
    cut <- lapply(split(sample(n), layer_of), function(columns) {
      list(rows = sample(m, sample(m, 1)), columns = columns)
    })
    expected <- as.matrix(counts)
    for (part in cut) expected[setdiff(seq_len(m), part$rows), part$columns] <- 0
    features <- sample(m, sample(m, 1))
    cells <- sample(n, sample(n, 1))
    x <- gathered(counts, cut, features, cells)
    expect_s4_class(x, "dgCMatrix")
    expect_true(methods::validObject(x))
    expect_identical(as.matrix(x), expected[features, cells, drop = FALSE])
    # the same out of layers of other kinds
    dense <- lapply(cut, function(part) {
      list(matrix = as.matrix(counts[part$rows, part$columns, drop = FALSE]), rows = part$rows, columns = part$columns)
    })
    source <- new_source(colnames(counts), rownames(counts), dense, assay = "RNA", layer = "counts")
    expect_identical(read_cells(source, features, cells, "target", NULL), expected[features, cells, drop = FALSE])
  }
})

test_that("a cell without data is named, a corrupt layer is refused", {
  counts <- Matrix::rsparsematrix(4, 5, 0.5, rand.x = function(n) rep(1, n))
  dimnames(counts) <- list(letters[1:4], LETTERS[1:5])
  cut <- list(list(rows = 1:4, columns = 1:3))
  expect_bcnmf_error(gathered(counts, cut, 1:4, 1:5), "2 of the target's cells have no data in layer \"counts\".*\"D\", \"E\"", "layer")
  broken <- counts
  broken@i[1] <- 99L
  source <- new_source(colnames(counts), rownames(counts), list(list(matrix = broken, rows = 1:4, columns = 1:5)))
  expect_bcnmf_error(read_cells(source, 1:4, 1:5, "target", NULL), "not a valid sparse matrix")
})

test_that("a layer on disk is asked for what is wanted only, and converted", {
  # what BPCells' matrices are to us: S4, `[` by position, as(, "dgCMatrix")
  env <- environment()
  methods::setClass("IterableMatrix", slots = c(data = "ANY", log = "environment"), where = env)
  withr::defer(methods::removeClass("IterableMatrix", where = env))
  methods::setMethod("dim", "IterableMatrix", function(x) dim(x@data), where = env)
  methods::setMethod("[", "IterableMatrix", function(x, i, j, ..., drop = TRUE) {
    x@log$asked <- c(length(i), length(j))
    x@data <- x@data[i, j, drop = FALSE]
    x
  }, where = env)
  methods::setAs("IterableMatrix", "dgCMatrix", function(from) from@data, where = env)
  counts <- Matrix::rsparsematrix(6, 8, 0.5, rand.x = function(n) rpois(n, 3) + 1)
  dimnames(counts) <- list(letters[1:6], LETTERS[1:8])
  log <- new.env()
  disk <- methods::new("IterableMatrix", data = counts, log = log)
  source <- new_source(colnames(counts), rownames(counts), list(list(matrix = disk, rows = 1:6, columns = 1:8)))
  x <- read_cells(source, c(5, 2), c(8, 1, 3), "target", NULL)
  expect_identical(x, counts[c(5, 2), c(8, 1, 3)])
  expect_identical(log$asked, c(2L, 3L))
})
