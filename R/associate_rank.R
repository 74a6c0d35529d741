# Rank tests of associate(). Each factor is sorted once, into blocks of equal values in ascending order; after that a pair of groups
# costs as much time as its group has cells, however many the rest has.

rank_tests <- function(values, groups, pairs, conf_level) {
  members <- split(seq_along(groups), groups)
  per_factor <- lapply(seq_len(nrow(values)), function(i) {
    block <- blocks_of_ties(values[i, ])
    if (is.null(pairs)) return(kruskal_test(block, groups))
    # what groups are compared with: everything, of which the group itself is taken off later, or the first level
    with_rest <- is.na(pairs$reference[1])
    pool <- counts_of_blocks(if (with_rest) block else block[members[[pairs$reference[1]]]], max(block))
    rows <- lapply(members[pairs$group], function(m) wilcoxon_test(block[m], pool, with_rest, conf_level))
    do.call(rbind, rows)
  })
  table <- as.data.frame(do.call(rbind, c(list(test_result()[0, , drop = FALSE]), per_factor)))
  table$log2_ratio <- log2_ratios(group_means(values, groups), lengths(members), pairs)
  list(
    table = table, test = if (is.null(pairs)) "kruskal" else "wilcoxon",
    effect = if (is.null(pairs)) "epsilon_squared" else "auc"
  )
}

# For every value the number of its block of equal values.
blocks_of_ties <- function(x) {
  order <- order(x, method = "radix")
  sorted <- x[order]
  block <- integer(length(x))
  block[order] <- cumsum(c(TRUE, sorted[-1] != sorted[-length(sorted)]))
  block
}

counts_of_blocks <- function(block, n_blocks) {
  count <- as.double(tabulate(block, n_blocks))
  list(count = count, upto = cumsum(count), ties = sum(tie_term(count)))
}

# A tie of t values lowers the variance of rank sums by this.
tie_term <- function(t) t^3 - t

# The group x, given by its cells' blocks, against the pool y (without x, where x is part of it).
wilcoxon_test <- function(block, pool, x_in_pool, conf_level) {
  runs <- rle(sort(block, method = "radix"))
  at <- runs$values
  x <- as.double(runs$lengths)
  x_upto <- cumsum(x)
  m <- sum(x)
  # of y: as many are in x's blocks, below them, and in the gaps after them
  y <- pool$count[at] - x_in_pool * x
  y_before <- pool$upto[at] - pool$count[at] - x_in_pool * (x_upto - x)
  n <- pool$upto[length(pool$upto)] - x_in_pool * m
  gaps <- c(y_before[-1], n) - y_before - y
  ties <- pool$ties + if (x_in_pool) 0 else sum(tie_term(x + y) - tie_term(y))

  # U counts the pairs in which x is larger, ties as a half
  y_below <- y_before + y / 2
  u <- sum(x * y_below)
  variance <- m * n / 12 * (m + n + 1 - ties / ((m + n) * (m + n - 1)))
  distance <- u - m * n / 2
  z <- (distance - sign(distance) / 2) / sqrt(variance)

  # DeLong's variance: that of the part of the other group which each cell exceeds, or is exceeded by
  auc <- u / (m * n)
  exceeded <- 1 - c(0, x_upto - x / 2, x_upto) / m
  spread_x <- sum(x * (y_below / n - auc)^2) / (m - 1)
  spread_y <- sum(c(y_before[1], y, gaps) * (exceeded - auc)^2) / (n - 1)
  spread <- spread_x / m + spread_y / n
  # groups that do not overlap show no spread to judge by
  se <- if (isTRUE(spread > 0)) sqrt(spread) else NA
  half <- stats::qnorm((1 + conf_level) / 2) * se / (auc * (1 - auc))
  test_result(
    auc, se, stats::plogis(stats::qlogis(auc) - half), stats::plogis(stats::qlogis(auc) + half),
    statistic = u, n = m + n, p_value = if (variance > 0) min(1, 2 * stats::pnorm(-abs(z))) else NA
  )
}

kruskal_test <- function(block, groups) {
  blocks <- counts_of_blocks(block, max(block))
  rank <- blocks$upto - (blocks$count - 1) / 2
  sizes <- tabulate(groups)
  n <- length(block)
  sums <- as.vector(rowsum(rank[block], as.integer(groups), reorder = TRUE))
  h <- 12 / n / (n + 1) * sum(sums^2 / sizes) - 3 * (n + 1)
  h <- h / (1 - blocks$ties / tie_term(as.double(n)))
  df <- length(sizes) - 1
  test_result(h / (n - 1), statistic = h, df = df, n = n, p_value = stats::pchisq(h, df, lower.tail = FALSE))
}
