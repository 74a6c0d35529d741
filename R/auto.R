# What bcnmf() finds out by itself before it fits: how many target-only factors, how strong a contrast.

# `settings` with all that was to be found, and the tables of what was tried (`k_targets`, `alpha_path`), to be kept with the model.
# The seed of what is tried is not the fit's: fits of several seeds should have one contrast.
# `grow`: whether `k` may grow, as it was not the user's.
choose_contrast <- function(x, y, settings, grow, verbose, call) {
  tables <- list()
  to_find <- is.na(settings$k_target) || settings$contrast == "auto"
  # bad data are refused, not judged
  data <- if (to_find) look_at_data(x, y, plain_settings(settings), call)
  if (is.na(settings$k_target)) {
    tables$k_targets <- found <- if (settings$k > 1) auto_k_target(x, y, settings, grow, verbose, call)
    if (grow && !is.null(found)) settings$k <- attr(found, "k")
    settings$k_target <- if (is.null(found)) 0L else found$k_target[found$selected]
    # sets that share nothing, or cannot be judged, bear no contrast of the other kind either
    hopeless <- settings$k > 1 && (is.null(found) || shares_nothing(attr(found, "shared")))
    if (settings$k_target == 0) settings[c("contrast", "strength")] <- list(if (hopeless) "alpha" else "auto", 0)
    say_choice(found, verbose)
    if (!is.null(found) && attr(found, "k") > settings$k) settings <- hold_programs(x, y, found, settings, verbose, call)
  }
  if (settings$contrast == "auto") {
    tables$alpha_path <- found <- auto_path(x, y, settings, data$size_ratio, verbose, call)
    settings[c("contrast", "strength")] <- list("beta", if (is.null(found)) 0 else found$beta[found$selected])
    say_choice(found, verbose)
  }
  # only target-only factors need to start where they belong
  if (settings$init == "auto") settings$init <- if (settings$k_target > 0) "nndsvd" else "random"
  list(settings = settings, tables = tables)
}

auto_k_target <- function(x, y, settings, grow, verbose, call) {
  defaults <- formals(select_k_target)
  own <- c(settings[c("loss", "threads")], defaults[c("tolerance", "masks", "maxit", "seed")])
  few <- cells_to_compare(x, y, settings$k)
  judged({
    found <- find_k_target(few$x, few$y, settings$k, NULL, own, verbose, call)
    if (grow) {
      grow_target_only(few$x, few$y, found, own, verbose, call)
    } else if (settings$init == "given") {
      # who says where to start, starts there
      found
    } else {
      find_beside(few$x, few$y, found, own, verbose, call)
    }
  })
}

# A program of the target that is weak among all cells may not be worth a factor to select_rank(), and yet be worth one of the target's own. So one such
# factor is added as long as that predicts better than the model without it, by `least`, and better than one more shared factor does; until there are `enough`.
grow_target_only <- function(x, y, found, settings, verbose, call, least = settings$tolerance, enough = Inf) {
  chosen <- function(table) table[table$selected, ]
  while (!shares_nothing(attr(found, "shared")) && attr(found, "k") < min(dim(x))) {
    number <- chosen(found)$k_target
    if (number >= enough) break
    most <- (1 - least) * chosen(found)$loss
    compare <- function(numbers) find_k_target(x, y, attr(found, "k") + 1L, numbers, settings, verbose, call, shared = attr(found, "shared"))
    # mostly it does not, and one look tells; what closing a factor of a fit with none leads to takes both
    if (number > 0 && chosen(compare(number + 1L))$loss > most) break
    more <- compare(number + 0:1)
    if (chosen(more)$k_target == number || chosen(more)$loss > most) break
    found <- more
  }
  found
}

auto_path <- function(x, y, settings, size_ratio, verbose, call) {
  own <- lapply(formals(alpha_path)[c("beta", "tolerance", "most", "maxit", "seed")], eval)
  own$most <- max(own$most, settings$k)
  own <- c(settings[c("k", "loss", "threads")], own, shuffles = 0)
  judged(find_path(x, y, own, size_ratio, verbose, call, whole = FALSE))
}

# A fit is not lost for want of a judgement: data can be too odd to hold entries out of.
judged <- function(expr) {
  # other errors, such as a time limit of the user's, are not ours to judge
  tryCatch(expr, bcnmf_error = function(cnd) {
    warn_bcnmf(c(
      "The contrast could not be chosen by held-out entries, and there is none: {conditionMessage(cnd)}",
      i = "Say {.arg k_target}, {.arg alpha} or {.arg beta} for one of your choice."
    ))
    NULL
  })
}

# Settings that look_at_data() can take whatever is yet to be found.
plain_settings <- function(settings) {
  settings[c("contrast", "strength", "k_target")] <- list("alpha", 0, 0L)
  settings
}

say_choice <- function(found, verbose) {
  if (is.null(found) || isFALSE(verbose)) return(invisible())
  chosen <- found[found$selected, ]
  said <- if (inherits(found, "bcnmf_k_targets")) {
    sprintf("k_target = %d", chosen$k_target)
  } else {
    sprintf("beta = %s (alpha = %s)", format(chosen$beta, digits = 3), format(chosen$alpha, digits = 3))
  }
  cli::cli_inform(c(i = "{said}: {attr(found, 'verdict')}."), class = "bcnmf_message")
}
