//! Telling a person at a terminal what is being done and how long it took.

use std::{future::Future, time::Instant};

/// Says what begins, does it, and says how long it took. Failure is left to the caller to tell.
pub async fn step<T>(
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    println!("==> {what}");
    let start = Instant::now();
    let result = work.await;
    if result.is_ok() {
        println!("    done in {:.1} s", start.elapsed().as_secs_f64());
    }
    result
}

/// Says something within a step.
pub fn note(text: &str) {
    println!("    {text}");
}
