# How the package says no: every refusal is a condition of class `bcnmf_error`
# that carries the argument's name (`arg`) and the value given (`value`).

#' Stop with a condition of class `bcnmf_error`
#'
#' @param message cli bullets; glue expressions are evaluated in the caller.
#' @param ... further fields of the condition.
#' @param class more specific classes, put before `bcnmf_error`.
#' @param arg,value the offending argument's name and value.
#' @param call the call to show in the message.
#' @noRd
abort_bcnmf <- function(message, ..., class = NULL, arg = NULL, value = NULL,
                        call = rlang::caller_env(), .envir = parent.frame()) {
  cli::cli_abort(message, ...,
    class = c(class, "bcnmf_error"), arg = arg, value = value,
    call = call, .envir = .envir
  )
}

# A short description of any value for a message: `2.7`, `"5"`, "a character vector of length 3 (...)".
describe_value <- function(x) {
  if (is.null(x)) return("NULL")
  if (!is.null(dim(x))) {
    kind <- if (is.list(x) && !is.object(x)) "list" else class(x)[1]
    return(sprintf("%s %s of %s", if (grepl("^[aeiouAEIOU]", kind)) "an" else "a", kind, paste(dim(x), collapse = " x ")))
  }
  if (is.list(x) && !is.object(x)) return(if (length(x)) sprintf("a list of length %d", length(x)) else "an empty list")
  if (!is.atomic(x)) return(paste("an object of class", class(x)[1]))
  kind <- if (is.factor(x)) "factor" else if (is.numeric(x)) "numeric" else typeof(x)
  if (length(x) == 0) return(paste("an empty", kind, "vector"))
  values <- utils::head(if (is.factor(x)) as.character(x) else x, 3)
  shown <- if (is.character(values)) {
    long <- !is.na(values) & nchar(values) > 40
    values[long] <- paste0(substr(values[long], 1, 37), "...")
    ifelse(is.na(values), "NA", encodeString(values, quote = "\""))
  } else {
    vapply(values, format, "", digits = 7)
  }
  if (length(x) == 1) return(shown)
  more <- if (length(x) > 3) ", ..." else ""
  sprintf("a %s vector of length %d (%s%s)", kind, length(x), paste(shown, collapse = ", "), more)
}

# The first of many names, for a message.
first_few <- function(x, n = 3) {
  x <- as.character(x)
  shown <- encodeString(utils::head(x, n), quote = "\"")
  paste0(paste(shown, collapse = ", "), if (length(x) > n) ", ...")
}

is_scalar <- function(x) is.atomic(x) && length(x) == 1 && is.null(dim(x)) && !is.na(x)
is_number <- function(x) is_scalar(x) && is.numeric(x)

refuse <- function(x, must_be, arg, call) {
  abort_bcnmf("{.arg {arg}} must be {must_be}, not {describe_value(x)}.",
    arg = arg, value = x, call = call
  )
}

range_text <- function(what, min, max) {
  if (is.finite(min) && is.finite(max)) {
    sprintf("%s between %s and %s", what, format(min, digits = 10), format(max, digits = 10))
  } else if (is.finite(min)) {
    sprintf("%s of at least %s", what, format(min, digits = 10))
  } else if (is.finite(max)) {
    sprintf("%s of at most %s", what, format(max, digits = 10))
  } else {
    what
  }
}

# One number; returned as double.
check_number <- function(x, min = -Inf, max = Inf, allow_infinite = FALSE, null_ok = FALSE,
                         arg = rlang::caller_arg(x), call = rlang::caller_env()) {
  force(arg)
  if (null_ok && is.null(x)) return(invisible(NULL))
  ok <- is_number(x) && (allow_infinite || is.finite(x)) && x >= min && x <= max
  if (!ok) {
    what <- range_text(if (allow_infinite) "one number" else "one finite number", min, max)
    refuse(x, what, arg, call)
  }
  invisible(as.double(x))
}

