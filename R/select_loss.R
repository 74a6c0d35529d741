#' Choose the loss by entries that are held out
#'
#' Fits short models with several losses that do not see a part of the entries, and compares how likely those are under each: which distribution of counts the data have, given programs.
#'
#' @details
#' As in [select_rank()], single entries are held out, the same ones for all losses, and zeros like counts. Each model gives a probability to each of them: Poisson's; the negative binomial one, with the feature's
#' dispersion; the same with the feature's dropout; and for `"mse"` a normal distribution around the fitted value, with the variance of the entries that were fitted, of which a count has the part within a half. So all are probabilities of
#' counts, and compare. Rates are smoothed by a hundredth of the mean profile, as a feature that a fit has not seen in a program would be impossible there.
#'
#' The first of the losses, in the order given, is selected that is as good as the best: whose loss is above the least one by no more than `tolerance` of it, or than the standard error of the paired difference. So simpler distributions should come first.
#' Dispersion that is next to nothing is left to `"poisson"`, which is several times as fast.
#'
#' Values that are not whole numbers have no probability as counts: for them it is `"mse"` without a comparison.
#'
#' @param k number of factors: as many as there may be programs. Too few let dispersion explain what programs should.
#' @param losses what to compare, simpler ones first.
#' @param tolerance largest relative difference of losses that is taken for none.
#' @param masks how often other entries are held out, each time with another start.
#' @param most largest number of cells of target and of background to use, evenly spaced ones.
#' @param maxit most sweeps per fit.
#' @param seed one whole number: that of the first mask and its start; the others follow.
#' @inheritParams bcnmf
#' @param target the target: features x cells, as `object` of [bcnmf()].
#' @return A data frame of class `bcnmf_losses`, one row per loss: `loss`, the mean over masks of minus the mean log-likelihood of a held-out entry (of target and background, which count the same), and `se`, `excess`, `excess_se`, `best` and
#'   `selected` as in [select_rank()]. The first column, `distribution`, names the loss. Its attribute `verdict` is a sentence.
#' @section Errors: of class `bcnmf_error` for data that [bcnmf()] refuses, unknown losses, and other arguments out of range.
#' @references Owen and Perry (2009), Bi-cross-validation of the SVD and the nonnegative matrix factorization, *Annals of Applied Statistics* 3.
#' @seealso `bcnmf(loss = "auto")`, which takes the selected one; [select_rank()] for `k`.
#' @examples
#' sim <- simulate_contrast(80, n_target = 150, n_background = 0, k_shared = 3, k_target = 0, seed = 1)
#' found <- select_loss(sim$target, k = 3, maxit = 60)
#' found
#' plot(found)
#' @export
select_loss <- function(target, background = NULL, k = 10, losses = c("poisson", "nb", "zinb", "mse"), tolerance = 0.005, masks = 2, most = 1000,
                        maxit = 100, threads = NULL, verbose = NULL, seed = 1, mask = NULL) {
  call <- rlang::current_env()
  sets <- read_sets(target, background, call, mask = mask)
  most <- check_count(most, call = call)
  largest <- min(dim(sets$x), most)
  k <- if (missing(k)) min(k, largest) else check_rank(k, largest, call)
  if (!is.character(losses) || !length(losses) || anyNA(losses) || anyDuplicated(losses)) refuse(losses, "different names of losses", "losses", call)
  for (loss in losses) check_choice(loss, known_losses, arg = "losses", call = call)
  check_flag(verbose, null_ok = TRUE, arg = "verbose", call = call)
  settings <- list(
    losses = losses, tolerance = check_number(tolerance, min = 0, call = call), masks = check_count(masks, call = call), most = most,
    maxit = check_count(maxit, call = call), threads = resolve_threads(threads, call), seed = check_one_seed(seed, call)
  )
  find_loss(sets$x, sets$y, k, settings, verbose, call)
}

