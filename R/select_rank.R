#' Choose the number of factors by entries that are held out
#'
#' Fits models of several `k` that do not see a part of the entries, and compares what they predict there. More factors describe the entries that
#' a fit sees better and better; those that it does not see only as long as there are programs to find, then worse.
#'
#' @details
#' Cross-validation of a factorisation leaves out single entries, spread over all features and cells (Wold 1978; Owen and Perry 2009): leaving out
#' whole cells does not do, as their coefficients would be fitted to what is to be predicted. A tenth of the entries is held out; of large data as
#' many as make 100 000 of the larger set, but at least a hundredth. Which entries are held out depends on the mask's number and the
#' entry's position only, zeros are held out like counts, and for one mask they are the same for all `k`. So the fits of a mask differ by `k` alone, and
#' `k`s are compared by their paired differences, which vary much less from mask to mask than the losses themselves do.
#'
#' The loss is the divergence of an entry divided by what an entry of its feature loses under the mean profile model (all cells alike but for their sums), plus the mean of that over features. Counts have heavy tails:
#' otherwise one red cell's haemoglobin, held out or not, would outweigh all other cells.
#'
#' The smallest `k` is selected whose loss is above the least one by no more than the standard error of that paired difference (the one-standard-error rule of
#' Hastie, Tibshirani and Friedman): what cannot be told from the best by these masks is decided in favour of fewer factors. The curve is
#' often flat around its minimum; a program of few cells is worth little loss, however real it is. Look at the plot, and at [consensus()], before you trust a
#' number. One mask has no standard error: the `k` with the least loss is taken. Masks of one data set are not independent samples, so with
#' few of them take the standard error for a rough guide.
#'
#' With a background both sets are explained by the same factors, all but `k_target` of them open to the background, and count the same whatever their
#' numbers of cells: the loss is the mean of the target's and the background's. So `k` counts programs of the background too. For those of the target
#' alone leave the background out.
#'
#' The fits are short (at most `maxit` sweeps, in single precision, without penalties) and see at most `most` cells of a set, evenly spaced, so the
#' cost does not grow with the data beyond that. With 833 features and 138 samples the 57 fits of the defaults took 14 times as long as one converged
#' fit with `k = 5`. R's own random numbers are not touched.
#'
#' @param k whole numbers, the numbers of factors to compare, all above `k_target`; by default as many of 2 to 20 as the data and `k_target` allow.
#' @param k_target number of factors that are closed to the background.
#' @param masks how often other entries are held out, each time with another start.
#' @param most largest number of cells of target and of background to use.
#' @param maxit most sweeps per fit.
#' @param seed one whole number: that of the first mask and its start; the others follow.
#' @inheritParams bcnmf
#' @param target the target: features x cells, as `object` of [bcnmf()].
#' @return A data frame of class `bcnmf_ranks`, one row per `k`: `k`; `loss`, the mean over masks of the mean loss per held-out entry, and `se`, its standard
#'   error; `excess`, the mean over masks of the difference from the best `k`, as part of the best's loss, and `excess_se`, its standard error; `best`, the `k`
#'   with the least loss; `selected`, the one to take. Standard errors are `NA` for one mask.
#' @section Errors: of class `bcnmf_error` for data that [bcnmf()] refuses, a `k` that is not above `k_target` or is larger than the target's smaller side (of
#'   the cells that are used), and other arguments out of range.
#' @references Wold (1978), Cross-validatory estimation of the number of components in factor and principal components models, *Technometrics* 20.
#'   Owen and Perry (2009), Bi-cross-validation of the SVD and the nonnegative matrix factorization, *Annals of Applied Statistics* 3.
#'   Hastie, Tibshirani and Friedman (2009), The elements of statistical learning, section 7.10.
#' @seealso `bcnmf(k = "auto")`, which takes the selected `k`, or more where target-only factors are worth it; [consensus()] for the stability of the factors.
#' @examples
#' sim <- simulate_contrast(80, n_target = 120, n_background = 0, k_shared = 3, k_target = 0, seed = 1)
#' ranks <- select_rank(sim$target, k = 1:6, loss = "poisson", masks = 2, maxit = 50)
#' ranks
#' plot(ranks)
#' @export
select_rank <- function(target, background = NULL, k = 2:20, k_target = 0, loss = c("mse", "poisson", "nb", "zinb"), masks = 3, most = 2000,
                        maxit = 100, threads = NULL, verbose = NULL, seed = 1, mask = NULL, weights = NULL) {
  call <- rlang::current_env()
  sets <- read_sets(target, background, call, mask = mask, weights = weights, loss = loss)
  k_target <- check_count(k_target, min = 0, call = call)
  most <- check_count(most, call = call)
  largest <- min(dim(sets$x), most)
  k <- if (missing(k)) default_ranks(k_target, largest) else check_ranks(k, largest, call)
  check_contrast(!is.null(sets$y), min(k), NULL, NULL, k_target, NULL, call)
  settings <- comparison_settings(sets, masks, maxit, threads, verbose, seed, call)
  compare_ranks(some_cells(sets$x, most), some_cells(sets$y, most), k, k_target, settings, verbose, call)
}

# What is tried unless said.
default_ranks <- function(k_target, largest) {
  least <- min(max(2, k_target + 1), largest)
  seq(least, max(least, min(20, largest)))
}

check_ranks <- function(k, largest, call) {
  k <- check_counts(k, min = 1, "k", call)
  if (max(k) > largest) {
    abort_bcnmf("{.arg k} has {max(k)}, but the smaller side of the target, of the cells that are used, is {largest}.",
      arg = "k", value = k, call = call
    )
  }
  k
}

compare_ranks <- function(x, y, k, k_target, settings, verbose, call) {
  models <- data.frame(k = k, k_target = k_target)
  losses <- held_out_losses(x, y, models, settings, progress_bar(verbose, "Ranks"), call)
  structure(loss_table(losses, k, "k"), class = c("bcnmf_ranks", "data.frame"))
}

# For bcnmf(k = "auto"): what to try; a start that is given has a k of its own.
auto_ranks <- function(x, k_target, seed, init, call) {
  if (is.matrix(seed) || is.list(seed) || !(is.null(init) || is.character(init))) {
    abort_bcnmf("{.code k = \"auto\"} compares models of several sizes: they cannot start from given factors.", arg = "k", value = "auto", call = call)
  }
  k_target <- if (is.null(k_target) || is_auto(k_target)) 0L else check_count(k_target, min = 0, arg = "k_target", call = call)
  default_ranks(k_target, min(dim(x), formals(select_rank)$most))
}

# As select_rank() with its defaults. It says what was chosen, as all that follows depends on it, unless told to be quiet.
find_rank <- function(x, y, k, settings, verbose, call) {
  defaults <- formals(select_rank)
  # target-only factors that are yet to be counted are counted among all
  k_target <- if (is.na(settings$k_target)) 0L else settings$k_target
  settings <- c(settings[c("loss", "threads")], defaults[c("masks", "maxit")], seed = settings$seed[1])
  ranks <- compare_ranks(some_cells(x, defaults$most), some_cells(y, defaults$most), k, k_target, settings, verbose, call)
  chosen <- ranks$k[ranks$selected]
  edge <- if (length(k) > 1 && chosen == max(k)) ", the largest tried"
  if (!isFALSE(verbose)) cli::cli_inform(c(i = "{.code k = {chosen}} by held-out entries{edge}; see {.fn select_rank}."), class = "bcnmf_message")
  ranks
}
