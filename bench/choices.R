# What bcnmf() spends on choosing a contrast, in plain fits. Writes RESULTS-choices.md. See README.md beside this file.
#   Rscript bench/choices.R [--seeds 5] [--data "pbmc,K = 8"] [...]     all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
source(file.path(bench_dir, "quality_data.R"))
args <- read_arguments(list(seeds = 5, data = "mice,images,pbmc,K = 8", threads = 1, output = file.path(bench_dir, "RESULTS-choices.md")))

# A fit, and its processor time in seconds.
timed <- function(data, seed, ...) {
  invisible(gc())
  time <- system.time(fit <- suppressWarnings(bcnmf::bcnmf(
    data$target, data$background, ...,
    k = data$k, loss = data$loss, mask = data$mask, seed = seed, threads = args$threads, verbose = FALSE
  ), classes = "bcnmf_warning"), gcFirst = FALSE)
  list(fit = fit, seconds = sum(time[c("user.self", "sys.self")]))
}

# What a call takes beyond the same fit with what it has chosen, relative to plain NMF.
measure <- function(name, seed) {
  data <- data_sets[[name]](seed)
  if (is.null(data$background)) return(NULL)
  plain <- timed(data, seed, beta = 0)
  strength <- timed(data, seed, alpha = "auto")
  given <- timed(data, seed, beta = strength$fit$beta)
  default <- timed(data, seed)
  own <- sum(default$fit$target_only)
  chosen <- if (own > 0) timed(data, seed, k_target = own) else timed(data, seed, beta = default$fit$beta)
  data.frame(
    data = name, sweeps = plain$fit@misc$iterations, strength = (strength$seconds - given$seconds) / plain$seconds, beta = strength$fit$beta,
    default = (default$seconds - chosen$seconds) / plain$seconds, k_target = own, whole = default$seconds / plain$seconds
  )
}

# Loading libraries and compiling functions are not the first fit's time.
warm <- bcnmf::simulate_contrast(50, 60, 40, k_shared = 2, k_target = 1, seed = 1)
for (alpha in list(NULL, "auto")) invisible(bcnmf::bcnmf(warm$target, warm$background, k = 3, alpha = alpha, threads = 1, verbose = FALSE))
wanted <- unique(unlist(lapply(words(args$data), function(word) grep(word, names(data_sets), value = TRUE, fixed = TRUE))))
rows <- do.call(rbind, lapply(wanted, function(name) do.call(rbind, lapply(seq_len(args$seeds), function(seed) measure(name, seed)))))
if (is.null(rows)) stop("no data set is here; set BCNMF_DATA to their folder", call. = FALSE)

one_row <- function(part) {
  counted <- function(x) {
    n <- table(x)
    paste(sprintf("%s: %d", names(n), n), collapse = ", ")
  }
  data.frame(
    data = part$data[1], "plain sweeps" = spread(part$sweeps), "alpha auto" = spread(part$strength, 2), beta = counted(part$beta),
    default = spread(part$default, 2), k_target = counted(part$k_target), "default, fit and all" = spread(part$whole, 2), check.names = FALSE
  )
}
table <- do.call(rbind, lapply(split(rows, factor(rows$data, unique(rows$data))), one_row))
lines <- c(
  "# What choices.R wrote last", "",
  sprintf("bcnmf %s, %s, %s. `Rscript bench/choices.R %s`", utils::packageVersion("bcnmf"), R.version.string, Sys.Date(), paste(commandArgs(trailingOnly = TRUE), collapse = " ")), "",
  sprintf("Processor time of choosing alone, relative to one plain fit with the defaults: medians of %d seeds, in brackets the range. What the columns are: [README.md](README.md).", args$seeds), "",
  markdown_table(table), "",
  sprintf(
    "Median over data sets: %.1f plain fits for `alpha = \"auto\"` (the bar is 3), %.1f for the default; at most 3 in %d and %d of %d fits.",
    stats::median(tapply(rows$strength, rows$data, stats::median)), stats::median(tapply(rows$default, rows$data, stats::median)),
    sum(rows$strength <= 3), sum(rows$default <= 3), nrow(rows)
  )
)
write_lines(lines, args$output)
