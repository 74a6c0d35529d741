skip_if_not_installed("limma")

# log2 of averages by sample and group (columns "sample group"), as documented.
averages <- function(uses, samples, groups) {
  means <- sapply(split(seq_along(samples), paste(samples, groups)), function(i) rowMeans(uses[, i, drop = FALSE]))
  means <- matrix(means, nrow(uses), dimnames = list(NULL, sort(unique(paste(samples, groups)))))
  log2(means + 0.01 * rowMeans(means))
}

test_that("two groups of samples: limma", {
  fit <- grouped_fit(n = 120, k = 5)
  samples <- rep(sprintf("s%d", 1:8), each = 15)
  groups <- rep(c("a", "b"), each = 60)
  table <- associate(fit, groups, "pseudobulk", value = "use", sample_by = samples)
  y <- averages(uses_of(fit), samples, groups)
  known <- limma::eBayes(limma::lmFit(y, cbind(1, rep(0:1, each = 4))))
  expect_equal(table$estimate, unname(known$coefficients[, 2]))
  expect_equal(table$statistic, unname(known$t[, 2]))
  expect_equal(table$p_value, unname(known$p.value[, 2]))
  expect_equal(table$df, unname(known$df.total))
  expect_equal((table$conf_low + table$conf_high) / 2, table$estimate)
  expect_equal(table$conf_high - table$estimate, qt(0.975, table$df) * table$std_error)
  expect_identical(unique(table$n), 8L)
  expect_identical(unique(table$test), "limma_t")
})

test_that("several groups: F, each against the rest, each against the first, with covariates", {
  fit <- grouped_fit(n = 180, k = 5)
  samples <- rep(sprintf("s%02d", 1:12), each = 15)
  groups <- rep(c("a", "b", "c"), each = 60)
  age <- c(30, 50, 41, 66, 38, 52, 47, 61, 35, 58, 49, 70)
  y <- averages(uses_of(fit), samples, groups)
  g <- factor(rep(c("a", "b", "c"), each = 4))
  design <- model.matrix(~ 0 + g + age)
  fitted <- limma::lmFit(y, design)
  contrasts <- cbind(b = c(-1, 1, 0, 0), c = c(-1, 0, 1, 0), each = c(-0.5, 1, -0.5, 0))
  known <- limma::eBayes(limma::contrasts.fit(fitted, contrasts))
  covariates <- list(age = rep(age, each = 15))
  test <- function(compare) {
    associate(fit, groups, "pseudobulk", compare, "use", covariates = covariates, sample_by = samples)
  }
  first <- test("first")
  expect_equal(first$estimate, as.vector(t(known$coefficients[, 1:2])))
  expect_equal(first$p_value, as.vector(t(known$p.value[, 1:2])))
  expect_identical(unique(first$n), 8L)
  each <- test("each")
  expect_equal(each$p_value[each$group == "b"], unname(known$p.value[, 3]))
  overall <- test("overall")
  joint <- limma::eBayes(limma::contrasts.fit(fitted, contrasts[, 1:2]))
  expect_equal(overall$statistic, joint$F)
  expect_equal(overall$p_value, pf(joint$F, 2, joint$df.total, lower.tail = FALSE))
  for (i in 1:5) {
    with <- lm(y[i, ] ~ g + age)
    expect_equal(overall$estimate[i], 1 - deviance(with) / deviance(lm(y[i, ] ~ age)))
  }
})

