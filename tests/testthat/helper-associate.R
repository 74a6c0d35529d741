# A model whose uses are known: `k` factors, with ties and zeros, factor 1 used more by every second cell.
grouped_fit <- function(n = 60, k = 4, l = 0, shift = 3) {
  withr::local_seed(11)
  uses <- matrix(stats::rpois(k * n, 4) * stats::rbinom(k * n, 1, 0.8), k)
  uses[1, ] <- uses[1, ] + shift * (seq_len(n) %% 2 == 0)
  fit_of_uses(
    w = matrix(1 / 5, 5, k), target = uses,
    background = if (l > 0) matrix(stats::rpois(k * l, 4) + 1, k)
  )
}

every_second <- function(n) ifelse(seq_len(n) %% 2 == 0, "treated", "control")

uses_of <- function(fit) fit$d * fit$h
