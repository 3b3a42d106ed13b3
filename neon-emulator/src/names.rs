//! Ids, host names and passwords in the form Neon gives them. Draws from the random generator,
//! otherwise pure; used by the API when it creates something and by the proxy to read hosts.

use rand::distr::{Alphanumeric, SampleString};

use crate::secret::Secret;

/// The domain under which every endpoint has its host. Two labels below `localhost`, because a
/// certificate for `*.localhost` is refused by rustls, OpenSSL and Node.
pub(crate) const DOMAIN: &str = "local.localhost";

/// Appended to the endpoint's label for the pooled host.
pub(crate) const POOLER_SUFFIX: &str = "-pooler";

const ADJECTIVES: [&str; 16] = [
    "ancient", "blue", "calm", "cold", "damp", "falling", "green", "late", "little", "lively",
    "odd", "polished", "quiet", "shiny", "still", "sweet",
];
const NOUNS: [&str; 16] = [
    "bird", "brook", "cloud", "dawn", "fire", "forest", "grass", "hill", "leaf", "meadow", "moon",
    "pine", "rain", "river", "sea", "wind",
];

/// `shiny-wind-12345678`.
pub(crate) fn project_id() -> String {
    format!(
        "{}-{:08}",
        two_words(),
        rand::random_range(0..100_000_000_u32)
    )
}

/// `br-shiny-wind-a1b2c3d4`.
pub(crate) fn branch_id() -> String {
    format!("br-{}-{}", two_words(), tail())
}

/// `snap-shiny-wind-a1b2c3d4`, also the folder of its data.
pub(crate) fn snapshot_id() -> String {
    format!("snap-{}-{}", two_words(), tail())
}

/// `tl-a1b2c3d4-e5f6a7b8`, the folder of a branch's data after a restore.
pub(crate) fn timeline_id() -> String {
    format!("tl-{}-{}", tail(), tail())
}

/// `ep-shiny-wind-a1b2c3d4`.
pub(crate) fn endpoint_id() -> String {
    format!("ep-{}-{}", two_words(), tail())
}

/// The host at which the proxy answers for an endpoint.
pub(crate) fn host(endpoint_id: &str) -> String {
    format!("{endpoint_id}.{DOMAIN}")
}

/// The host of the endpoint's connection pooler.
pub(crate) fn pooler_host(endpoint_id: &str) -> String {
    format!("{endpoint_id}{POOLER_SUFFIX}.{DOMAIN}")
}

/// A role's password as Neon generates it: `npg_` and twelve letters and digits.
pub(crate) fn password() -> Secret {
    Secret::new(format!(
        "npg_{}",
        Alphanumeric.sample_string(&mut rand::rng(), 12)
    ))
}

/// A key for the API, for whoever starts the emulator without giving one.
pub(crate) fn api_key() -> Secret {
    Secret::new(format!(
        "napi_{}",
        Alphanumeric.sample_string(&mut rand::rng(), 48)
    ))
}

fn two_words() -> String {
    format!("{}-{}", pick(&ADJECTIVES), pick(&NOUNS))
}

fn tail() -> String {
    Alphanumeric
        .sample_string(&mut rand::rng(), 8)
        .to_ascii_lowercase()
}

fn pick(words: &[&'static str; 16]) -> &'static str {
    words
        .get(rand::random_range(0..words.len()))
        .copied()
        .unwrap_or("plain")
}