test_that("samples in several groups are blocks", {
  fit <- grouped_fit(n = 120, k = 4)
  samples <- rep(c("p", "q", "r", "s", "t"), each = 24)
  groups <- every_second(120)
  paired <- associate(fit, groups, "pseudobulk", value = "use", sample_by = samples)
  y <- averages(uses_of(fit), samples, groups)
  known <- limma::eBayes(limma::lmFit(y, model.matrix(~ rep(0:1, 5) + gl(5, 2))))
  expect_equal(paired$estimate, unname(known$coefficients[, 2]))
  expect_equal(paired$p_value, unname(known$p.value[, 2]))
  # what is constant in a block is no longer to be adjusted for
  sex <- list(sex = ifelse(samples %in% c("p", "q"), "f", "m"))
  expect_equal(associate(fit, groups, "pseudobulk", value = "use", sample_by = samples, covariates = sex), paired)
  # a sample in one group only adds nothing but to the factor's mean
  groups[samples == "t"] <- "control"
  expect_message(
    associate(fit, groups, "pseudobulk", value = "use", sample_by = samples), "1 sample with cells in one group only adds nothing"
  )
})

test_that("a few factors are tested without moderation", {
  for (k in 1:2) {
    fit <- grouped_fit(n = 60, k = k)
    samples <- rep(1:6, each = 10)
    groups <- rep(c("a", "b"), each = 30)
    table <- associate(fit, groups, "pseudobulk", value = "use", sample_by = samples)
    y <- averages(uses_of(fit), samples, groups)
    for (i in seq_len(k)) {
      known <- t.test(y[i, 4:6], y[i, 1:3], var.equal = TRUE)
      expect_equal(table$p_value[i], known$p.value)
      expect_equal(c(table$conf_low[i], table$conf_high[i]), as.vector(known$conf.int))
      expect_identical(table$df[i], 4)
    }
    three <- rep(c("a", "b", "c"), each = 20)
    joint <- associate(fit, three, "pseudobulk", value = "use", sample_by = samples)
    y <- averages(uses_of(fit), samples, three)
    known <- anova(lm(y[1, ] ~ gl(3, 2)))
    expect_equal(joint$statistic[1], known$`F value`[1])
    expect_equal(joint$p_value[1], known$`Pr(>F)`[1])
  }
})

test_that("dead and target-only factors do not disturb the others", {
  fit <- grouped_fit(n = 120, k = 4)
  samples <- rep(1:8, each = 15)
  groups <- rep(c("a", "b"), each = 60)
  with_dead <- fit_of_uses(w = matrix(1, 1, 5), target = rbind(uses_of(fit), 0))
  table <- associate(with_dead, groups, "pseudobulk", value = "use", sample_by = samples)
  expect_equal(table$p_value, c(associate(fit, groups, "pseudobulk", value = "use", sample_by = samples)$p_value, NA))
  expect_warning(
    circular <- associate(fake_fit(n = 30, l = 30, k_target = 1), test = "pseudobulk", sample_by = rep(1:6, each = 10)), "circular"
  )
  expect_identical(is.na(circular$p_value), c(FALSE, FALSE, TRUE))
  expect_warning(one <- associate(fake_fit(k = 1, n = 60), groups[31:90], "pseudobulk", sample_by = rep(1:6, each = 10)), "shares are 1")
  expect_identical(one$p_value, NA_real_)
})

test_that("p-values are uniform where samples differ but groups do not, unlike those by cell", {
  withr::local_seed(4)
  k <- 300
  samples <- rep(1:8, each = 20)
  level <- matrix(exp(rnorm(k * 8, 0, 0.5)), k)[, samples]
  fit <- fit_of_uses(w = matrix(1, 1, k), target = level * matrix(rexp(k * 160), k))
  groups <- rep(c("a", "b"), each = 80)
  p <- associate(fit, groups, "pseudobulk", value = "use", sample_by = samples)$p_value
  expect_gt(ks.test(p, "punif")$p.value, 0.01)
  expect_gt(mean(associate(fit, groups, value = "use")$p_value < 0.05), 0.25)
})

test_that("a planted difference between conditions is found, and its size", {
  withr::local_seed(6)
  samples <- rep(1:10, each = 30)
  groups <- rep(c("control", "treated"), each = 150)
  uses <- matrix(rexp(6 * 300), 6) * exp(matrix(rnorm(60, 0, 0.1), 6))[, samples]
  uses[2, groups == "treated"] <- 4 * uses[2, groups == "treated"]
  table <- associate(fit_of_uses(w = matrix(1, 1, 6), target = uses), groups, "pseudobulk", value = "use", sample_by = samples)
  expect_lt(table$p_adjusted[2], 0.001)
  expect_true(table$conf_low[2] < 2 && 2 < table$conf_high[2])
  expect_true(all(table$p_value[-2] > 0.01))
})

