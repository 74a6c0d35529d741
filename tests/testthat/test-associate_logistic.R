standardised <- function(x) (x - mean(x)) / sd(x)

test_that("stats::glm() with and without covariates", {
  fit <- grouped_fit()
  groups <- every_second(60)
  y <- groups == "treated"
  covariates <- withr::with_seed(2, data.frame(age = rnorm(60, 50, 9), batch = rep(c("x", "y", "z"), each = 20)))
  plain <- associate(fit, groups, "logistic", value = "use")
  adjusted <- associate(fit, groups, "logistic", value = "use", covariates = covariates)
  expect_equal(associate(fit, groups, "logistic", value = "use", covariates = as.list(covariates)), adjusted)
  for (i in 1:4) {
    use <- standardised(uses_of(fit)[i, ])
    check <- function(row, with, without) {
      estimate <- summary(with)$coefficients["use", ]
      expect_equal(row$estimate, estimate[["Estimate"]], tolerance = 1e-6)
      expect_equal(row$std_error, estimate[["Std. Error"]], tolerance = 1e-6)
      expect_equal(row$conf_low, estimate[["Estimate"]] - qnorm(0.975) * estimate[["Std. Error"]], tolerance = 1e-6)
      ratio <- anova(without, with, test = "LRT")
      expect_equal(row$statistic, ratio$Deviance[2], tolerance = 1e-6)
      expect_equal(row$p_value, ratio$`Pr(>Chi)`[2], tolerance = 1e-6)
    }
    logistic <- function(formula) glm(formula, binomial(), covariates, epsilon = 1e-10)
    check(plain[i, ], logistic(y ~ use), logistic(y ~ 1))
    check(adjusted[i, ], logistic(y ~ use + age + batch), logistic(y ~ age + batch))
  }
})

test_that("several groups: each against the rest, or the first", {
  fit <- grouped_fit()
  groups <- rep(c("a", "b", "c"), 20)
  each <- associate(fit, groups, "logistic", value = "use")
  expect_equal(associate(fit, groups, "logistic", "each", value = "use"), each)
  use <- standardised(uses_of(fit)[2, ])
  known <- glm((groups == "b") ~ use, family = binomial())
  expect_equal(each$estimate[each$factor == "bcnmf2" & each$group == "b"], coef(known)[["use"]], tolerance = 1e-6)
  first <- associate(fit, groups, "logistic", "first", value = "use")
  taken <- groups != "b"
  known <- glm((groups == "c") ~ use, family = binomial(), subset = taken)
  row <- first[first$factor == "bcnmf2" & first$group == "c", ]
  expect_equal(row$estimate, coef(known)[["use"]], tolerance = 1e-6)
  expect_identical(row$n, 40)
})

test_that("separated groups: an infinite estimate, a warning and a valid p-value", {
  uses <- rbind(c(1:10, 21:30), c(rep(0, 10), rep(0, 6), 4:1), c(30:21, 10:1), rep(c(1, 4, 2, 5), 5))
  fit <- fit_of_uses(w = matrix(1, 1, 4), target = uses)
  groups <- rep(c("a", "b"), each = 10)
  expect_warning(
    table <- associate(fit, groups, "logistic", value = "use"), "\"bcnmf1\", \"bcnmf2\", and \"bcnmf3\" separate",
    class = "bcnmf_warning"
  )
  expect_identical(table$estimate[1:3], c(Inf, Inf, -Inf))
  expect_true(all(is.na(table[1:3, c("std_error", "conf_low", "conf_high")])))
  # separated: the deviance falls to 0; zeros alone are left to chance in the second, 10 to 6
  expect_equal(table$statistic[c(1, 3)], rep(-2 * 20 * log(0.5), 2), tolerance = 1e-6)
  left <- -2 * (10 * log(10 / 16) + 6 * log(6 / 16))
  expect_equal(table$statistic[2], -2 * 20 * log(0.5) - left, tolerance = 1e-6)
  expect_true(is.finite(table$estimate[4]))
  # with covariates too
  expect_warning(
    with <- associate(fit, groups, "logistic", value = "use", covariates = list(z = rep(1:5, 4))), "separate"
  )
  expect_identical(with$estimate[c(1, 3)], c(Inf, -Inf))
})

test_that("a use that the covariates determine has no estimate", {
  fit <- grouped_fit()
  table <- associate(fit, every_second(60), "logistic", value = "use", covariates = list(copy = uses_of(fit)[2, ]))
  expect_true(all(is.na(table[2, c("estimate", "statistic", "p_value")])))
  expect_true(all(is.finite(table$p_value[-2])))
  # a constant covariate changes nothing
  expect_equal(
    associate(fit, every_second(60), "logistic", covariates = list(one = rep(1, 60))),
    associate(fit, every_second(60), "logistic")
  )
})

test_that("covariates of all cells, of which the target's are taken", {
  fit <- grouped_fit(l = 30)
  age <- withr::with_seed(2, rnorm(90))
  expect_equal(
    associate(fit, every_second(60), "logistic", covariates = list(age = age)),
    associate(fit, every_second(60), "logistic", covariates = list(age = age[1:60]))
  )
  expect_equal(
    associate(fit, rep(1:2, 15), "logistic", set = "background", covariates = list(age = age)),
    associate(fit, rep(1:2, 15), "logistic", set = "background", covariates = list(age = age[61:90]))
  )
  # by name, in any order, of other cells too
  named <- data.frame(age = rev(age), row.names = rev(c(sprintf("cell%d", 1:60), sprintf("control%d", 1:30))))
  expect_equal(
    associate(fit, every_second(60), "logistic", covariates = named),
    associate(fit, every_second(60), "logistic", covariates = list(age = age))
  )
  expect_equal(associate(fit, every_second(60), "logistic", covariates = named[31:90, , drop = FALSE])$n, rep(60, 4))
  expect_bcnmf_error(
    associate(fit, every_second(60), "logistic", covariates = named[-90, , drop = FALSE]), "no row for 1 of .* \"cell1\"", arg = "covariates"
  )
  # a list's too, each for itself
  own <- stats::setNames(named$age, rownames(named))
  batch <- rep_len(c("p", "q", "q"), 60)
  expect_equal(
    associate(fit, every_second(60), "logistic", covariates = list(age = own[31:90], batch = batch)),
    associate(fit, every_second(60), "logistic", covariates = list(age = age[1:60], batch = batch))
  )
  expect_bcnmf_error(
    associate(fit, every_second(60), "logistic", covariates = list(age = own[-90])), "no value for 1 of .* \"cell1\"", arg = "covariates$age"
  )
  # a confounder takes its effect away
  shift <- every_second(60) == "treated"
  near <- withr::with_seed(3, shift + rnorm(60, 0, 0.3))
  expect_lt(
    associate(fit, every_second(60), "logistic", covariates = list(near = near))$statistic[1],
    associate(fit, every_second(60), "logistic")$statistic[1]
  )
})
