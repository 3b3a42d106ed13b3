//! How a server is told to replay its log, and what it says of it. Pure.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    history::Moment,
    server::{SUPERUSER, Socket},
};

/// What PostgreSQL says where the log ends before the target. With a time, no transaction
/// committed after it, and the end of the log is what was meant.
const NOTHING_LATER: &str = "recovery ended before configured recovery target was reached";

/// Settings for the replay of all of the log.
pub(crate) fn to_the_end() -> BTreeMap<String, String> {
    let settings = [
        // The whole log is there already; without a command archive recovery is refused.
        ("restore_command", "false"),
        // No sessions before the end, and no demands on limits that the log speaks of.
        ("hot_standby", "off"),
    ];
    own(settings)
}

/// Settings for a replay that ends at a moment.
pub(crate) fn target(moment: &Moment) -> BTreeMap<String, String> {
    let (name, value, inclusive) = match moment {
        Moment::Time(at) => {
            // Names of time zones, `Z` among them, are not known yet when it is read.
            let text = at.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string();
            ("recovery_target_time", text, "on")
        }
        // A position is where the next record starts.
        Moment::Lsn(lsn) => ("recovery_target_lsn", lsn.to_string(), "off"),
    };
    own([
        (name, value.as_str()),
        ("recovery_target_inclusive", inclusive),
        ("recovery_target_action", "promote"),
    ])
}

/// Settings of a read replica. `followed` is the folder of its primary's socket.
pub(crate) fn standby(followed: Option<PathBuf>) -> BTreeMap<String, String> {
    let mut settings = own([
        ("hot_standby", "on"),
        // Rather wait for a reader than break off what it reads.
        ("max_standby_streaming_delay", "-1"),
        ("wal_retrieve_retry_interval", "200ms"),
    ]);
    if let Some(dir) = followed {
        let primary = Socket::new(dir).conninfo(SUPERUSER, "replication");
        settings.insert("primary_conninfo".to_owned(), primary);
    }
    settings
}

/// Whether a server did not start because its log has nothing after the target.
pub(crate) fn has_nothing_later(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains(NOTHING_LATER)
}

fn own<const N: usize>(settings: [(&str, &str); N]) -> BTreeMap<String, String> {
    settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
