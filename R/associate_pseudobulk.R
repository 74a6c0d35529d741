# The test of associate() whose observations are samples: averages per sample and group, given to limma.

# Added to every average before the logarithm, as part of the factor's mean.
pseudobulk_offset <- 0.01

# From this many factors on their variances are moderated. In simulations of six averages and factors of very different variance
# moderation gave 2 % false positives at the level of 1 % with two factors, and 1.3 % with ten; without it they were at the level.
moderated_from <- 3

pseudobulk_tests <- function(values, cells, pairs, conf_level, min_cells, call) {
  units <- pseudobulk_units(cells, min_cells, call)
  design <- pseudobulk_design(units, call)
  means <- group_means(values[, units$cells, drop = FALSE], units$unit)
  table <- linear_tests(log2(means + pseudobulk_offset * rowMeans(means)), design, pairs, nlevels(units$groups), conf_level)
  table$log2_ratio <- log2_ratios(group_means(means, units$groups), rep(1, nlevels(units$groups)), pairs)
  table$n <- rep(units_in_pairs(units$groups, pairs), times = nrow(values))
  list(
    table = table, test = if (is.null(pairs)) "limma_f" else "limma_t",
    effect = if (is.null(pairs)) "partial_r_squared" else "log2_ratio"
  )
}

# The averages: `cells` that go into them, the `unit` of each of these, and by unit `groups`, `samples` and `covariates`.
pseudobulk_units <- function(cells, min_cells, call) {
  sample <- as.integer(cells$samples)
  unit <- (as.integer(cells$groups) - 1) * nlevels(cells$samples) + sample
  size <- tabulate(unit, nlevels(cells$groups) * nlevels(cells$samples))
  few <- size > 0 & size < min_cells
  if (any(few)) cli::cli_inform("{sum(few)} average{?s} of fewer than {min_cells} cells {cli::qty(sum(few))}{?is/are} left out.")
  kept <- which(!few[unit])
  first <- kept[!duplicated(unit[kept])]
  first <- first[order(unit[first])]
  units <- list(
    cells = kept, unit = factor(unit[kept]), groups = cells$groups[first], samples = droplevels(cells$samples[first])
  )
  check_replicates(units$groups, call)
  if (!is.null(cells$covariates)) {
    check_constant(cells$covariates[kept, , drop = FALSE], match(unit[kept], unit[first]), units, call)
    units$covariates <- cells$covariates[first, , drop = FALSE]
  }
  units
}

check_replicates <- function(groups, call) {
  n <- table(groups)
  single <- n < 2
  if (!any(single)) return(invisible())
  abort_bcnmf(c(
    "{.code test = \"pseudobulk\"} needs at least two samples in every group.",
    x = "Samples by group: {paste(names(n), n, sep = ': ', collapse = ', ')}.",
    i = "Leave groups without replicates out by labels that are {.code NA}."
  ), arg = "sample_by", value = n, call = call)
}

# `unit` of every row of `covariates`; refuses what differs within one.
check_constant <- function(covariates, unit, units, call) {
  first <- match(seq_along(units$groups), unit)
  for (name in names(covariates)) {
    x <- covariates[[name]]
    differs <- which(x != x[first][unit])
    if (length(differs) > 0) {
      at <- unit[differs[1]]
      abort_bcnmf(c(
        "The covariate {.val {name}} must be constant within a sample's cells of a group.",
        x = "It is not in sample {.val {as.character(units$samples[at])}}, group {.val {as.character(units$groups[at])}}."
      ), arg = "covariates", value = name, call = call)
    }
  }
}

