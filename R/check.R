# The arguments of bcnmf(), checked once and before any work, as one list of plain values.

# What a fit may minimise, and which of it are likelihoods of counts.
known_losses <- c("mse", "poisson", "nb", "zinb")
count_losses <- c("poisson", "nb", "zinb")

# Before the loss is checked: sizes of data are sums of squares then.
is_mse <- function(loss) is.character(loss) && identical(loss[1], "mse")

# Weight of an explained background, in units of what makes both sets count the same.
default_lambda <- 2

check_settings <- function(target, background, k, alpha, beta, k_target, lambda, loss, seed, init,
                           tol, maxit, L1, L2, precision, threads, verbose, steps, accelerate, ambient, dispersion, dispersion_shared, zi, batch_size, update, device, call) {
  most <- min(dim(target))
  check_rank_given(k, NULL, call)
  k <- check_rank(k, most, call)
  settings <- list(
    k = k,
    loss = check_choice(loss, known_losses, arg = "loss", call = call),
    tol = check_number(tol, min = 0, arg = "tol", call = call),
    maxit = check_count(maxit, arg = "maxit", call = call),
    L1 = check_penalty(L1, "L1", call),
    L2 = check_penalty(L2, "L2", call),
    precision = check_choice(precision, c("single", "double"), arg = "precision", call = call),
    threads = resolve_threads(threads, call),
    steps = check_steps(steps, call),
    accelerate = check_accelerate(accelerate, steps, call),
    ambient = check_number(ambient, min = 0, max = 0.5, arg = "ambient", call = call),
    batches = check_batches(batch_size, update, call),
    device = check_device(device, call),
    hold_out = numeric(), hold = 0L
  )
  settings <- c(
    settings, check_dispersion(target, dispersion, dispersion_shared, settings$loss, call), check_dropout(zi, settings$loss, call)
  )
  check_flag(verbose, null_ok = TRUE, arg = "verbose", call = call)
  c(
    settings,
    check_contrast(!is.null(background), k, alpha, beta, k_target, lambda, call),
    check_start(target, background, k, seed, init, call)
  )
}

# A model to continue brings its own.
check_rank_given <- function(k, init, call) {
  if (is.null(k) && !methods::is(init, "bcnmf")) {
    abort_bcnmf("{.arg k}, the number of factors, is missing.", arg = "k", call = call)
  }
}

check_rank <- function(k, most, call) {
  if (is_number(k) && k == round(k) && k > most) {
    abort_bcnmf("{.arg k} is {k}, but the target's smaller side is {most}: more factors than that cannot be told apart.",
      arg = "k", value = k, call = call
    )
  }
  check_count(k, max = most, arg = "k", call = call)
}

# One value for w and one for h.
check_penalty <- function(x, arg, call) {
  ok <- is.numeric(x) && length(x) %in% 1:2 && is.null(dim(x)) && all(is.finite(x)) && all(x >= 0)
  if (!ok) refuse(x, "one or two finite numbers of at least 0 (for w and h)", arg, call)
  rep_len(as.double(x), 2)
}

# As the core takes them: h, h in the first sweep, w; none for what suits the loss.
check_steps <- function(steps, call) {
  if (is.null(steps)) return(numeric())
  ok <- is.numeric(steps) && length(steps) %in% 1:2 && is.null(dim(steps)) && all(is.finite(steps)) &&
    all(steps == round(steps)) && all(steps >= 1 & steps <= 1000)
  if (!ok) refuse(steps, "one or two whole numbers between 1 and 1000 (for h and w)", "steps", call)
  steps <- rep_len(as.double(steps), 2)
  steps[c(1, 1, 2)]
}

# Steps that a user asks for are taken as they are.
check_accelerate <- function(accelerate, steps, call) {
  check_flag(accelerate, null_ok = TRUE, arg = "accelerate", call = call)
  as.double(if (is.null(accelerate)) is.null(steps) else accelerate)
}

