//! What becomes of a conversion, whatever its picture does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tintype_store::{ConversionLimits, FailureReason, Format, ImageHeader, Spec, header::read_header};
use tintype_worker::{convert, pool::NoResult};

use crate::{
    poison,
    setup::{Bench, NamedTrial, PATIENCE, Watched, converted, sealed},
};

pub(crate) fn trials() -> Vec<NamedTrial> {
    vec![
        ("a_picture_is_the_same_as_without_a_process", a_picture_is_the_same_as_without_a_process),
        ("a_crash_ends_only_its_own_job", a_crash_ends_only_its_own_job),
        ("what_a_converter_says_is_told_from_what_ended_it", what_a_converter_says_is_told_from_what_ended_it),
        ("a_hang_ends_in_time_and_leaves_no_process", a_hang_ends_in_time_and_leaves_no_process),
        ("a_memory_bomb_is_told_by_name", a_memory_bomb_is_told_by_name),
        ("what_the_system_ends_ran_out_of_memory", what_the_system_ends_ran_out_of_memory),
        ("an_answer_that_is_none_ends_the_converter", an_answer_that_is_none_ends_the_converter),
        ("a_result_that_is_not_the_picture_asked_for_is_refused", a_result_that_is_not_the_picture_asked_for_is_refused),
        ("an_answer_nobody_asked_for_reaches_no_other_job", an_answer_nobody_asked_for_reaches_no_other_job),
        ("a_dropped_conversion_is_killed", a_dropped_conversion_is_killed),
        ("a_converter_is_replaced_after_many_conversions_or_when_it_keeps_memory", a_converter_is_replaced),
        ("many_at_once_get_each_their_own", many_at_once_get_each_their_own),
    ]
}

fn a_picture_is_the_same_as_without_a_process() {
    let bench = Bench::new();
    let mut picture = b"P6 300 200 255\n".to_vec();
    picture.extend((0..300 * 200 * 3).map(|index: u32| (index * 7 / 5) as u8));
    let header = read_header(&picture).expect("it has a header");
    for spec in ["jpeg quality=70", "png effort=fast", "png"] {
        let spec: Spec = spec.parse().expect("it is a spec");
        let expected = convert::convert(&picture, &header, &spec, &ConversionLimits::default()).expect("a good picture");
        let made = bench.block_on(bench.pool.convert(&sealed(&picture), header, spec)).expect("a good picture");
        let expected = (&expected.bytes[..], expected.picture, expected.thumbhash);
        assert!((&made.bytes[..], made.picture, made.thumbhash) == expected, "{spec}");
    }
    let other = Spec::new(Format::Avif);
    let refused = convert::convert(&picture, &header, &other, &ConversionLimits::default());
    if let Err(refused) = refused {
        let result = bench.block_on(bench.pool.convert(&sealed(&picture), header, other));
        let Err(NoResult::Failed(failure)) = result else { panic!("{result:?}") };
        assert_eq!((failure.reason, failure.message), (refused.reason, refused.message));
    }
}

fn a_crash_ends_only_its_own_job() {
    let bench = Bench::new();
    for (poison, how) in [("crash", "signal: 6"), ("panic", "exit status: 101"), ("overflow", "signal: 6"), ("exit", "exit status: 0")] {
        let converter = bench.converter();
        let failure = bench.failure(poison);
        assert_eq!(failure.reason, FailureReason::DecoderCrash, "{poison}: {}", failure.message);
        assert!(failure.message.contains(how), "{poison}: {}", failure.message);
        assert!(bench.convert("pixel").is_ok(), "the next job gets a new converter");
        assert_ne!(bench.converter(), converter);
    }
}

fn what_a_converter_says_is_told_from_what_ended_it() {
    let bench = Bench::with(ConversionLimits { timeout: PATIENCE, memory_bytes: 64 << 20, ..ConversionLimits::default() });
    let header = ImageHeader { format: Format::Png, width: 1, height: 1, frame_count: 1 };
    let result_of = |poison: &str| bench.block_on(bench.pool.convert(&sealed(poison.as_bytes()), header, Spec::new(Format::Png)));
    let refused = result_of("pid");
    assert!(matches!(refused, Err(NoResult::Failed(_))), "{refused:?}");
    for poison in ["crash", "eat", "say nonsense", "not-a-picture"] {
        let ended = result_of(poison);
        assert!(matches!(ended, Err(NoResult::Interrupted(_))), "{poison}: {ended:?}");
    }
}

