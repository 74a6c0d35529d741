#' Simulate target and background counts with known programs
#'
#' Counts of a target and a background that share programs, and of programs that only the target has. For tests, examples and
#' benchmarks; memory and time grow with the counts, not with features x cells.
#'
#' Each program is a profile over features with Gamma distributed loadings, scaled to sum to 1. Each cell has a log-normal depth, spread over
#' the shared programs by Gamma distributed weights; in target cells the part `share` goes to the target-only programs. Counts are
#' Poisson. Cell `j` is the same whatever the number of cells, and R's own random numbers are not touched.
#'
#' @param n_features,n_target,n_background numbers of features, target cells and background cells (0 for no background).
#' @param k_shared,k_target numbers of shared and of target-only programs.
#' @param share expected part of a target cell's counts that comes from target-only programs.
#' @param depth mean number of counts of a cell.
#' @param depth_sd standard deviation of the log of the depth.
#' @param loading_shape shape of the Gamma law of loadings; smaller is sparser.
#' @param use_shape shape of the Gamma law of a cell's use of programs; smaller means fewer programs per cell.
#' @param seed whole number.
#' @return A list:
#'   \describe{
#'     \item{target, background}{counts, features x cells, as `dgCMatrix` with names (`background` is `NULL` for `n_background = 0`).}
#'     \item{w}{true profiles, features x programs, columns sum to 1; `"shared1"`, ..., `"target1"`, ...}
#'     \item{h, h_background}{true expected counts, programs x cells: the expectation of `target` is `w %*% h`.}
#'     \item{cells, cells_background}{data frames with one row per target or background cell, named as the cells are (`cells_background` is `NULL` for
#'       `n_background = 0`): `set`; `program`, the target-only program that the cell uses most, a factor with the level `"none"` for cells that use
#'       none of them, such as all background cells; and `depth`, the expected number of counts. For `group_by` and, by
#'       `rbind(sim$cells, sim$cells_background)`, for the cell data of an object.}
#'   }
#' @section Errors: of class `bcnmf_error` for numbers out of range.
#' @examples
#' sim <- simulate_contrast(200, n_target = 100, n_background = 80, seed = 1)
#' sim$target[1:5, 1:5]
#' colSums(sim$w)
#' table(sim$cells$program)
#' @export
simulate_contrast <- function(n_features = 3000, n_target = 4000, n_background = 2000, k_shared = 6, k_target = 2,
                              share = 0.15, depth = 400, depth_sd = 0.4, loading_shape = 0.2, use_shape = 0.3, seed = 1) {
  call <- rlang::current_env()
  check_count(n_features, call = call)
  check_count(n_target, call = call)
  check_count(n_background, min = 0, call = call)
  check_count(k_shared, min = if (n_background > 0) 1 else 0, call = call)
  check_count(k_target, min = if (k_shared == 0) 1 else 0, call = call)
  check_number(share, min = 0, max = 1, call = call)
  for (arg in c("depth", "loading_shape", "use_shape")) {
    check_number(get(arg), min = .Machine$double.eps, max = 1e8, arg = arg, call = call)
  }
  check_number(depth_sd, min = 0, max = 3, call = call)
  settings <- mget(names(formals()))
  settings$seed <- check_one_seed(seed, call)
  raw <- simulate_counts(lapply(settings, as.double), call)

  features <- paste0("gene", seq_len(n_features))
  programs <- c(
    if (k_shared > 0) paste0("shared", seq_len(k_shared)),
    if (k_target > 0) paste0("target", seq_len(k_target))
  )
  cells <- list(
    target = paste0("target_", seq_len(n_target)),
    background = if (n_background > 0) paste0("background_", seq_len(n_background))
  )
  counts <- function(set) {
    slots <- raw[[set]]
    methods::new("dgCMatrix",
      p = slots$p, i = slots$i, x = slots$x,
      Dim = c(as.integer(n_features), length(cells[[set]])), Dimnames = list(features, cells[[set]])
    )
  }
  h <- with_names(raw$h, programs, cells$target)
  h_background <- with_names(raw$h_background, programs, cells$background)
  list(
    target = counts("target"),
    background = if (n_background > 0) counts("background"),
    w = with_names(raw$w, features, programs),
    h = h,
    h_background = h_background,
    cells = describe_cells(h, k_shared, "target"),
    cells_background = if (n_background > 0) describe_cells(h_background, k_shared, "background")
  )
}

simulate_counts <- function(settings, call) {
  session <- core_call(rs_simulate_new(settings), call)
  drive_or_leave(function(seconds) rs_simulate_advance(session, seconds), progress_bar(FALSE), call)
  core_call(rs_simulate_result(session), call)
}

# What the truth says of each cell; the first `k_shared` programs are shared.
describe_cells <- function(h, k_shared, set) {
  own <- t(h[seq_len(nrow(h)) > k_shared, , drop = FALSE])
  top <- if (ncol(own) > 0) max.col(own, ties.method = "first") else rep(0L, nrow(own))
  labels <- c(colnames(own), "none")
  top[rowSums(own) == 0] <- length(labels)
  data.frame(
    set = rep(set, nrow(own)), program = factor(labels[top], levels = labels), depth = unname(colSums(h)), row.names = rownames(own)
  )
}
