//! How long what was asked of Neon may be under way without anybody being told. Pure.

use jiff::SignedDuration;

/// A branch that was made this recently may be missing from a listing that lags behind.
pub const LISTING_LAG: SignedDuration = SignedDuration::from_secs(60);

/// How long an announcement is good for: a branch is asked for at once, or announced anew.
pub const ANNOUNCED: SignedDuration = SignedDuration::from_secs(30);

/// A branch that was asked for this recently may still come, though no answer did: a request is given up after a minute,
/// and what it brought about may be missing from a listing that lags behind.
pub const UNANSWERED: SignedDuration = SignedDuration::from_secs(120);
