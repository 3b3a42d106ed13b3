//! Status: whole, only over the state that was looked at, also where the object does not decode.

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, PostParams},
    core::{ApiResource, DeserializeGuard},
};
use sepulki::cluster::{ErrorKind, ObjectId};
use serde_json::{Value, json};

use crate::widget::{Bench, Widget};

impl Bench {
    fn untyped(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<Widget>(&());
        Api::namespaced_with(self.client(), &self.namespace, &resource)
    }

    async fn status(&self, name: &str) -> Value {
        self.untyped().get(name).await.unwrap().data["status"].clone()
    }
}

#[tokio::test]
async fn rests_on_the_state_that_was_looked_at() {
    let bench = Bench::new().await;
    let (id, made) = bench.widget("w", json!({})).await;
    let first = made.resource_version().unwrap();
    let status = json!({"observedGeneration": 1, "note": "one"});
    let second = bench
        .objects
        .write_status(&id, &first, &status)
        .await
        .unwrap();
    assert_ne!(first, second);

    let other = json!({"observedGeneration": 1, "note": "two"});
    let stale = bench
        .objects
        .write_status(&id, &first, &other)
        .await
        .unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Conflict, "{stale}");
    assert_eq!(bench.status("w").await, status);

    let same = bench
        .objects
        .write_status(&id, &second, &status)
        .await
        .unwrap();
    assert_eq!(second, same, "a status that says the same is no write");
    let third = bench
        .objects
        .write_status(&id, &second, &json!({"observedGeneration": 2}))
        .await
        .unwrap();
    assert_ne!(second, third);
    assert_eq!(
        bench.status("w").await,
        json!({"observedGeneration": 2}),
        "what is left out goes"
    );
}

#[tokio::test]
async fn of_an_object_that_is_gone_or_another_is_refused() {
    let bench = Bench::new().await;
    let (id, made) = bench.widget("w", json!({})).await;
    let version = made.resource_version().unwrap();
    bench
        .widgets()
        .delete("w", &DeleteParams::default())
        .await
        .unwrap();
    let gone = bench
        .objects
        .write_status(&id, &version, &json!({"note": "x"}))
        .await
        .unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound, "{gone}");
    bench.widget("w", json!({})).await;
    let another = bench
        .objects
        .write_status(&id, &version, &json!({"note": "x"}))
        .await
        .unwrap_err();
    assert_eq!(another.kind, ErrorKind::Conflict, "{another}");
    assert_eq!(bench.status("w").await, Value::Null);
}

#[tokio::test]
async fn that_the_schema_refuses_is_invalid() {
    let bench = Bench::new().await;
    let (id, made) = bench.widget("w", json!({})).await;
    let version = made.resource_version().unwrap();
    let refused = bench
        .objects
        .write_status(&id, &version, &json!({"observedGeneration": "one"}))
        .await
        .unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    assert!(refused.message.contains("observedGeneration"), "{refused}");
}

#[tokio::test]
async fn an_object_that_does_not_decode_can_be_told_so() {
    let bench = Bench::new().await;
    let odd = json!({"apiVersion": "test.sepulki.dev/v1", "kind": "Widget", "metadata": {"name": "odd"}, "spec": {"size": "big"}});
    let odd: DynamicObject = serde_json::from_value(odd).unwrap();
    bench
        .untyped()
        .create(&PostParams::default(), &odd)
        .await
        .unwrap();
    let guarded = Api::<DeserializeGuard<Widget>>::namespaced(bench.client(), &bench.namespace);
    let read = guarded.get("odd").await.unwrap();
    assert!(read.0.is_err());

    let id = ObjectId::of(&read);
    let version = read.resource_version().unwrap();
    let status = json!({"note": "cannot be decoded"});
    bench
        .objects
        .write_status(&id, &version, &status)
        .await
        .unwrap();
    assert_eq!(bench.status("odd").await, status);
    let after = bench.untyped().get("odd").await.unwrap();
    assert_eq!(
        after.data["spec"],
        json!({"size": "big"}),
        "the spec stays as it was"
    );
}
