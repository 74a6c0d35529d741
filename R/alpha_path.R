#' How strong a contrast the data bear
#'
#' Fits the same data with one contrast strength after the other, and tells what each costs: how much worse the target's held-out entries are
#' predicted than by plain NMF, how much worse the background's, and how far the programs move. It also says when contrast cannot help.
#' No label is used but which cells are target and which are background.
#'
#' @details
#' A part of the entries of both sets is held out as in [select_rank()], the same ones for all fits. The first fit is plain NMF; each further one goes on from the one before it,
#' with the next `beta`. As it has then had more sweeps than the first, it is compared with a plain fit that went on for as many. The largest `beta` is selected
#' up to which no strength raises the target's held-out loss by more than `tolerance`.
#'
#' Before that, two numbers from plain fits, both on held-out entries, tell whether there is anything to contrast:
#'
#' * `shared`: the part of the background's loss under its mean profile alone (the best model with one factor) that the factors fitted to the target take away. Below -0.5 the
#'   factors know clearly less of the background than its mean profile does. The two sets share no program, and there is nothing that contrast could take out.
#' * `specific`: the part of what the target's own factors explain of the target, beyond its mean profile, that as many factors fitted to the background miss.
#'   In cells with shuffled labels it is 0 but for noise, up to 0.05 with some hundred cells. Unless it is above 0.02 plus twice the root mean square of the shuffled ones, no
#'   program is specific to the target, or none that can be seen.
#'
#' In either case `beta = 0` is selected. In simulations (6 shared programs, 2 of the target alone) `shared` was below -1 for a background of other programs and above 0.2 for a matched one; blood cells that all respond against ones that do not had -0.1 to 0.1.
#' Programs that hold less than about 5 % of the target's counts can be too small for `specific`: where the question is about those, choose `beta` or `k_target` yourself.
#'
#' With `shuffles` the same path is run for cells whose labels were shuffled. What the background loses there (`background_rise_null`) a strength does to any
#' two sets; what it loses beyond that comes from programs that the sets differ in.
#'
#' `bcnmf(alpha = "auto")` runs the path without shuffles and no further than the first strength that costs too much, with `seed = 1` whatever the fit's seed, so that fits of different seeds stay comparable, and keeps it in `fit$alpha_path`.
#' The path fits without penalties, at most `most` cells of each set, and about 200 sweeps in all, which are slower for the entries held out (`bench/RESULTS-choices.md` has what that is in plain fits).
#'
#' @param target,background features x cells, as in [bcnmf()].
#' @param k number of factors.
#' @param beta strengths to try; 0 is always one of them.
#' @param loss as in [bcnmf()].
#' @param tolerance largest accepted relative rise of the target's held-out loss.
#' @param shuffles how often the path is repeated with shuffled labels.
#' @param most most cells of each set that are fitted, evenly spaced ones. Cells that a data set has in blocks stay represented.
#' @param maxit sweeps of the first fit; every further one takes a third.
#' @param seed one whole number, for the start, the entries held out and the shuffles.
#' @param threads,verbose,mask,weights as in [bcnmf()].
#' @return A data frame of class `bcnmf_alpha_path` with one row per strength:
#'   \describe{
#'     \item{beta, alpha}{the strength, free of the data's scale and as in the paper, for all cells given.}
#'     \item{target, background}{mean loss per held-out entry.}
#'     \item{target_rise, background_rise}{how much larger, relative to the plain fit with as many sweeps.}
#'     \item{loadings}{median over factors of the cosine of their loadings with the most similar ones of that plain fit.}
#'     \item{allowed}{is `target_rise` at most `tolerance`?}
#'     \item{selected}{the strength to take.}
#'     \item{target_rise_null, background_rise_null}{means over the shuffles, if any.}
#'   }
#'   Its attributes are `verdict` (a sentence), `helps` (`FALSE` when contrast cannot help), `shared`, `specific`, `specific_null` (one number per shuffle),
#'   and `tolerance`. `shared` and `specific` are `NA` for `k = 1`, which leaves nothing to compare.
#' @section Errors: of class `bcnmf_error`, before any work, for arguments out of range and data that [bcnmf()] refuses.
#' @references Wold (1978), Cross-validatory estimation of the number of components in factor and principal components models, *Technometrics* 20.
#'   Owen and Perry (2009), Bi-cross-validation of the SVD and the nonnegative matrix factorization, *Annals of Applied Statistics* 3.
#' @seealso [plot()][plot.bcnmf_alpha_path] of the result.
#' @examples
#' sim <- simulate_contrast(100, n_target = 150, n_background = 100, k_shared = 3, k_target = 1, seed = 1)
#' path <- alpha_path(sim$target, sim$background, k = 4, beta = c(0, 0.1, 0.2, 0.4), loss = "poisson")
#' path
#' plot(path)
#' @export
alpha_path <- function(target, background, k, beta = c(0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8), loss = c("mse", "poisson", "nb", "zinb"),
                       tolerance = 0.01, shuffles = 1, most = 1000, maxit = 30, seed = 1, threads = NULL, verbose = NULL,
                       mask = NULL, weights = NULL) {
  call <- rlang::current_env()
  check_both_sets(if (!missing(target)) target, if (!missing(background)) background, "a path over contrast strengths needs", call)
  sets <- read_sets(target, background, call, mask = mask, weights = weights, loss = loss)
  x <- sets$x
  y <- sets$y
  check_rank_given(if (!missing(k)) k, NULL, call)
  k <- check_rank(k, min(dim(x)), call)
  settings <- list(
    k = k, loss = check_choice(sets$loss, known_losses, arg = "loss"), beta = check_betas(beta, call), tolerance = check_number(tolerance, min = 0),
    shuffles = check_count(shuffles, min = 0), most = check_count(most, min = max(k, 2)), maxit = check_count(maxit),
    seed = check_one_seed(seed, call), threads = resolve_threads(threads, call)
  )
  check_flag(verbose, null_ok = TRUE, call = call)
  data <- look_at_data(x, y, do.call(fit_settings, settings[c("k", "loss", "threads", "seed")]), call)
  warn_about_data(settings, data)
  find_path(x, y, settings, data$size_ratio, verbose, call)
}

