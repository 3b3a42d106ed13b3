//! Finalizers: nobody's change is undone, nothing is taken off the wrong incarnation.

use kube::api::DeleteParams;
use sepulki::cluster::{ErrorKind, ObjectId};
use serde_json::json;

use crate::widget::Bench;

const OURS: &str = "sepulki.dev/test";
const THEIRS: &str = "example.com/theirs";

fn list(finalizers: &[&str]) -> Vec<String> {
    finalizers.iter().map(|one| (*one).to_owned()).collect()
}

#[tokio::test]
async fn is_added_to_what_is_there_and_only_if_that_is_still_so() {
    let bench = Bench::new().await;
    let (id, _) = bench.widget("bare", json!({})).await;
    bench.objects.add_finalizer(&id, &[], OURS).await.unwrap();
    assert_eq!(bench.finalizers("bare").await, [OURS]);
    let again = bench
        .objects
        .add_finalizer(&id, &[], OURS)
        .await
        .unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict, "{again}");
    bench
        .objects
        .add_finalizer(&id, &list(&[OURS]), OURS)
        .await
        .unwrap();

    let (id, _) = bench
        .widget("shared", json!({"finalizers": [THEIRS]}))
        .await;
    let stale = bench
        .objects
        .add_finalizer(&id, &[], OURS)
        .await
        .unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Conflict, "{stale}");
    assert!(stale.message.contains("Widget"), "says what for: {stale}");
    assert_eq!(bench.finalizers("shared").await, [THEIRS]);
    bench
        .objects
        .add_finalizer(&id, &list(&[THEIRS]), OURS)
        .await
        .unwrap();
    assert_eq!(bench.finalizers("shared").await, [THEIRS, OURS]);
}

#[tokio::test]
async fn is_released_without_touching_others() {
    let bench = Bench::new().await;
    let (id, _) = bench
        .widget("w", json!({"finalizers": [THEIRS, OURS]}))
        .await;
    let stale = bench
        .objects
        .release_finalizer(&id, &list(&[OURS]), OURS)
        .await
        .unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Conflict, "{stale}");
    assert_eq!(bench.finalizers("w").await, [THEIRS, OURS]);
    bench
        .objects
        .release_finalizer(&id, &list(&[THEIRS, OURS]), OURS)
        .await
        .unwrap();
    assert_eq!(bench.finalizers("w").await, [THEIRS]);
    bench
        .objects
        .release_finalizer(&id, &list(&[THEIRS]), OURS)
        .await
        .unwrap();
}

#[tokio::test]
async fn another_incarnation_is_left_alone() {
    let bench = Bench::new().await;
    let (id, _) = bench.widget("w", json!({"finalizers": [OURS]})).await;
    let earlier = ObjectId {
        uid: "00000000-0000-0000-0000-000000000000".into(),
        ..id
    };
    let present = list(&[OURS]);
    let released = bench
        .objects
        .release_finalizer(&earlier, &present, OURS)
        .await
        .unwrap_err();
    assert_eq!(released.kind, ErrorKind::Conflict, "{released}");
    let added = bench
        .objects
        .add_finalizer(&earlier, &present, THEIRS)
        .await
        .unwrap_err();
    assert_eq!(added.kind, ErrorKind::Conflict, "{added}");
    assert_eq!(bench.finalizers("w").await, [OURS]);
}

#[tokio::test]
async fn the_last_release_lets_a_deleted_object_go_and_may_be_repeated() {
    let bench = Bench::new().await;
    let (id, _) = bench.widget("w", json!({"finalizers": [OURS]})).await;
    bench
        .widgets()
        .delete("w", &DeleteParams::default())
        .await
        .unwrap();
    let late = bench
        .objects
        .add_finalizer(&id, &list(&[OURS]), THEIRS)
        .await
        .unwrap_err();
    assert_eq!(late.kind, ErrorKind::Conflict, "{late}");
    bench
        .objects
        .release_finalizer(&id, &list(&[OURS]), OURS)
        .await
        .unwrap();
    assert!(bench.widgets().get_opt("w").await.unwrap().is_none());
    bench
        .objects
        .release_finalizer(&id, &list(&[OURS]), OURS)
        .await
        .unwrap();
}
