//! The loop that every kind runs through: observe, decide, act, observe again; then say how it stands.
//!
//! ```text
//!  spec ──desired──▶ Desired ┐
//!                            ├─▶ decide ─▶ Act(action) ─▶ act ─┐
//!  world ──observe─▶ Observed┘   (pure)    Wait, Settled, …    │
//!              ▲                                │              │
//!              └────────────────────────────────┼──────────────┘
//!                                               ▼
//!                        status = project(…, verdict)  (pure) ─▶ write iff changed
//! ```
//!
//! Knows no kind and imports only [`crate::api`]. One action is taken at a time and the world is looked at again after
//! each, so a crash anywhere only restarts the loop, and the list of a kind's actions is its list of fault points.

mod admission;
mod annotations;
mod conditions;
mod drive;
mod error;
mod fact;
mod locks;
mod memory;
mod named;
mod report;
mod summary;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::Reason;

pub use admission::Admission;
pub use annotations::{asked, looks, looks_again, not_handled};
pub use conditions::Conditions;
pub use drive::drive;
pub use error::{Class, Error};
pub use fact::Fact;
pub use locks::{BranchLocks, ExclusiveLock, SharedLock};
pub use memory::Memory;
pub use named::named;
pub use report::{Notice, PassReport, concerns_others, notice};
pub use summary::summarize;

/// A kind as the loop sees it.
pub trait Subject: Send + Sync {
    /// The object, as the Kubernetes API has it.
    type Object: Clone + Send + Sync;
    /// The spec, parsed into types that cannot be wrong, or why it cannot be.
    type Desired: Send + Sync;
    /// Facts about the world.
    type Observed: Send + Sync;
    /// One effect.
    type Action: Action;
    /// The status; its memory part is what earlier actions recorded.
    type Status: Clone + PartialEq + Send + Sync;

    /// The status that the object carries.
    fn status(object: &Self::Object) -> Self::Status;

    /// The object is gone: what was remembered of it can go, too.
    fn forget(&self, _uid: &str) {}

    /// Parses the spec. Pure.
    fn desired(&self, object: &Self::Object) -> Self::Desired;

    /// Gathers facts, without changing anything.
    fn observe(
        &self,
        pass: &Pass<Self>,
        desired: &Self::Desired,
        now: Timestamp,
    ) -> impl Future<Output = Result<Self::Observed, Error>> + Send;

    /// Chooses the next thing to do. Pure and total.
    fn decide(
        desired: &Self::Desired,
        observed: &Self::Observed,
        now: Timestamp,
    ) -> Decision<Self::Action>;

    /// Takes one action against one system. What it changes in `pass.status` is written before anything else is done.
    fn act(
        &self,
        action: &Self::Action,
        pass: &mut Pass<Self>,
        desired: &Self::Desired,
        observed: &Self::Observed,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// The status as it should stand after this evaluation. Pure.
    fn project(
        pass: &Pass<Self>,
        desired: &Self::Desired,
        observed: Option<&Self::Observed>,
        verdict: &Verdict,
        now: Timestamp,
    ) -> Self::Status;

    /// Writes the status on top of exactly the object that this pass knows, and answers the object as it then is.
    fn write_status(
        &self,
        object: &Self::Object,
        status: &Self::Status,
    ) -> impl Future<Output = Result<Self::Object, Error>> + Send;
}

/// One effect of a kind.
pub trait Action: Send + Sync {
    /// A word from a closed set, for logs and metrics.
    fn name(&self) -> &'static str;
    /// The effect in words, for the condition of an object that is being worked on.
    fn describe(&self) -> String;
}

/// What one run of the loop carries from action to action.
#[derive(Debug)]
pub struct Pass<S: Subject + ?Sized> {
    /// The object as last seen or written.
    pub object: S::Object,
    /// Its status, with what the actions of this pass recorded.
    pub status: S::Status,
    /// What the actions of this pass want to be told as events, beside the one about its end.
    pub notices: Vec<Notice>,
}

impl<S: Subject + ?Sized> Clone for Pass<S> {
    fn clone(&self) -> Self {
        Self {
            object: self.object.clone(),
            status: self.status.clone(),
            notices: self.notices.clone(),
        }
    }
}

/// What `decide` answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision<A> {
    /// Take this action, then look again.
    Act(A),
    /// Nothing to do until something passes.
    Wait(Wait),
    /// Everything is as asked; look again after this time.
    Settled(Duration),
    /// Nothing may be changed because `suspend` is set; look again after this time.
    Suspended(Duration),
    /// A person has to change something.
    Blocked(Block),
    /// The object is on its way out and nothing is left to do for it.
    Gone,
}

/// Something passing is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What kind of thing.
    pub reason: Reason,
    /// What exactly.
    pub message: String,
    /// When to look again, if nothing is heard before.
    pub after: Duration,
}

/// A person has to change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What kind of thing.
    pub reason: Reason,
    /// What exactly, and what to do about it.
    pub message: String,
}

/// How a pass stands: the end of it, or the action it is about to take.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// An action was taken and its record is being written.
    Acting(String),
    /// Everything is as asked; look again after this time.
    Settled(Duration),
    /// Nothing may be changed; look again after this time.
    Suspended(Duration),
    /// Something passing is waited for.
    Waiting(Wait),
    /// A person has to change something.
    Blocked(Block),
    /// It could not be found out or could not be done.
    Failed(Error),
    /// The object is gone.
    Gone,
}
