# Peak memory of a fit above what R holds before the call, against the bar. See README.md beside this file.
#   Rscript bench/memory.R [--target 20000] [...]      all arguments: --help
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))

args <- read_arguments(c(data_arguments, list(sweeps = c(5, 10))))
folder <- bench_folder()
data <- make_data(args, folder)
cat(describe_data(data), "\n\n", sep = "")

kinds <- expand.grid(precision = c("single", "double"), loss = c("poisson", "mse"), stringsAsFactors = FALSE)
runs <- Map(function(loss, precision) run_bcnmf(data, loss, precision, args$sweeps), kinds$loss, kinds$precision)
table <- memory_table(runs)
cat(markdown_table(table), sep = "\n")
if (any(table[[4]] == "MISSED")) quit(status = 1)
