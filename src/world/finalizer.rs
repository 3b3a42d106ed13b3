//! Finalizers: an object is kept until what hangs on it is dealt with.

use kube::Resource;

use super::{World, at_cluster};
use crate::cluster::ObjectId;
use crate::reconcile::Error;

impl World {
    /// Adds a finalizer, and takes in the object's metadata as they then are. Fails where the spec was changed meanwhile: what
    /// was decided on is no longer what is asked.
    pub async fn add_finalizer<K>(&self, object: &mut K, finalizer: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Sync,
    {
        let id = ObjectId::of(object);
        let present = object.meta().finalizers.clone().unwrap_or_default();
        let added = self.cluster.add_finalizer(&id, &present, finalizer);
        let metadata = added.await.map_err(at_cluster)?;
        if metadata.generation != object.meta().generation {
            return Err(Error::conflict("the spec was changed meanwhile"));
        }
        *object.meta_mut() = metadata;
        Ok(())
    }

    /// Removes a finalizer. Fine where the object is gone.
    pub async fn release_finalizer<K>(&self, object: &mut K, finalizer: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Sync,
    {
        let id = ObjectId::of(object);
        let mut present = object.meta().finalizers.clone().unwrap_or_default();
        let released = self.cluster.release_finalizer(&id, &present, finalizer);
        released.await.map_err(at_cluster)?;
        present.retain(|other| other != finalizer);
        object.meta_mut().finalizers = Some(present);
        Ok(())
    }
}
