//! Compresses the kernels' PTX, which the library carries with it.

use miniz_oxide::deflate::compress_to_vec;
use std::path::PathBuf;
use std::{env, error, fs};

const FOLDER: &str = "src/kernels/ptx";

fn main() -> Result<(), Box<dyn error::Error>> {
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for file in fs::read_dir(FOLDER)? {
        let path = file?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let compressed = compress_to_vec(&fs::read(&path)?, 9);
        fs::write(out.join(format!("{name}.deflate")), compressed)?;
    }
    Ok(())
}
