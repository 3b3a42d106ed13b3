//! Telling a person at a terminal what is being done and how long it took.

use std::{
    future::Future,
    io::{self, Write},
    time::Instant,
};

/// Says what begins, does it, and says how long it took. Failure is left to the caller to tell.
pub async fn step<T>(
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    say(&format!("==> {what}"));
    let start = Instant::now();
    let result = work.await;
    if result.is_ok() {
        note(&format!("done in {:.1} s", start.elapsed().as_secs_f64()));
    }
    result
}

/// Says something within a step.
pub fn note(text: &str) {
    say(&format!("    {text}"));
}

/// Says a line. A reader that has gone away (`… | head`) is no reason to stop the work.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
