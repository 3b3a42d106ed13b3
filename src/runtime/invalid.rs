//! Objects that do not fit the schema of this version: said on the object, and nobody else is disturbed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::DeserializeGuard;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{ConditionType, Reason, condition};
use crate::cluster::{ObjectId, Objects};

/// Writes on the object why it cannot be read. Its own status cannot be read either, so nothing of it is kept.
pub(super) async fn report<K>(
    objects: &Objects,
    guard: &DeserializeGuard<K>,
    error: &str,
    now: Timestamp,
) where
    K: Resource<DynamicType = ()> + DeserializeOwned,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let id = ObjectId::of(guard);
    let generation = guard.meta().generation.unwrap_or_default();
    let version = guard.meta().resource_version.clone().unwrap_or_default();
    // the watch's error names the value but not the field
    let located = match objects.get_raw(&id).await {
        Ok(Some(object)) => locate::<K>(object),
        Ok(None) | Err(_) => None,
    };
    let error = located.as_deref().unwrap_or(error);
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

/// Which field does not fit and why; nothing where all of them do.
fn locate<K: DeserializeOwned>(object: Value) -> Option<String> {
    let error = serde_path_to_error::deserialize::<_, K>(object).err()?;
    let path = error.path().to_string();
    Some(format!("{path}: {}", error.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::NeonDatabase;

    #[test]
    fn what_does_not_fit_is_told_by_the_path_of_its_field() {
        let object = |min: Value| {
            json!({
                "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase", "metadata": {"name": "odd"},
                "spec": {"projectId": "p", "environment": "preview", "compute": {"minCU": min, "maxCU": 1}},
            })
        };
        let told = locate::<NeonDatabase>(object(json!("small"))).unwrap();
        assert!(told.starts_with("spec.compute.minCU: "), "{told}");
        assert!(told.contains("small"), "{told}");
        assert_eq!(locate::<NeonDatabase>(object(json!(0.25))), None);
    }
}
