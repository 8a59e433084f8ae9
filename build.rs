//! Generates the Rust code of `proto/` without a protoc on the machine.

use std::{env, error::Error, fs, path::PathBuf};

#[expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party");

    let mut compiler = protox::Compiler::new(["proto", "third_party"])?;
    compiler.include_imports(true).include_source_info(true);
    // Services import the messages; the reasons of errors are imported by nobody.
    for name in ["admin_service", "auth_service", "errors", "image_service", "user_service"] {
        compiler.open_file(format!("tintype/v1/{name}.proto"))?;
    }

    // Encoded by protox: the round trip through prost's descriptor types would drop custom options.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("tintype_descriptor.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .bytes(".")
        .btree_map(".")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
