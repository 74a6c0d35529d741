# What the benches share: arguments, data, one measured run in a process of its own, words and tables.

bench_dir <- local({
  script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
  if (length(script)) dirname(normalizePath(script)) else "bench"
})

# `--name value` pairs over defaults; a default's type is the argument's type.
read_arguments <- function(defaults) {
  given <- commandArgs(trailingOnly = TRUE)
  if (any(given %in% c("-h", "--help"))) {
    shown <- vapply(defaults, paste, "", collapse = ",")
    cat(sprintf("  --%s %s\n", gsub("_", "-", names(shown)), ifelse(shown == "", "\"\"", shown)), sep = "")
    quit(status = 0)
  }
  while (length(given)) {
    name <- gsub("-", "_", sub("^--", "", given[1]))
    if (!grepl("^--", given[1]) || !name %in% names(defaults) || length(given) < 2) {
      stop("cannot read the argument ", given[1], "; see --help", call. = FALSE)
    }
    value <- given[2]
    if (is.numeric(defaults[[name]])) {
      value <- suppressWarnings(as.numeric(strsplit(value, ",")[[1]]))
      if (anyNA(value) || length(value) != length(defaults[[name]])) {
        stop(given[1], " takes ", length(defaults[[name]]), " number(s), not ", given[2], call. = FALSE)
      }
    }
    defaults[[name]] <- value
    given <- given[-(1:2)]
  }
  defaults
}

# Arguments that are lists: "a,b" and "1,2".
words <- function(x) trimws(strsplit(x, ",")[[1]])
numbers <- function(x) as.numeric(words(x))

# Sizes of the bar; depth and shape give 8 % non-zeros at these sizes.
data_arguments <- list(
  features = 3000, target = 20000, background = 10000, depth = 300, loading_shape = 0.1, data_seed = 1,
  k = 20, beta = 0.2, threads = 2
)

# Simulates the counts and writes them twice: for R, and as plain binary for anyone.
make_data <- function(args, folder) {
  sim <- bcnmf::simulate_contrast(
    args$features, args$target, args$background,
    depth = args$depth, loading_shape = args$loading_shape, seed = args$data_seed
  )
  sets <- sim[c("target", "background")]
  files <- file.path(folder, paste0(names(sets), ".bin"))
  for (set in 1:2) write_binary(sets[[set]], files[set])
  rds <- file.path(folder, "counts.rds")
  saveRDS(sets, rds, compress = FALSE)
  stored <- vapply(sets, function(m) length(m@x), 0)
  sizes <- vapply(sets, function(m) prod(dim(m)), 0)
  # alpha as bcnmf() takes it from beta.
  ratio <- function(f) sum(f(sets$background@x)) / sum(f(sets$target@x))
  list(
    rds = rds, binary = files, stored = stored, share = stored / sizes, args = args,
    alpha = args$beta / c(poisson = ratio(identity), nb = ratio(identity), mse = ratio(function(x) x^2)),
    data_mb = sum(12 * stored) / 2^20
  )
}

# features, cells, values (int32); p, i (int32); x (float32).
write_binary <- function(m, path) {
  file <- file(path, "wb")
  on.exit(close(file))
  writeBin(c(dim(m), length(m@x)), file, size = 4)
  writeBin(m@p, file, size = 4)
  writeBin(m@i, file, size = 4)
  writeBin(m@x, file, size = 4)
}

# A folder for this run's data, gone with it.
bench_folder <- function() {
  folder <- tempfile("bench")
  dir.create(folder)
  reg.finalizer(globalenv(), function(e) unlink(folder, recursive = TRUE), onexit = TRUE)
  folder
}

has_python <- function(python, module) {
  nzchar(Sys.which(python)) &&
    suppressWarnings(system2(python, c("-c", shQuote(paste("import", module))), stdout = FALSE, stderr = FALSE)) == 0
}

# To the screen, and to a file if one is named.
write_lines <- function(lines, output) {
  if (nzchar(output)) writeLines(lines, output)
  writeLines(lines)
}

