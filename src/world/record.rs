//! Writing the status of an object, of whichever kind.

use kube::Resource;
use kube::core::object::HasStatus;
use serde::Serialize;

use super::{World, at_cluster};
use crate::cluster::ObjectId;
use crate::reconcile::Error;

impl World {
    /// Writes the status on top of exactly the object that is given; answers the object as it then is.
    pub async fn write_status<K>(&self, object: &K, status: &K::Status) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + HasStatus + Clone + Sync,
        K::Status: Serialize + Clone + Sync,
    {
        let value = serde_json::to_value(status)
            .map_err(|error| Error::bug(format!("the status has no JSON form: {error}")))?;
        let version = object.meta().resource_version.clone().unwrap_or_default();
        let written = self
            .cluster
            .write_status(&ObjectId::of(object), &version, &value)
            .await
            .map_err(at_cluster)?;
        let mut object = object.clone();
        object.meta_mut().resource_version = Some(written);
        *object.status_mut() = Some(status.clone());
        Ok(object)
    }
}
