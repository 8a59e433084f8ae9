//! Measures what Tintype claims of its speed; `scripts/bench` runs all of it.

mod conversions;
mod lists;
mod pipeline;
mod report;
mod transfers;

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
    /// Conversions beside sharp, ImageMagick and oximg.
    Conversions(conversions::Args),
    /// Uploads, downloads and the memory of many uploads, beside what the disk and the transport allow.
    Transfers(transfers::Args),
    /// From upload to ready, beside the bare conversions.
    Pipeline(pipeline::Args),
    /// Pages of lists and the counts for administrators, in small and in large catalogs.
    Lists(lists::Args),
    /// Serves so many bytes to downloads of `transfers`.
    #[command(hide = true)]
    Bare { size_bytes: usize },
}

fn main() -> anyhow::Result<ExitCode> {
    if tintype_worker::pool::is_converter() {
        return Ok(tintype_worker::pool::serve(tintype_worker::convert::convert));
    }
    // As in the service.
    tintype_process::bound_heaps();
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new()?;
    let report = match args.command {
        Command::Conversions(args) => conversions::run(&args, runtime.handle()),
        Command::Transfers(args) => runtime.block_on(transfers::run(&args)),
        Command::Pipeline(args) => runtime.block_on(pipeline::run(&args)),
        Command::Lists(args) => runtime.block_on(lists::run(args)),
        Command::Bare { size_bytes } => runtime.block_on(transfers::bare::serve(size_bytes)).map(|()| report::Report::default()),
    }?;
    report.print();
    Ok(if args.check && report.misses() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
