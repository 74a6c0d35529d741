test_that("data are found in the folder named by BCNMF_DATA", {
  folder <- withr::local_tempdir()
  aml <- matrix(0.5, 3, 2)
  save(aml, file = file.path(folder, "aml.rda"))
  withr::local_envvar(BCNMF_DATA = folder)
  expect_identical(example_data("aml"), aml)
})

test_that("without data and without leave to download it says what to do", {
  withr::local_envvar(BCNMF_DATA = "", R_USER_CACHE_DIR = withr::local_tempdir())
  expect_null(example_data("pbmc_stim", download = NA))
  expect_bcnmf_error(example_data("pbmc_stim", download = FALSE), "BCNMF_DATA")
  expect_bcnmf_error(example_data("nothing"), "name")
  expect_bcnmf_error(example_data("pbmc_stim", download = "yes"), "download")
})

test_that("a failed or wrong download leaves nothing behind", {
  cache <- withr::local_tempdir()
  withr::local_envvar(BCNMF_DATA = "", R_USER_CACHE_DIR = cache)
  set <- example_sets$pbmc_stim
  other <- withr::local_tempfile(lines = "not the data")
  set$url <- paste0("file://", other)
  expect_bcnmf_error(download_example("pbmc_stim", set, TRUE), "checksum")
  set$url <- paste0("file://", other, ".missing")
  expect_bcnmf_error(download_example("pbmc_stim", set, TRUE), "could not be downloaded")
  expect_length(list.files(cache, recursive = TRUE), 0)
  set$md5 <- unname(tools::md5sum(other))
  set$url <- paste0("file://", other)
  expect_true(file.exists(download_example("pbmc_stim", set, TRUE)))
})
