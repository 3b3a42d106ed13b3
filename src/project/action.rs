//! Everything that can be done about a NeonProject: the list of effects, and so the list of points where a crash may
//! fall between. Types only.

use super::settings::Settings;

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep the object as long as NeonDatabases refer to it.
    AddFinalizer,
    /// Take up an annotation: forget what is remembered, so that the next look is at the world itself.
    LookAgain,
    /// Drop operations that have ended from the record.
    ForgetOperations,
    /// Make these settings on Neon.
    ApplySettings(Settings),
    /// Let the object go.
    ReleaseFinalizer,
}

impl crate::reconcile::Action for Action {
    fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "AddFinalizer",
            Self::LookAgain => "LookAgain",
            Self::ForgetOperations => "ForgetOperations",
            Self::ApplySettings(_) => "ApplySettings",
            Self::ReleaseFinalizer => "ReleaseFinalizer",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::AddFinalizer | Self::ForgetOperations => "getting ready".to_owned(),
            Self::LookAgain => "looking again".to_owned(),
            Self::ApplySettings(settings) => format!("setting {settings}"),
            Self::ReleaseFinalizer => "letting the object go".to_owned(),
        }
    }
}
