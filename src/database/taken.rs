//! Whose the name of a Secret is, where more than one ask for it. Pure.
//!
//! A Secret that is there is that of whoever published it. Where none is, the older of the objects that ask for the name has
//! it: otherwise a Secret that somebody deletes would come back with the credentials of another branch.

use std::sync::Arc;

use super::Databases;
use super::credentials::Found;
use super::desired::Desired;
use super::observe::is_older;
use crate::api::NeonDatabase;

impl Databases {
    /// Why this object cannot publish a Secret of this name; `found` is what lies there.
    pub(super) fn taken(
        &self,
        desired: &Desired,
        name: &str,
        found: Option<&Found>,
    ) -> Option<String> {
        if found.is_some_and(|found| found.ours) {
            return None;
        }
        let namespace = Some(&desired.mark.namespace);
        let mut others = self.world.cluster.databases();
        others.retain(|other| {
            other.metadata.namespace.as_ref() == namespace
                && other.metadata.uid.as_deref() != Some(&desired.uid)
        });
        let asks = |other: &NeonDatabase| match self.asked(other).rest {
            Ok(rest) => rest.secrets.iter().any(|secret| secret.name == name),
            // a mistake in its spec is no reason to take its name
            Err(_) => true,
        };
        match found {
            Some(found) => Some(published(name, found.publisher(), &others)),
            None => others
                .iter()
                .filter(|other| may_ask_for(other, name) && is_older(other, desired))
                .find(|other| asks(other))
                .map(|other| asked_for(name, other)),
        }
    }
}

/// What lies under the name was published by another object, or by nobody of ours.
fn published(name: &str, publisher: Option<&str>, others: &[Arc<NeonDatabase>]) -> String {
    let Some(publisher) = publisher else {
        return format!(
            "a Secret named {name} exists and was not published by this object: delete that one, or choose another name in \
             spec.connectionSecrets"
        );
    };
    let is_there = |other: &Arc<NeonDatabase>| other.metadata.name.as_deref() == Some(publisher);
    if others.iter().any(is_there) {
        format!(
            "the Secret {name} is that of NeonDatabase {publisher}: choose another name in spec.connectionSecrets"
        )
    } else {
        format!(
            "the Secret {name} leads to the branch that NeonDatabase {publisher} left when it went: choose another name in \
             spec.connectionSecrets, or delete that Secret once nobody needs it"
        )
    }
}

fn asked_for(name: &str, other: &NeonDatabase) -> String {
    let other = other.metadata.name.as_deref().unwrap_or_default();
    format!(
        "NeonDatabase {other}, which is older, asks for the Secret {name} as well: choose another name in \
         spec.connectionSecrets"
    )
}

/// Whether an object can ask for a Secret of this name at all, which costs nothing to tell: by default it has its own name.
fn may_ask_for(object: &NeonDatabase, name: &str) -> bool {
    let listed = &object.spec.connection_secrets;
    let is_named = if listed.is_empty() {
        object.metadata.name.as_deref() == Some(name)
    } else {
        listed.iter().any(|secret| secret.name.0 == name)
    };
    is_named && object.metadata.deletion_timestamp.is_none()
}
