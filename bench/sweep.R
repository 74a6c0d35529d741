# Time and memory of a sweep of bcnmf against a dense PyTorch program, in turns. See README.md beside this file.
#   Rscript bench/sweep.R [--python PATH] [--runs 5] [--threads 2] [...]      all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))

args <- read_arguments(c(data_arguments, list(
  python = "python3", runs = 5, losses = "poisson,mse,nb", sweeps = c(5, 45), torch_sweeps = c(1, 4), output = ""
)))

with_torch <- has_python(args$python, "torch")
if (!with_torch) {
  message(
    "torch cannot be imported by ", args$python, ": bcnmf runs alone. To compare, for instance\n",
    "  python3 -m venv torch-env\n  torch-env/bin/pip install torch\n",
    "  Rscript bench/sweep.R --python torch-env/bin/python"
  )
}

folder <- bench_folder()
data <- make_data(args, folder)
cat(describe_data(data), "\n", sep = "")

losses <- words(args$losses)
kinds <- rbind(
  data.frame(who = "bcnmf", loss = rep(losses, each = 2), variant = c("single", "double")),
  if (with_torch) data.frame(who = "torch", loss = rep(losses, each = 2), variant = c("updates", "monitored")),
  if (with_torch && "poisson" %in% losses) data.frame(who = "torch", loss = "poisson", variant = "lean")
)
# In turns: a bcnmf run, a torch run of the same loss, and so on, so that drift of the machine's speed hits both.
kinds <- kinds[order(match(kinds$loss, losses), ave(seq_len(nrow(kinds)), kinds$loss, kinds$who, FUN = seq_along)), ]
runs <- lapply(seq_len(nrow(kinds)), function(kind) list())
for (run in seq_len(args$runs)) {
  for (kind in seq_len(nrow(kinds))) {
    which <- kinds[kind, ]
    result <- if (which$who == "bcnmf") {
      run_bcnmf(data, which$loss, which$variant, args$sweeps)
    } else {
      run_torch(args$python, data, which$loss, which$variant, args$torch_sweeps)
    }
    runs[[kind]][[run]] <- result
    cat(sprintf(
      "run %d  %-7s %-7s %-9s  %.3f s (CPU %.3f s) a sweep, peak %.0f MB\n",
      run, which$who, which$loss, which$variant, result$seconds_per_sweep, result$cpu_per_sweep, result$peak_mb
    ))
  }
}

of <- function(who, loss, variant, what) {
  at <- which(kinds$who == who & kinds$loss == loss & kinds$variant == variant)
  vapply(runs[[at]], function(run) run[[what]], 0)
}
above_idle <- function(who, loss, variant) of(who, loss, variant, "peak_mb") - of(who, loss, variant, "rss_before_mb")

names_of <- c(
  single = "bcnmf, single precision", double = "bcnmf, double precision", updates = "torch, the published updates",
  monitored = "torch, updates and monitored divergence", lean = "torch, updates without products with ones"
)
time_table <- do.call(rbind, lapply(seq_len(nrow(kinds)), function(kind) {
  which <- kinds[kind, ]
  mine <- of(which$who, which$loss, which$variant, "seconds_per_sweep")
  memory <- above_idle(which$who, which$loss, which$variant)
  data.frame(
    loss = which$loss, program = names_of[[which$variant]],
    `times bcnmf's time` = spread(mine / of("bcnmf", which$loss, "single", "seconds_per_sweep")),
    `times bcnmf's memory` = spread(memory / above_idle("bcnmf", which$loss, "single")),
    `seconds a sweep` = spread(mine), `CPU seconds a sweep` = spread(of(which$who, which$loss, which$variant, "cpu_per_sweep")),
    `MB above the idle process` = spread(memory, 4), check.names = FALSE
  )
}))
time_table <- time_table[order(match(time_table$loss, losses), match(time_table$program, names_of)), ]

bcnmf_runs <- unlist(runs[kinds$who == "bcnmf"], recursive = FALSE)
table <- memory_table(bcnmf_runs)
versions <- c(
  paste("bcnmf", bcnmf_runs[[1]]$version),
  if (with_torch) paste("torch", unlist(runs[kinds$who == "torch"], recursive = FALSE)[[1]]$version)
)
time_bars <- c(poisson = 100, mse = 40, nb = 4)
headline <- if (with_torch) {
  vapply(losses, function(loss) {
    times <- function(what, variant) of("torch", loss, variant, what) / of("bcnmf", loss, "single", what)
    sprintf(
      "- %s: a sweep of bcnmf is %s times as fast as the updates in dense PyTorch with as many threads (%s times with the divergence that the published program prints; the bar is %g), in 1/%s of the memory (the bar is 1/10).",
      loss, spread(times("seconds_per_sweep", "updates")), spread(times("seconds_per_sweep", "monitored")), time_bars[[loss]],
      spread(above_idle("torch", loss, "updates") / above_idle("bcnmf", loss, "single"))
    )
  }, "")
} else {
  "- Torch was not at hand: bcnmf alone."
}

write_lines(c(
  "## A sweep against a dense program", "",
  unname(headline),
  paste0("- Versions: ", paste(versions, collapse = ", ")),
  paste0("- Data: ", describe_data(data)),
  sprintf(
    "- Runs: %d of each kind, in turns, each in a process of its own; medians, in brackets the range; ratios are taken run by run",
    args$runs
  ), "",
  markdown_table(time_table), "",
  "bcnmf's time contains the divergences of both sets, as the line \"monitored\" does; the line \"updates\" does without.",
  "With nb all features have the dispersion 0.5 in both programs.",
  "Seconds are by the clock; CPU seconds add up all threads and are what a busy machine distorts least.",
  "Memory is the peak of the process above what it held with its libraries loaded and no data; for bcnmf that contains the data in R.", "",
  "Memory of a fit above what R holds before the call:", "", markdown_table(table), ""
), args$output)
