//! Measures what Tintype claims of its speed; `scripts/bench` runs all of it.

mod lists;
mod report;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Tintype's speed: one subcommand for each family of claims.
#[derive(Debug, Parser)]
#[command(name = "tintype-bench", version, max_term_width = 120)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// End with exit code 1 when a line misses its target.
    #[arg(long, global = true)]
    check: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pages of lists and the counts for administrators, in small and in large catalogs.
    Lists(lists::Args),
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let report = match args.command {
        Command::Lists(lists) => lists::run(lists).await?,
    };
    report.print();
    Ok(if args.check && report.misses() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
