//! Where the demo shows what happens: a table that is drawn again and again, lines, or nothing. Always on stderr.
//!
//! Decides when something is shown and paints it; what is shown is the view's business. On a terminal the cursor is
//! hidden while there is a table and comes back whatever happens.

use std::io::{self, Write};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show as ShowCursor};
use crossterm::style::{StyledContent, Stylize};
use crossterm::terminal::{Clear, ClearType, size};
use crossterm::{execute, queue};

use super::view::{Line, Picture, Tone, WIDTH, report, table};

/// Twice a second: more is unrest, less is dull.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// Lines are for a log.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// A terminal that does not tell its height has at least this.
const HEIGHT: u16 = 24;

/// How the demo shows what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// A table that is drawn again and again, for a terminal.
    Table,
    /// A line for each connection now and then.
    Lines,
    /// Nothing but the service's own log.
    Log,
}

/// Where it is shown.
#[derive(Debug)]
pub(super) struct Screen {
    show: Show,
    /// Lines of the table that is on the terminal.
    drawn: u16,
    /// When the next picture is wanted.
    next: Duration,
}

impl Screen {
    /// Says in a sentence what is going to happen, and hides the cursor where there will be a table.
    pub(super) fn open(show: Show, sentence: &str) -> io::Result<Self> {
        let mut talk = io::stderr().lock();
        writeln!(talk, "{sentence}")?;
        match show {
            Show::Table => execute!(talk, Hide, crossterm::style::Print("\n"))?,
            Show::Lines | Show::Log => {}
        }
        Ok(Self { show, drawn: 0, next: Duration::ZERO })
    }

    /// Says a sentence that stays above the pictures, before there is one.
    pub(super) fn say(sentence: &str) -> io::Result<()> {
        writeln!(io::stderr().lock(), "{sentence}\n")
    }

    /// Whether it is time for a picture.
    pub(super) fn wants(&self, now: Duration) -> bool {
        now >= self.next
    }

    /// Shows a picture.
    pub(super) fn show(&mut self, now: Duration, picture: &Picture) -> io::Result<()> {
        match self.show {
            Show::Table => {
                self.next = now + DRAW_EVERY;
                self.draw(&table(picture))
            }
            Show::Lines => {
                self.next = now + REPORT_EVERY;
                let mut talk = io::stderr().lock();
                report(picture).iter().try_for_each(|line| writeln!(talk, "{line}"))
            }
            Show::Log => {
                self.next = Duration::MAX;
                Ok(())
            }
        }
    }

    /// Takes the table away and gives the cursor back.
    pub(super) fn close(&mut self) {
        if self.show == Show::Table && self.next < Duration::MAX {
            self.next = Duration::MAX;
            let mut talk = io::stderr().lock();
            let clear = Clear(ClearType::FromCursorDown);
            // A terminal that is gone has no cursor to be shown.
            let _ = match self.drawn {
                0 => execute!(talk, ShowCursor),
                up => execute!(talk, MoveToColumn(0), MoveUp(up), clear, ShowCursor),
            };
        }
    }

    /// Draws over what was there, in one write: half a table is never seen.
    fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let (columns, rows) = size().unwrap_or((u16::try_from(WIDTH + 1).unwrap_or(80), HEIGHT));
        let width = usize::from(columns.saturating_sub(1));
        let height = usize::from(rows.saturating_sub(1));
        let mut bytes = Vec::new();
        queue!(bytes, MoveToColumn(0))?;
        if self.drawn > 0 {
            queue!(bytes, MoveUp(self.drawn))?;
        }
        for line in lines.iter().take(height) {
            write!(bytes, "{}", paint(line, width))?;
            queue!(bytes, Clear(ClearType::UntilNewLine))?;
            bytes.push(b'\n');
        }
        queue!(bytes, Clear(ClearType::FromCursorDown))?;
        self.drawn = u16::try_from(lines.len().min(height)).unwrap_or(0);
        let mut talk = io::stderr().lock();
        talk.write_all(&bytes)?;
        talk.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

/// A line in colours, cut to a width.
fn paint(line: &Line, width: usize) -> String {
    let mut left = width;
    let mut painted = String::new();
    for span in line {
        let text: String = span.text.chars().take(left).collect();
        left -= text.chars().count();
        painted.push_str(&styled(text, span.tone).to_string());
    }
    painted
}

fn styled(text: String, tone: Tone) -> StyledContent<String> {
    match tone {
        Tone::Plain => text.stylize(),
        Tone::Strong => text.bold(),
        Tone::Quiet => text.dim(),
        Tone::Good => text.green(),
        Tone::Uneasy => text.yellow(),
        Tone::Bad => text.red(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::view::Span;

    #[test]
    fn a_line_is_cut_to_the_width_without_its_colours() {
        let span = |text: &str, tone| Span { text: text.to_owned(), tone };
        let line = vec![span("12345", Tone::Plain), span("678", Tone::Plain)];
        assert_eq!(paint(&line, 6), "123456");
        assert_eq!(paint(&line, 80), "12345678");
    }
}
