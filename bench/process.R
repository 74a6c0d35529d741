# Memory of this process, on Linux.

# VmRSS (now) or VmHWM (peak) in MB of 2^20 bytes.
memory <- function(field) {
  line <- grep(paste0("^", field, ":"), readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}
# Sets VmHWM back to VmRSS; not every container allows it.
reset_peak <- function() {
  suppressWarnings(tryCatch(
    {
      cat("5\n", file = "/proc/self/clear_refs")
      memory("VmHWM") - memory("VmRSS") < 5
    },
    error = function(e) FALSE
  ))
}