check_betas <- function(beta, call) {
  ok <- is.numeric(beta) && is.null(dim(beta)) && length(beta) > 0 && all(is.finite(beta)) && all(beta >= 0)
  if (!ok) refuse(beta, "finite numbers of at least 0", "beta", call)
  beta <- sort(unique(c(0, as.double(beta))))
  if (length(beta) == 1) abort_bcnmf("{.arg beta} has no strength above 0 to try.", arg = "beta", value = beta, call = call)
  beta
}

# The path of checked data; unless it is wanted as a `whole`, no further than a choice needs it.
find_path <- function(x, y, settings, size_ratio, verbose, call, whole = TRUE) {
  x <- some_cells(x, settings$most)
  y <- some_cells(y, settings$most)
  n_fits <- (1 + settings$shuffles) * (2 * length(settings$beta) + 2)
  bar <- progress_bar(verbose, "alpha path")
  done <- 0
  settings$part <- hold_out_part(x, y)
  fit <- function(x, y, beta, maxit = settings$maxit, from = NULL, k = settings$k) {
    settings$maxit <- maxit
    contrast <- list(contrast = "beta", strength = beta, k_target = 0L)
    result <- held_out_fit(x, y, k, settings, contrast, settings$seed, factors = from$factors, accelerate = TRUE, call = call)
    done <<- done + 1
    bar$update(list(share = done / n_fits, status = sprintf("fit %d of %d", done, n_fits)))
    result
  }
  found <- path_of(x, y, settings, fit, whole)
  null <- lapply(seq_len(settings$shuffles), function(i) {
    cells <- shuffled_cells(x, y, settings$seed, i)
    path_of(cells$x, cells$y, settings, fit)
  })
  bar$done()
  path_table(found, null, settings, size_ratio)
}

# The fits of one path, and what plain ones tell of the two sets.
path_of <- function(x, y, settings, fit, whole = TRUE) {
  plain <- contrasted <- fit(x, y, 0)
  diagnosis <- diagnose_sets(x, y, plain, settings$k, fit)
  rows <- list(path_row(plain, plain))
  more <- ceiling(settings$maxit / 3)
  for (beta in settings$beta[-1]) {
    # in step, so that contrast does not gain by the sweeps that it had more
    plain <- fit(x, y, 0, more, plain)
    contrasted <- fit(x, y, beta, more, contrasted)
    row <- path_row(contrasted, plain)
    rows <- c(rows, list(row))
    if (!whole && !(is_allowed(row, settings$tolerance) && is.null(no_help(diagnosis)))) break
  }
  c(list(rows = do.call(rbind, rows)), diagnosis)
}

path_row <- function(fit, plain) {
  data.frame(
    target = fit$target, target_rise = fit$target / plain$target - 1,
    background = fit$background, background_rise = fit$background / plain$background - 1,
    loadings = if (identical(fit, plain)) 1 else stats::median(apply(cosine(fit$factors$w, plain$factors$w), 1, max))
  )
}

