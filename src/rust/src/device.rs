//! GPUs of this machine.

use crate::refuse;
use bcnmf_core::Error;
use bcnmf_core::backend::cuda;
use extendr_api::prelude::*;

/// What GPUs there are, or why none can be used.
/// @noRd
#[extendr]
fn rs_devices() -> crate::Result<List> {
    let (devices, why) = match cuda::devices() {
        Ok(devices) => (devices, String::new()),
        Err(Error::Device { why }) => (Vec::new(), why),
        Err(other) => return Err(refuse(other)),
    };
    let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
    let each = |text: &dyn Fn(&cuda::DeviceInfo) -> String| -> Vec<String> {
        devices.iter().map(text).collect()
    };
    Ok(list!(
        name = each(&|device| device.name.clone()),
        memory = devices.iter().map(|d| d.memory as f64).collect::<Vec<_>>(),
        capability = each(&|device| version(device.capability)),
        driver = each(&|device| version(device.driver)),
        status = each(&|device| device.too_old().unwrap_or_else(|| "ready".into())),
        why = why
    ))
}

extendr_module! {
    mod device;
    fn rs_devices;
}
