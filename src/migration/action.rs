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
    /// Apply these files, in this order.
    Apply(Vec<String>),
}

impl crate::reconcile::Action for Action {
    fn name(&self) -> &'static str {
        match self {
            Self::LookAgain => "LookAgain",
            Self::ReadLedger => "ReadLedger",
            Self::Apply(_) => "Apply",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::LookAgain => "looking at everything anew".to_owned(),
            Self::ReadLedger => "reading the ledger".to_owned(),
            Self::Apply(versions) => match versions.as_slice() {
                [] => "applying nothing".to_owned(),
                [only] => format!("applying {only}"),
                [first, rest @ ..] => format!("applying {first} and {} more", rest.len()),
            },
        }
    }
}
