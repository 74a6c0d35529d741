# Where each data set may be found, and the checksum of the file at its address.
example_sets <- list(
  aml = list(
    files = c("aml/aml_833x138.rda", "aml.rda"), objects = "aml",
    about = "methylation of 833 regions in 123 AML samples and 15 samples of healthy progenitor cells",
    package = c(RcppML = "0.5.0"),
    url = "https://raw.githubusercontent.com/zdebruine/RcppML/295344c17b8252fffff8017c421b871949e592b1/data/aml.rda",
    md5 = c("654177145af72f3b86c6a0db7d1fd988", "5944222231f94f587a2bc8ea9c8acc70") # 833 x 138, 824 x 135
  ),
  pbmc_stim = list(
    files = "pbmc_stim.RData", objects = c("pbmc.stim", "pbmc.ctrl"),
    about = "counts of 9015 genes in 1000 + 1000 blood cells with and without interferon-beta",
    package = c(harmony = "1.0"),
    url = "https://raw.githubusercontent.com/immunogenomics/harmony/0c5b606536778aa7e104ee5fda7ed55da140307e/data/pbmc_stim.RData",
    md5 = "57ef1f51bea342b5bfba9ce640cef81d"
  )
)

#' Real example data
#'
#' The data of the examples and vignettes. They belong to others and are not part of the package: they are looked for in the folder named by the
#' environment variable `BCNMF_DATA`, in an installed package that carries them, and in the user's cache (`tools::R_user_dir("bcnmf", "cache")`).
#' In interactive use the function then offers to download them from their public repository, and checks what it got.
#'
#' @param name `"aml"`: a matrix with values in \[0, 1\], methylation of 833 regions in 123 samples of acute myeloid leukaemia and 5 samples each of three kinds of
#'   healthy progenitor cells; column names are the groups (RcppML's example data; newer versions of that package carry a
#'   variant with 824 regions). `"pbmc_stim"`: counts of 9 015 genes in 1 000 blood cells with and 1 000 without interferon-beta (Kang et al. 2018), a
#'   list of two sparse matrices, `stim` and `ctrl`.
#' @param download download when the data are not found? By default asks in interactive use.
#' @return The data; with `download = NA`, `NULL` when they are not here.
#' @section Errors: of class `bcnmf_error` when the data are not here and may not or cannot be downloaded, with what to do.
#' @examples
#' aml <- example_data("aml", download = NA)
#' if (!is.null(aml)) table(colnames(aml))
#' @export
example_data <- function(name = c("aml", "pbmc_stim"), download = rlang::is_interactive()) {
  name <- check_choice(name, names(example_sets))
  if (!(length(download) == 1 && is.logical(download))) refuse(download, "TRUE, FALSE or NA", "download", rlang::current_env())
  set <- example_sets[[name]]
  file <- find_example(set)
  if (is.null(file)) {
    found <- packaged_example(set)
    if (!is.null(found)) return(shape_example(name, found))
    if (is.na(download)) return(NULL)
    file <- download_example(name, set, download)
  }
  objects <- new.env()
  tryCatch(load(file, objects), error = function(e) {
    abort_bcnmf("{.file {file}} cannot be read: {conditionMessage(e)}", arg = "name", value = name)
  })
  shape_example(name, objects)
}

find_example <- function(set) {
  folders <- c(Sys.getenv("BCNMF_DATA"), tools::R_user_dir("bcnmf", "cache"))
  paths <- as.vector(outer(folders[nzchar(folders)], set$files, file.path))
  found <- paths[file.exists(paths)]
  if (length(found)) found[1]
}

packaged_example <- function(set) {
  package <- names(set$package)
  if (!rlang::is_installed(package, version = set$package[[1]])) return(NULL)
  objects <- new.env()
  # A package that was built without its data set only warns.
  suppressWarnings(utils::data(list = sub("\\.[^.]*$", "", basename(utils::tail(set$files, 1))), package = package, envir = objects))
  if (all(set$objects %in% ls(objects))) objects
}

shape_example <- function(name, objects) {
  if (name == "aml") return(objects$aml)
  list(stim = objects$pbmc.stim, ctrl = objects$pbmc.ctrl)
}

download_example <- function(name, set, download, call = rlang::caller_env()) {
  cache <- tools::R_user_dir("bcnmf", "cache")
  file <- file.path(cache, utils::tail(set$files, 1))
  hint <- "Put {.file {basename(file)}} from {.url {set$url}} into {.file {cache}}, or set {.envvar BCNMF_DATA} to its folder."
  if (download && rlang::is_interactive()) {
    cli::cli_inform(c("{.val {name}}: {set$about}.", i = "From {.url {set$url}} into {.file {cache}}."))
    download <- isTRUE(utils::askYesNo("Download?"))
  }
  if (!download) {
    abort_bcnmf(c("The data {.val {name}} are not on this machine.", i = hint), arg = "name", value = name, call = call)
  }
  fetched <- tempfile()
  on.exit(unlink(fetched))
  ok <- tryCatch(utils::download.file(set$url, fetched, mode = "wb", quiet = TRUE) == 0,
    error = function(e) FALSE, warning = function(w) FALSE
  )
  if (!ok) {
    abort_bcnmf(c("The data {.val {name}} could not be downloaded.", i = hint), arg = "name", value = name, call = call)
  }
  if (!unname(tools::md5sum(fetched)) %in% set$md5) {
    abort_bcnmf(c("What {.url {set$url}} gave is not the expected file: its checksum differs.", i = hint),
      arg = "name", value = name, call = call
    )
  }
  dir.create(cache, recursive = TRUE, showWarnings = FALSE)
  file.copy(fetched, file, overwrite = TRUE)
  file
}
