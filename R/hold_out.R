# Short fits that do not see some entries, to compare models by what they predict there.

# Part of the entries that is held out, and sweeps of a fit that only serves a comparison.
hold_out_part <- 0.1
hold_out_sweeps <- 100

# Evenly spaced cells, at most so many: every part of an ordered data set, and no random numbers.
some_cells <- function(x, most) {
  if (is.null(x) || ncol(x) <= most) return(x)
  x[, unique(round(seq(1, ncol(x), length.out = most))), drop = FALSE]
}

# A fit of checked data, without the entries that `mask` (a seed) says: the mean loss per held-out entry of target and background (NA without
# one), what the core tells of the data, and the factors w, h, h_background, from which another fit may go on (`factors`).
# `contrast`: as check_contrast() has it.
held_out_fit <- function(x, y, k, loss, contrast, mask, maxit, threads, seed = 1, factors = NULL, call) {
  settings <- do.call(fit_settings, c(
    list(
      k = k, loss = loss, maxit = maxit, threads = threads, precision = "single", tol = 1e-6, ambient = default_ambient,
      hold_out = c(hold_out_part, mask), factors = factors, seed = if (is.null(factors)) seed
    ),
    contrast
  ))
  session <- core_call(rs_fit_new(x, y, settings), call)
  quiet <- progress_bar(FALSE, "")
  if (!drive(function(s) rs_fit_advance(session, s), function() rs_fit_stop(session), quiet, call)) rlang::interrupt()
  result <- rs_fit_result(session)
  outcome <- result$outcomes[[result$best]]
  lost <- outcome$held_out / pmax(1, outcome$n_held_out)
  # the core takes target-only factors last
  last <- order(result$target_only)
  scaled <- function(h, d) if (length(d)) h[last, , drop = FALSE] * d[last] else numeric()
  list(
    target = lost[1], background = if (is.null(y)) NA_real_ else lost[2], data = rs_fit_data(session),
    factors = list(
      w = result$w[, last, drop = FALSE], h = scaled(result$h, result$d), h_background = scaled(result$h_background, result$d_background)
    )
  )
}
