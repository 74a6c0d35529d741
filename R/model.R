# From the core's result to the S4 model.

new_model <- function(result, data, settings, x, y, init, interrupted, call) {
  k <- settings$k
  factors <- paste0("bcnmf", seq_len(k))
  named <- function(v) if (length(v)) stats::setNames(v, factors) else numeric()
  continued <- if (methods::is(init, "bcnmf")) init
  outcomes <- restart_table(result, settings, continued)
  history <- history_table(result$outcomes[[result$best]], continued)
  last <- history[nrow(history), ]
  model <- methods::new("bcnmf",
    w = with_names(result$w, rownames(x), factors),
    d = named(result$d),
    h = with_names(result$h, factors, colnames(x)),
    d_background = named(result$d_background),
    h_background = with_names(result$h_background, factors, if (!is.null(y)) colnames(y)),
    target_only = stats::setNames(as.logical(result$target_only), factors),
    loss = settings$loss,
    alpha = if (settings$k_target > 0) NA_real_ else max(0, -data$weight),
    beta = if (settings$k_target > 0) NA_real_ else max(0, -data$weight * data$size_ratio),
    lambda = if (settings$k_target > 0) data$weight else NA_real_,
    divergence = c(target = last$target, background = last$background, objective = last$objective),
    history = history,
    restarts = outcomes,
    misc = list(
      call = call, seed = settings$seed, init = settings$init, tol = settings$tol, maxit = settings$maxit,
      L1 = settings$L1, L2 = settings$L2, precision = settings$precision, threads = settings$threads,
      device = device_label(settings$device), mishaps = Filter(nzchar, vapply(result$outcomes, function(outcome) outcome$mishap, "")),
      steps = if (length(settings$steps)) settings$steps[-2], accelerate = settings$accelerate > 0, ambient = settings$ambient,
      batch_size = if (length(settings$batches)) settings$batches[1], update = if (length(settings$batches)) c("pass", "batch")[1 + settings$batches[2]],
      iterations = outcomes$iterations[outcomes$best], converged = outcomes$converged[outcomes$best], interrupted = interrupted,
      feature_mean = data$feature_mean, feature_mean_background = data$feature_mean_background,
      total = c(target = data$total, background = data$total_background),
      n_values = c(target = prod(dim(x)), background = if (is.null(y)) 0 else prod(dim(y))) - c(data$missing, data$missing_background),
      version = rs_version(), held = if (any(result$held)) factors[result$held],
      beside = if (any(result$held)) if (is.null(continued)) settings$beside else continued@misc$beside
    )
  )
  model@misc <- c(model@misc, dispersion_record(result, settings, x, y))
  note_degenerate(model)
}

# Factors that do nothing, by name: dead ones, and duplicate ones with the names of their twins. The core says from where on.
degenerate_factors <- function(fit) {
  factors <- colnames(fit@w)
  found <- rs_degenerate(crossprod(unname(fit@w)), unname(fit@d), as.double(fit@target_only))
  list(dead = factors[found$dead], duplicates = stats::setNames(factors[found$twins], factors[found$duplicates]))
}

note_degenerate <- function(fit) {
  fit@misc[c("dead", "duplicates")] <- degenerate_factors(fit)
  fit
}

with_names <- function(x, rows, columns) {
  if (!is.null(rows) || !is.null(columns)) dimnames(x) <- list(rows, columns)
  x
}

# One row a sweep; a continued fit goes on counting where the first left off.
history_table <- function(outcome, continued = NULL) {
  missing <- function(x) ifelse(is.nan(x), NA_real_, x)
  history <- data.frame(
    iteration = seq_along(outcome$target) - 1,
    target = outcome$target, background = missing(outcome$background),
    objective = outcome$objective, change = missing(outcome$change)
  )
  if (nrow(history) == 0) history[1, ] <- list(0, NA_real_, NA_real_, NA_real_, NA_real_)
  if (is.null(continued)) return(history)
  # The start of the continuation is the end of what it continues, evaluated again.
  before <- continued@history
  from <- continued@misc$iterations
  history$iteration <- history$iteration + from
  history$change[1] <- c(before$change[before$iteration == from], NA)[1]
  rbind(before[before$iteration < from, ], history)
}

restart_table <- function(result, settings, continued) {
  starts <- if (!is.null(continued)) {
    "continued"
  } else if (!is.null(settings$w)) {
    names <- rlang::names2(settings$w)
    ifelse(names == "", paste0("w", seq_along(names)), names)
  } else {
    seed_names(settings$seed)
  }
  outcomes <- result$outcomes
  last <- function(what) {
    values <- vapply(outcomes, function(outcome) utils::tail(c(NA_real_, outcome[[what]]), 1), 0)
    ifelse(is.nan(values), NA_real_, values)
  }
  each <- function(what, like) vapply(outcomes, function(outcome) outcome[[what]], like)
  data.frame(
    # An interrupted call has not come to all of them.
    start = starts[seq_along(outcomes)],
    objective = last("objective"), target = last("target"), background = last("background"),
    iterations = each("iterations", 0) + if (is.null(continued)) 0 else continued@misc$iterations,
    converged = each("converged", NA), failed = each("failed", NA), revived = each("revived", 0),
    best = seq_along(outcomes) == result$best
  )
}
