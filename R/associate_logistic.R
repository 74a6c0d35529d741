# Logistic regressions of associate(): a group against its reference, on a factor's use and covariates.

logistic_tests <- function(values, cells, pairs, conf_level, factors, call) {
  groups <- as.integer(cells$groups)
  # one unit for all pairs: the standard deviation over all tested cells
  standardised <- (values - rowMeans(values)) / apply(values, 1, stats::sd)
  table <- array(NA_real_, c(nrow(pairs), nrow(values), length(logistic_names)))
  separated <- matrix(FALSE, nrow(pairs), nrow(values))
  for (p in seq_len(nrow(pairs))) {
    group <- pairs$group[p]
    taken <- if (is.na(pairs$reference[p])) seq_along(groups) else which(groups %in% unlist(pairs[p, ]))
    y <- as.double(groups[taken] == group)
    x <- cbind(rep(1, length(taken)), if (!is.null(cells$covariates)) covariate_columns(cells$covariates[taken, , drop = FALSE]))
    null <- fit_logistic(x, y)
    check_not_predicted(null, levels(cells$groups)[group], call)
    for (i in seq_len(nrow(values))) {
      result <- logistic_test(x, standardised[i, taken], y, null, conf_level)
      table[p, i, ] <- result
      separated[p, i] <- is.infinite(result[["estimate"]])
    }
  }
  warn_separated(separated, factors)
  table <- matrix(table, ncol = length(logistic_names), dimnames = list(NULL, logistic_names))
  table <- as.data.frame(table)
  table$log2_ratio <- log2_ratios(group_means(values, cells$groups), tabulate(groups), pairs)
  list(table = table, test = "logistic", effect = "log_odds_ratio")
}

logistic_names <- c("estimate", "std_error", "conf_low", "conf_high", "statistic", "df", "n", "p_value")

# Above this standard error, in log odds per standard deviation, a likelihood has no maximum within reach.
separated_error <- 100

logistic_test <- function(x, use, y, null, conf_level) {
  result <- stats::setNames(rep(NA_real_, length(logistic_names)), logistic_names)
  result[["n"]] <- length(y)
  full <- fit_logistic(cbind(x, use), y)
  # the use is a combination of the covariates, or constant in these cells
  if (full$rank == null$rank) return(result)
  beta <- full$coefficients[[ncol(x) + 1]]
  positions <- seq_len(full$rank)
  covariance <- chol2inv(full$qr$qr[positions, positions, drop = FALSE])
  se <- sqrt(covariance[full$rank, full$rank])
  result[["df"]] <- 1
  result[["statistic"]] <- max(0, null$deviance - full$deviance)
  result[["p_value"]] <- stats::pchisq(result[["statistic"]], 1, lower.tail = FALSE)
  if (separates(use, y) || !full$converged || se > separated_error) {
    result[["estimate"]] <- sign(beta) * Inf
  } else {
    half <- stats::qnorm((1 + conf_level) / 2) * se
    result[c("estimate", "std_error", "conf_low", "conf_high")] <- c(beta, se, beta - half, beta + half)
  }
  result
}

# Fitted probabilities of 0 or 1 are no news here: separation is looked for, and said once.
fit_logistic <- function(x, y) {
  suppressWarnings(stats::glm.fit(x, y,
    family = stats::binomial(), control = stats::glm.control(epsilon = 1e-10, maxit = 100)
  ))
}

# Is there a value of the use below which, equality included, all of one group lie, and above which all of the other?
separates <- function(use, y) {
  one <- range(use[y == 1])
  zero <- range(use[y == 0])
  one[2] <= zero[1] || zero[2] <= one[1]
}

check_not_predicted <- function(null, group, call) {
  if (null$deviance > 1e-6 * length(null$y)) return(invisible())
  abort_bcnmf("{.arg covariates} alone tell the group {.val {group}} from its reference, so nothing is left for the factors.",
    arg = "covariates", value = group, call = call
  )
}

warn_separated <- function(separated, factors) {
  names <- factors[colSums(separated) > 0]
  if (length(names) == 0) return(invisible())
  warn_bcnmf(c(
    "{cli::qty(names)}Factor{?s} {.val {names}} {?separates/separate} groups of cells: {?its/their} log odds ratio is infinite, without standard error.",
    i = "The p-value is that of the likelihood ratio, and valid."
  ))
}
