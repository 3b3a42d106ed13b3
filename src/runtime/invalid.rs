//! Objects that do not fit the schema of this version: said on the object, and nobody else is disturbed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::DeserializeGuard;
use serde_json::json;

use crate::api::{ConditionType, Reason, condition};
use crate::cluster::{ObjectId, Objects};

/// Writes on the object why it cannot be read. Its own status cannot be read either, so nothing of it is kept.
pub(super) async fn report<K>(
    objects: &Objects,
    guard: &DeserializeGuard<K>,
    error: &str,
    now: Timestamp,
) where
    K: Resource<DynamicType = ()>,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let id = ObjectId::of(guard);
    let generation = guard.meta().generation.unwrap_or_default();
    let version = guard.meta().resource_version.clone().unwrap_or_default();
    let message = format!(
        "the object does not fit the schema of this version of the operator, correct or delete it: {error}"
    );
    let say = |type_, is| -> Condition {
        condition(
            type_,
            is,
            Reason::InvalidObject,
            message.clone(),
            generation,
            now,
        )
    };
    let status = json!({
        "observedGeneration": generation,
        "conditions": [
            say(ConditionType::Ready, false),
            say(ConditionType::Reconciling, false),
            say(ConditionType::Stalled, true),
        ],
    });
    if let Err(error) = objects.write_status(&id, &version, &status).await {
        tracing::warn!(object = %id, %error, "cannot say on the object that it is invalid");
    }
}