# As the core takes them: size, and whether w moves after every batch; none for the full batch.
check_batches <- function(batch_size, update, call) {
  online <- check_choice(update, c("batch", "pass"), arg = "update", call = call) == "batch"
  if (is.null(batch_size)) {
    if (!online) abort_bcnmf("{.arg update} is for mini-batches: it needs a {.arg batch_size}.", arg = "update", value = update, call = call)
    return(numeric())
  }
  as.double(c(check_count(batch_size, arg = "batch_size", call = call), online))
}

# How the background enters: a kind and a strength, as the core takes them. What choose_contrast() is to find is "auto" and NA.
check_contrast <- function(has_background, k, alpha, beta, k_target, lambda, call) {
  check_strength(alpha, "alpha", call)
  check_strength(beta, "beta", call)
  check_number(lambda, min = 0, null_ok = TRUE, arg = "lambda", call = call)
  if (!is.null(k_target) && !is_auto(k_target)) check_count(k_target, min = 0, arg = "k_target", call = call)
  wanted <- Filter(
    function(value) !is.null(value) && (is_auto(value) || value > 0),
    list(alpha = alpha, beta = beta, lambda = lambda, k_target = k_target)
  )
  if (!has_background) {
    if (length(wanted)) {
      abort_bcnmf("{.arg {names(wanted)[1]}} needs a {.arg background}, and none was given.",
        arg = names(wanted)[1], value = wanted[[1]], call = call
      )
    }
    return(list(contrast = "alpha", strength = 0, k_target = 0L))
  }
  given <- names(Filter(Negate(is.null), list(alpha = alpha, beta = beta, lambda = lambda)))
  if (all(c("alpha", "beta") %in% given)) {
    abort_bcnmf("Give {.arg alpha} or {.arg beta}, not both: each determines the other.", arg = "beta", value = beta, call = call)
  }
  # without a word on the contrast all of it is found; a strength alone is no word on target-only factors
  if (is.null(k_target)) k_target <- if (any(c("alpha", "beta", "lambda") %in% given)) 0L else "auto"
  if (is_auto(k_target) || k_target > 0) {
    if (any(c("alpha", "beta") %in% names(wanted))) {
      abort_bcnmf(c(
        "{.arg k_target} and {.arg {names(wanted)[1]}} are two different ways to contrast; give one of them.",
        i = "With target-only factors the background is explained, with weight {.arg lambda}."
      ), arg = names(wanted)[1], value = wanted[[1]], call = call)
    }
    if (!is_auto(k_target) && k_target >= k) {
      abort_bcnmf("{.arg k_target} is {k_target}, but it must be less than {.arg k} = {k}: the background needs factors too.",
        arg = "k_target", value = k_target, call = call
      )
    }
    kind <- if (is.null(lambda)) list(contrast = "size", strength = default_lambda) else list(contrast = "lambda", strength = lambda)
  } else if (!is.null(lambda)) {
    abort_bcnmf("{.arg lambda} is the background's weight in a fit with target-only factors; it needs {.arg k_target}.",
      arg = "lambda", value = lambda, call = call
    )
  } else if (is_auto(alpha) || is_auto(beta) || is.null(c(alpha, beta))) {
    kind <- list(contrast = "auto", strength = 0)
  } else {
    kind <- if (is.null(beta)) list(contrast = "alpha", strength = alpha) else list(contrast = "beta", strength = beta)
  }
  c(lapply(kind, function(x) if (is.numeric(x)) as.double(x) else x), k_target = if (is_auto(k_target)) NA else as.integer(k_target))
}

is_auto <- function(strength) identical(strength, "auto")

check_strength <- function(strength, arg, call) {
  ok <- is.null(strength) || is_auto(strength) || (is_number(strength) && is.finite(strength) && strength >= 0)
  if (!ok) refuse(strength, "one finite number of at least 0, or \"auto\"", arg, call)
}

# How a seed makes a start; what suits the fit unless said.
seed_starts <- c("random", "nndsvd")
start_kinds <- "\"random\", \"nndsvd\", a matrix, a list of matrices or a model made by bcnmf()"

