//! A bar on stderr that shows how far something is, where a person looks on.
//!
//! Draws, and decides nothing; what is printed on stdout is never touched by it.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The bar's width in characters.
const WIDTH: usize = 24;
/// More often is unrest.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A bar under way. It leaves its line when it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    all: u64,
    started: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// One for so many; `None` where nobody looks on.
    pub(super) fn open(all: u64) -> Option<Self> {
        let bar = Self { all, started: Instant::now(), drawn: None };
        io::stderr().is_terminal().then_some(bar)
    }

    /// Shows that so many are done.
    pub(super) fn show(&mut self, done: u64) -> io::Result<()> {
        let now = Instant::now();
        let is_due = self.drawn.is_none_or(|drawn| now.duration_since(drawn) >= DRAW_EVERY);
        if !is_due && done < self.all {
            return Ok(());
        }
        self.drawn = Some(now);
        write!(io::stderr(), "\r{}", line(done, self.all, now.duration_since(self.started)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            // A terminal that is gone needs no new line.
            let _ = writeln!(io::stderr());
        }
    }
}

/// The bar, the numbers, and how long the rest will take at this pace.
fn line(done: u64, all: u64, passed: Duration) -> String {
    let share = if all == 0 { 1.0 } else { (done as f64 / all as f64).min(1.0) };
    let filled = (share * WIDTH as f64) as usize;
    let bar: String = (0..WIDTH).map(|place| if place < filled { '█' } else { '░' }).collect();
    let left = match done {
        0 => String::new(),
        _ if done >= all => format!("{} s", passed.as_secs()),
        _ => {
            let rest = all - done;
            format!("{:.0} s left", passed.as_secs_f64() * rest as f64 / done as f64)
        }
    };
    format!("{bar} {done} of {all}  {left:<12}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_far_it_is_and_how_long_it_takes() {
        let after = Duration::from_secs(3);
        insta::assert_snapshot!(line(0, 400, Duration::ZERO).trim_end(), @"░░░░░░░░░░░░░░░░░░░░░░░░ 0 of 400");
        insta::assert_snapshot!(line(100, 400, after).trim_end(), @"██████░░░░░░░░░░░░░░░░░░ 100 of 400  9 s left");
        insta::assert_snapshot!(line(400, 400, after).trim_end(), @"████████████████████████ 400 of 400  3 s");
        insta::assert_snapshot!(line(0, 0, after).trim_end(), @"████████████████████████ 0 of 0");
    }
}
