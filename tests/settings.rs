use std::path::PathBuf;

/// The value of a variable that `scripts/test` sets. Panics when it is missing: a test that cannot run must not look like one that passed.
#[expect(clippy::disallowed_methods, reason = "the one place where the tests read their settings")]
pub fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, or the command under scripts/with-services"))
}

/// The folder of pictures in `TINTYPE_CORPUS`, if it is set.
pub fn corpus() -> Option<PathBuf> {
    std::env::var_os("TINTYPE_CORPUS").map(PathBuf::from)
}

/// The number in a variable, for whoever wants more of something than every test run can do.
#[expect(clippy::disallowed_methods, reason = "the one place where the tests read their settings")]
pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}
