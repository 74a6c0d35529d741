# Time and memory until the objective is near the best, bcnmf against other programs on the same counts, in turns. See README.md beside this file.
#   Rscript bench/peers.R [--python PATH] [--runs 5] [--losses poisson,mse] [...]      all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))

args <- read_arguments(c(data_arguments, list(
  python = "python3", runs = 5, losses = "poisson,mse", sweeps = 300, slow_sweeps = 200, torch_sweeps = 60, output = ""
)))
folder <- bench_folder()
data <- make_data(args, folder)
message(describe_data(data))

rscript <- file.path(R.home("bin"), "Rscript")
has_r <- function(package) requireNamespace(package, quietly = TRUE)
own <- c("bcnmf single", "bcnmf double", "bcnmf single, nndsvd", "bcnmf double, nndsvd")
programs <- list(
  poisson = c(
    own, if (has_python(args$python, "sklearn")) c("scikit-learn", "scikit-learn mini-batches"),
    if (has_python(args$python, "torch")) "torch", if (has_r("NMF")) "NMF"
  ),
  mse = c(
    own, if (has_r("RcppML")) "RcppML", if (has_python(args$python, "sklearn")) c("scikit-learn", "scikit-learn mini-batches"),
    if (has_python(args$python, "torch")) "torch"
  )
)
losses <- words(args$losses)
absent <- setdiff(c("scikit-learn", "torch", "RcppML", "NMF"), unlist(programs))
if (length(absent)) message("not here, left out: ", toString(absent))

# One run of one program from the run's own start, as a list; its checkpoints as a data frame.
run_program <- function(program, loss, run, goal) {
  start <- file.path(folder, paste0("start", run, c(".rds", ".bin")))
  if (!file.exists(start[1])) {
    set.seed(run)
    w <- matrix(stats::runif(args$features * args$k), args$features)
    saveRDS(w, start[1])
    writeBin(as.vector(t(w)), start[2], size = 4)
  }
  python <- grepl("^scikit|^torch", program)
  out <- if (python) {
    sweeps <- if (program == "torch") args$torch_sweeps else if (loss == "poisson") args$slow_sweeps else args$sweeps
    run_lines(args$python, c(
      file.path(bench_dir, "python_trace.py"), data$binary[1], start[2], "--program", program, "--loss", loss,
      "--k", args$k, "--threads", args$threads, "--sweeps", sweeps, "--goal", format(goal, digits = 15)
    ))
  } else {
    sweeps <- if (program == "NMF") 5 else args$sweeps
    run_lines(rscript, c("--vanilla", file.path(bench_dir, "fit_trace.R"), data$rds, program, loss, args$k, args$threads, sweeps, run, start[1]))
  }
  traced <- grepl("^trace ", out)
  values <- lapply(strsplit(out[traced], " +"), function(line) as.numeric(line[2:4]))
  c(
    as_values(out[!traced]),
    list(trace = stats::setNames(as.data.frame(do.call(rbind, values)), c("sweeps", "seconds", "objective")[seq_len(3 * any(traced))]))
  )
}

# On the line between the checkpoints before and after.
time_to <- function(result, goal) {
  trace <- result$trace
  at <- which(trace$objective <= goal)[1]
  if (is.na(at)) return(Inf)
  if (at == 1) return(trace$seconds[1])
  part <- (trace$objective[at - 1] - goal) / (trace$objective[at - 1] - trace$objective[at])
  trace$seconds[at - 1] + part * (trace$seconds[at] - trace$seconds[at - 1])
}

compare <- function(loss) {
  names <- programs[[loss]]
  runs <- stats::setNames(lapply(names, function(name) list()), names)
  for (run in seq_len(args$runs)) {
    for (name in names) {
      # bcnmf comes first: others end where they are nearer to its best from this start than any goal
      so_far <- lapply(runs[own[1:2]], function(runs) if (length(runs) >= run) runs[[run]]$trace$objective)
      goal <- if (name %in% own) 0 else 1.0005 * min(unlist(so_far))
      result <- run_program(name, loss, run, goal)
      runs[[name]][[run]] <- result
      message(sprintf("%s, run %d, %s: %.3f s a sweep, least objective %.6g", loss, run, name, result$seconds_per_sweep, min(result$trace$objective, Inf)))
    }
  }
  list(loss = loss, runs = runs)
}

