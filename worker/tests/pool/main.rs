//! Converter processes against pictures that do their worst. This program is both sides: started as a converter it converts with
//! [`poison::convert`], in the very sandbox and under the very protocol of the real one.

#[cfg(feature = "avif")]
mod avif;
mod containment;
mod mix;
mod poison;
mod results;
mod setup;

use std::{env, process::ExitCode};

use libtest_mimic::{Arguments, Trial, run};
use tintype_worker::pool;

fn main() -> ExitCode {
    if pool::is_converter() {
        return pool::serve(poison::convert);
    }
    if let [_, role, ..] = &env::args().collect::<Vec<_>>()[..]
        && let Some(part) = setup::PARTS.iter().find(|part| part.0 == role)
    {
        return part.1();
    }
    #[cfg_attr(not(feature = "avif"), expect(unused_mut, reason = "others may come with features"))]
    let mut trials = [results::trials(), containment::trials(), mix::trials()].concat();
    #[cfg(feature = "avif")]
    trials.extend(avif::trials());
    let trials = trials.into_iter().map(|(name, trial)| {
        Trial::test(name, move || {
            trial();
            Ok(())
        })
    });
    run(&Arguments::from_args(), trials.collect()).exit_code()
}
