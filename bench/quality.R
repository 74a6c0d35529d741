# How good the models are: data sets x methods x seeds, one table in RESULTS-quality.md. See README.md beside this file.
#   Rscript bench/quality.R [--seeds 20] [--data mice,images] [--methods "plain NMF,target-only"] [...]     all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
source(file.path(bench_dir, "quality_data.R"))
source(file.path(bench_dir, "quality_methods.R"))

# Agreement of two groupings, corrected for chance (Hubert and Arabie 1985).
adjusted_rand <- function(a, b) {
  pairs <- function(n) sum(n * (n - 1) / 2)
  table <- table(a, b)
  rows <- pairs(rowSums(table))
  columns <- pairs(colSums(table))
  expected <- rows * columns / pairs(sum(table))
  most <- (rows + columns) / 2
  if (most == expected) 1 else (pairs(table) - expected) / (most - expected)
}

cluster_agreement <- function(x, labels, seed) {
  if (is.null(x) || is.null(labels)) return(NA_real_)
  set.seed(seed)
  found <- suppressWarnings(stats::kmeans(x, length(unique(labels)), nstart = 10, iter.max = 100))
  adjusted_rand(found$cluster, labels)
}

# Each factor's AUC for the condition. Where a sign means nothing, the better of both directions.
condition_auc <- function(use, condition, either) {
  positive <- sum(condition)
  auc <- apply(use, 2, function(u) {
    (sum(rank(u)[condition]) - positive * (positive + 1) / 2) / (positive * sum(!condition))
  })
  if (either) pmax(auc, 1 - auc) else auc
}

# For each planted program the best cosine among the factors.
recovery <- function(w, truth) {
  unit <- function(x) t(t(x) / pmax(sqrt(colSums(x^2)), .Machine$double.xmin))
  apply(abs(crossprod(unit(w), unit(truth))), 2, max)
}

count_interferon <- function(fit, factor) {
  sum(bcnmf::top_features(fit, n = 20, by = "lift", factors = factor)$feature %in% interferon_genes)
}

score <- function(result, data, seed) {
  clusters <- function(x) cluster_agreement(x, data$clusters, seed)
  scores <- c(
    ari_L2 = clusters(result$embedding$L2), ari_z = clusters(result$embedding$z),
    auc = NA, genes = NA, first = NA, shared = NA, own = NA
  )
  if (!is.null(data$condition)) {
    auc <- condition_auc(result$use, data$condition, isTRUE(data$either) || isTRUE(result$signed))
    scores[["auc"]] <- max(auc)
    if (isTRUE(data$interferon) && !is.null(result$fit)) scores[["genes"]] <- count_interferon(result$fit, which.max(auc))
  }
  if (isTRUE(data$interferon) && !is.null(result$fit)) {
    first <- which(bcnmf::contrast(result$fit)$rank == 1)
    if (length(first)) scores[["first"]] <- count_interferon(result$fit, first)
  }
  if (!is.null(data$truth)) {
    found <- recovery(result$w, data$truth)
    scores[["shared"]] <- min(found[!data$own])
    scores[["own"]] <- min(found[data$own])
  }
  scores
}

run_one <- function(data_name, method_name, seed, threads) {
  data <- data_sets[[data_name]](seed)
  if (is.null(data)) return(NULL)
  invisible(gc())
  time <- system.time(result <- methods[[method_name]](data, seed, threads), gcFirst = FALSE)
  if (is.null(result)) return(NULL)
  scores <- score(result, data, seed)
  if (all(is.na(scores))) return(NULL)
  data.frame(
    data = data_name, method = method_name, seed = seed, t(scores), objective = result$objective, target = result$target,
    k_target = if ("k_targets" %in% names(result$fit)) sum(result$fit$target_only) else NA,
    seconds = sum(time[c("user.self", "sys.self")]), version = as.character(utils::packageVersion("bcnmf"))
  )
}

# Those whose names hold one of the comma-separated words; all for "".
chosen <- function(names, wanted) {
  wanted <- words(wanted)
  if (!length(wanted)) return(names)
  found <- lapply(wanted, function(word) if (word %in% names) word else grep(word, names, value = TRUE, fixed = TRUE))
  if (any(lengths(found) == 0)) {
    stop("nothing is called ", paste(wanted[lengths(found) == 0], collapse = ", "), "; there are: ", paste(names, collapse = "; "), call. = FALSE)
  }
  names[names %in% unlist(found)]
}

# Rows already in the file are not computed again, so a bench that was stopped goes on; with no seeds only the table is made.
read_rows <- function(file) {
  if (!nzchar(file) || !file.exists(file)) return(NULL)
  rows <- utils::read.csv(file, colClasses = c(version = "character"))
  rows[rows$version == as.character(utils::packageVersion("bcnmf")), ]
}

keep_row <- function(row, file) {
  if (nzchar(file)) {
    utils::write.table(row, file, sep = ",", row.names = FALSE, col.names = !file.exists(file), append = file.exists(file), qmethod = "double")
  }
}

