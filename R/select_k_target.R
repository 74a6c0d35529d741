#' Choose the number of target-only factors by entries that are held out
#'
#' Fits models with `k` factors of which none, one, two, ... are closed to the background, and compares what they predict of entries that they do not see.
#' Closing a factor costs nothing when the background has no use for it, helps when the target has a program of its own that would else get no factor of its own, and costs much
#' when the background loses a program. No label is used but which cells are target and which are background.
#'
#' @details
#' Entries are held out as in [select_rank()], the same ones for all models of a mask, and the loss is that of both sets, which count the same. The smallest `k_target` is
#' selected whose loss is above the least one by no more than the standard error of their paired difference, or by no more than `tolerance`: fits of the same data end
#' in somewhat different optima, and two halves of one set of blood cells differed by up to 0.19 %, where a response in all cells made 0.28 %, and simulated programs with 2 % of the counts 0.7 % or more.
#'
#' A fit without closed factors may find the programs of the target as well, as factors that the background leaves alone. Then closing them makes no difference to the loss, and says what they
#' are. So they are also closed in that fit, which goes on then, and the better of both fits counts; and as many as the background uses by less than a quarter of what the target does (`unused`, in the fits with `k_target = 0`) are closed at least, as long as that costs nothing.
#' Such a fit is only compared: models are fitted from a start of their own. Where one more target-only factor predicts as well, and from its own start by half a per cent better, it is taken too.
#'
#' A gain of a quarter of `tolerance` to all of it may be a weak program, or chance. At 400 counts a cell in 2 000 genes, two programs with 5 % of the counts are worth 0.12 to 0.42 %. So it is taken for a program if all else speaks
#' for it: what is closed is told to be the target's by the mean of the background's cells (see below), and a model without these factors predicts worse, by a quarter of `tolerance` too. Factors too many for the data learn noise, and less of it when
#' they are closed: there the model without them is the better one.
#'
#' What was closed must be the target's indeed: where the background would use a closed factor half as much as the target does, or more, if it were not closed, it is not. With few
#' cells, fits differ in what they come upon by more than a program is worth. In 17 of 56 pairs of random halves of 300 or 1 000 blood cells a closed factor seemed to pay, and in 8 of them it stays: some cells of a
#' rare kind that are in one half alone, and chance in halves of 150 cells. In simulations and the interferon response the background would use what is closed 0.02 to 0.43 times as much.
#'
#' Noise in a cell adds to what it seems to use of a weak program, and never takes away: of a program with 1 % of the counts cells without it can seem to use more than half as much as those that have it. So a
#' factor stays, too, that the mean of the background's cells, taken as one cell, would use less than a tenth as much as the target does. Of what was closed by chance that was 0.15 or more.
#'
#' `k` must be enough for all programs, those of the background among them. With fewer than that each factor is shared by several programs, closing one always costs, and
#' `k_target = 0` is selected. [bcnmf()] goes on to more factors then, and holds what it finds there (see its details).
#'
#' First, `shared` tells whether the sets are matched at all: the part of the background's held-out loss under its mean profile (the best model with one factor)
#' that factors fitted to the target alone take away. Below -0.5 they know clearly less of the background than its mean profile does, and a background that must be
#' explained by the same factors would only spoil the target's. Then `k_target = 0` is selected, whatever the losses, and nothing else is compared unless `k_target` says so.
#'
#' All models start from singular vectors (`init = "nndsvd"`), which are those of all entries. A program of the target that shows in some kinds of cells more than in
#' others may be told to need several factors: with few cells of interest `k_target = 1` gives the one that sums them up.
#'
#' `bcnmf(k_target = "auto")`, which is what `bcnmf()` does with a background unless told otherwise, takes the number selected for `k` factors or, where these are too few, for more, with `seed = 1` whatever the fit's seed, so
#' that fits of different seeds stay comparable.
#'
#' @param k number of factors, of all kinds.
#' @param k_target whole numbers below `k`, the numbers of target-only factors to compare. By default from 0 up until the best is behind by two or three, or by one that is far worse.
#' @param tolerance largest relative difference of losses that is taken for none, but for clear cases (see details).
#' @param masks how often other entries are held out, each time with another start.
#' @param most largest number of cells of target and of background to use, evenly spaced ones. By default 1 000, or more as long as they hold no more than half a million values other than 0: the fewer counts a cell has, the more cells
#'   it takes to tell a program.
#' @param maxit most sweeps per fit.
#' @param seed one whole number: that of the first mask and its start; the others follow.
#' @inheritParams alpha_path
#' @return A data frame of class `bcnmf_k_targets`, one row per number: `k_target`; `loss`, `se`, `excess`, `excess_se`, `best` and `selected` as in [select_rank()]. Its
#'   attributes are `shared` (`NA` for `k = 1`, which leaves nothing to compare), `unused` (`NA` where `k_target = 0` was not compared), `k`, and `verdict`, a sentence.
#' @section Errors: of class `bcnmf_error` for data that [bcnmf()] refuses, a `k_target` that is not below `k`, and other arguments out of range.
#' @references Wold (1978), Cross-validatory estimation of the number of components in factor and principal components models, *Technometrics* 20.
#'   Hastie, Tibshirani and Friedman (2009), The elements of statistical learning, section 7.10.
#' @seealso [select_rank()] for `k`, [alpha_path()] for the strength of a contrast without target-only factors, [plot()][plot.bcnmf_k_targets] of the result.
#' @examples
#' sim <- simulate_contrast(100, n_target = 150, n_background = 100, k_shared = 3, k_target = 2, seed = 1)
#' found <- select_k_target(sim$target, sim$background, k = 5, loss = "poisson")
#' found
#' plot(found)
#' @export
select_k_target <- function(target, background, k, k_target = NULL, loss = c("mse", "poisson", "nb", "zinb"), tolerance = 0.002, masks = 2, most = NULL,
                            maxit = 30, threads = NULL, verbose = NULL, seed = 1, mask = NULL, weights = NULL) {
  call <- rlang::current_env()
  check_both_sets(if (!missing(target)) target, if (!missing(background)) background, "target-only factors need", call)
  sets <- read_sets(target, background, call, mask = mask, weights = weights, loss = loss)
  check_rank_given(if (!missing(k)) k, NULL, call)
  k <- check_rank(k, min(dim(sets$x)), call)
  if (!is.null(k_target)) {
    k_target <- check_counts(k_target, min = 0, "k_target", call)
    check_contrast(TRUE, k, NULL, NULL, max(k_target), NULL, call)
  }
  if (!is.null(most)) check_count(most, min = max(k, 2), call = call)
  tolerance <- check_number(tolerance, min = 0)
  settings <- comparison_settings(sets, masks, maxit, threads, verbose, seed, call)
  few <- cells_to_compare(sets$x, sets$y, k, most)
  find_k_target(few$x, few$y, k, k_target, c(settings, tolerance = tolerance), verbose, call)
}

