//! What is asked of a NeonProject: the spec parsed into types that cannot be wrong. Pure.
//!
//! Base branch and access rules are no business of this kind: who wants to use the project asks them.

use jiff::Timestamp;

use super::settings::Settings;
use crate::api::{Looks, NeonProject, PROJECT_FINALIZER};
use crate::cluster::KeyRef;
use crate::neon::ProjectId;
use crate::reconcile::{Block, looks};
use crate::world::key_of;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The object's name.
    pub name: String,
    /// The object's uid.
    pub uid: String,
    /// The object's generation.
    pub generation: i64,
    /// When the object was made: the older object wins a setting that two want.
    pub created: Option<Timestamp>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether our finalizer is on the object.
    pub has_finalizer: bool,
    /// What annotations ask: to look now, and to try again what was refused.
    pub asked: Looks,
    /// The Neon project.
    pub project: ProjectId,
    /// Where the API key is.
    pub key: KeyRef,
    /// The settings to be made, or what is wrong with them.
    pub settings: Result<Settings, Block>,
}

impl Desired {
    /// What the object asks.
    #[must_use]
    pub fn of(object: &NeonProject) -> Self {
        let meta = &object.metadata;
        let finalizers = meta.finalizers.iter().flatten();
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            deleting: meta.deletion_timestamp.is_some(),
            has_finalizer: finalizers.into_iter().any(|f| f == PROJECT_FINALIZER),
            asked: looks(meta.annotations.as_ref()),
            project: ProjectId::from(object.spec.project_id.as_str()),
            key: key_of(object),
            settings: Settings::asked(object.spec.settings.as_ref()),
        }
    }

    /// Who was there first; the uid decides between objects of the same second.
    #[must_use]
    pub fn age(&self) -> (Timestamp, &str) {
        (self.created.unwrap_or(Timestamp::MAX), &self.uid)
    }
}