run_all <- function(args) {
  rows <- read_rows(args$rows)
  bcnmf::bcnmf(diag(3) + 1, k = 1, threads = 1, verbose = FALSE) # loading the library is not the first method's time
  threads <- args$threads
  wanted_data <- chosen(names(data_sets), args$data)
  wanted_methods <- chosen(names(methods), args$methods)
  for (data in wanted_data) {
    if (is.null(data_sets[[data]](1))) {
      message(data, ": the file is not here, skipped (set BCNMF_DATA)")
      next
    }
    for (method in wanted_methods) {
      seeds <- seq_len(if (grepl("of ten", method)) min(args$seeds, args$seeds_of_ten) else args$seeds)
      for (seed in seeds) {
        if (!is.null(rows) && any(rows$data == data & rows$method == method & rows$seed == seed)) next
        row <- run_one(data, method, seed, threads)
        if (is.null(row)) break # the method does not apply
        keep_row(row, args$rows)
        rows <- rbind(rows, row)
      }
      done <- rows[rows$data == data & rows$method == method, ]
      if (nrow(done)) message(sprintf("%s | %s: %d repeats, %.1f s each", data, method, nrow(done), mean(done$seconds)))
    }
  }
  rows[rows$data %in% wanted_data & rows$method %in% wanted_methods & (args$seeds == 0 | rows$seed <= args$seeds), ]
}

# "median (min) sd"
over_seeds <- function(x, digits = 2) {
  x <- x[!is.na(x)]
  if (!length(x)) return("")
  shown <- formatC(c(stats::median(x), min(x), if (length(x) > 1) stats::sd(x)), digits = digits, format = "f")
  paste0(shown[1], " (", shown[2], ")", if (length(x) > 1) paste0(" \u00b1 ", shown[3]))
}

columns <- c(
  ari_L2 = "ARI, L2", ari_z = "ARI, z", auc = "AUC", genes = "interferon genes", first = "of the first factor",
  shared = "shared", own = "target-only"
)

summary_table <- function(rows) {
  per_pair <- split(rows, interaction(
    factor(rows$method, names(methods)), factor(rows$data, names(data_sets)),
    drop = TRUE, lex.order = FALSE
  ))
  line <- function(part) {
    plain <- rows[rows$data == part$data[1] & rows$method == "plain NMF", ]
    ratio <- function(column, digits) {
      if (nrow(plain)) over_seeds(part[[column]] / stats::median(plain[[column]]), digits) else ""
    }
    # The same data with every seed: how far the objectives are from the best.
    objective <- part$objective - min(part$objective)
    repeatable <- !grepl("^sim", part$data[1]) && nrow(part) > 1
    cells <- vapply(names(columns), function(name) over_seeds(part[[name]], if (name %in% c("genes", "first")) 0 else 3), "")
    names(cells) <- columns
    data.frame(
      data = part$data[1], method = part$method[1], n = nrow(part), t(cells),
      `objective, worst above best` = if (repeatable && !anyNA(objective)) sprintf("%.2g %%", 100 * max(objective) / abs(min(part$objective))) else "",
      # how many target-only factors the default found
      `k_target` = if (all(is.na(part$k_target))) "" else count_values(part$k_target),
      `target's divergence` = if (grepl("^sim", part$data[1])) paired_ratio(part, plain) else ratio("target", 3),
      time = sub(" .*", "", ratio("seconds", 1)),
      check.names = FALSE
    )
  }
  do.call(rbind, lapply(per_pair, line))
}

# "2: 19, 0: 1", commonest first.
count_values <- function(x) {
  counts <- sort(table(x), decreasing = TRUE)
  paste0(names(counts), ": ", counts, collapse = ", ")
}

# Each seed has data of its own there.
paired_ratio <- function(part, plain) {
  both <- merge(part[c("seed", "target")], plain[c("seed", "target")], by = "seed")
  over_seeds(both$target.x / both$target.y, 3)
}

write_results <- function(rows, args, out) {
  table <- summary_table(rows)
  command <- paste(c("Rscript bench/quality.R", shQuote(commandArgs(trailingOnly = TRUE))), collapse = " ")
  text <- c(
    "# What quality.R wrote last", "",
    sprintf("bcnmf %s, %s, %s. `%s`", utils::packageVersion("bcnmf"), R.version.string, Sys.Date(), gsub("'", "\"", command)), "",
    "Median (least) \u00b1 standard deviation over n repeats, each with seeds of its own. What the columns are: [README.md](README.md).",
    if (args$seeds == 0) "The table of repeats that earlier runs of this version kept, some with fewer seeds than the default of 20 (see n): two repeats show no spread.", ""
  )
  for (kind in c("real", "simulated")) {
    part <- table[startsWith(table$data, "sim") == (kind == "simulated"), ]
    if (nrow(part) == 0) next
    shown <- vapply(part, function(column) any(nzchar(column)), NA)
    text <- c(text, paste0("## ", if (kind == "real") "Real data" else "Simulated counts"), "", markdown_table(part[shown]), "")
  }
  writeLines(text, out)
  writeLines(text)
}

args <- read_arguments(list(
  seeds = 20, seeds_of_ten = 20, data = "", methods = "", threads = 1, rows = "", out = file.path(bench_dir, "RESULTS-quality.md")
))
rows <- run_all(args)
if (!NROW(rows)) stop("no data set is here; set BCNMF_DATA to their folder", call. = FALSE)
write_results(rows, args, args$out)
