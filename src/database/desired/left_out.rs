//! What is asked and left out for a while because Neon or the server has refused it, so that everything else goes on. Pure.

use std::collections::BTreeMap;

use super::Desired;
use crate::api::NeonDatabaseStatus;
use crate::reconcile::Block;

/// Databases that are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftOut {
    /// Why, by their names.
    pub databases: BTreeMap<String, Block>,
    /// Names of the Secrets that lead to them.
    pub secrets: Vec<String>,
    /// Why settings of the compute are left as they were, by their names.
    pub settings: BTreeMap<String, Block>,
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
        self.left_out.databases = databases;
        self.left_out.secrets = out.into_iter().map(|secret| secret.name).collect();
        self
    }

    /// The same with what was last asked of Neon in the place of these settings of the compute.
    #[must_use]
    pub fn without_settings(
        mut self,
        settings: BTreeMap<String, Block>,
        recorded: Option<&NeonDatabaseStatus>,
    ) -> Self {
        let Ok(rest) = &mut self.rest else {
            return self;
        };
        let endpoint = recorded.and_then(|recorded| recorded.endpoint.as_ref());
        let before = endpoint.and_then(|endpoint| endpoint.requested.as_ref());
        for name in settings.keys() {
            match before.and_then(|before| before.settings.get(name)) {
                Some(value) => rest.compute.settings.insert(name.clone(), value.clone()),
                None => rest.compute.settings.remove(name),
            };
        }
        self.left_out.settings = settings;
        self
    }
}
