//! What was measured, as a table.

use std::{fmt, time::Duration};

/// One measured thing beside what it is held against.
#[derive(Debug)]
pub(crate) struct Line {
    what: String,
    ours: Figure,
    peer: Option<(String, Figure)>,
    ratio: Option<f64>,
    target: Option<Target>,
    beside: String,
}

/// A measured number with its unit; of several measurements the median.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    value: f64,
    unit: &'static str,
    /// The middle half of the measurements lies between these.
    spread: Option<(f64, f64)>,
}

/// What a number has to keep.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// The ratio is no less.
    AtLeast(f64),
    /// The ratio, or without one the number itself, is no more.
    AtMost(f64),
}

/// All lines of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(pub(crate) Vec<Line>);

impl Line {
    /// A number that is held against nothing, or only against a limit.
    pub(crate) fn alone(what: impl Into<String>, ours: Figure, target: Option<Target>) -> Self {
        Self { what: what.into(), ours, peer: None, ratio: None, target, beside: String::new() }
    }

    /// How many times as fast, or as much in the same time, we are as the peer: its time through ours.
    pub(crate) fn faster(what: impl Into<String>, ours: Figure, peer: (impl Into<String>, Figure), target: Option<Target>) -> Self {
        let ratio = Some(peer.1.value / ours.value);
        Self { peer: Some((peer.0.into(), peer.1)), ratio, ..Self::alone(what, ours, target) }
    }

    /// What part of the peer's number ours is.
    pub(crate) fn share(what: impl Into<String>, ours: Figure, peer: (impl Into<String>, Figure), target: Option<Target>) -> Self {
        let ratio = Some(ours.value / peer.1.value);
        Self { peer: Some((peer.0.into(), peer.1)), ratio, ..Self::alone(what, ours, target) }
    }

    /// Says more in the last column.
    pub(crate) fn beside(mut self, text: impl Into<String>) -> Self {
        self.beside = text.into();
        self
    }

    fn is_kept(&self) -> bool {
        let number = self.ratio.unwrap_or(self.ours.value);
        match self.target {
            None => true,
            Some(Target::AtLeast(least)) => number >= least,
            Some(Target::AtMost(most)) => number <= most,
        }
    }

    fn cells(&self) -> [String; 7] {
        let target = self.target.map_or_else(String::new, |target| {
            let (sign, number) = match target {
                Target::AtLeast(least) => ('≥', least),
                Target::AtMost(most) => ('≤', most),
            };
            let verdict = if self.is_kept() { "" } else { " **missed**" };
            let unit = if self.ratio.is_some() { "" } else { self.ours.unit };
            format!("{sign} {number}{}{unit}{verdict}", if unit.is_empty() { "" } else { " " })
        });
        let (peer, theirs) = self.peer.as_ref().map_or_else(Default::default, |(name, figure)| (name.clone(), figure.to_string()));
        let ratio = self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        [self.what.clone(), self.ours.to_string(), peer, theirs, ratio, target, self.beside.clone()]
    }
}

impl Figure {
    /// A number measured once, or a sum.
    pub(crate) fn of(value: f64, unit: &'static str) -> Self {
        Self { value, unit, spread: None }
    }

    /// The median of some durations, in milliseconds. Panics when there is none.
    pub(crate) fn median(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<_> = durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let part = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        Self { value: sorted[sorted.len() / 2], unit: "ms", spread: (sorted.len() > 2).then(|| (part(1), part(3))) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |value: f64| if value < 1.0 { 3 } else { usize::from(value < 100.0) };
        write!(formatter, "{:.*} {}", digits(self.value), self.value, self.unit)?;
        if let Some((low, high)) = self.spread {
            write!(formatter, " ({:.*} to {:.*})", digits(low), low, digits(high), high)?;
        }
        Ok(())
    }
}

impl Report {
    /// Whether a line misses its target.
    pub(crate) fn misses(&self) -> bool {
        self.0.iter().any(|line| !line.is_kept())
    }

    /// Prints the table on standard output, as Markdown that also reads well in a terminal.
    pub(crate) fn print(&self) {
        let head = ["", "Tintype", "against", "its", "ratio", "target", "beside"].map(str::to_owned);
        let rows: Vec<_> = [head].into_iter().chain(self.0.iter().map(Line::cells)).collect();
        let widths: Vec<_> = (0..7).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
        for (number, row) in rows.iter().enumerate() {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("| {} |", cells.join(" | "));
            if number == 0 {
                println!("|{}|", widths.iter().map(|width| format!("{:-<1$}", "", width + 2)).collect::<Vec<_>>().join("|"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(value: f64) -> Figure {
        Figure::of(value, "ms")
    }

    #[test]
    fn a_line_that_misses_its_target_is_found() {
        let faster = |ours| Line::faster("", milliseconds(ours), ("", milliseconds(15.0)), Some(Target::AtLeast(1.5)));
        let share = |ours| Line::share("", milliseconds(ours), ("", milliseconds(10.0)), Some(Target::AtMost(1.2)));
        let alone = |ours| Line::alone("", milliseconds(ours), Some(Target::AtMost(50.0)));
        assert!(!Report(vec![Line::alone("", milliseconds(1e9), None), faster(10.0), share(12.0), alone(50.0)]).misses());
        for missed in [faster(10.1), share(12.1), alone(50.1)] {
            assert!(missed.cells()[5].ends_with("**missed**"));
            assert!(Report(vec![missed]).misses());
        }
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let figure = Figure::median([5, 1, 9, 2, 100].map(Duration::from_millis));
        assert_eq!(figure.to_string(), "5.0 ms (2.0 to 9.0)");
    }
}
