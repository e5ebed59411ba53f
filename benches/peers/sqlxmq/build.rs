//! Finds the migrations, which the crate brings as files only.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let cargo = std::env::var("CARGO")?;
    let output =
        Command::new(cargo).args(["metadata", "--format-version=1", "--locked"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo lists the packages")?;
    let sqlxmq = packages.iter().find(|package| package["name"] == "sqlxmq");
    let manifest = sqlxmq.and_then(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|manifest| Path::new(manifest).parent());
    let migrations = folder.context("sqlxmq is a dependency")?.join("migrations");
    println!("cargo::rustc-env=SQLXMQ_MIGRATIONS={}", migrations.display());
    Ok(())
}