# Of every run the least objective that any program came to from the run's start.
best_from_start <- function(compared) {
  alike <- compared$runs[setdiff(names(compared$runs), c(grep("nndsvd", names(compared$runs), value = TRUE), "RcppML", "NMF"))]
  do.call(pmin, lapply(alike, function(runs) vapply(runs, function(r) min(r$trace$objective), 0)))
}
times_to <- function(compared, name, goals) unlist(Map(time_to, compared$runs[[name]], goals))

shown <- function(times) {
  if (all(is.infinite(times))) return("not reached")
  reached <- spread(times[is.finite(times)])
  if (any(is.infinite(times))) sprintf("%s, in %d of %d", reached, sum(is.finite(times)), length(times)) else reached
}

table_of <- function(compared) {
  runs <- compared$runs
  per_run <- function(name, field) vapply(runs[[name]], function(r) r[[field]], 0)
  least <- lapply(runs, function(runs) vapply(runs, function(r) min(r$trace$objective, Inf), 0))
  do.call(rbind, lapply(names(runs), function(name) {
    traced <- all(is.finite(least[[name]]))
    to <- function(part) if (traced) shown(times_to(compared, name, best_from_start(compared) * (1 + part))) else "not traced"
    data.frame(
      loss = compared$loss, program = name,
      `a sweep, times bcnmf's` = spread(per_run(name, "seconds_per_sweep") / per_run("bcnmf single", "seconds_per_sweep")),
      `seconds to 1 %` = to(0.01), `seconds to 0.1 %` = to(0.001),
      `end above the best of all, %` = if (traced) spread(100 * (least[[name]] / min(unlist(least)) - 1), 2) else "",
      `memory, times bcnmf's` = spread(per_run(name, "memory_mb") / per_run("bcnmf single", "memory_mb")), check.names = FALSE
    )
  }))
}

# Run by run; of an other program that did not get there its whole time.
sklearn_line <- function(compared, mine) {
  goals <- best_from_start(compared) * 1.001
  theirs <- times_to(compared, "scikit-learn", goals)
  whole <- vapply(compared$runs[["scikit-learn"]], function(r) max(r$trace$seconds), 0)
  sprintf(
    "- %s, to within 0.1 %% of the best from the same start: %s is %s times as fast as scikit-learn%s%s.", compared$loss, mine,
    shown(pmin(theirs, whole) / times_to(compared, mine, goals)),
    if (any(is.infinite(theirs))) sprintf(" (which did not get there in %d of %d runs: its whole time)", sum(is.infinite(theirs)), length(theirs)) else "",
    if (compared$loss == "poisson") " (the bar is 20)" else ""
  )
}
rcppml_line <- function(compared, mine) {
  theirs <- compared$runs[["RcppML"]]
  value <- function(field) vapply(theirs, function(r) r[[field]], 0)
  part <- times_to(compared, mine, value("default_objective")) / value("default_seconds")
  sprintf(
    "- mse, to the objective at which RcppML ends with its default tolerance (%s sweeps): %s takes %s of its time (the bar is 1/3).",
    spread(value("default_sweeps")), mine, shown(part)
  )
}
bar_lines <- function(compared) {
  has <- function(program) program %in% names(compared$runs)
  c(
    if (has("scikit-learn")) vapply(own, function(mine) sklearn_line(compared, mine), ""),
    if (has("RcppML")) vapply(own, function(mine) rcppml_line(compared, mine), "")
  )
}

compared <- lapply(losses, compare)
versions <- unlist(lapply(compared, function(one) vapply(one$runs, function(runs) runs[[1]]$version, "")))
versions <- versions[!duplicated(sub("[ ,].*", "", names(versions)))]
write_lines(c(
  "## Time until the objective is near the best", "",
  paste0("- Versions: ", toString(paste(sub("[ ,].*", "", names(versions)), versions))),
  sprintf("- Data: the target alone of %s", describe_data(data)),
  sprintf("- Runs: %d of each program, in turns, each in a process of its own, each run with a start of its own that all programs but RcppML, NMF and nndsvd take; medians, in brackets the range", args$runs),
  "",
  markdown_table(do.call(rbind, lapply(compared, table_of))), "",
  "1 % and 0.1 % are above the best that any program came to from the same start. A sweep of bcnmf has several steps of H (and W), as by default; a pass of mini-batches is a sweep.",
  "",
  unlist(lapply(compared, bar_lines), use.names = FALSE), ""
), args$output)
