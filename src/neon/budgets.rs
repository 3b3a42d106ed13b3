//! Whose budget the calls of a key come out of.
//!
//! Neon counts calls by account, and several keys may be of one. A key begins with a budget of its own; once Neon has
//! told whose it is, it shares the one of that account.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::Budget;

/// The budgets of the accounts that are known.
#[derive(Default)]
pub(super) struct Budgets {
    by_account: Mutex<HashMap<String, Arc<Budget>>>,
}

/// The budget of one key.
pub(super) struct KeyBudget {
    budgets: Arc<Budgets>,
    present: Mutex<Arc<Budget>>,
}

impl KeyBudget {
    /// One of its own, as long as nobody has told whose the key is.
    pub(super) fn new(own: Arc<Budget>, budgets: Arc<Budgets>) -> Self {
        Self {
            budgets,
            present: Mutex::new(own),
        }
    }

    /// What a call of this key comes out of.
    pub(super) fn present(&self) -> Arc<Budget> {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&present)
    }

    /// The key is of this account. The first key's own budget becomes the account's.
    pub(super) fn belongs_to(&self, account: &str) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let by_account = &self.budgets.by_account;
        let mut by_account = by_account.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = by_account.entry(account.to_owned());
        *present = Arc::clone(shared.or_insert_with(|| Arc::clone(&present)));
    }
}
