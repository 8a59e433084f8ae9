//! AVIF in the sandbox, which its codecs would leave if they started threads, and damage that its decoder does not outlive.

use tintype_store::{ConversionLimits, FailureReason, Format, Spec, header::read_header};
use tintype_worker::{convert, pool::NoResult};

use crate::setup::{Bench, NamedTrial, sealed};

/// Every so many bytes one is damaged.
const DAMAGE_STEP: usize = 7;

pub(crate) fn trials() -> Vec<NamedTrial> {
    vec![
        ("avif_is_the_same_as_without_a_process", avif_is_the_same_as_without_a_process),
        ("damaged_avif_harms_only_its_own_job", damaged_avif_harms_only_its_own_job),
    ]
}

fn picture() -> Vec<u8> {
    let mut picture = b"P7\nWIDTH 150\nHEIGHT 90\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n".to_vec();
    picture.extend((0..150 * 90 * 4).map(|index: u32| (index / 4 % 150) as u8 + (index % 4) as u8 * 9));
    picture
}

fn avif_is_the_same_as_without_a_process() {
    let bench = Bench::new();
    let mut original = picture();
    for spec in ["avif effort=fast", "png", "avif width=70"] {
        let spec: Spec = spec.parse().expect("it is a spec");
        let header = read_header(&original).expect("it has a header");
        let expected = convert::convert(&original, &header, &spec, &ConversionLimits::default()).expect("a good picture");
        let made = bench.block_on(bench.pool.convert(&sealed(&original), header, spec)).expect("a good picture");
        assert!((&made.bytes[..], made.picture) == (&expected.bytes[..], expected.picture), "{spec}");
        if spec.format == Format::Avif {
            original = expected.bytes;
        }
    }
}

fn damaged_avif_harms_only_its_own_job() {
    let bench = Bench::new();
    let original = picture();
    let header = read_header(&original).expect("it has a header");
    let spec = "avif effort=fast width=40".parse().expect("it is a spec");
    let file = convert::convert(&original, &header, &spec, &ConversionLimits::default()).expect("a good picture").bytes;
    let cut = (0..file.len()).step_by(DAMAGE_STEP).map(|length| file[..length].to_vec());
    let damaged = (0..file.len()).step_by(DAMAGE_STEP).map(|at| {
        let mut damaged = file.clone();
        damaged[at] ^= 0x55;
        damaged
    });
    let mut refused = 0;
    for file in cut.chain(damaged) {
        // Most are refused when they are uploaded.
        let Ok(header) = read_header(&file) else { continue };
        match bench.block_on(bench.pool.convert(&sealed(&file), header, Spec::new(Format::Png))) {
            Ok(_) => {}
            Err(NoResult::Failed(failure) | NoResult::Interrupted(failure)) => {
                let by_nature = [FailureReason::CorruptInput, FailureReason::UnsupportedInput, FailureReason::ResourceLimit];
                assert!(by_nature.contains(&failure.reason) || failure.reason == FailureReason::DecoderCrash, "{}", failure.message);
                refused += 1;
            }
            Err(NoResult::Machine(error)) => panic!("it lies with the image: {error}"),
        }
    }
    assert!(refused > 0, "something of it cannot be read");
    assert!(bench.convert("pixel").is_ok(), "the next job is made");
}