# One column a group, then covariates and, where samples have several groups, samples as blocks.
pseudobulk_design <- function(units, call) {
  groups <- indicators(units$groups)
  paired <- anyDuplicated(units$samples) > 0
  others <- cbind(rep(1, nrow(groups)), if (paired) indicators(units$samples), if (!is.null(units$covariates)) covariate_columns(units$covariates))
  decomposed <- qr(others)
  others <- others[, sort(decomposed$pivot[seq_len(decomposed$rank)]), drop = FALSE]
  if (qr(cbind(others, groups[, -1]))$rank < ncol(others) + ncol(groups) - 1) {
    confounders <- c(if (paired) "samples (as blocks)", if (!is.null(units$covariates)) "covariates")
    abort_bcnmf("The groups can't be told apart from the {confounders}: no sample shows a difference between groups that is not theirs too.",
      arg = if (is.null(units$covariates)) "sample_by" else "covariates", call = call
    )
  }
  alone <- if (paired) sum(table(units$samples) == 1) else 0
  if (alone > 0) {
    cli::cli_inform("{alone} sample{?s} with cells in one group only {?adds/add} nothing: samples are blocks here.")
  }
  design <- cbind(groups, others[, -1])
  if (nrow(design) <= ncol(design)) {
    abort_bcnmf(c(
      "Nothing is left to judge the spread between samples by.",
      x = "{nrow(design)} average{?s} of samples for {ncol(design)} coefficients (groups, covariates, blocks)."
    ), arg = "sample_by", value = dim(design), call = call)
  }
  design
}

indicators <- function(x) outer(as.integer(x), seq_len(nlevels(x)), "==") + 0

# Tests of every row of `y` (factors x averages), the first columns of `design` being groups.
linear_tests <- function(y, design, pairs, n_groups, conf_level) {
  if (nrow(y) == 0) return(as.data.frame(test_result()[0, , drop = FALSE]))
  contrasts <- group_contrasts(pairs, n_groups)
  contrasts <- rbind(contrasts, matrix(0, ncol(design) - n_groups, ncol(contrasts)))
  fit <- limma::contrasts.fit(limma::lmFit(y, design), contrasts)
  variance <- fit$sigma^2
  df <- fit$df.residual
  if (nrow(y) >= moderated_from) {
    moderated <- limma::eBayes(fit)
    variance <- moderated$s2.post
    df <- moderated$df.total
  }
  if (is.null(pairs)) return(joint_tests(fit, variance, df))
  by_pair <- function(x) as.vector(t(x))
  se <- fit$stdev.unscaled * sqrt(variance)
  t <- fit$coefficients / se
  half <- stats::qt((1 + conf_level) / 2, df) * se
  as.data.frame(test_result(
    by_pair(fit$coefficients), by_pair(se), by_pair(fit$coefficients - half), by_pair(fit$coefficients + half),
    statistic = by_pair(t), df = rep(df, each = ncol(t)), p_value = by_pair(2 * stats::pt(-abs(t), df))
  ))
}

# All contrasts at once. The effect is the part of what blocks and covariates leave that the groups explain.
joint_tests <- function(fit, variance, df) {
  q <- ncol(fit$coefficients)
  explained <- rowSums((fit$coefficients %*% solve(fit$cov.coefficients)) * fit$coefficients)
  f <- explained / q / variance
  as.data.frame(test_result(
    explained / (explained + fit$sigma^2 * fit$df.residual),
    statistic = f, df = df, p_value = stats::pf(f, q, df, lower.tail = FALSE)
  ))
}

# Groups x pairs; for all groups at once each against the first.
group_contrasts <- function(pairs, n_groups) {
  if (is.null(pairs)) pairs <- group_pairs(n_groups, "first")
  vapply(seq_len(nrow(pairs)), function(p) {
    reference <- if (is.na(pairs$reference[p])) seq_len(n_groups)[-pairs$group[p]] else pairs$reference[p]
    weights <- numeric(n_groups)
    weights[reference] <- -1 / length(reference)
    weights[pairs$group[p]] <- 1
    weights
  }, numeric(n_groups))
}

units_in_pairs <- function(groups, pairs) {
  if (is.null(pairs)) return(length(groups))
  ifelse(is.na(pairs$reference), length(groups), tabulate(groups)[pairs$group] + tabulate(groups)[pairs$reference])
}
