//! What is set at the fault port happens, as often as it was asked for.

use neon_emulator::{Answer, Effect, Fault, Outcome};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Neon, Target, eventually, names, own, quick, text};

const BRANCHES: &str = "/projects/{project_id}/branches";

/// An emulator of the test's own: faults meet whoever calls.
async fn settled() -> (Neon, Target, String) {
    let neon = own(quick());
    let main = neon.api.project().await;
    let path = format!("/projects/{}/branches", main.project);
    (neon, main, path)
}

fn branch(name: &str) -> Value {
    json!({"branch": {"name": name}})
}

/// Waits until no operation runs, whatever became of them.
async fn unlocked(neon: &Neon, project: &str) {
    let path = format!("/projects/{project}/operations");
    let over =
        |operation: &Value| !matches!(operation["status"].as_str(), Some("scheduling" | "running"));
    eventually("the operations to end", async || {
        let listed = neon.api.get(&path).await.expect(200);
        listed["operations"]
            .as_array()
            .unwrap()
            .iter()
            .all(over)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn scripted_answers_come_instead_of_the_work_or_after_it() {
    let (neon, main, path) = settled().await;
    let fault = json!([
        {"method": "POST", "route": BRANCHES, "count": 2, "fault": "answer",
         "status": 429, "code": "SLOW", "message": "slow down", "retry_after": 7},
        {"method": "POST", "route": BRANCHES, "fault": "answer",
         "status": 524, "html": true, "after_work": true},
    ]);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let faults = neon.emulator.faults_url();
    let set = http.post(&faults).json(&fault).send().await.unwrap();
    assert_eq!(set.status(), 200);
    let listed: Value = set.json().await.unwrap();
    assert_eq!(listed[0]["count"], 2);

    let post = || {
        neon.api
            .request(Method::POST, &path)
            .json(&branch("a"))
            .send()
    };
    for _ in 0..2 {
        let refused = post().await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "7");
        let body: Value = refused.json().await.unwrap();
        assert_eq!(
            (text(&body["code"]), text(&body["message"])),
            ("SLOW".into(), "slow down".into())
        );
    }
    let shown = neon.api.get(&path).await.expect(200);
    assert_eq!(names(&shown["branches"]), ["main"], "nothing was done");
    let timed_out = post().await.unwrap();
    assert_eq!(timed_out.status(), 524);
    assert!(
        timed_out.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(
        timed_out
            .text()
            .await
            .unwrap()
            .starts_with("<!DOCTYPE html>")
    );
    neon.api.settle(&main.project).await;
    assert_eq!(
        post().await.unwrap().status(),
        409,
        "the work was done, and the faults are used up"
    );
    assert!(neon.emulator.faults().is_empty());

    let wrong = http
        .post(&faults)
        .json(&json!({"fault": "answer", "status": 200}));
    assert_eq!(wrong.send().await.unwrap().status(), 400);
    neon.emulator.set_fault(Fault::of(Effect::Drop)).unwrap();
    assert_eq!(http.delete(&faults).send().await.unwrap().status(), 204);
    assert!(neon.emulator.faults().is_empty());
}

#[tokio::test]
async fn a_dropped_answer_leaves_the_work_done() {
    let (neon, main, path) = settled().await;
    let fault = Fault::of(Effect::Drop).at("POST", BRANCHES);
    neon.emulator.set_fault(fault).unwrap();
    let lost = neon
        .api
        .request(Method::POST, &path)
        .json(&branch("lost"))
        .send();
    assert!(lost.await.is_err());
    neon.api.settle(&main.project).await;
    let shown = neon
        .api
        .get(&format!("{path}?sort_by=name"))
        .await
        .expect(200);
    assert_eq!(names(&shown["branches"]), ["main", "lost"]);
}

#[tokio::test]
async fn a_stale_list_shows_the_state_of_when_the_fault_was_set() {
    let (neon, main, path) = settled().await;
    let fault = Fault::of(Effect::Stale).at("GET", BRANCHES).times(2);
    neon.emulator.set_fault(fault).unwrap();
    neon.api
        .done(&main.project, neon.api.post(&path, branch("new")))
        .await;
    for expected in [1, 1, 2] {
        let shown = neon.api.get(&path).await.expect(200);
        assert_eq!(shown["branches"].as_array().unwrap().len(), expected);
    }
}

#[tokio::test]
async fn a_delayed_call_does_its_work_later() {
    let (neon, _main, path) = settled().await;
    let fault = Fault::of(Effect::Delay { milliseconds: 300 }).at("GET", BRANCHES);
    neon.emulator.set_fault(fault).unwrap();
    let started = std::time::Instant::now();
    neon.api.get(&path).await.expect(200);
    assert!(started.elapsed().as_millis() >= 300);
}

#[tokio::test]
async fn operations_fail_or_hang() {
    let (neon, main, path) = settled().await;
    let operation = |action: &str, outcome| {
        Fault::of(Effect::Operation {
            action: Some(action.into()),
            outcome,
        })
    };
    neon.emulator
        .set_fault(operation("create_branch", Outcome::Fail))
        .unwrap();
    let with_endpoint = json!({"branch": {"name": "a"}, "endpoints": [{"type": "read_write"}]});
    let made = neon.api.post(&path, with_endpoint).await.expect(201);
    let status = async |of: &Value, index: usize| {
        let id = text(&of["operations"][index]["id"]);
        let path = format!("/projects/{}/operations/{id}", main.project);
        text(&neon.api.get(&path).await.expect(200)["operation"]["status"])
    };
    eventually("the operations to end", async || {
        let ended = (status(&made, 0).await, status(&made, 1).await);
        (ended == ("failed".into(), "cancelled".into())).then_some(())
    })
    .await;

    neon.emulator
        .set_fault(operation("apply_config", Outcome::Hang))
        .unwrap();
    let role = json!({"role": {"name": "app"}});
    let hanging = neon.api.post(&main.at("/roles"), role).await.expect(201);
    eventually("the operation to run", async || {
        (status(&hanging, 0).await == "running").then_some(())
    })
    .await;
    assert_eq!(neon.api.post(&path, branch("b")).await.status, 423);
    neon.emulator.clear_faults();
    eventually("the operation to end", async || {
        (status(&hanging, 0).await == "finished").then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_is_on_its_way_to_a_branch_whose_making_has_failed() {
    let (neon, main, path) = settled().await;
    let child = neon.api.child(&main, "reset").await;
    let fail = |action: &str| {
        let fault = Fault::of(Effect::Operation {
            action: Some(action.into()),
            outcome: Outcome::Fail,
        });
        neon.emulator.set_fault(fault).unwrap();
    };
    let shown = async |of: &Target| neon.api.get(&of.at("")).await.expect(200)["branch"].clone();
    let abandoned = async |of: &Target, state: &str| {
        eventually("the operation to fail", async || {
            shown(of).await.get("pending_state").is_none().then_some(())
        })
        .await;
        assert_eq!(shown(of).await["current_state"], state);
    };

    fail("create_branch");
    let made = neon.api.post(&path, branch("lost")).await.expect(201);
    assert_eq!(made["branch"]["current_state"], "init");
    assert_eq!(made["branch"]["pending_state"], "ready");
    let lost = Target {
        branch: text(&made["branch"]["id"]),
        ..main.clone()
    };
    abandoned(&lost, "init").await;
    unlocked(&neon, &main.project).await;
    let of_it = json!({"branch": {"name": "child", "parent_id": lost.branch}});
    let refused = neon.api.post(&path, of_it).await;
    assert_eq!(refused.message(), "branch not ready yet");
    neon.api.delete(&lost.at("")).await.expect(200);
    unlocked(&neon, &main.project).await;

    // What a reset waits for can fail too: it is then not begun.
    fail("suspend_compute");
    let reset = json!({"source_branch_id": main.branch});
    let answer = neon.api.post(&child.at("/restore"), reset.clone()).await;
    assert_eq!(answer.expect(200)["branch"]["pending_state"], "ready");
    abandoned(&child, "resetting").await;
    unlocked(&neon, &main.project).await;
    let again = neon.api.post(&child.at("/restore"), reset).await;
    again.expect(200);
    eventually("the reset to be done", async || {
        (shown(&child).await["current_state"] == "ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_error_with_every_status_has_neons_form() {
    let (neon, _main, path) = settled().await;
    for status in [400, 402, 423, 500, 503] {
        let answer = Answer {
            status,
            message: "scripted".into(),
            ..Answer::default()
        };
        neon.emulator
            .set_fault(Fault::of(Effect::Answer(answer)))
            .unwrap();
        let said = neon.api.get(&path).await;
        assert_eq!((said.status, said.message()), (status, "scripted"));
    }
}
