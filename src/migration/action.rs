//! Everything that can be done about a SepulkiMigration: the list of effects, and so the list of points where a crash
//! may fall between. Types only.

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take up an annotation that asks to look again: what was found complete, and with `retry` also the failure that
    /// stands in the way, no longer counts.
    LookAgain,
    /// Read the ledger in a short session. Wakes a compute that is asleep, which is why it is an action and not part
    /// of every look.
    ReadLedger,
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
            Self::AskForReset(_) => "AskForReset",
            Self::Apply(_) => "Apply",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::LookAgain => "looking at everything anew".to_owned(),
            Self::ReadLedger => "reading the ledger".to_owned(),
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
