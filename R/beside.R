# Target-only programs beside too few shared factors. What both sets share and those do not explain is left to the target-only ones, which take it up, or are none. So they are
# found in a fit with as many factors as held-out entries ask for, and keep its loadings in the one with the user's `k`.

# Factors are too few when what twice as many predict of held-out entries better is this part of what they predict better than one factor does. Where half of the programs are missing it is 0.34 to 0.37, whatever the
# depth, and where one of nine is, or in blood cells from 5 factors to 10, 0.15; where none is, below 0.03.
much_better <- 0.1

# At most so many times the user's `k`: where each doubling tells more, as in pictures, there is no end to it.
most_beside <- 4

# `found` (of find_k_target()) of more factors, where its own are too few and target-only ones show beside more; `settings` are what it was found with.
find_beside <- function(x, y, found, settings, verbose, call) {
  if (shares_nothing(attr(found, "shared"))) return(found)
  number <- function(table) table$k_target[table$selected]
  wide <- double_factors(x, y, found, settings, verbose, call)
  k <- attr(found, "k")
  least <- if (number(wide) > 0) worth_another else settings$tolerance
  wide <- grow_target_only(x, y, wide, settings, verbose, call, least = least, enough = k - 1)
  enough <- attr(wide, "k")
  # all of them, or the model would miss some for others
  if (enough == k || number(wide) == 0 || number(wide) >= k) return(found)
  attr(wide, "verdict") <- sprintf(
    "%s; %d are too few to tell these from what both sets share, so they are held as a fit with %d has them (k = %d has room for all)",
    attr(wide, "verdict"), k, enough, enough
  )
  wide
}

# The same of twice as many factors, as long as those predict much better.
double_factors <- function(x, y, found, settings, verbose, call) {
  most <- min(dim(x), most_beside * attr(found, "k"))
  loss_of <- function(k) {
    bar <- progress_bar(verbose, "Enough factors")
    mean(held_out_losses(x, y, data.frame(k = k, k_target = 0L), settings, bar, call, svd = TRUE))
  }
  one <- NULL
  while ((k <- 2L * attr(found, "k")) <= most) {
    loss <- loss_of(k)
    if (is.null(one)) one <- loss_of(1L)
    # the best number of target-only ones, as fits without them may have come to a poor end
    if (min(found$loss) - loss <= much_better * max(0, one - loss)) break
    found <- find_k_target(x, y, k, NULL, settings, verbose, call)
  }
  found
}

# Settings of a fit that holds the target-only factors of one with more factors. The same whatever its seed.
hold_programs <- function(x, y, found, settings, verbose, call) {
  wide <- settings
  wide[c("k", "seed")] <- list(attr(found, "k"), 1)
  # so many may be more than a GPU holds
  if (!identical(wide$device, cpu) && nzchar(device_refused(x, y, wide$device, wide, call))) wide$device <- cpu
  wide$w <- nndsvd_starts(x, y, wide, look_at_data(x, y, wide, call))
  result <- rs_fit_result(run_fit(x, y, wide, call, progress_bar(verbose, "Target-only factors")))
  settings$hold <- settings$k_target
  settings$beside <- wide$k
  settings$held <- result$w[, result$target_only, drop = FALSE]
  settings
}

# Starts that have the held loadings as their last factors.
starts_with_held <- function(starts, held) {
  last <- ncol(starts[[1]]) - ncol(held) + seq_len(ncol(held))
  lapply(starts, function(w) {
    w[, last] <- held
    w
  })
}

# How many factors a continued fit holds: those that its model does, unless it is to have others.
held_factors <- function(fit, k_target) if (sum(fit@target_only) == k_target) length(fit@misc$held) else 0L
