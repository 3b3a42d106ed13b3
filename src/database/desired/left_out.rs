//! What is asked and left out for a while because Neon has refused it, so that everything else goes on. Pure.

use std::collections::BTreeMap;

use super::Desired;
use crate::reconcile::Block;

/// Databases that are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftOut {
    /// Why, by their names.
    pub databases: BTreeMap<String, Block>,
    /// Names of the Secrets that lead to them.
    pub secrets: Vec<String>,
}

impl Desired {
    /// The same without these databases and the Secrets that lead to them.
    #[must_use]
    pub fn without(mut self, databases: BTreeMap<String, Block>) -> Self {
        let Ok(rest) = &mut self.rest else {
            return self;
        };
        if databases.is_empty() {
            return self;
        }
        rest.databases.retain(|d| !databases.contains_key(&d.name));
        let secrets = std::mem::take(&mut rest.secrets);
        let (out, left) = secrets
            .into_iter()
            .partition(|secret| databases.contains_key(&secret.database));
        rest.secrets = left;
        self.left_out = LeftOut {
            databases,
            secrets: out.into_iter().map(|secret| secret.name).collect(),
        };
        self
    }
}