# What a program prints.
run_lines <- function(program, arguments) {
  out <- suppressWarnings(system2(program, shQuote(arguments), stdout = TRUE))
  if (!is.null(attr(out, "status"))) stop(basename(program), " failed: ", paste(out, collapse = "\n"), call. = FALSE)
  out
}

# Lines `name value` as a list, numbers as numbers.
as_values <- function(lines) {
  name <- sub(" .*", "", lines)
  utils::type.convert(as.list(stats::setNames(trimws(sub("^[^ ]* ?", "", lines)), name)), as.is = TRUE)
}

run_measured <- function(program, arguments) as_values(run_lines(program, arguments))

run_bcnmf <- function(data, loss, precision, sweeps) {
  args <- data$args
  run_measured(file.path(R.home("bin"), "Rscript"), c(
    "--vanilla", file.path(bench_dir, "one_fit.R"), data$rds, loss, precision, args$k, args$beta, args$threads, sweeps
  ))
}

run_torch <- function(python, data, loss, variant, sweeps) {
  args <- data$args
  run_measured(python, c(
    file.path(bench_dir, "torch_bcnmf.py"), data$binary, "--loss", loss, "--variant", variant, "--k", args$k,
    "--alpha", data$alpha[[loss]], "--threads", args$threads, "--sweeps", paste(sweeps, collapse = ",")
  ))
}

first_match <- function(path, pattern, otherwise = "unknown") {
  lines <- if (file.exists(path)) readLines(path, warn = FALSE) else character()
  found <- grep(pattern, lines, value = TRUE)
  if (length(found)) trimws(gsub("\"", "", sub("^[^:=]*[:=]", "", found[1]))) else otherwise
}

load_average <- function() {
  if (!file.exists("/proc/loadavg")) return("unknown")
  strsplit(readLines("/proc/loadavg"), " ")[[1]][1]
}

describe_machine <- function() {
  memory <- suppressWarnings(as.numeric(sub(" kB", "", first_match("/proc/meminfo", "^MemTotal"))))
  sprintf(
    "%d cores of %s, %.0f GB of memory, %s, %s",
    parallel::detectCores(), first_match("/proc/cpuinfo", "^model name"), memory / 2^20,
    first_match("/etc/os-release", "^PRETTY_NAME"), R.version.string
  )
}

big <- function(x) format(x, big.mark = " ", scientific = FALSE, trim = TRUE)

describe_data <- function(data) {
  args <- data$args
  sprintf(
    "%s features x %s target + %s background cells, simulated counts, %.1f %% and %.1f %% non-zeros (%s values, %.0f MB as two `dgCMatrix`), k = %s, beta = %s, %s threads",
    big(args$features), big(args$target), big(args$background), 100 * data$share[1], 100 * data$share[2],
    big(sum(data$stored)), data$data_mb, args$k, args$beta, args$threads
  )
}

# "median (min-max)"
spread <- function(x, digits = 3) {
  shown <- function(v) format(signif(v, digits), scientific = FALSE, trim = TRUE, drop0trailing = TRUE)
  if (length(unique(x)) == 1) shown(x[1]) else sprintf("%s (%s-%s)", shown(stats::median(x)), shown(min(x)), shown(max(x)))
}

markdown_table <- function(table) {
  row <- function(cells) paste0("| ", paste(cells, collapse = " | "), " |")
  c(row(names(table)), row(rep("---", ncol(table))), apply(table, 1, row))
}

memory_bar_mb <- 150

memory_table <- function(runs) {
  extra <- function(loss, precision) {
    vapply(Filter(function(r) r$loss == loss && r$precision == precision, runs), function(r) r$fit_mb, 0)
  }
  combos <- unique(do.call(rbind, lapply(runs, function(r) data.frame(loss = r$loss, precision = r$precision))))
  above <- Map(extra, combos$loss, combos$precision)
  worst <- vapply(above, max, 0)
  data.frame(
    loss = combos$loss, precision = combos$precision,
    `MB above what R held` = vapply(above, spread, ""),
    `bar: at most 150` = ifelse(is.na(worst), "not measured", ifelse(worst <= memory_bar_mb, "kept", "MISSED")),
    check.names = FALSE
  )
}
