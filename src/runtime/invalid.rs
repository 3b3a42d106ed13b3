//! Objects that do not fit the schema of this version: said on the object, and nobody else is disturbed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{ConditionType, Reason, condition};
use crate::cluster::{ObjectId, Objects, Seen};

/// Writes on the object why it cannot be read, beside what its status records already.
pub(super) async fn report<K>(objects: &Objects, guard: &Seen<K>, error: &str, now: Timestamp)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    let id = ObjectId::of(guard);
    let generation = guard.meta().generation.unwrap_or_default();
    let version = guard.meta().resource_version.clone().unwrap_or_default();
    let stored = objects.get_raw(&id).await.ok().flatten();
    // the watch's error names the value but not the field
    let located = stored.clone().and_then(locate::<K>);
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
    // what is recorded there is needed again once the object is corrected
    let recorded = stored.and_then(|stored| stored.get("status")?.as_object().cloned());
    let mut status = recorded.unwrap_or_default();
    status.insert("observedGeneration".to_owned(), json!(generation));
    let conditions = json!([
        say(ConditionType::Ready, false),
        say(ConditionType::Reconciling, false),
        say(ConditionType::Stalled, true),
    ]);
    status.insert("conditions".to_owned(), conditions);
    let status = Value::Object(status);
    if let Err(error) = objects.write_status(&id, &version, &status).await {
        tracing::warn!(object = %id, %error, "cannot say on the object that it is invalid");
    }
}

/// An object that is being deleted, without those fields that do not fit: what is recorded in its status is enough to
/// know what becomes of it. Nothing where what is left makes no object either.
pub(super) async fn salvage<K>(objects: &Objects, guard: &Seen<K>) -> Option<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
{
    guard.meta().deletion_timestamp.as_ref()?;
    let stored = objects.get_raw(&ObjectId::of(guard)).await.ok()??;
    without_misfits(stored)
}

/// More fields than an object has.
const ENOUGH: usize = 64;

fn without_misfits<K: DeserializeOwned>(mut object: Value) -> Option<K> {
    for _ in 0..ENOUGH {
        let error = match serde_path_to_error::deserialize::<_, K>(object.clone()) {
            Ok(object) => return Some(object),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let mut path = path.split(['.', '[']);
        let (part, field) = (path.next()?, path.next()?);
        let part = object.get_mut(part)?.as_object_mut()?;
        part.remove(field)?;
        if field == "environment" {
            // the one whose defaults destroy nothing; what was resolved before is recorded
            part.insert(field.to_owned(), json!("production"));
        }
    }
    None
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

    #[test]
    fn what_fits_is_left_of_an_object_that_goes() {
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase",
            "metadata": {"name": "odd", "finalizers": ["sepulki.dev/branch"]},
            "spec": {
                "projectId": "p", "environment": "moon", "deletionPolicy": "Burn",
                "compute": {"minCU": "small", "maxCU": 1}, "roles": [{"name": "web", "access": "All"}],
            },
            "status": {"observedGeneration": 2, "effective": {"deletionPolicy": "Delete"}},
        });
        let left: NeonDatabase = without_misfits(object).unwrap();
        assert_eq!(left.spec.project_id.as_deref(), Some("p"));
        assert!(left.spec.roles.is_empty() && left.spec.deletion_policy.is_none());
        let effective = left.status.unwrap().effective.unwrap();
        assert_eq!(
            effective.deletion_policy,
            crate::api::DeletionPolicy::Delete
        );
        let incomplete = json!({"metadata": {}, "spec": {"projectId": "p"}});
        assert!(without_misfits::<NeonDatabase>(incomplete).is_none());
    }
}
