//! Work of Neon that takes its time, and locks others out meanwhile.

use jiff::{SignedDuration, Timestamp};
use sepulki::neon::{ErrorKind, Operation, OperationId, OperationStatus, Result};

use super::{Project, error, not_found};

/// How long an operation takes.
pub const OPERATION: SignedDuration = SignedDuration::from_millis(400);

/// What an operation that does not come to an end means for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// No change of the project.
    Locks,
    /// Nothing.
    LetsOthers,
}

impl Project {
    /// Whether operations run.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        let mut running = self.operations.iter().filter(|(_, over)| *over > now);
        running.any(|(operation, _)| !self.unlocking.contains(&operation.id))
    }

    /// Mutations are refused while operations run.
    pub fn unlocked(&self, now: Timestamp) -> Result<()> {
        if self.is_busy(now) {
            return Err(error(
                ErrorKind::Locked,
                Some(423),
                "project already has running conflicting operations, scheduling of new ones is prohibited",
            ));
        }
        Ok(())
    }

    /// How many operations there have been.
    pub fn operations_so_far(&self) -> usize {
        self.operations.len()
    }

    /// Work that takes its time.
    pub fn operation(&mut self, action: &str, now: Timestamp) -> Vec<Operation> {
        let operation = Operation {
            id: OperationId::from(self.next("op")),
            action: action.to_owned(),
            status: OperationStatus::Running,
            error: None,
            total_duration_ms: None,
        };
        let end = Operation {
            status: OperationStatus::Finished,
            ..operation.clone()
        };
        let over = match self.hangs {
            Some(hang) => {
                if hang == Hang::LetsOthers {
                    self.unlocking.insert(operation.id.clone());
                }
                Timestamp::MAX
            }
            None => now + OPERATION,
        };
        self.operations.push((end, over));
        vec![operation]
    }

    /// What hung comes to its end.
    pub fn goes_on(&mut self, now: Timestamp) {
        self.hangs = None;
        for (_, over) in &mut self.operations {
            *over = (*over).min(now);
        }
    }

    /// Neon is busy with this project until then.
    pub fn busy_until(&mut self, over: Timestamp) {
        let operation = Operation {
            id: OperationId::from(self.next("op")),
            action: "check_availability".to_owned(),
            status: OperationStatus::Finished,
            error: None,
            total_duration_ms: None,
        };
        self.operations.push((operation, over));
    }

    pub fn ask_operation(&self, id: &OperationId, now: Timestamp) -> Result<Operation> {
        let (operation, over) = self
            .operations
            .iter()
            .find(|(o, _)| o.id == *id)
            .ok_or_else(|| not_found("operation"))?;
        if *over <= now {
            return Ok(operation.clone());
        }
        Ok(Operation {
            status: OperationStatus::Running,
            error: None,
            ..operation.clone()
        })
    }

    /// The branches that were forked so far are never made, and no operation tells of it.
    pub fn leave_unfinished(&mut self) {
        for forked in self.branches.iter_mut().skip(1) {
            forked.made = Timestamp::MAX;
        }
        self.forget_operations();
    }

    /// Neon keeps operations for some months only.
    pub fn forget_operations(&mut self) {
        self.operations.clear();
    }
}