check_both_sets <- function(target, background, what, call) {
  missing <- c(if (is.null(target)) "target", if (is.null(background)) "background")
  if (length(missing)) {
    abort_bcnmf("{.arg {missing[1]}} is missing: {what} both sets.", arg = missing[1], call = call)
  }
}

# A factor that the background uses by less than this part of what the target does is the target's own.
least_use <- 0.25
# One that it would use by as much, if it were not closed, is not. More than above: in short fits weak programs are not yet free of others.
most_use <- 0.5
# Unless the mean of its cells would use it by less than this.
most_use_of_mean <- 0.1

# A gain that may be chance is down to this part of the tolerance one if all else speaks for it.
weak_gain <- 0.25

# Where there are target-only factors, one more is worth it from this part on: a program with 1 % of the counts is worth 0.006, parts of one response to interferon up to 0.003.
worth_another <- 0.005

# Those cells of checked data that are looked at: `most` of a set, or as many as say enough; never fewer than factors.
cells_to_compare <- function(x, y, k, most = NULL) {
  lapply(list(x = x, y = y), function(set) some_cells(set, if (is.null(most)) max(k, enough_cells(set)) else most))
}

# Of checked data, all cells of it. `shared`: what shared_part() tells, if that is known.
find_k_target <- function(x, y, k, k_target, settings, verbose, call, shared = NULL) {
  if (is.null(shared)) shared <- shared_part(x, y, k, settings, call)
  matched <- !shares_nothing(shared)
  tried <- if (!is.null(k_target)) k_target else if (matched) seq_len(k) - 1L else 0L
  unused <- k
  free <- list()
  closed <- list()
  from_start <- list()
  look <- function(fit, model, mask, from) {
    from_start[[as.character(model$k_target)]][mask] <<- fit$both
    if (model$k_target == 0) {
      free[[mask]] <<- fit$factors
      unused <<- min(unused, sum(background_use(fit$factors) < least_use, na.rm = TRUE))
    } else if (length(free) && model$k_target <= unused) {
      # what the background leaves alone can be closed as it is; a start of its own may be slower to get there
      other <- from(least_used_last(free[[mask]]))
      if (other$both < fit$both) fit <- other
    }
    closed[[as.character(model$k_target)]][[mask]] <<- fit
    fit$both
  }
  # what is near the best may be followed by a better one, far from it the background has lost a program
  enough <- function(losses) {
    loss <- colMeans(losses)
    beyond <- length(loss) - max(which.min(loss), unused + 1)
    is.null(k_target) && beyond > 0 && (beyond >= 3 || loss[length(loss)] > c(1.1, 1.02)[beyond] * min(loss))
  }
  bar <- progress_bar(verbose, "Target-only factors")
  losses <- held_out_losses(x, y, data.frame(k = k, k_target = tried), settings, bar, call, svd = TRUE, enough = enough, look = look)
  if (!0 %in% tried) unused <- NA_integer_
  table <- loss_table(losses, tried[seq_len(ncol(losses))], "k_target")
  fewest <- function(tolerance) if (matched) fewest_closed(table, unused, tolerance) else 0
  certain <- fewest(settings$tolerance)
  number <- fewest(settings$tolerance * weak_gain)
  # the fit will not start where closing factors of a free one has led to, and may not get there
  good <- table$k_target[as_good(table, settings$tolerance)]
  loss <- function(number) mean(from_start[[as.character(number)]])
  while (number > 0 && (number + 1) %in% good && loss(number + 1) < (1 - worth_another) * loss(number)) certain <- number <- number + 1
  if (number > certain && !worth_having(x, y, k, table, number, certain, settings, verbose, call)) number <- certain
  used <- FALSE
  while (number > 0) {
    own <- min(vapply(closed[[as.character(number)]], own_factors, 0L, number = number, y = y, settings = settings, certain = number <= certain, call = call))
    if (own >= number || !any(tried < number)) break
    # the nearest that was tried
    number <- max(tried[tried <= max(own, min(tried))])
    used <- TRUE
  }
  table$selected <- table$k_target == number
  structure(table,
    class = c("bcnmf_k_targets", "data.frame"), k = k, shared = shared, unused = unused,
    verdict = k_target_verdict(table, matched, used, k)
  )
}

