use clap::CommandFactory as _;

use crate::{
    args::{Args, Completions},
    output,
};

pub(super) fn run(completions: &Completions) -> anyhow::Result<()> {
    // Into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Args::command(), "tintype", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}