test_that("averages of few cells, and cells without a sample, are left out", {
  fit <- grouped_fit(n = 66, k = 4)
  samples <- c(rep(1:6, each = 10), rep(7, 6))
  groups <- rep(c("a", "b"), 33)
  groups[samples == 7] <- c(rep("a", 3), rep("b", 3))
  expect_message(
    few <- associate(fit, groups, "pseudobulk", sample_by = samples, min_cells = 4), "2 averages of fewer than 4 cells are left out"
  )
  samples[samples == 7] <- NA
  expect_message(missing <- associate(fit, groups, "pseudobulk", sample_by = samples), "6 cells without a sample are left out")
  expect_equal(few, missing)
})

test_that("what cannot be tested is refused", {
  fit <- grouped_fit(l = 30)
  groups <- rep(c("a", "b", "c"), each = 20)
  pseudobulk <- function(sample_by, ..., labels = groups) associate(fit, labels, "pseudobulk", sample_by = sample_by, ...)
  expect_bcnmf_error(associate(fit, groups, "pseudobulk"), "needs `sample_by`", arg = "sample_by")
  expect_bcnmf_error(pseudobulk(1:3), "`sample_by` must have length 60", arg = "sample_by")
  expect_bcnmf_error(pseudobulk(rep(1:3, each = 20)), "a: 1, b: 1, c: 1", arg = "sample_by")
  expect_bcnmf_error(pseudobulk(c(rep(1:4, each = 10), rep(5, 20))), "a: 2, b: 2, c: 1", arg = "sample_by")
  samples <- rep(1:6, each = 10)
  expect_bcnmf_error(suppressMessages(pseudobulk(samples, min_cells = 11)), "a: 0, b: 0, c: 0", arg = "sample_by")
  expect_bcnmf_error(pseudobulk(samples, covariates = list(age = 1:60)), "\"age\" must be constant.*sample \"1\", group \"a\"",
    arg = "covariates"
  )
  expect_bcnmf_error(pseudobulk(samples, covariates = list(batch = groups)), "can't be told apart from the covariates", arg = "covariates")
  # no sample has cells of both of two groups
  split <- rep(c(1, 2, 1, 2, 3, 4, 3, 4), c(5, 10, 10, 5, 5, 10, 10, 5))
  expect_bcnmf_error(pseudobulk(split, labels = rep(c("a", "b", "c", "d"), each = 15)), "samples \\(as blocks\\)", arg = "sample_by")
  ages <- list(a = rep(c(1, 2, 4, 7, 3, 8), each = 10), b = rep(c(3, 1, 2, 9, 5, 5), each = 10), c = rep(c(1, 0, 0, 3, 8, 1), each = 10))
  expect_bcnmf_error(pseudobulk(samples, covariates = ages), "6 averages of samples for 6 coefficients", arg = "sample_by")
  expect_bcnmf_error(associate(fit, test = "pseudobulk", sample_by = samples), "no samples for the background cells", arg = "sample_by")
  expect_bcnmf_error(need_limma(FALSE), "BiocManager::install\\(\"limma\"\\)", arg = "test")
})

test_that("target and background may share samples", {
  fit <- grouped_fit(l = 60)
  samples <- c(rep(1:6, each = 10), rep(1:6, 10))
  expect_silent(table <- associate(fit, test = "pseudobulk", sample_by = samples))
  expect_equal(associate(fit, test = "pseudobulk", sample_by = list(target = samples[1:60], background = samples[61:120])), table)
  # 12 averages, two groups, five differences between blocks
  expect_identical(unique(table$n), 12L)
})
