//! How Neon goes wrong at a change of a project, beyond not doing it or not answering.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sepulki::neon::{Branch, BranchState, Endpoint, ErrorKind, Operation, OperationStatus, Result};

use super::faults::{Fault, Work};
use super::neon::{Project, UNKNOWN_SETTING, error, starts};

/// How long Neon asks to wait after too many requests.
const RETRY_AFTER: Duration = Duration::from_secs(20);

/// What a failed operation says.
pub const NO_START: &str = "the compute did not start";

/// How long Neon is busy with something else.
const LOCKED: SignedDuration = SignedDuration::from_mins(1);

/// What PostgreSQL says of a setting that it does not know.
pub fn no_such_setting() -> String {
    format!("unrecognized configuration parameter \"{UNKNOWN_SETTING}\"")
}

impl Project {
    /// What happens before a change is looked at.
    pub fn before(&mut self, fault: Option<Fault>, now: Timestamp) -> Result<()> {
        match fault {
            Some(Fault::TooMany) => Err(sepulki::neon::Error {
                retry_after: Some(RETRY_AFTER),
                ..error(ErrorKind::RateLimited, Some(429), "too many requests")
            }),
            Some(Fault::Locked) => {
                self.busy_until(now + LOCKED);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What Neon goes on working on since it had so many operations.
    pub fn works_on(&self, operations: usize) -> Option<Work> {
        let (begun, _) = self.operations.get(operations)?;
        Some(match begun.action.as_str() {
            "create_branch" => Work::Branch,
            _ => Work::Other,
        })
    }

    /// How this change goes wrong, as it does every time.
    pub fn keeps_failing(&self, what: &str) -> Option<Fault> {
        let fails = self.fails.as_ref();
        let fails = fails.filter(|(beginning, _)| what.starts_with(beginning));
        let none = self.makes_none.then_some(Fault::OperationGivenUp);
        fails.map(|(_, fault)| *fault).or(none)
    }

    /// What becomes of a change that was accepted when the project was as `before`.
    pub fn after(&mut self, fault: Fault, before: Self, now: Timestamp) {
        let works = self.works_on(before.operations.len());
        match fault {
            Fault::StaleRead => {
                self.stale_branches = Some(before.branches(now));
                self.stale_endpoints = Some(before.endpoints(now));
            }
            Fault::OperationFails => self.fail_operations(before.operations.len(), NO_START),
            Fault::OperationGivenUp if works == Some(Work::Branch) => {
                self.fail_operations(before.operations.len(), NO_START);
                self.give_up(&before);
            }
            Fault::OperationUndone if works.is_some() => {
                self.fail_operations(before.operations.len(), NO_START);
                *self = Self {
                    ids: self.ids,
                    operations: std::mem::take(&mut self.operations),
                    ..before
                };
            }
            Fault::Fails
            | Fault::AnswerLost
            | Fault::Crash
            | Fault::HeldUp
            | Fault::TooMany
            | Fault::Locked
            | Fault::OperationGivenUp
            | Fault::OperationUndone => {}
        }
    }

    /// The branch that was made or reset since stays as nobody can use it.
    fn give_up(&mut self, before: &Self) {
        let reset_then = |id| {
            let mut before = before.branches.iter();
            let found = before.find(|b| b.branch.id == id);
            found.map(|b| b.branch.last_reset_at)
        };
        for found in &mut self.branches {
            let then = reset_then(found.branch.id.clone());
            if then != Some(found.branch.last_reset_at) {
                found.given_up = Some(match then {
                    Some(_) => BranchState::Resetting,
                    None => BranchState::Init,
                });
            }
        }
    }

    /// What was begun last fails where the compute does not start with what it was given.
    pub fn start(&mut self, endpoint: &Endpoint) {
        if !starts(endpoint) {
            self.fail_operations(self.operations.len() - 1, &no_such_setting());
        }
    }

    /// The first start of a compute, where it does not start with what it was given; otherwise it is a part of making it.
    pub fn start_new(&mut self, endpoint: &Endpoint, now: Timestamp) -> Vec<Operation> {
        if starts(endpoint) {
            return Vec::new();
        }
        let operations = self.operation("start_compute", now);
        self.start(endpoint);
        operations
    }

    fn fail_operations(&mut self, from: usize, words: &str) {
        for (operation, _) in self.operations.iter_mut().skip(from) {
            operation.status = OperationStatus::Failed;
            operation.error = Some(words.to_owned());
        }
    }

    /// The next listing is one in which nothing but the project's first branch is.
    pub fn list_late(&mut self, now: Timestamp) {
        let oldest = |mut all: Vec<Branch>| {
            all.truncate(1);
            all
        };
        self.stale_branches = Some(oldest(self.branches(now)));
    }

    /// Branches as Neon lists them, which may be late by one listing.
    pub fn list_branches(&mut self, now: Timestamp) -> Vec<Branch> {
        let stale = self.stale_branches.take();
        stale.unwrap_or_else(|| self.branches(now))
    }

    /// Endpoints as Neon lists them, which may be late by one listing.
    pub fn list_endpoints(&mut self, now: Timestamp) -> Vec<Endpoint> {
        let stale = self.stale_endpoints.take();
        stale.unwrap_or_else(|| self.endpoints(now))
    }
}