# Of checked data.
find_loss <- function(x, y, k, settings, verbose, call) {
  look <- function(x, y) look_at_data(x, y, fit_settings(k = 1, loss = "mse", threads = settings$threads, seed = 1), call)
  data <- look(x, y)
  if (data$fractional + data$fractional_background > 0) return(loss_of_fractions())
  if (inherits(x, "bcnmf_data") && identical(x$missing, "zeros")) {
    abort_bcnmf("Where zeros are missing, distributions of counts cannot be compared: say which {.arg loss}.", arg = "mask", value = "zeros", call = call)
  }
  x <- some_cells(x, settings$most)
  y <- some_cells(y, settings$most)
  data <- look(x, y)
  settings$part <- hold_out_part(x, y)
  bar <- progress_bar(verbose, "Losses")
  seeds <- settings$seed + seq_len(settings$masks) - 1
  # the same places for all losses
  places <- lapply(seeds, function(seed) list(target = held_out_places(x, settings$part, seed, FALSE), background = if (!is.null(y)) held_out_places(y, settings$part, seed, TRUE)))
  share <- 0
  found <- vapply(settings$losses, function(loss) {
    vapply(seq_along(seeds), function(at) {
      value <- held_out_surprise(x, y, k, c(loss = loss, settings), seeds[at], places[[at]], data, call)
      share <<- share + 1 / (length(seeds) * length(settings$losses))
      bar$update(list(share = share, status = sprintf("%s, mask %d", loss, at)))
      value
    }, 0)
  }, numeric(length(seeds)))
  bar$done()
  found <- matrix(found, length(seeds))
  # a fit that failed tells nothing
  found[!is.finite(found)] <- .Machine$double.xmax / 1e10
  table <- loss_table(found, settings$losses, "distribution")
  table$selected <- seq_len(nrow(table)) == which(as_good(table, settings$tolerance))[1]
  structure(table, class = c("bcnmf_losses", "data.frame"), verdict = loss_verdict(table, settings$tolerance))
}

loss_verdict <- function(table, tolerance) {
  chosen <- table$distribution[table$selected]
  best <- table$distribution[table$best]
  others <- table[!table$selected, ]
  if (nrow(others) == 0) return("nothing else was compared")
  if (chosen != best) {
    return(sprintf("held-out counts are as likely as with %s, as far as can be told", best))
  }
  next_best <- others[which.min(others$loss), ]
  if (next_best$excess <= tolerance) return(sprintf("held-out counts are the most likely, and about as likely with %s", next_best$distribution))
  sprintf("held-out counts are the most likely; with %s their loss is %.2g%% larger", next_best$distribution, 100 * next_best$excess)
}

# Without a comparison.
loss_of_fractions <- function() {
  table <- data.frame(distribution = "mse", loss = NA_real_, se = NA_real_, excess = 0, excess_se = NA_real_, best = TRUE, selected = TRUE)
  structure(table, class = c("bcnmf_losses", "data.frame"), verdict = "the values are not all whole numbers, and no counts")
}

# Feature, cell (from 1) and value of the entries that a mask holds out.
held_out_places <- function(x, part, seed, background) {
  found <- core_call(rs_held_out(x, part, seed, as.double(background)), rlang::caller_env())
  list(i = found$i + 1L, j = found$j + 1L, x = found$x)
}

# Minus the mean log-likelihood of the entries that a fit has not seen; of both sets the mean.
held_out_surprise <- function(x, y, k, settings, seed, places, data, call) {
  contrast <- list(contrast = if (is.null(y)) "alpha" else "size", strength = as.double(!is.null(y)), k_target = 0)
  fit <- held_out_fit(x, y, k, settings, contrast, seed, call = call)
  of_features <- function(values, at) if (length(values)) values[[1]][at$i] else 0
  of_set <- function(set, h, profile, entries) {
    at <- places[[set]]
    if (!length(at$i)) return(NA_real_)
    rate <- predicted_rates(fit$factors$w, h, at, profile, settings$loss)
    # what is left of an entry that was fitted
    error <- fit$divergence[[set]] / (entries - length(at$i))
    -mean(log_likelihood(at$x, rate, settings$loss, 1 / of_features(fit$sizes, at), of_features(fit$dropout, at), error))
  }
  both <- c(
    of_set("target", fit$factors$h, data$feature_mean, prod(dim(x)) - data$missing),
    if (!is.null(y)) of_set("background", fit$factors$h_background, data$feature_mean_background, prod(dim(y)) - data$missing_background)
  )
  mean(both)
}

# With a hundredth of the mean profile for counts, as the core has it where it compares models.
predicted_rates <- function(w, h, at, profile, loss) {
  rate <- rowSums(w[at$i, , drop = FALSE] * t(h[, at$j, drop = FALSE]))
  if (loss == "mse") return(rate)
  totals <- colSums(w) %*% h
  0.99 * rate + 0.01 * totals[at$j] * profile[at$i] / sum(profile)
}

