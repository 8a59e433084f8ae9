//! Converts one file by hand and says how long it takes: `convert SPEC INPUT OUTPUT [TIMES]`, the spec as in `jpeg quality=80`.

use std::{env, fs, time::Instant};

use anyhow::Context;
use tintype_store::{ConversionLimits, Spec, header::read_header};
use tintype_worker::convert::convert;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [spec, input, output, times @ ..] = &arguments[..] else { anyhow::bail!("usage: convert SPEC INPUT OUTPUT [TIMES]") };
    let times: u32 = times.first().map_or(Ok(1), |times| times.parse()).context("TIMES")?;
    let spec: Spec = spec.parse().map_err(anyhow::Error::msg)?;
    let bytes = fs::read(input)?;
    let header = read_header(&bytes)?;
    let mut fastest_ms = f64::INFINITY;
    for _ in 0..times.max(1) {
        let begun = Instant::now();
        let converted = convert(&bytes, &header, &spec, &ConversionLimits::default())?;
        fastest_ms = fastest_ms.min(begun.elapsed().as_secs_f64() * 1000.0);
        fs::write(output, &converted.bytes)?;
    }
    println!("{fastest_ms:.1} ms, {} bytes", fs::metadata(output)?.len());
    Ok(())
}
