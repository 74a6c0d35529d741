//! Only a place for the benches; see benches/kernels.rs.