fn a_hang_ends_in_time_and_leaves_no_process() {
    let limits = ConversionLimits { timeout: Duration::from_secs(2), ..ConversionLimits::default() };
    let bench = Bench::with(limits);
    let converter = Watched::new(bench.converter());
    let begun = Instant::now();
    let failure = bench.failure("hang");
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert_eq!(failure.reason, FailureReason::DecoderTimeout);
    assert!(failure.message.contains("limit of 2 s"), "{}", failure.message);
    converter.wait();
}

fn a_memory_bomb_is_told_by_name() {
    let limits = ConversionLimits { timeout: PATIENCE, memory_bytes: 64 << 20, ..ConversionLimits::default() };
    let bench = Bench::with(limits);
    for poison in ["reserve", "eat", "fill"] {
        let failure = bench.failure(poison);
        assert_eq!(failure.reason, FailureReason::ResourceLimit, "{poison}: {}", failure.message);
        assert!(failure.message.contains("67108864"), "{poison}: {}", failure.message);
    }
    assert!(bench.convert("pixel").is_ok());
}

fn what_the_system_ends_ran_out_of_memory() {
    let failure = Bench::new().failure("die");
    assert_eq!(failure.reason, FailureReason::ResourceLimit);
    assert!(failure.message.contains("memory runs out"), "{}", failure.message);
}

fn an_answer_that_is_none_ends_the_converter() {
    let bench = Bench::new();
    let answers =
        ["say nonsense", "say made 2 7 1 1 1 false", "say made 2 1", "say ready process", "say refused 2 X y", "babble", "hang-up"];
    for poison in answers {
        let converter = Watched::new(bench.converter());
        let failure = bench.failure(poison);
        assert_eq!(failure.reason, FailureReason::DecoderCrash, "{poison}: {}", failure.message);
        converter.wait();
    }
}

fn a_result_that_is_not_the_picture_asked_for_is_refused() {
    let bench = Bench::new();
    for poison in ["not-a-picture", "another-picture", "empty"] {
        let failure = bench.failure(poison);
        assert_eq!(failure.reason, FailureReason::DecoderCrash, "{poison}: {}", failure.message);
    }
    let pixel = poison::pixel(&ConversionLimits::default());
    assert_eq!(bench.convert("pixel"), Ok((pixel.bytes, pixel.picture)));
}

fn an_answer_nobody_asked_for_reaches_no_other_job() {
    let bench = Bench::new();
    let converter = Watched::new(bench.converter());
    // The stray one comes first and is taken for the answer. The true one is left over: it comes before the next request, or after it.
    let failure = bench.failure("say-also refused 2 CORRUPT_INPUT stray");
    assert_eq!(failure.message, "stray");
    let next = bench.failure("pid");
    let expected = [FailureReason::UnsupportedInput, FailureReason::DecoderCrash];
    assert!(expected.contains(&next.reason), "{}", next.message);
    converter.wait();
    assert!(bench.convert("pixel").is_ok());
}

fn a_dropped_conversion_is_killed() {
    let bench = Bench::new();
    let converter = Watched::new(bench.converter());
    bench.block_on(async {
        let mut hanging = Box::pin(converted(&bench.pool, "hang"));
        assert!(futures_util::poll!(&mut hanging).is_pending());
    });
    converter.wait();
    assert!(bench.convert("pixel").is_ok());
}

fn a_converter_is_replaced() {
    const CONVERSIONS: u32 = 500;
    let bench = Bench::new();
    let first = bench.converter();
    for _ in 1..CONVERSIONS {
        assert_eq!(bench.converter(), first);
    }
    let second = bench.converter();
    assert_ne!(second, first);
    let keeper = bench.report("keep");
    assert_eq!(keeper, second.as_raw_nonzero().to_string());
    assert_ne!(bench.converter(), second);
}

fn many_at_once_get_each_their_own() {
    let limits = ConversionLimits { timeout: Duration::from_secs(10), memory_bytes: 64 << 20, ..ConversionLimits::default() };
    let bench = Bench::with(limits);
    let poisons = ["pixel", "crash", "hang", "reserve", "say nonsense", "pixel", "pid", "not-a-picture"];
    let outcomes = bench.block_on(join_all((0..40).map(|number| converted(&bench.pool, poisons[number % poisons.len()]))));
    for (number, outcome) in outcomes.into_iter().enumerate() {
        let expected = [
            None,
            Some(FailureReason::DecoderCrash),
            Some(FailureReason::DecoderTimeout),
            Some(FailureReason::ResourceLimit),
            Some(FailureReason::DecoderCrash),
            None,
            Some(FailureReason::UnsupportedInput),
            Some(FailureReason::DecoderCrash),
        ];
        assert_eq!(outcome.as_ref().err().map(|failure| failure.reason), expected[number % poisons.len()], "{number}: {outcome:?}");
    }
}