# Where to start: seeds, matrices for w, or the factors of another fit.
check_start <- function(target, background, k, seed, init, call) {
  # As in RcppML, a starting w may also be given as `seed`.
  if (is.null(init) && (is.matrix(seed) || is.list(seed))) {
    init <- seed
    seed <- NULL
  }
  start <- list(init = "given", seed = NULL, w = NULL, factors = NULL)
  if (is.null(init) || (is.character(init) && is.null(dim(init)))) {
    if (!is.null(init) && (!is_scalar(init) || !init %in% seed_starts)) refuse(init, start_kinds, "init", call)
    start$init <- if (is.null(init)) "auto" else as.vector(init)
    start["seed"] <- list(check_seed(seed, call))
  } else if (methods::is(init, "bcnmf")) {
    start["factors"] <- list(factors_of(init, target, background, k, call))
  } else {
    given <- if (is.list(init) && !is.data.frame(init)) init else list(init)
    if (length(given) == 0) refuse(init, start_kinds, "init", call)
    start["w"] <- list(lapply(given, check_start_w, target, k, call))
  }
  start
}

check_seed <- function(seed, call) {
  ok <- is.numeric(seed) && is.null(dim(seed)) && length(seed) > 0 && all(is.finite(seed)) &&
    all(seed == round(seed)) && all(abs(seed) < 2^53)
  if (!ok) refuse(seed, "one or more whole numbers", "seed", call)
  as.double(seed)
}

check_one_seed <- function(seed, call) {
  if (length(seed) != 1) refuse(seed, "one whole number", "seed", call)
  check_seed(seed, call)
}

# Seeds as text, to name what comes of them.
seed_names <- function(seed) format(seed, scientific = FALSE, trim = TRUE)

check_start_w <- function(w, target, k, call) {
  rows <- nrow(target)
  check_valid(w, "init", call)
  if (methods::is(w, "Matrix") || is.data.frame(w)) w <- as.matrix(w)
  if (!is.matrix(w) || !is.numeric(w)) {
    refuse(w, start_kinds, "init", call)
  }
  if (nrow(w) != rows || ncol(w) != k) {
    abort_bcnmf("A starting {.arg w} must be {rows} x {k} (features x factors), not {nrow(w)} x {ncol(w)}.",
      arg = "init", value = dim(w), call = call
    )
  }
  if (anyNA(w) || any(!is.finite(w)) || any(w < 0)) {
    abort_bcnmf("A starting {.arg w} must hold finite, non-negative numbers.", arg = "init", call = call)
  }
  if (all(w == 0)) abort_bcnmf("A starting {.arg w} must not be all zero.", arg = "init", call = call)
  w <- match_features(w, rownames(target), call, arg = "init", of = "target")
  storage.mode(w) <- "double"
  w
}

# The factors of a fit as the core continues them: target-only ones last, and of these those that are held.
factors_of <- function(fit, target, background, k, call) {
  cells <- c(ncol(target), if (is.null(background)) 0L else ncol(background))
  have <- c(nrow(fit@w), ncol(fit@w), ncol(fit@h), ncol(fit@h_background))
  need <- c(nrow(target), k, cells)
  differ <- which(have != need)
  if (length(differ)) {
    what <- c("features", "factors", "target cells", "background cells")[differ]
    abort_bcnmf(c(
      "{.arg init} is a model of other data: it cannot be continued on these.",
      x = "It has {have[differ][1]} {what[1]}, and {need[differ][1]} are needed.",
      i = "To start from its loadings alone: {.code init = fit$w}."
    ), arg = "init", call = call)
  }
  order <- order(fit@target_only, colnames(fit@w) %in% fit@misc$held)
  scaled <- function(h, d) unname(h[order, , drop = FALSE] * d[order])
  list(
    w = unname(fit@w[, order, drop = FALSE]),
    h = scaled(fit@h, fit@d),
    h_background = if (cells[2]) scaled(fit@h_background, fit@d_background) else numeric()
  )
}
