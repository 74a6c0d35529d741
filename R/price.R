# What a contrast costs the target: its divergence relative to what plain NMF reaches.

# From here on a user is told. The reference is a short fit, a little above what plain NMF reaches in the end.
most_price <- 1.1
price_sweeps <- 50

# The target's divergence relative to that of a short plain fit; NA where nothing is contrasted.
contrast_price <- function(fit, x, settings, call) {
  if (!isTRUE(fit@alpha > 0) || !any(fit@history$iteration > 0)) return(NA_real_)
  plain <- fit_settings(
    k = settings$k, loss = settings$loss, zi = settings$zi, threads = settings$threads, precision = settings$precision,
    L1 = settings$L1, L2 = settings$L2, accelerate = settings$accelerate,
    # at most a fifth of what the fit itself took
    maxit = min(price_sweeps, ceiling(fit@misc$iterations / 5)), seed = 1
  )
  session <- core_call(rs_fit_new(x, NULL, plain), call)
  if (!finish_fit(session, call)) return(NA_real_)
  reference <- utils::tail(rs_fit_result(session)$outcomes[[1]]$target, 1)
  fit@divergence[["target"]] / reference
}

warn_about_price <- function(fit, x, y, settings, call) {
  price <- fit@misc$price
  if (!isTRUE(price > most_price)) return(invisible())
  settings$beta <- c(0, fit@beta / 2^(5:1))
  settings[c("tolerance", "shuffles", "most", "maxit", "seed")] <- list(most_price - 1, 0L, max(1000L, settings$k), formals(alpha_path)$maxit, 1)
  # a fit is not lost for want of advice: data can be too odd to hold entries out of, and a user may not want to wait
  nothing <- function(cnd) NULL
  path <- tryCatch(find_path(x, y, settings, fit@beta / fit@alpha, FALSE, call, whole = FALSE), bcnmf_error = nothing, interrupt = nothing)
  safe <- if (is.null(path)) list(beta = 0) else path[path$selected, ]
  warn_bcnmf(c(
    "The contrast costs the target: its divergence is {signif(price, 3)} times what plain NMF reaches.",
    i = if (is.null(path)) {
      "Consider a smaller one, or {.arg k_target}."
    } else if (safe$beta > 0) {
      "{.code alpha = {signif(safe$alpha, 3)}} (beta = {signif(safe$beta, 3)}) costs about {100 * (most_price - 1)} % at most; {.fn alpha_path} shows more."
    } else {
      "{.fn alpha_path} finds no weaker one to take instead: {attr(path, 'verdict')}. Consider {.arg k_target}, or {.code alpha = 0}."
    }
  ))
}
