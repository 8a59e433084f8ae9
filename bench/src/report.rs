//! What was measured, as a table.

use std::time::Duration;

/// One measured number.
#[derive(Debug)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// How long it took: the median.
    pub(crate) median: Duration,
    /// What it is held against, if anything.
    pub(crate) target: Option<Target>,
}

/// What a number has to keep.
#[derive(Debug)]
pub(crate) enum Target {
    /// At most so many times as long as `base` took in the same run.
    Times { most: f64, base: Duration },
    /// At most this long.
    Within(Duration),
}

/// All lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(pub(crate) Vec<Line>);

impl Line {
    fn is_kept(&self) -> bool {
        match &self.target {
            None => true,
            Some(Target::Times { most, base }) => ratio(self.median, *base) <= *most,
            Some(Target::Within(most)) => self.median <= *most,
        }
    }
}

impl Report {
    /// Whether a line misses its target.
    pub(crate) fn misses(&self) -> bool {
        self.0.iter().any(|line| !line.is_kept())
    }

    /// Prints the table on standard output.
    pub(crate) fn print(&self) {
        let width = self.0.iter().map(|line| line.what.chars().count()).max().unwrap_or_default();
        println!("{:width$}  {:>10}  {:>7}  {:>11}", "", "median ms", "ratio", "target");
        for line in &self.0 {
            let (ratio, target) = match &line.target {
                None => (String::new(), String::new()),
                Some(Target::Times { most, base }) => (format!("{:.2}", ratio(line.median, *base)), format!("≤ {most}×")),
                Some(Target::Within(most)) => (String::new(), format!("≤ {} ms", most.as_millis())),
            };
            let verdict = if line.is_kept() { "" } else { "  MISSED" };
            println!("{:width$}  {:>10.3}  {ratio:>7}  {target:>11}{verdict}", line.what, line.median.as_secs_f64() * 1e3);
        }
    }
}

/// The middle of some durations. Panics when there is none.
pub(crate) fn median(durations: &mut [Duration]) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}

fn ratio(duration: Duration, base: Duration) -> f64 {
    duration.as_secs_f64() / base.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(milliseconds: u64, target: Option<Target>) -> Line {
        Line { what: String::new(), median: Duration::from_millis(milliseconds), target }
    }

    #[test]
    fn a_line_that_misses_its_target_is_found() {
        let base = Duration::from_millis(10);
        let times = |milliseconds| line(milliseconds, Some(Target::Times { most: 1.2, base }));
        let within = |milliseconds| line(milliseconds, Some(Target::Within(base)));
        assert!(!Report(vec![line(1_000, None), times(12), within(10)]).misses());
        assert!(Report(vec![times(13)]).misses());
        assert!(Report(vec![times(12), within(11)]).misses());
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let mut durations = [5, 1, 9].map(Duration::from_millis);
        assert_eq!(median(&mut durations), Duration::from_millis(5));
    }
}
