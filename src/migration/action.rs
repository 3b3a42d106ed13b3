//! Everything that can be done about a SepulkiMigration: the list of effects, and so the list of points where a crash
//! may fall between. Types only.

use crate::neon::BranchId;

/// What is going on while files are tried.
pub const TRYING: &str =
    "trying the files on a copy of the branch, to see what of the history is there";

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take up an annotation that asks to look again: what was found complete, and with `retry` also the failure that
    /// stands in the way, no longer counts.
    LookAgain,
    /// Read the ledger in a short session. Wakes a compute that is asleep, which is why it is an action and not part
    /// of every look.
    ReadLedger,
    /// Announce a branch to try the files on, which makes an earlier verdict on the history void.
    AnnounceScratch,
    /// Set the finalizer that keeps the object as long as there may be such a branch.
    AddFinalizer,
    /// Fork it from the branch.
    CreateScratch,
    /// Look at everything anew now that what Neon was at work on has ended.
    ForgetOperations,
    /// Try the files on it, and write down what of the history is there.
    Verify,
    /// Delete it.
    DeleteScratch(BranchId),
    /// Write down that the files could not be tried, however often the branch was copied.
    GiveUp,
    /// Let the object go: there is no such branch any more, or nobody can delete it and Neon will.
    ReleaseFinalizer,
    /// Ask the NeonDatabase to reset its branch because these applied files were edited.
    AskForReset(Vec<String>),
    /// Apply these files, in this order.
    Apply(Vec<String>),
}

impl crate::reconcile::Action for Action {
    fn name(&self) -> &'static str {
        match self {
            Self::LookAgain => "LookAgain",
            Self::ReadLedger => "ReadLedger",
            Self::AnnounceScratch => "AnnounceScratch",
            Self::AddFinalizer => "AddFinalizer",
            Self::CreateScratch => "CreateScratch",
            Self::ForgetOperations => "ForgetOperations",
            Self::Verify => "Verify",
            Self::DeleteScratch(_) => "DeleteScratch",
            Self::GiveUp => "GiveUp",
            Self::ReleaseFinalizer => "ReleaseFinalizer",
            Self::AskForReset(_) => "AskForReset",
            Self::Apply(_) => "Apply",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::LookAgain => "looking at everything anew".to_owned(),
            Self::ReadLedger => "reading the ledger".to_owned(),
            Self::AnnounceScratch | Self::AddFinalizer => {
                "preparing to try the files on a copy of the branch".to_owned()
            }
            Self::CreateScratch => "making a copy of the branch to try the files on".to_owned(),
            Self::ForgetOperations => "looking at what Neon has done".to_owned(),
            Self::Verify => TRYING.to_owned(),
            Self::DeleteScratch(id) => {
                format!("deleting the branch {id} on which files were tried")
            }
            Self::GiveUp => "giving up trying the files on copies of the branch".to_owned(),
            Self::ReleaseFinalizer => "the branch on which files were tried is gone".to_owned(),
            Self::AskForReset(edited) => {
                let which = first_of(edited);
                format!("asking for a reset of the branch: edited after being applied: {which}")
            }
            Self::Apply(versions) => format!("applying {}", first_of(versions)),
        }
    }
}

/// The first of these files, and how many more there are.
#[must_use]
pub fn first_of(versions: &[String]) -> String {
    match versions {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}
