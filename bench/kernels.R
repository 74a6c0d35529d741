# The kernels against a measured roof, one thread: runs `cargo bench` in kernels/ and makes a table. See README.md beside this file.
#   Rscript bench/kernels.R [--output FILE]      needs cargo; CARGO_TARGET_DIR says where it builds
script <- sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))
source(file.path(dirname(script), "common.R"))
args <- read_arguments(list(output = ""))

crate <- file.path(bench_dir, "kernels")
built <- Sys.getenv("CARGO_TARGET_DIR", file.path(crate, "target"))
Sys.setenv(CARGO_TARGET_DIR = built)
unlink(file.path(built, "criterion"), recursive = TRUE)
arguments <- c("bench", "--locked", "--manifest-path", shQuote(file.path(crate, "Cargo.toml")), "--bench", "kernels", "--", "--noplot")
if (system2("cargo", arguments, stdout = FALSE) != 0) stop("cargo bench failed", call. = FALSE)

# Nanoseconds an element: median and the ends of its 95 % interval.
measured <- function(group, name) {
  folder <- file.path(built, "criterion", group, name, "new")
  field <- function(file, pattern) {
    text <- readLines(file.path(folder, file), warn = FALSE)
    as.numeric(regmatches(text, regexec(pattern, text))[[1]][-1])
  }
  number <- "([0-9.eE+-]+)"
  estimate <- field("estimates.json", sprintf(
    "\"median\":\\{\"confidence_interval\":\\{\"confidence_level\":0.95,\"lower_bound\":%s,\"upper_bound\":%s\\},\"point_estimate\":%s", number, number, number
  ))
  elements <- field("benchmark.json", sprintf("\"Elements\":%s", number))
  stats::setNames(estimate[c(3, 1, 2)] / elements, c("median", "least", "most"))
}

# Of the work on one stored value: multiplications and additions (logarithms not counted), rows of W read, rows of the record changed.
kernels <- data.frame(
  name = c("H step, poisson", "record, poisson", "H step, mse", "record, mse"),
  per_factor = c(4, 4, 2, 2), other = c(1, 1, 0, 0), read = c(1, 1, 1, 0), changed = c(0, 1, 0, 1)
)
settings <- data.frame(precision = c("single", "single", "single", "double"), k = c(5, 20, 64, 20), padded = c(8, 24, 64, 20))

lines_of <- function(setting) {
  group <- paste(setting$precision, setting$k, sep = "_")
  size <- if (setting$precision == "single") 4 else 8
  # a multiplication with an addition is two operations
  fma <- measured("roof", if (size == 4) "fma f32" else "fma f64")[["median"]] / 2
  probe <- vapply(c(read = "read rows", changed = "add to rows"), function(name) measured(group, name)[["median"]], 0)
  rows <- lapply(split(kernels, seq_len(nrow(kernels))), function(kernel) {
    time <- measured(group, kernel$name)
    operations <- kernel$per_factor * setting$k + kernel$other
    bytes <- size * setting$padded * (kernel$read + 2 * kernel$changed) + 4 + size
    roof <- max(operations * fma, kernel$read * probe[["read"]] + kernel$changed * probe[["changed"]])
    data.frame(
      precision = setting$precision, k = setting$k, kernel = kernel$name,
      `ns a value` = sprintf("%.2f (%.2f-%.2f)", time[["median"]], time[["least"]], time[["most"]]),
      `GFLOP/s` = sprintf("%.1f", operations / time[["median"]]), `GB/s` = sprintf("%.1f", bytes / time[["median"]]),
      `roof, ns` = sprintf("%.2f", roof), `of the roof` = sprintf("%.0f %%", 100 * roof / time[["median"]]), check.names = FALSE
    )
  })
  do.call(rbind, rows)
}
table <- do.call(rbind, lapply(split(settings, seq_len(nrow(settings))), lines_of))
peak <- vapply(c("fma f32", "fma f64"), function(name) 2 / measured("roof", name)[["median"]], 0)
probes <- do.call(rbind, lapply(split(settings, seq_len(nrow(settings))), function(setting) {
  size <- if (setting$precision == "single") 4 else 8
  speed <- function(name, rows) {
    time <- measured(paste(setting$precision, setting$k, sep = "_"), name)[["median"]]
    sprintf("%.2f (%.0f GB/s)", time, (size * setting$padded * rows + 4 + size) / time)
  }
  data.frame(precision = setting$precision, k = setting$k, `read a row of W, ns` = speed("read rows", 1), `add to a row, ns` = speed("add to rows", 2), check.names = FALSE)
}))
write_lines(c(
  "## Kernels against the roof, one thread", "",
  sprintf("Multiplications with additions in registers: %.0f GFLOP/s in single, %.0f in double precision. Rows at random among 3 000, as the cells have them:", peak[1], peak[2]), "",
  markdown_table(probes), "",
  "The roof of a kernel is the longer of its multiplications and additions at that rate and of its accesses at these: a row of W read for each value (H step), a row of the record added to (record of mse), or both (record of poisson).",
  "The logarithms and divisions of poisson count as nothing. Medians with 95 % intervals.", "",
  markdown_table(table), ""
), args$output)
