# Where fits run. The core counts GPUs from 0; below is the CPU.
cpu <- -1

# With fewer stored values than this a GPU has nothing to win: copying and waiting for it take longer than the CPU does.
few_values <- 1e6

#' Processors that fits can run on
#'
#' The CPU and the NVIDIA GPUs of this machine, for the argument `device` of [bcnmf()], and why a GPU cannot be used.
#'
#' GPUs are asked for through NVIDIA's driver, which is looked for when this function, or a fit with `device = "cuda"` or `"auto"`, is called, and not before. Nothing else of CUDA has to
#' be installed. A process that was forked from one that has used a GPU (as by `parallel::mclapply()`) cannot use it.
#'
#' @return A data frame with a row for each: `device`, as the argument wants it; `name`; `memory` in bytes (of GPUs); `capability`, the compute capability; `driver`, the newest version of CUDA that the
#'   driver knows; and `status`, which is `"ready"` or the reason why it cannot be used.
#' @examples
#' bcnmf_devices()
#' @export
bcnmf_devices <- function() {
  found <- core_call(rs_devices(), rlang::current_env())
  row <- function(device, name, memory, capability, driver, status) {
    data.frame(device = device, name = name, memory = memory, capability = capability, driver = driver, status = status)
  }
  processors <- rs_processors()
  own <- row("cpu", sprintf("%d thread%s", processors, if (processors == 1) "" else "s"), NA_real_, NA_character_, NA_character_, "ready")
  gpus <- if (length(found$name)) {
    names <- c("cuda", sprintf("cuda:%d", seq_along(found$name)[-1]))
    row(names, found$name, found$memory, found$capability, found$driver, found$status)
  } else {
    row("cuda", NA_character_, NA_real_, NA_character_, NA_character_, if (nzchar(found$why)) found$why else "there is no GPU")
  }
  rbind(own, gpus)
}

# The number of a GPU, `cpu`, or "auto".
check_device <- function(device, call) {
  if (is.null(device)) device <- getOption("bcnmf.device", "cpu")
  known <- is.character(device) && length(device) == 1 && !is.na(device) && grepl("^(cpu|auto|cuda(:[1-9][0-9]{0,3})?)$", device)
  if (!known) refuse(device, "\"cpu\", \"cuda\", \"auto\", or \"cuda:2\" for the second GPU", "device", call)
  if (device == "auto") return(device)
  if (device == "cpu") return(cpu)
  if (device == "cuda") 0 else as.numeric(sub("cuda:", "", device)) - 1
}

# Where a fit is to run: as it was said, or as it can. Refuses before any work what a GPU cannot do.
choose_device <- function(x, y, settings, verbose, call) {
  auto <- identical(settings$device, "auto")
  if (identical(settings$device, cpu)) return(cpu)
  device <- if (auto) 0 else settings$device
  why <- if (auto && stored_values(x) + stored_values(y) < few_values) "the data are small" else device_refused(x, y, device, settings, call)
  if (auto) {
    chosen <- if (nzchar(why)) cpu else device
    said <- if (nzchar(why)) why else sprintf("it runs on %s", bcnmf_devices()$name[2])
    if (!isFALSE(verbose)) cli::cli_inform(c(i = "{.code device = \"{device_label(chosen)}\"}: {said}."), class = "bcnmf_message")
    return(chosen)
  }
  if (nzchar(why)) {
    abort_bcnmf("{.code device = \"{device_label(device)}\"} is not possible: {why}.", arg = "device", value = device_label(device), call = call)
  }
  device
}

# Why a GPU cannot run a fit; "" if it can.
device_refused <- function(x, y, device, settings, call) {
  settings <- plain_settings(settings)
  settings$device <- device
  core_call(rs_fit_refused(x, y, settings), call)
}

stored_values <- function(x) {
  if (is.null(x)) return(0)
  matrix <- data_parts(x)$matrix
  if (methods::is(matrix, "dgCMatrix")) length(matrix@x) else length(matrix)
}

device_label <- function(device) {
  if (device < 0) "cpu" else if (device == 0) "cuda" else sprintf("cuda:%d", as.integer(device) + 1L)
}
