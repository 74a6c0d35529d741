library(testthat)
library(bcnmf)

test_check("bcnmf")
