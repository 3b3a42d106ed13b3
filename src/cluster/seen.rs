//! An object as a watch has seen it: shared, so that whoever asks for all of them copies none.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use serde::{Deserialize, Deserializer};

/// An object, or what is wrong with it where it does not decode. The latter is apart, for it is rare and not small.
#[derive(Clone, Debug)]
pub struct Seen<K>(pub Result<Arc<K>, Box<InvalidObject>>);

impl<'de, K: Deserialize<'de> + Resource + Clone> Deserialize<'de> for Seen<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let guard = DeserializeGuard::<K>::deserialize(deserializer)?;
        // Decoded lists have room to grow, mostly for more than they hold, and a cached one never does; a copy has none.
        let object = guard.0.map(|decoded| Arc::new(decoded.clone()));
        Ok(Self(object.map_err(Box::new)))
    }
}

impl<K: Resource + Clone> Resource for Seen<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => Arc::make_mut(object).meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_decode_still_has_its_name() {
        let seen = |containers| -> Seen<Pod> {
            let meta = json!({"name": "odd"});
            let pod = json!({"metadata": meta, "spec": {"containers": containers}});
            serde_json::from_value(pod).unwrap()
        };
        for (containers, decodes) in [(json!([]), true), (json!("none"), false)] {
            let seen = seen(containers);
            assert_eq!(seen.meta().name.as_deref(), Some("odd"));
            assert_eq!(seen.0.is_ok(), decodes);
        }
    }

    #[test]
    fn what_is_kept_has_no_room_to_grow() {
        let containers = json!([{"name": "one", "args": ["a"]}]);
        let pod = json!({"metadata": {"name": "odd"}, "spec": {"containers": containers}});
        let seen: Seen<Pod> = serde_json::from_value(pod).unwrap();
        let containers = &seen.0.as_ref().unwrap().spec.as_ref().unwrap().containers;
        assert_eq!(containers.capacity(), 1);
        assert_eq!(containers[0].args.as_ref().unwrap().capacity(), 1);
    }

    #[test]
    fn a_change_of_one_holder_is_nobody_elses() {
        let one = Seen(Ok(Arc::new(Pod::default())));
        let mut other = one.clone();
        other.meta_mut().name = Some("other".to_owned());
        assert_eq!(one.meta().name, None);
    }
}
