//! What is known of one thing in the world. Pure.

/// A fact about the world. Nothing is created or destroyed on `Unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fact<T> {
    /// It is there, and this is what it looks like.
    Known(T),
    /// It was looked for and is not there.
    Absent,
    /// It was not looked for, or could not be.
    #[default]
    Unknown,
}

impl<T> Fact<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown => None,
        }
    }

    /// Whether it was looked for and is not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T> From<Option<T>> for Fact<T> {
    /// The outcome of looking for something.
    fn from(found: Option<T>) -> Self {
        found.map_or(Self::Absent, Self::Known)
    }
}
