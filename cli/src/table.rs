//! A table of what changed last, drawn again and again where standard output is a terminal.

use std::collections::{HashMap, VecDeque};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Rows that fit on a small terminal.
const ROWS: usize = 20;

/// The rows, the one that changed last at the top.
#[derive(Debug)]
pub(crate) struct Table {
    screen: MultiProgress,
    rows: HashMap<i64, ProgressBar>,
    /// Their ids, the one that changed last at the end.
    order: VecDeque<i64>,
}

impl Table {
    pub(crate) fn on_stdout() -> Table {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        Table { screen, rows: HashMap::new(), order: VecDeque::new() }
    }

    /// Puts this text into the row of that id, and the row to the top.
    pub(crate) fn put(&mut self, id: i64, text: &str) {
        self.remove(id);
        if self.order.len() == ROWS
            && let Some(&oldest) = self.order.front()
        {
            self.remove(oldest);
        }
        let row = self.screen.insert(0, ProgressBar::new_spinner());
        // Cut to the width of the terminal.
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            row.set_style(style);
        }
        row.set_message(text.replace(|letter: char| letter.is_control(), "_"));
        self.rows.insert(id, row);
        self.order.push_back(id);
    }

    fn remove(&mut self, id: i64) {
        if let Some(row) = self.rows.remove(&id) {
            self.order.retain(|known| *known != id);
            row.finish_and_clear();
            self.screen.remove(&row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_rows_are_kept_each_once() {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut table = Table { screen, rows: HashMap::new(), order: VecDeque::new() };
        for id in 0..50 {
            table.put(id, &format!("row {id}"));
            table.put(7, "row 7 again");
        }
        assert_eq!(table.order.len(), ROWS);
        assert_eq!(table.order.iter().copied().collect::<Vec<_>>(), (31..50).chain([7]).collect::<Vec<_>>());
        assert_eq!(table.rows[&7].message(), "row 7 again");
    }
}
