//! Settings that NeonProjects make on Neon.

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{says, stalled};
use crate::project::{begin, preview, project, sea_with_a_preview};
use crate::scene::settled;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn only_what_is_set_is_managed_and_drift_is_corrected() {
    let mut operator = settled(sea_with_a_preview).await;
    let set = |operator: &Operator, change: Value| {
        operator.sim.edit_project("sea", |sea| {
            sea.spec.settings = serde_json::from_value(change).unwrap();
        });
    };
    operator.sim.at_neon(|project, _| {
        project.history_retention_seconds = 60;
        let ips = serde_json::from_value(json!({"ips": ["::1"]})).unwrap();
        project.settings.allowed_ips = Some(ips);
    });
    operator.run_for(MINUTE * 62).await;
    operator.settle().await;
    operator.sim.at_neon(|project, _| {
        assert_eq!(project.history_retention_seconds, 7 * 86_400);
        assert!(project.settings.allowed_ips.is_some());
    });
    // what is taken away stays as it is
    set(&operator, json!({"allowedIPs": []}));
    operator.settle().await;
    operator.sim.at_neon(|project, _| {
        assert_eq!(project.history_retention_seconds, 7 * 86_400);
        let quota = project.settings.quota.clone().unwrap();
        assert_eq!(quota.active_time_seconds, Some(500 * 3600));
        assert_eq!(project.settings.allowed_ips.clone().unwrap().ips, [""; 0]);
    });
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_is_refused_keeps_no_database_back() {
    let settings = [
        (json!({"historyRetention": "30d"}), Reason::NeonRejected),
        (
            json!({"historyRetention": "99999999999999999d"}),
            Reason::InvalidSpec,
        ),
    ];
    for (settings, reason) in settings {
        let mut operator = begin(|sim| {
            sea_with_a_preview(sim);
            sim.edit_project("sea", |sea| {
                sea.spec.settings = serde_json::from_value(settings).unwrap();
            });
        });
        operator.run_for(MINUTE).await;
        stalled(&project(&operator, "sea"), reason);
        let preview = preview(&operator, "preview");
        assert!(preview.is_settled(), "{:?}", preview.conditions());
    }
}

#[tokio::test(start_paused = true)]
async fn what_neon_makes_of_a_value_is_shown_and_not_fought_over() {
    let mut operator = settled(sea_with_a_preview).await;
    operator.sim.edit_project("sea", |sea| {
        let odd = json!({"quota": {"activeTime": "61m"}});
        sea.spec.settings = serde_json::from_value(odd).unwrap();
    });
    operator.settle().await;
    let calls = operator.sim.lock().neon.calls.mutations.len();
    operator.run_for(MINUTE * 130).await;
    assert_eq!(operator.sim.lock().neon.calls.mutations.len(), calls);
    let sea = project(&operator, "sea");
    assert!(sea.is_settled());
    let shown = json!({"quota": {"activeTime": "1h"}});
    assert_eq!(json!(sea.status.unwrap().settings), shown);
}

#[tokio::test(start_paused = true)]
async fn an_annotation_has_everything_looked_at_at_once_and_sent_again() {
    let mut operator = settled(sea_with_a_preview).await;
    operator.sim.edit_project("sea", |sea| {
        let odd = json!({"quota": {"activeTime": "61m"}});
        sea.spec.settings = serde_json::from_value(odd).unwrap();
    });
    operator.settle().await;
    let annotate = |operator: &Operator, key: &str| {
        operator.sim.edit_project("sea", |sea| {
            let annotations = sea.metadata.annotations.get_or_insert_default();
            annotations.insert(format!("sepulki.dev/{key}"), "now".to_owned());
        });
    };
    let calls = |operator: &Operator| {
        let state = operator.sim.lock();
        let calls = &state.neon.calls;
        (calls.looks + calls.listings, calls.mutations.len())
    };
    let before = calls(&operator);
    annotate(&operator, "reconcile");
    operator.settle().await;
    let looked = calls(&operator);
    assert!(looked.0 > before.0 && looked.1 == before.1);
    annotate(&operator, "retry");
    operator.settle().await;
    assert_eq!(calls(&operator).1, looked.1 + 1);
    assert!(project(&operator, "sea").is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_value_that_neon_refuses_is_told_in_its_words() {
    let mut operator = settled(sea_with_a_preview).await;
    let retention = |text: &str| json!({"historyRetention": text});
    operator.sim.edit_project("sea", |sea| {
        sea.spec.settings = serde_json::from_value(retention("30d")).unwrap();
    });
    operator.run_for(MINUTE).await;
    let message = stalled(&project(&operator, "sea"), Reason::NeonRejected);
    says(
        &message,
        &["historyRetention 30d", "exceeds allowed maximum"],
    );
    // those that use the project go on
    assert!(preview(&operator, "preview").is_settled());
    operator.sim.edit_project("sea", |sea| {
        sea.spec.settings = serde_json::from_value(retention("6d")).unwrap();
    });
    operator.settle().await;
    assert!(project(&operator, "sea").is_settled());
}

#[tokio::test(start_paused = true)]
async fn of_two_that_want_one_setting_otherwise_the_older_has_it() {
    let mut operator = begin(|sim| {
        sim.project("first", json!({"settings": {"historyRetention": "6d"}}));
        sim.clock.advance(SignedDuration::from_secs(5));
        let second = json!({"settings": {"historyRetention": "2d", "quota": {"activeTime": "5h"}}});
        sim.project("second", second);
    });
    operator.settle().await;
    operator.run_for(MINUTE * 5).await;
    assert!(project(&operator, "first").is_settled());
    let message = stalled(&project(&operator, "second"), Reason::SettingClaimed);
    says(&message, &["historyRetention", "NeonProject first", "6d"]);
    operator.sim.at_neon(|project, _| {
        assert_eq!(project.history_retention_seconds, 6 * 86_400);
        // what nobody quarrels about is made
        let quota = project.settings.quota.clone().unwrap();
        assert_eq!(quota.active_time_seconds, Some(5 * 3600));
    });
    // the older gives way
    let now = operator.sim.now();
    operator.sim.lock().kubernetes.delete_project("first", now);
    operator.run_for(MINUTE * 2).await;
    operator.settle().await;
    assert!(project(&operator, "second").is_settled());
    operator
        .sim
        .at_neon(|project, _| assert_eq!(project.history_retention_seconds, 2 * 86_400));
}
