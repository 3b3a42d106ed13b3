//! The advisory locks of the operator: who may change a database at the moment.
//!
//! | lock | key | held by |
//! |---|---|---|
//! | control | hash of database and ledger | a migration run's bookkeeping session |
//! | worker | the same | the session that runs the files |
//! | database | 0 | every migration run, shared; grants, exclusive, for one transaction |
//!
//! A run needs the first two. Nobody ever waits inside the server for one of them: a waiting
//! session holds a snapshot, and `CREATE INDEX CONCURRENTLY` of the holder would wait for that
//! in turn, which PostgreSQL resolves by killing one of the two. So they are only ever tried.

use sha2::{Digest, Sha256};

/// Classes of our keys, "SEP" and a number in ASCII: other tools hash into the one-argument key
/// space and do not meet them.
const CONTROL: i32 = 0x5345_5001;
const WORKER: i32 = 0x5345_5002;
const DATABASE: i32 = 0x5345_5003;
const MARKER: i32 = 0x5345_5004;

/// A key of PostgreSQL's two-number advisory locks. They are local to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    class: i32,
    object: i32,
}

impl Key {
    /// The bookkeeping session of the run that writes `ledger` (`schema.table`) of `database`.
    #[must_use]
    pub fn control(database: &str, ledger: &str) -> Self {
        Self {
            class: CONTROL,
            object: hash(database, ledger),
        }
    }

    /// The session of that run which executes files.
    #[must_use]
    pub fn worker(database: &str, ledger: &str) -> Self {
        Self {
            class: WORKER,
            object: hash(database, ledger),
        }
    }

    /// Migration runs share it; whoever changes roles or grants of the database takes it alone,
    /// with [`Key::try_in_transaction`].
    #[must_use]
    pub fn database() -> Self {
        Self {
            class: DATABASE,
            object: 0,
        }
    }

    /// Marks the transaction of one file; `nonce` must be positive.
    pub(crate) fn marker(nonce: i32) -> Self {
        Self {
            class: MARKER,
            object: nonce,
        }
    }

    /// An expression: true if the session now holds the lock, until it ends or unlocks.
    #[must_use]
    pub fn try_for_session(self) -> String {
        format!("pg_catalog.pg_try_advisory_lock({self})")
    }

    /// The same, beside other sessions that share it.
    #[must_use]
    pub fn try_shared_for_session(self) -> String {
        format!("pg_catalog.pg_try_advisory_lock_shared({self})")
    }

    /// An expression that takes this lock for the session, and the one that all runs of a database share.
    pub(crate) fn try_for_run(self) -> String {
        let database = Self::database().try_shared_for_session();
        format!("{} AND {database}", self.try_for_session())
    }

    /// An expression: true if the transaction now holds the lock, until it ends. Unlike a
    /// session's lock it survives `pg_advisory_unlock_all()`.
    #[must_use]
    pub fn try_in_transaction(self) -> String {
        format!("pg_catalog.pg_try_advisory_xact_lock({self})")
    }

    /// A condition on a row `alias` of pg_locks: this very key.
    #[must_use]
    pub fn in_pg_locks(self, alias: &str) -> String {
        let Self { class, object } = self;
        format!(
            "{alias}.locktype = 'advisory' AND {alias}.objsubid = 2 \
             AND {alias}.classid::bigint = {class} AND {alias}.objid::bigint = {}",
            object.cast_unsigned()
        )
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.class, self.object)
    }
}

fn hash(database: &str, ledger: &str) -> i32 {
    let digest = Sha256::new()
        .chain_update(database)
        .chain_update([0])
        .chain_update(ledger)
        .finalize();
    let mut first = [0; 4];
    first
        .iter_mut()
        .zip(digest.iter())
        .for_each(|(to, from)| *to = *from);
    i32::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_purpose_database_and_ledger() {
        let keys = [
            Key::control("a", "public.m"),
            Key::worker("a", "public.m"),
            Key::control("b", "public.m"),
            Key::control("a", "public.n"),
            Key::control("a\0public", ".m"),
            Key::database(),
            Key::marker(1),
        ];
        for (i, a) in keys.iter().enumerate() {
            assert!(keys.iter().skip(i + 1).all(|b| a != b), "{a}");
        }
    }

    #[test]
    fn the_key_never_changes_between_releases() {
        assert_eq!(
            Key::control("sepulki", "public.schema_migrations").to_string(),
            "1397051393, 548509392"
        );
    }
}