# The largest integer is worth a word only where it was passed.
told_max <- function(x, max) {
  told <- max < .Machine$integer.max || (is.numeric(x) && any(x > max, na.rm = TRUE))
  if (told) max else Inf
}

# One whole number; returned as integer. 2.7 and "5" are refused, not coerced.
check_count <- function(x, min = 1, max = .Machine$integer.max, null_ok = FALSE,
                        arg = rlang::caller_arg(x), call = rlang::caller_env()) {
  force(arg)
  if (null_ok && is.null(x)) return(invisible(NULL))
  ok <- is_number(x) && is.finite(x) && x == round(x) && x >= min && x <= max
  if (!ok) {
    refuse(x, range_text("one whole number", min, told_max(x, max)), arg, call)
  }
  invisible(as.integer(x))
}

# Whole numbers, each once and in order.
check_counts <- function(x, min, arg, call, max = .Machine$integer.max) {
  ok <- is.numeric(x) && is.null(dim(x)) && length(x) > 0 && all(is.finite(x)) && all(x == round(x)) && all(x >= min & x <= max)
  if (!ok) refuse(x, range_text("whole numbers", min, told_max(x, max)), arg, call)
  sort(unique(as.integer(x)))
}

check_flag <- function(x, null_ok = FALSE, arg = rlang::caller_arg(x), call = rlang::caller_env()) {
  force(arg)
  if (null_ok && is.null(x)) return(invisible(NULL))
  if (!is_scalar(x) || !is.logical(x)) refuse(x, "TRUE or FALSE", arg, call)
  invisible(as.vector(x))
}

# One of `choices`; an untouched default vector (all choices) means the first.
check_choice <- function(x, choices, arg = rlang::caller_arg(x), call = rlang::caller_env()) {
  force(arg)
  if (identical(x, choices)) return(choices[1])
  if (!is_scalar(x) || !is.character(x) || !x %in% choices) {
    quoted <- encodeString(choices, quote = "\"")
    last <- length(quoted)
    must_be <- if (last > 1) {
      paste("one of", paste(quoted[-last], collapse = ", "), "or", quoted[last])
    } else {
      quoted
    }
    refuse(x, must_be, arg, call)
  }
  invisible(as.vector(x))
}

# One string that is not empty.
check_name <- function(x, arg = rlang::caller_arg(x), call = rlang::caller_env()) {
  force(arg)
  if (!is_scalar(x) || !is.character(x) || !nzchar(x)) refuse(x, "one name", arg, call)
  invisible(x)
}

# One of the names that exist; `exist` says what they are.
check_one_of <- function(x, names, arg, exist, call) {
  check_name(x, arg, call)
  if (x %in% names) return(invisible(x))
  abort_bcnmf(c(
    "{.arg {arg}} is {.val {x}}, which does not exist.",
    i = paste0("{cli::qty(length(names))}", exist, " {.val {names}}.")
  ), arg = arg, value = x, call = call)
}

check_fit <- function(x, arg = rlang::caller_arg(x), call = rlang::caller_env()) {
  force(arg)
  if (!methods::is(x, "bcnmf")) {
    refuse(x, "a model made by bcnmf()", arg, call)
  }
  invisible(x)
}

# An argument that no one reads is a typing error: `summary(fit, groupby = g)` must not run.
check_no_dots <- function(..., call = rlang::caller_env()) {
  given <- rlang::enexprs(...)
  if (length(given) > 0) {
    names <- rlang::names2(given)
    names[names == ""] <- vapply(given[names == ""], function(e) rlang::as_label(e), "")
    abort_bcnmf("Unknown argument{?s} {.arg {names}}.", arg = names[1], call = call)
  }
  invisible(NULL)
}

check_has_background <- function(fit, why, arg, value, call = rlang::caller_env()) {
  if (ncol(fit@h_background) == 0) {
    abort_bcnmf(c(
      "{why} needs a background, and this model was fitted without one.",
      i = "{.arg {arg}} was {describe_value(value)}."
    ), arg = arg, value = value, call = call)
  }
  invisible(fit)
}
