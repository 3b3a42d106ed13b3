//! Stub.
use crate::api::{SepulkiMigration, SepulkiMigrationStatus};
use crate::reconcile::{Action, Decision, Error, Pass, Subject, Verdict};
use crate::world::World;
use jiff::Timestamp;
use std::time::Duration;
/// Stub.
pub struct Migrations;
/// Stub.
pub struct Nothing;
impl Action for Nothing {
    fn name(&self) -> &'static str {
        ""
    }
    fn describe(&self) -> String {
        String::new()
    }
}
impl Migrations {
    /// Stub.
    #[must_use]
    pub fn new(_: World) -> Self {
        Self
    }
    /// Stub.
    pub fn forget_source(&self, _: &str, _: &str) {}
}
impl Subject for Migrations {
    type Object = SepulkiMigration;
    type Desired = ();
    type Observed = ();
    type Action = Nothing;
    type Status = SepulkiMigrationStatus;
    fn status(o: &SepulkiMigration) -> SepulkiMigrationStatus {
        o.status.clone().unwrap_or_default()
    }
    fn desired(&self, _: &SepulkiMigration) {}
    async fn observe(&self, _: &Pass<Self>, (): &(), _: Timestamp) -> Result<(), Error> {
        Ok(())
    }
    fn decide((): &(), (): &(), _: Timestamp) -> Decision<Nothing> {
        Decision::Settled(Duration::from_secs(60))
    }
    async fn act(
        &self,
        _: &Nothing,
        _: &mut Pass<Self>,
        (): &(),
        (): &(),
        _: Timestamp,
    ) -> Result<(), Error> {
        Ok(())
    }
    fn project(
        p: &Pass<Self>,
        (): &(),
        _: Option<&()>,
        _: &Verdict,
        _: Timestamp,
    ) -> SepulkiMigrationStatus {
        p.status.clone()
    }
    async fn write_status(
        &self,
        o: &SepulkiMigration,
        _: &SepulkiMigrationStatus,
    ) -> Result<SepulkiMigration, Error> {
        Ok(o.clone())
    }
}
