# From the definition: parts of the other group below, for every cell.
delong <- function(x, y) {
  wins <- outer(x, y, ">") + outer(x, y, "==") / 2
  sqrt(var(rowMeans(wins)) / length(x) + var(colMeans(wins)) / length(y))
}

test_that("two groups: stats::wilcox.test() and auc()", {
  fit <- grouped_fit()
  uses <- uses_of(fit)
  for (groups in list(every_second(60), rep(c("a", "b"), c(3, 57)))) {
    table <- associate(fit, groups, value = "use")
    second <- groups == sort(unique(groups))[2]
    for (i in 1:4) {
      known <- wilcox.test(uses[i, second], uses[i, !second], exact = FALSE)
      expect_equal(table$statistic[i], known$statistic[["W"]])
      expect_equal(table$p_value[i], known$p.value)
      expect_equal(table$estimate[i], auc(uses[i, second], uses[i, !second]))
    }
  }
})

test_that("each group against the rest, and against the first", {
  fit <- grouped_fit()
  uses <- uses_of(fit)
  groups <- rep(letters[1:5], 12)
  each <- associate(fit, groups, compare = "each", value = "use")
  first <- associate(fit, groups, compare = "first", value = "use")
  expect_identical(unique(each$n), 60)
  expect_identical(unique(first$n), 24)
  for (i in 1:4) {
    for (g in letters[2:5]) {
      x <- uses[i, groups == g]
      same <- function(table, y) {
        row <- table[table$factor == colnames(fit$w)[i] & table$group == g, ]
        expect_equal(row$p_value, wilcox.test(x, y, exact = FALSE)$p.value)
        expect_equal(row$estimate, auc(x, y))
        expect_equal(row$std_error, delong(x, y))
      }
      same(each, uses[i, groups != g])
      same(first, uses[i, groups == "a"])
    }
  }
})

test_that("the interval of the AUC covers the truth about as often as it says", {
  withr::local_seed(3)
  k <- 300
  target <- matrix(rexp(k * 60), k) * rep(c(2, 1), each = 30)[col(matrix(0, k, 60))]
  fit <- fit_of_uses(w = matrix(1, 1, k), target = target)
  table <- associate(fit, rep(c("b", "a"), each = 30), value = "use", conf_level = 0.9)
  # P(2 X > Y) of two standard exponentials
  covered <- mean(table$conf_low <= 2 / 3 & table$conf_high >= 2 / 3)
  expect_gt(covered, 0.85)
  expect_lt(covered, 0.95)
})

test_that("groups that do not overlap: no standard error, a p-value", {
  fit <- fit_of_uses(w = matrix(1, 1, 1), target = t(c(1, 2, 3, 4, 5, 6)))
  table <- associate(fit, rep(c("a", "b"), each = 3), value = "use")
  expect_identical(table$estimate, 1)
  expect_true(all(is.na(table[c("std_error", "conf_low", "conf_high")])))
  expect_equal(table$p_value, wilcox.test(4:6, 1:3, exact = FALSE)$p.value)
})

test_that("several groups at once: stats::kruskal.test()", {
  fit <- grouped_fit()
  for (groups in list(rep(c("a", "b", "c"), 20), rep(1:20, 3))) {
    table <- associate(fit, groups, value = "use")
    for (i in 1:4) {
      known <- kruskal.test(uses_of(fit)[i, ], factor(groups))
      expect_equal(table$statistic[i], known$statistic[[1]])
      expect_equal(table$p_value[i], known$p.value)
      expect_equal(table$df[i], known$parameter[[1]])
    }
    expect_equal(table$estimate, table$statistic / 59)
  }
})

test_that("p-values are uniform where there is no difference", {
  withr::local_seed(1)
  k <- 400
  fit <- fit_of_uses(w = matrix(1, 1, k), target = matrix(rexp(k * 80), k))
  for (groups in list(rep(c("a", "b"), 40), rep(c("a", "b", "c", "d"), 20))) {
    p <- associate(fit, groups, value = "use")$p_value
    # ranks are discrete, so some p-values are equal
    expect_gt(suppressWarnings(ks.test(p, "punif"))$p.value, 0.01)
    expect_equal(mean(p < 0.05), 0.05, tolerance = 0.5)
  }
})

test_that("planted differences are found", {
  table <- associate(grouped_fit(), every_second(60), value = "use")
  expect_lt(table$p_adjusted[1], 1e-3)
  expect_gt(table$conf_low[1], 0.5)
  expect_true(all(table$p_adjusted[-1] > 0.05))
  sim <- small_sim()
  fit <- bcnmf(sim$target, sim$background, k = 3, k_target = 1, loss = "poisson", maxit = 200, verbose = FALSE)
  high <- sim$h["target1", ] > median(sim$h["target1", ])
  found <- associate(fit, ifelse(high, "high", "low"), value = "use")
  expect_lt(found$p_adjusted[fit$target_only], 1e-6)
})
