//! Chance that can be repeated.

use anyhow::Context;

/// Set to repeat a run.
pub(crate) const SEED: &str = "SEPULKI_TEST_SEED";

/// The seed that is asked for, else a new one. Printed, for whoever has to repeat the run.
pub(crate) fn seed() -> anyhow::Result<u64> {
    let seed = match asked() {
        Some(text) => text.parse().context(SEED)?,
        None => rand::random(),
    };
    eprintln!("{SEED}={seed}");
    Ok(seed)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a person repeats a run of a test"
)]
fn asked() -> Option<String> {
    std::env::var(SEED).ok()
}