# Which entries are held out differs between target and background: what is compared must have been held out in the same place.
# So a set is put into both, and its mean profile (one factor) is known in either.
diagnose_sets <- function(x, y, plain, k, fit) {
  if (k == 1) return(list(shared = NA_real_, specific = NA_real_))
  of_y <- fit(y, x, 0, k = min(k, dim(y)))
  mean_x <- fit(x, x, 0, k = 1)
  mean_y <- fit(y, y, 0, k = 1)
  own <- 1 - plain$target / mean_x$target
  foreign <- 1 - of_y$background / mean_x$background
  # own factors without any merit leave nothing that could be specific
  list(shared = 1 - plain$background / mean_y$background, specific = if (isTRUE(own > 0)) 1 - foreign / own else 0)
}

# Both sets pooled and divided anew, at random places that follow from the seed.
shuffled_cells <- function(x, y, seed, i) {
  n <- ncol(x) + ncol(y)
  order <- order(utils::tail(rs_uniform(seed, n * i), n))
  both <- bind_cells(x, y)[, order, drop = FALSE]
  first <- seq_len(ncol(x))
  list(x = both[, first, drop = FALSE], y = both[, -first, drop = FALSE])
}

# Where `shared` is less, the sets share nothing. A response in all cells can bring it a little below 0, unmatched sets are below -1.
least_shared <- -0.5

shares_nothing <- function(shared) isTRUE(shared < least_shared)

why_nothing_shared <- "the target's factors know clearly less of the background than its mean profile, so nothing is shared"

# What `specific` must exceed by itself, and beyond the noise that shuffled labels show.
least_specific <- 0.02

path_table <- function(found, null, settings, size_ratio) {
  each <- function(what) vapply(null, `[[`, 0, what)
  shuffled <- function(what) rowMeans(vapply(null, function(path) path$rows[[what]], settings$beta))
  beta <- settings$beta[seq_len(nrow(found$rows))]
  table <- data.frame(beta, alpha = beta / size_ratio, found$rows)
  table$allowed <- is_allowed(table, settings$tolerance)
  verdict <- path_verdict(table, found, each("specific"), settings$tolerance)
  table$selected <- table$beta == verdict$beta
  if (length(null)) {
    for (what in c("target_rise", "background_rise")) table[[paste0(what, "_null")]] <- shuffled(what)
  }
  structure(table,
    class = c("bcnmf_alpha_path", "data.frame"), verdict = verdict$sentence, helps = verdict$helps,
    shared = found$shared, specific = found$specific, specific_null = each("specific"), tolerance = settings$tolerance
  )
}

# A fit that left the finite numbers is not allowed.
is_allowed <- function(rows, tolerance) !is.na(rows$target_rise) & rows$target_rise <= tolerance

# Why no strength would help, if so.
no_help <- function(found, specific_null = numeric()) {
  # shuffled labels have 0 but for noise, which is 0.05 with some hundred cells
  noise <- if (length(specific_null)) sqrt(mean(specific_null^2)) else 0
  none <- least_specific + 2 * noise
  if (shares_nothing(found$shared)) {
    paste("contrast cannot help:", why_nothing_shared)
  } else if (isTRUE(found$specific > 5 * least_specific && found$specific <= none)) {
    sprintf(
      "contrast is not known to help: of what the target's own factors explain, the background's miss %.2g, but cells with shuffled labels differ by as much (%.2g; more sweeps, `maxit`, or cells may tell)",
      found$specific, noise
    )
  } else if (isTRUE(found$specific <= none)) {
    "contrast cannot help: the background's factors explain the target as well as its own, so nothing is seen that is specific to the target"
  }
}

path_verdict <- function(table, found, specific_null, tolerance) {
  refusal <- no_help(found, specific_null)
  if (!is.null(refusal)) return(list(beta = 0, helps = FALSE, sentence = refusal))
  last <- which(cumprod(table$allowed) == 1)
  beta <- table$beta[max(last, 1)]
  percent <- paste(format(100 * tolerance), "%")
  sentence <- if (beta > 0) {
    sprintf("contrast up to beta = %s costs the target at most %s of its held-out loss", format(beta), percent)
  } else {
    sprintf("contrast is possible, but costs the target more than %s of its held-out loss from beta = %s on", percent, format(table$beta[2]))
  }
  list(beta = beta, helps = beta > 0, sentence = sentence)
}
