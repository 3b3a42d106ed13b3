//! Telling a person at a terminal what is being done and how long it takes.
//!
//! On a terminal, what takes long shows how long by a line that changes; elsewhere (a log of CI) nothing is
//! ever overwritten, and a long wait says now and then that it goes on.

use std::{
    future::Future,
    io::{self, IsTerminal, Write},
    sync::LazyLock,
    time::{Duration, Instant},
};

/// How often the changing line changes.
const TICK: Duration = Duration::from_millis(100);
/// How often a log is told that work goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Back to the begin of the line, and nothing in it.
const CLEAR_LINE: &str = "\r\x1b[K";

static TERMINAL: LazyLock<bool> = LazyLock::new(|| io::stdout().is_terminal());

/// Says what begins, does it, and says how long it took. Failure is left to the caller to tell.
pub async fn step<T>(
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    say(&format!("==> {what}"));
    let start = Instant::now();
    let result = with_elapsed(work).await;
    if result.is_ok() {
        note(&format!("done in {:.1} s", start.elapsed().as_secs_f64()));
    }
    result
}

/// Does something that may take long, showing for how long it has been at it.
pub(crate) async fn with_elapsed<T>(work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    // Not pinned in place, which would keep it twice in the future that this is.
    let mut work = Box::pin(work);
    let mut told = start;
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            result = &mut work => {
                clear_line();
                return result;
            }
            _ = ticks.tick() => show_elapsed(start, &mut told),
        }
    }
}

/// For work that blocks: call it now and then. `told` remembers when a log was told last.
pub(crate) fn show_elapsed(start: Instant, told: &mut Instant) {
    let seconds = start.elapsed().as_secs();
    if is_terminal() {
        // Most steps are over before anybody would wonder.
        if seconds >= 1 {
            write(&format!("{CLEAR_LINE}    … {seconds} s"));
        }
    } else if told.elapsed() >= SIGN_OF_LIFE {
        *told = Instant::now();
        note(&format!("… {seconds} s"));
    }
}

/// Says something within a step.
pub fn note(text: &str) {
    say(&format!("    {text}"));
}

/// Says a line.
pub fn say(line: &str) {
    clear_line();
    write(&format!("{line}\n"));
}

/// Whether a person watches and lines may be overwritten.
pub(crate) fn is_terminal() -> bool {
    *TERMINAL
}

/// Lines that are shown again and again in the same place; on a terminal only.
#[derive(Debug, Default)]
pub(crate) struct Redrawn {
    height: usize,
}

impl Redrawn {
    /// Shows `lines` instead of the ones before. What does not fit the terminal's width is cut off by it.
    pub(crate) fn show(&mut self, lines: &[String]) {
        let up = match self.height {
            0 => String::new(),
            height => format!("\x1b[{height}A"),
        };
        let lines: Vec<_> = lines
            .iter()
            .map(|line| format!("{CLEAR_LINE}{line}\n"))
            .collect();
        // Without automatic line breaks, and what is left of a longer list goes away.
        let text = format!("\x1b[?7l{up}{}\x1b[J\x1b[?7h", lines.concat());
        write(&text);
        self.height = lines.len();
    }
}

/// A word that stands out on a terminal, by an SGR code such as `1` (bold) or `32` (green).
pub(crate) fn styled(code: &str, text: &str) -> String {
    if is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

fn clear_line() {
    if is_terminal() {
        write(CLEAR_LINE);
    }
}

/// A reader that has gone away (`… | head`) is no reason to stop the work.
fn write(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
