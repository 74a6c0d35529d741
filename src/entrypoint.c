/* R looks for R_init_bcnmf when it loads the library. Naming the two Rust
 * functions here also keeps the linker from dropping the static library. */
#include <R_ext/Rdynload.h>

void register_extendr_panic_hook(void);
void R_init_bcnmf_extendr(DllInfo *dll);

void R_init_bcnmf(DllInfo *dll)
{
    /* First, so that no panic prints a Rust backtrace into R's console. */
    register_extendr_panic_hook();
    R_init_bcnmf_extendr(dll);
}
