//! Defaults that the schema of more than one kind names.

/// The generation that no spec has, so that an object nobody looked at does not count as current.
pub(super) fn unobserved() -> i64 {
    -1
}

/// Whether a field need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
