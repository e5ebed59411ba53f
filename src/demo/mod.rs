//! The main job on a private PostgreSQL with the simulator.

/// How the demo runs.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Play it through unattended and end
    #[arg(long)]
    once: bool,
}

/// Runs the demo.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let _ = options.once;
    Ok(())
}
