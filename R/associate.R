#' Test which factors differ between groups of cells
#'
#' For every factor a test of whether groups of cells use it differently: by ranks, by logistic regression with covariates, or, where cells come
#' from several donors or replicates, by samples ("pseudobulk").
#'
#' @details
#' **Which test.** `"rank"` and `"logistic"` take every cell as an independent observation. Cells of one donor are not: with several donors their
#' p-values answer "do these cells differ", not "do the conditions differ", and become tiny for effects of no consequence. When the groups are conditions of
#' samples (donors, mice, wells) use `"pseudobulk"`, whose observations are the samples; `sample_by` is therefore refused by the other two.
#'
#' * `"rank"`: Wilcoxon's rank sum test for two groups, with the normal approximation, ties and continuity correction as in
#'   [stats::wilcox.test()]. The effect is the AUC, the probability that a random cell of `group` uses the factor more than a random cell of `reference`, ties counted as a
#'   half; its standard error is DeLong's, the interval is taken on the logit scale. More than two groups at once: the Kruskal-Wallis test, with the
#'   effect epsilon squared, `H / (n - 1)`, between 0 and 1.
#' * `"logistic"`: logistic regression of the group on the use, in units of its standard deviation over all tested cells, and on `covariates`. The
#'   effect is the log odds ratio per standard deviation with its Wald interval; the p-value is that of the likelihood ratio. Where the use separates
#'   the groups, the estimate is infinite (`Inf` or `-Inf`, said in a warning) and has no standard error, while the p-value stays valid. More than two
#'   groups are each compared with the rest, whatever `compare` says, unless it is `"first"`.
#' * `"pseudobulk"`: the values are averaged over the cells of each sample and group, and log2 of the averages goes to limma (`lmFit()`, `eBayes()`). The scale is log2 because the
#'   spread between samples grows with the mean, and effects become log2 ratios. 1 % of the factor's mean over these averages is added before the logarithm, so that
#'   an average of 0 stays finite and results do not depend on the factor's scale. When a sample has cells in several groups (stimulated and control cells of one
#'   donor), samples are blocks: only differences within samples
#'   count, and whatever is constant in a sample is adjusted for. Every sample counts alike, however many cells it has: see
#'   `min_cells`. Variances are moderated across factors when there are at least three testable ones; with fewer the ordinary t and F tests are
#'   used, as moderation by one or two variances is too optimistic. An F test's second degrees of freedom are limited to those of all factors
#'   together, as limma does for t. In `compare = "each"` the rest is the mean of the other groups, each counted alike.
#'
#' **When p-values mean little.** Target-only factors (`k_target`) are 0 in background cells by construction, so a test with background cells in it would
#' be circular: their results are `NA`, with a warning. A contrast (`alpha`, `beta`) makes the fit look for what differs between target and background:
#' testing that very difference on the cells of the fit is double dipping. In simulations of 40 + 40 cells without any
#' difference the rank test called 5 % of the factors at the level of 5 % for plain NMF, 7 % for `beta = 0.3` and 8.5 % for `beta = 0.6`; cells that were not in the fit
#' had 5 to 6 %. Where it matters, fit on some samples and [predict()][predict.bcnmf] the others. Far worse is testing clusters that were found in the model's own `h`.
#'
#' **Shares or uses.** A factor's share of a cell does not depend on sequencing depth, but shares of a cell sum to 1: when one factor rises, others fall. `value = "use"`
#' is free of that, and carries the depth. Uses below 1e-9 of a factor's largest count as 0.
#'
#' @param fit a `bcnmf` object.
#' @param groups groups of cells, as `group_by` of [summary()][summary.bcnmf]: one label per target cell, or per target and then background cell, or a list with `target`,
#'   `background` or both; by name where labels have the cells' names. Groups are in the order of the levels; of a list, a data frame or
#'   columns by name those of background cells alone come first, as the natural reference. Unlike there, cells that are given no label are left out: labels for the target cells alone compare target cells. Cells whose label is
#'   missing (or `"NA"`) are left out with a message. `NULL` compares target with background. Cells of an object that are in both sets count once, with a
#'   message: as background cells in that comparison, else as target cells.
#' @param test `"rank"`, `"logistic"` or `"pseudobulk"`, see Details.
#' @param compare `"overall"`: one row per factor, for two groups the second level against the first. `"each"`: each group against the rest. `"first"`: each
#'   other group against the first level.
#' @param value compare a factor's `"share"` of the cell's total use, or the `"use"` itself, `d * h`.
#' @param covariates for `"logistic"` and `"pseudobulk"`: a data frame or named list with one row per target cell, or per target and then background cell
#'   (per background cell with `set = "background"`); numbers or labels. Rows of a data frame, and vectors of a list that have names, are matched by name where these and
#'   the model's are names of cells. Cells with missing values are left out with a message. For `"pseudobulk"` they must be constant within
#'   a sample's cells of a group.
#' @param sample_by for `"pseudobulk"`: the sample of each cell, given as `groups` are.
#' @param set which cells may take part: `"both"`, `"target"` or `"background"`.
#' @param adjust how p-values are adjusted over all rows of the result, one of [stats::p.adjust.methods].
#' @param conf_level level of the confidence intervals.
#' @param min_cells for `"pseudobulk"`: averages of fewer cells are left out with a message. With real data take 10 or more.
#'
#' @return A data frame with one row per factor, or per factor and group, in the order of the model and of the groups:
#'   \describe{
#'     \item{factor}{name, a factor in the model's order.}
#'     \item{group, reference}{what was compared: a group, a factor in the order of the levels, and the first level or `"rest"`. `NA` for more than two groups at once.}
#'     \item{test}{`"wilcoxon"`, `"kruskal"`, `"logistic"`, `"limma_t"` or `"limma_f"`.}
#'     \item{effect, estimate, std_error, conf_low, conf_high}{name of the effect (`"auc"`, `"epsilon_squared"`, `"log_odds_ratio"`, `"log2_ratio"`,
#'       `"partial_r_squared"`), its estimate, standard error and confidence interval; `NA` where there are none. Above 0 (AUC: 0.5) `group` uses the factor more.}
#'     \item{log2_ratio}{log2 of the mean in `group` over the mean in `reference`: of cells, or for `"pseudobulk"` of samples. Not adjusted for covariates.}
#'     \item{statistic, df}{U, H, likelihood ratio, t or F, and (residual) degrees of freedom.}
#'     \item{n}{number of observations that were compared: cells, or averages of `"pseudobulk"`.}
#'     \item{p_value, p_adjusted}{two-sided.}
#'   }
#'   Factors that no cell, or all cells alike, use have nothing to test: `NA`.
#' @section Errors: of class `bcnmf_error` for unknown choices; labels, samples or covariates of another length, or of some of the cells only; measured numbers as labels; fewer than two groups; a comparison with the background
#'   of a model without one; covariates or samples that the test does not take; for `"pseudobulk"` a covariate that is not constant, groups of fewer
#'   than two samples, groups that can't be told apart from covariates or blocks, and when limma is not installed.
#' @references DeLong, DeLong and Clarke-Pearson (1988), Comparing the areas under two or more correlated ROC curves, *Biometrics* 44.
#'   Tomczak and Tomczak (2014), The need to report effect size estimates revisited, *Trends in Sport Sciences* 21 (epsilon squared).
#'   Smyth (2004), Linear models and empirical Bayes methods, *Statistical Applications in Genetics and Molecular Biology* 3 (limma).
#'   Squair et al. (2021), Confronting false discoveries in single-cell differential expression, *Nature Communications* 12.
#' @seealso [contrast()] for target against background without a test, [summary()][summary.bcnmf] for groups' means.
#' @examples
#' sim <- simulate_contrast(100, n_target = 120, n_background = 80, seed = 1)
#' fit <- bcnmf(sim$target, sim$background, k = 4, loss = "poisson", maxit = 100)
#' condition <- rep(c("control", "treated"), 60)
#' associate(fit, condition)
#' associate(fit, condition, test = "logistic", covariates = list(depth = log(Matrix::colSums(sim$target))))
#' if (requireNamespace("limma", quietly = TRUE)) {
#'   associate(fit, condition, test = "pseudobulk", sample_by = rep(1:6, each = 20))
#' }
#' @export
associate <- function(fit, groups = NULL, test = c("rank", "logistic", "pseudobulk"),
                      compare = c("overall", "each", "first"), value = c("share", "use"), covariates = NULL,
                      sample_by = NULL, set = c("both", "target", "background"), adjust = "BH", conf_level = 0.95,
                      min_cells = 1) {
  call <- rlang::current_env()
  check_fit(fit, call = call)
  test <- check_choice(test, c("rank", "logistic", "pseudobulk"), call = call)
  compare <- check_choice(compare, c("overall", "each", "first"), call = call)
  value <- check_choice(value, c("share", "use"), call = call)
  set <- check_choice(set, c("both", "target", "background"), call = call)
  adjust <- check_choice(adjust, stats::p.adjust.methods, call = call)
  check_number(conf_level, min = 0.5, max = 1 - 1e-6, call = call)
  min_cells <- check_count(min_cells, call = call)
  check_test_takes(test, covariates, sample_by, call)

  cells <- tested_cells(fit, groups, covariates, sample_by, set, call)
  levels <- levels(cells$groups)
  if (test == "logistic" && compare == "overall" && length(levels) > 2) compare <- "each"
  pairs <- group_pairs(length(levels), compare)
  values <- cell_values(clear_uses(fit), value)[, cells$index, drop = FALSE]
  if (nrow(values) == 1 && value == "share") {
    warn_bcnmf("With one factor all shares are 1, so nothing can be tested: use {.code value = \"use\"}.")
  }
  tested <- apply(values, 1, max) > apply(values, 1, min) & !circular_factors(fit, cells$background)
  values <- values[tested, , drop = FALSE]
  results <- switch(test,
    rank = rank_tests(values, cells$groups, pairs, conf_level),
    logistic = logistic_tests(values, cells, pairs, conf_level, colnames(fit@w)[tested], call),
    pseudobulk = pseudobulk_tests(values, cells, pairs, conf_level, min_cells, call)
  )
  association_table(colnames(fit@w), which(tested), levels, pairs, results, adjust)
}