# Of counts, given rates, dispersions and dropout of their features; `error`: the mean square of what a model of mse leaves.
log_likelihood <- function(x, rate, loss, dispersion, dropout, error) {
  # of a cell or feature that has nothing else
  rate <- pmax(rate, 1e-12)
  dispersed <- function() {
    dispersion <- rep_len(dispersion, length(x))
    some <- dispersion > 0
    ifelse(some, stats::dnbinom(x, size = 1 / ifelse(some, dispersion, 1), mu = rate, log = TRUE), stats::dpois(x, rate, log = TRUE))
  }
  switch(loss,
    poisson = stats::dpois(x, rate, log = TRUE),
    nb = dispersed(),
    zinb = ifelse(x == 0, log(dropout + (1 - dropout) * exp(dispersed())), log1p(-dropout) + dispersed()),
    mse = {
      low <- ifelse(x == 0, -Inf, (x - 0.5 - rate) / sqrt(error))
      high <- (x + 0.5 - rate) / sqrt(error)
      # in the tail that is the shorter, where digits are
      above <- low > 0
      part <- ifelse(above, stats::pnorm(low, lower.tail = FALSE) - stats::pnorm(high, lower.tail = FALSE), stats::pnorm(high) - stats::pnorm(low))
      log(pmax(part, .Machine$double.xmin))
    }
  )
}

# As select_loss() with its defaults. It says what was chosen, as all that follows depends on it.
auto_loss <- function(x, y, k, threads, verbose, call) {
  defaults <- lapply(formals(select_loss)[c("losses", "tolerance", "masks", "most", "maxit", "seed")], eval)
  largest <- min(dim(x), defaults$most)
  k <- if (is_number(k) && k >= 1) min(round(k), largest) else min(formals(select_loss)$k, largest)
  found <- find_loss(x, y, k, c(defaults, threads = resolve_threads(threads, call)), verbose, call)
  chosen <- found$distribution[found$selected]
  if (!isFALSE(verbose)) {
    cli::cli_inform(c(i = "loss = {.val {chosen}}: {attr(found, 'verdict')}."), class = "bcnmf_message")
  }
  found
}

#' @method print bcnmf_losses
#' @export
#' @noRd
print.bcnmf_losses <- function(x, digits = 3, ...) {
  print_losses(x, digits, ...)
  verdict <- attr(x, "verdict")
  if (!is.null(verdict) && any(x$selected)) cat("\n", x$distribution[x$selected], ": ", verdict, "\n", sep = "")
  invisible(x)
}

#' Plot the loss of held-out entries by distribution
#'
#' What [select_loss()] compared, with the standard error of the paired difference from the best one, whose loss is the dashed line. The filled point is the one that was selected.
#'
#' @param x what [select_loss()] returned.
#' @param ... not used.
#' @return A ggplot object.
#' @section Errors: of class `bcnmf_error` when columns or rows are missing, or where nothing was compared.
#' @examples
#' x <- matrix(rpois(60 * 40, 3), 60, 40)
#' plot(select_loss(x, k = 2, maxit = 30))
#' @method plot bcnmf_losses
#' @export
plot.bcnmf_losses <- function(x, ...) {
  check_no_dots(...)
  verdict <- attr(x, "verdict")
  x <- check_table(x, c("distribution", "loss", "excess", "excess_se", "best", "selected"), character(), "select_loss")
  if (anyNA(x$loss)) abort_bcnmf("There is nothing to plot: {verdict}.", arg = "x", value = x)
  least <- x$loss[x$best]
  x$width <- if (length(least) == 1) x$excess_se * least else NA_real_
  bars <- x[!is.na(x$width) & !x$best, ]
  ggplot(x, aes(.data$loss, .data$distribution)) +
    geom_vline(xintercept = least, linetype = "dashed", colour = "grey60", linewidth = 0.4) +
    geom_linerange(data = bars, aes(xmin = .data$loss - .data$width, xmax = .data$loss + .data$width), colour = group_palette[1], linewidth = 0.6) +
    geom_point(shape = 21, fill = "white", colour = group_palette[1], size = 2.6, stroke = 0.8) +
    geom_point(data = x[x$selected, ], colour = group_palette[6], size = 3.4) +
    # the first on top
    scale_y_discrete(limits = rev(x$distribution)) +
    labs(x = "loss per held-out entry: minus its log-likelihood", y = NULL, subtitle = if (any(x$selected)) wrapped(paste0(x$distribution[x$selected], ": ", verdict))) +
    theme_bcnmf() + theme(panel.grid.major.y = element_blank())
}