# How much the background's cells use each factor, relative to the target's; NaN where nobody does.
background_use <- function(factors) {
  share <- function(h) rowSums(h) / sum(h)
  share(factors$h_background) / share(factors$h)
}

# How many of the last factors, which are closed to the background, it would leave alone if they were not. A start that happens to be better
# can make a program of both sets look like one of the target's alone. What pays so little that it may be chance is only believed where the mean of its cells tells so.
own_factors <- function(fit, number, y, settings, certain, call) {
  of_target <- function(sets) if (length(sets)) as.double(sets[[1]]) else numeric()
  # what the cells would use of each
  uses <- function(cells, tol, maxit) {
    factors <- fit$factors
    reopened <- list(
      loss = settings$loss, L1 = c(0, 0), L2 = c(0, 0), k = ncol(factors$w), cells = ncol(cells), total = 1, tol = tol, maxit = maxit, threads = settings$threads,
      sizes = of_target(fit$sizes), zi = "feature", dropout = of_target(fit$dropout), dropout_background = numeric()
    )
    factors$h_background <- project_cells(cells, factors$w, reopened, FALSE, call)
    utils::tail(background_use(factors), number)
  }
  own <- uses(y, tol = 1e-3, maxit = 100) < most_use & certain
  # noise in a cell adds to what it seems to use of a weak program, and never takes away; in the mean of all cells there is next to none
  together <- if (!all(own, na.rm = TRUE)) mean_cell(y)
  if (!is.null(together)) own <- own | uses(together, tol = 1e-6, maxit = 2000) < most_use_of_mean
  sum(own, na.rm = TRUE)
}

# Does the model predict worse without the closed factors beyond those that are `certain`? Factors too many for the data learn noise, and less of it when they are closed.
worth_having <- function(x, y, k, table, number, certain, settings, verbose, call) {
  without <- data.frame(k = k - (number - certain), k_target = certain)
  bar <- progress_bar(verbose, "Target-only factors")
  loss <- mean(held_out_losses(x, y, without, settings, bar, call, svd = TRUE))
  loss > (1 + settings$tolerance * weak_gain) * table$loss[table$k_target == number]
}

# The factors that the background uses least in the places that are closed to it.
least_used_last <- function(factors) {
  order <- order(background_use(factors), decreasing = TRUE)
  list(w = factors$w[, order, drop = FALSE], h = factors$h[order, , drop = FALSE], h_background = factors$h_background[order, , drop = FALSE])
}

# The fewest that are as good as the best, but not fewer than the background leaves unused by itself, or as near to that as is good.
fewest_closed <- function(table, unused, tolerance) {
  good <- table$k_target[as_good(table, tolerance)]
  enough <- good[good >= max(0, unused, na.rm = TRUE)]
  if (length(enough)) min(enough) else max(good)
}

# The part of the background's loss under its mean profile (one factor of its own) that the target's factors take away. Which entries are held out
# differs between target and background, so the profile is fitted to the background in the place of the target, and read as the background.
shared_part <- function(x, y, k, settings, call) {
  if (k == 1) return(NA_real_)
  settings$part <- hold_out_part(x, y)
  fit <- function(x, y, k) {
    held_out_fit(x, y, k, settings, list(contrast = "beta", strength = 0, k_target = 0L), settings$seed, call = call)$background
  }
  1 - fit(x, y, k) / fit(y, y, 1)
}

k_target_verdict <- function(table, matched, used, k) {
  number <- table$k_target[table$selected]
  if (!matched) {
    paste("no target-only factors:", why_nothing_shared)
  } else if (length(number) == 0) {
    "none selected: k_target = 0 was not compared"
  } else if (nrow(table) == 1) {
    sprintf("%d of %d factors for the target alone: nothing else was compared", number, k)
  } else if (number == 0 && used) {
    "no target-only factors: the background uses what was closed to it as well, when it may"
  } else if (number == 0) {
    sprintf("no target-only factors: to close one of %d to the background does not help to predict held-out entries (or k is too small)", k)
  } else {
    sprintf("%d of %d factors for the target alone, by held-out entries", number, k)
  }
}