# Rows of a test's results come factor by factor, and pair by pair within a factor.
association_table <- function(factors, tested, levels, pairs, results, adjust) {
  size <- max(1, nrow(pairs))
  row <- rep(NA_integer_, length(factors) * size)
  row[outer(seq_len(size), (tested - 1) * size, "+")] <- seq_len(length(tested) * size)
  table <- cbind(
    data.frame(
      factor = factor(rep(factors, each = size), levels = factors),
      group = factor(if (is.null(pairs)) NA else levels[pairs$group], levels = levels),
      reference = if (is.null(pairs)) NA_character_ else ifelse(is.na(pairs$reference), "rest", levels[pairs$reference]),
      test = results$test, effect = results$effect
    ),
    results$table[row, association_numbers, drop = FALSE]
  )
  table[association_numbers] <- lapply(table[association_numbers], function(x) ifelse(is.nan(x), NA_real_, x))
  table$p_adjusted <- stats::p.adjust(table$p_value, adjust)
  rownames(table) <- NULL
  table
}

association_numbers <- c(
  "estimate", "std_error", "conf_low", "conf_high", "log2_ratio", "statistic", "df", "n", "p_value"
)

# A test's numbers, one row per value; what it does not have is NA.
test_result <- function(estimate = NA_real_, std_error = NA_real_, conf_low = NA_real_, conf_high = NA_real_,
                        statistic = NA_real_, df = NA_real_, n = NA_real_, p_value = NA_real_) {
  cbind(estimate, std_error, conf_low, conf_high, statistic, df, n, p_value)
}

