# Short fits that do not see some entries, to compare models by what they predict there.

# Part of the entries that is held out: a tenth, or a hundred thousand, as they cost more time than those that are fitted and so many say enough. At least
# a hundredth, so that no cell is without.
hold_out_part <- function(x, y) {
  max(0.01, min(0.1, 1e5 / (nrow(x) * max(ncol(x), ncol(y)))))
}

# Evenly spaced cells, at most so many: every part of an ordered data set, and no random numbers.
some_cells <- function(x, most) {
  if (is.null(x) || ncol(x) <= most) return(x)
  x[, unique(round(seq(1, ncol(x), length.out = most))), drop = FALSE]
}

# How many cells of a set a comparison looks at, unless told: so many, and where these say little as many as hold so many values other than 0, which is also what they cost.
least_cells <- 1000
enough_values <- 5e5

enough_cells <- function(x) {
  few <- data_parts(some_cells(x, least_cells))$matrix
  # dense or sparse, they should be the same ones
  per_cell <- Matrix::nnzero(few, na.counted = FALSE) / ncol(few)
  max(least_cells, ceiling(min(ncol(x), enough_values / per_cell)))
}

# A fit of checked data, without the entries that `mask` (a seed) says: the mean loss per held-out entry of target and background (NA without
# one), free of unit and size, and of both, which then count the same; what else the model has; and the factors w, h, h_background, from which another fit may go on (`factors`).
# Not accelerated unless said: fits that stop early predict better where there are more factors than programs, and tell a factor that is missing from one too many.
# `settings`: loss, maxit, threads, and `part`, which must be the same in all fits that are compared. `contrast`: as check_contrast() has it. A start is
# random, from the mask's number too, or given as `w`.
held_out_fit <- function(x, y, k, settings, contrast, mask, w = NULL, factors = NULL, accelerate = FALSE, call) {
  settings <- do.call(fit_settings, c(
    list(
      k = k, precision = "single", tol = 1e-6, accelerate = as.double(accelerate), ambient = formals(bcnmf.default)$ambient, hold_out = c(settings$part, mask),
      w = w, factors = factors, seed = if (is.null(w) && is.null(factors)) mask
    ),
    settings[c("loss", "maxit", "threads")], contrast
  ))
  result <- rs_fit_result(run_fit(x, y, settings, call))
  outcome <- result$outcomes[[result$best]]
  lost <- outcome$held_out / pmax(1, outcome$n_held_out)
  # the core takes target-only factors last
  last <- order(result$target_only)
  scaled <- function(h, d) if (length(d)) h[last, , drop = FALSE] * d[last] else numeric()
  list(
    target = lost[1], background = if (is.null(y)) NA_real_ else lost[2],
    both = if (is.null(y)) lost[1] else mean(lost),
    # of the entries that the fit has seen
    divergence = vapply(outcome[c("target", "background")], function(history) utils::tail(c(NA_real_, history), 1), 0),
    sizes = result$sizes, dropout = result$dropout,
    factors = list(
      w = result$w[, last, drop = FALSE], h = scaled(result$h, result$d), h_background = scaled(result$h_background, result$d_background)
    )
  )
}

# What compares models has these arguments of bcnmf(), and is told what the data are like: all of them, not only those that are used.
comparison_settings <- function(sets, masks, maxit, threads, verbose, seed, call) {
  check_flag(verbose, null_ok = TRUE, arg = "verbose", call = call)
  settings <- list(
    loss = check_choice(sets$loss, known_losses, arg = "loss", call = call), masks = check_count(masks, arg = "masks", call = call),
    maxit = check_count(maxit, arg = "maxit", call = call), threads = resolve_threads(threads, call), seed = check_one_seed(seed, call)
  )
  warn_about_data(settings, look_at_data(sets$x, sets$y, do.call(fit_settings, c(settings[c("loss", "threads", "seed")], k = 1)), call))
  settings
}

# Mean loss per held-out entry of both sets, masks x models (a data frame of k and k_target). After as many models as are `enough`, told the
# losses so far, no more are fitted. `svd`: all start as target-only factors do, and not only those that have some. `look`: the loss that counts, told the fit, its model and mask, and how to fit
# that model from other factors.
held_out_losses <- function(x, y, models, settings, bar, call, svd = FALSE, enough = function(losses) FALSE,
                            look = function(fit, model, mask, from) fit$both) {
  losses <- NULL
  settings$part <- hold_out_part(x, y)
  seeds <- settings$seed + seq_len(settings$masks) - 1
  # small models are quick, and the bar is to tell the time
  work <- cumsum(models$k + 5)
  for (i in seq_len(nrow(models))) {
    k <- models$k[i]
    contrast <- list(contrast = if (is.null(y)) "alpha" else "size", strength = as.double(!is.null(y)), k_target = models$k_target[i])
    starts <- if (svd || models$k_target[i] > 0) {
      start <- do.call(fit_settings, c(list(k = k, seed = seeds), settings[c("loss", "threads")], contrast))
      nndsvd_starts(x, y, start, look_at_data(x, y, start, call))
    }
    of_mask <- function(mask) {
      held_out <- function(...) held_out_fit(x, y, k, settings, contrast, seeds[mask], ..., call = call)
      loss <- look(held_out(w = starts[mask]), models[i, ], mask, function(factors) held_out(factors = factors))
      bar$update(list(
        share = (work[i] - (k + 5) * (1 - mask / settings$masks)) / sum(models$k + 5),
        status = sprintf("k = %d, k_target = %d, mask %d", k, models$k_target[i], mask)
      ))
      loss
    }
    losses <- cbind(losses, vapply(seq_len(settings$masks), of_mask, 0))
    if (enough(losses)) break
  }
  bar$done()
  failed <- colSums(!is.finite(losses)) > 0
  if (any(failed)) {
    abort_bcnmf("A fit with {.arg k} = {models$k[failed][1]} left the finite numbers: are there extreme values in the data?", call = call)
  }
  losses
}

# `losses`: masks x models, which are told apart by `values` of `what`. Differences from the best are taken within a mask, and the first model is selected
# that is not worse than the best by more than their standard error.
loss_table <- function(losses, values, what) {
  loss <- colMeans(losses)
  best <- which.min(loss)
  standard_error <- function(x) apply(x, 2, stats::sd) / sqrt(nrow(x))
  # a loss of 0 is best by any measure
  excess <- (losses - losses[, best]) / max(loss[best], .Machine$double.xmin)
  table <- data.frame(
    values, loss = loss, se = standard_error(losses), excess = colMeans(excess), excess_se = standard_error(excess),
    best = seq_along(values) == best
  )
  names(table)[1] <- what
  table$selected <- seq_along(values) == which(as_good(table))[1]
  table
}

# Is a model's loss that of the best, as far as can be told? Or above it by no more than `tolerance` of it.
as_good <- function(table, tolerance = 0) table$excess <= pmax(table$excess_se, tolerance, na.rm = TRUE)
