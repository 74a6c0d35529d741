# R drives, Rust remembers: a fit is advanced in small slices of time, so that the clock, the progress
# bar and the user's Ctrl-C are seen between two slices.

slice_seconds <- 0.05

# What a call of the core refuses becomes a condition of class `bcnmf_error`. `target`: what the user calls the set that the core calls so.
core_call <- function(expr, call, target = "target") {
  tryCatch(expr, error = function(e) {
    message <- sub("^target\\b", target, conditionMessage(e))
    abort_bcnmf("{message}", call = call)
  })
}

# All that rs_fit_new() reads: `...`, over what a fit without penalties, contrast and start of its own has.
fit_settings <- function(...) {
  given <- list(...)
  plain <- list(
    contrast = "alpha", strength = 0, k_target = 0, tol = 0, L1 = c(0, 0), L2 = c(0, 0), precision = "double",
    steps = numeric(), accelerate = 0, ambient = 0, batches = numeric(), hold_out = numeric(), hold = 0L, seed = NULL, w = NULL, factors = NULL,
    dispersion = "gene", dispersion_shared = 1, sizes = numeric(), sizes_background = numeric(),
    device = cpu, zi = "feature", dropout = numeric(), dropout_background = numeric()
  )
  c(given, plain[setdiff(names(plain), names(given))])
}

# Advances until done. On Ctrl-C `on_interrupt()` runs and FALSE is returned: what was fitted is kept.
drive <- function(advance, on_interrupt, bar, call) {
  tryCatch(
    {
      repeat {
        state <- core_call(advance(slice_seconds), call)
        bar$update(state)
        if (state$done) break
        # Looks for Ctrl-C; the interpreter alone does so only every thousand steps.
        Sys.sleep(0)
      }
      bar$done()
      TRUE
    },
    interrupt = function(cnd) {
      on_interrupt()
      bar$done()
      FALSE
    }
  )
}

# Drives what is of no use unless it is finished, and leaves the user's call if Ctrl-C comes first.
drive_or_leave <- function(advance, bar, call) {
  if (!drive(advance, function() NULL, bar, call)) rlang::interrupt()
}

# A fit of a session that is open, to its end; FALSE if Ctrl-C came first, and the model is then that of the last complete sweep.
finish_fit <- function(session, call, bar = progress_bar(FALSE)) {
  drive(function(seconds) rs_fit_advance(session, seconds), function() rs_fit_stop(session), bar, call)
}

# A whole fit that is of no use unless it is finished: its session, for rs_fit_result() and rs_fit_data().
run_fit <- function(x, y, settings, call, bar = progress_bar(FALSE)) {
  session <- core_call(rs_fit_new(x, y, settings), call)
  if (!finish_fit(session, call, bar)) rlang::interrupt()
  session
}

is_verbose <- function(verbose) {
  if (!is.null(verbose)) return(verbose)
  check_flag(getOption("bcnmf.verbose", rlang::is_interactive()), arg = "verbose", call = NULL)
}

# A cli progress bar over all sweeps of all starts, or nothing.
progress_bar <- function(verbose, what, frame = parent.frame()) {
  silent <- function(...) invisible(NULL)
  if (!is_verbose(verbose)) return(list(update = silent, done = silent))
  status <- ""
  id <- cli::cli_progress_bar(
    total = 100, clear = TRUE, .envir = frame,
    format = "{cli::pb_spin} {what} {cli::pb_bar} {cli::pb_percent} {status} [{cli::pb_elapsed}]"
  )
  update <- function(state) {
    status <<- progress_status(state)
    cli::cli_progress_update(id = id, set = min(99, 100 * state$share), .envir = environment(update))
  }
  list(update = update, done = function() cli::cli_progress_done(id = id))
}

# Of several starts the first one in work stands for all; who makes several fits says where it is.
progress_status <- function(state) {
  if (!is.null(state$status)) return(state$status)
  starts <- if (state$starts > 1) sprintf("%d of %d starts done, ", state$finished, state$starts)
  change <- if (is.finite(state$change)) sprintf(", change %.1e", state$change)
  paste0(starts, sprintf("sweep %d", state$iteration), change)
}

# State of the package: the model of the last interrupted call.
the <- new.env(parent = emptyenv())

# Ends a call that the user interrupted: the model so far travels with the condition, and is kept for
# `interrupted_fit()`. An interrupt, not an error, so that loops over many fits stop too.
signal_interrupted <- function(fit) {
  the$interrupted <- fit
  cli::cli_inform(c(
    "!" = "Interrupted after {fit@misc$iterations} sweep{?s}.",
    i = "The model so far: {.code interrupted_fit()}. To go on from it: {.code bcnmf(..., init = interrupted_fit())}."
  ))
  signalCondition(structure(
    class = c("bcnmf_interrupted", "interrupt", "condition"),
    list(message = "bcnmf() was interrupted", call = NULL, fit = fit)
  ))
  rlang::interrupt()
}

#' The model of an interrupted fit
#'
#' When [bcnmf()] is interrupted (Ctrl-C, the stop button), it signals a condition of class `bcnmf_interrupted`, which carries
#' the model after the last complete sweep in its field `fit`, and keeps that model until the session ends or another
#' call is interrupted. `bcnmf(..., init = interrupted_fit())` goes on from there.
#'
#' The divergence of such a model is the last one that was evaluated, one sweep before.
#'
#' @return A model of class [`bcnmf`][bcnmf-class]; `NULL` when no call was interrupted.
#' @examples
#' interrupted_fit()
#' @export
interrupted_fit <- function() the$interrupted

# Threads to use: as asked, else the option, else what the machine gives, two under checks.
resolve_threads <- function(threads, call) {
  if (is.null(threads)) threads <- getOption("bcnmf.threads")
  if (!is.null(threads)) return(check_count(threads, max = 1024, arg = "threads", call = call))
  limited <- tolower(Sys.getenv("_R_CHECK_LIMIT_CORES_"))
  available <- rs_processors()
  if (nzchar(limited) && limited != "false") min(2L, available) else available
}