# What is compared, as numbers of levels; a reference of NA is the rest. NULL is all groups at once.
group_pairs <- function(n_groups, compare) {
  if (compare == "each") return(data.frame(group = seq_len(n_groups), reference = NA_integer_))
  if (compare == "first" || n_groups == 2) return(data.frame(group = seq_len(n_groups)[-1], reference = 1L))
  NULL
}

# log2 of means in the groups of every pair over those in their references. `means` is factors x groups; the rest is their mean
# weighted by `weights`. One value per factor and pair, pairs running fastest.
log2_ratios <- function(means, weights, pairs) {
  if (is.null(pairs)) return(rep(NA_real_, nrow(means)))
  ratios <- vapply(seq_len(nrow(pairs)), function(p) {
    group <- pairs$group[p]
    others <- if (is.na(pairs$reference[p])) seq_along(weights)[-group] else pairs$reference[p]
    reference <- means[, others, drop = FALSE] %*% (weights[others] / sum(weights[others]))
    log2(means[, group]) - log2(as.vector(reference))
  }, numeric(nrow(means)))
  as.vector(t(matrix(ratios, nrow(means))))
}

# Means of the columns in every group, factors x groups.
group_means <- function(values, groups) {
  sums <- rowsum(t(values), as.integer(groups), reorder = TRUE)
  t(sums / as.vector(table(groups)))
}

# Target-only factors can't be compared once background cells take part.
circular_factors <- function(fit, background) {
  circular <- unname(fit@target_only) & any(background)
  if (any(circular)) {
    names <- colnames(fit@w)[circular]
    warn_bcnmf(c(
      "{cli::qty(names)}Target-only factor{?s} {.val {names}} {?is/are} not tested: background cells don't use {?it/them} by construction, so a test would be circular.",
      i = "Groups of target cells can be compared: {.code set = \"target\"}."
    ))
  }
  circular
}
