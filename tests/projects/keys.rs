//! Namespaces with keys of their own.

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use neon_emulator::{Call, EmulatorConfig, RateLimit};
use serde_json::{Value, json};
use testkit::operator::{Neon, Platform, Tenant};

use crate::{OPERATOR, alone};

const ORGANIZATION: &str = "org-sea-1";

/// What the operator allows itself of an account's budget.
const CALLS_PER_SECOND: usize = 8;

/// A call that begins in time may come in late on a busy machine, by as much as this.
const LATE: usize = 2;

fn database(name: &str, project: &str, environment: &str, branch: &Value, roles: &Value) -> Value {
    json!({
        "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase",
        "metadata": {"name": name},
        "spec": {
            "projectId": project,
            "environment": environment,
            "branch": branch,
            "databases": [{"name": "shop"}],
            "roles": roles,
        },
    })
}

fn production(name: &str, project: &str) -> Value {
    database(name, project, "production", &json!({}), &json!([]))
}

/// One's own default branch, and a child of it named `of`.
async fn own(tenant: &Tenant<'_>, of: &str) -> anyhow::Result<()> {
    let parent = json!({"parent": {"branchName": "main"}});
    let clerk = json!([{"name": "clerk", "access": "ReadWrite"}]);
    let project = tenant.project();
    tenant
        .apply(&production("own", project).to_string())
        .await?;
    let child = database(of, project, "development", &parent, &clerk);
    tenant.apply(&child.to_string()).await
}

async fn own_is_ready(tenant: &Tenant<'_>, of: &str) -> anyhow::Result<()> {
    tenant.database("own").ready().await?;
    tenant.database(of).ready().await?;
    Ok(())
}

async fn own_goes(tenant: &Tenant<'_>, of: &str) -> anyhow::Result<()> {
    for name in [of, "own"] {
        tenant.database(name).delete().await?;
    }
    for name in [of, "own"] {
        tenant.database(name).gone().await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_sees_or_changes_anything_through_anothers_key() -> anyhow::Result<()> {
    let _alone = alone().await;
    let platform = Platform::with_neon(EmulatorConfig {
        organizations: vec![ORGANIZATION.to_owned()],
        rate_limit: Some(RateLimit::default()),
        ..Neon::config()
    })
    .await?;
    let (blue, red, grey) = (
        platform.tenant().await?,
        platform.tenant().await?,
        platform.tenant().await?,
    );
    let neon = platform.neon();
    // two keys of one account, each for a project of its own, and one that is none
    for (tenant, name) in [(&blue, "blue"), (&red, "red")] {
        let key = neon.key_of(tenant.project(), name).await?;
        tenant.set_key(&key).await?;
    }
    grey.set_key("napi-none").await?;
    own(&blue, "blue").await?;
    own(&red, "red").await?;
    for stranger in [&red, &grey] {
        let stray = production("stray", blue.project());
        stranger.apply(&stray.to_string()).await?;
    }

    let begin = neon.emulator().calls().len();
    let operator = blue
        .operator_of_all(OPERATOR)
        .flag("--snapshot-interval=2s")
        .start()
        .await?;
    own_is_ready(&blue, "blue").await?;
    own_is_ready(&red, "red").await?;
    strays_are_told(&blue, &red, &grey).await?;
    for (tenant, of) in [(&blue, "blue"), (&red, "red")] {
        let found = branch_names(tenant).await?;
        ensure!(found == [of, "main"], "{of} has {found:?}");
    }
    tokio::try_join!(own_goes(&blue, "blue"), own_goes(&red, "red"))?;
    drop(operator);

    let calls = neon.emulator().calls().split_off(begin);
    each_key_did_its_own(&calls, &blue, &red)?;
    the_budget_held(&calls)
}

/// They are told what is wrong, nothing of what others hold, and are given nothing.
async fn strays_are_told(
    blue: &Tenant<'_>,
    red: &Tenant<'_>,
    grey: &Tenant<'_>,
) -> anyhow::Result<()> {
    for (stranger, reason, words) in [
        (red, "ProjectNotFound", "may not see it"),
        (grey, "KeyRefused", "pass authentication"),
    ] {
        let stray = stranger.database("stray");
        let said = stray.says("Stalled", "True", reason).await?;
        ensure!(said.contains(words), "{words} is not in: {said}");
        let status = stray.get().await?.at("/status").to_string();
        ensure!(
            !status.contains("br-") && !status.contains(blue.namespace()),
            "{status}"
        );
        let secrets = stranger.secrets().list(&ListParams::default()).await?;
        let mut names = secrets
            .items
            .iter()
            .filter_map(|it| it.metadata.name.as_deref());
        ensure!(names.all(|name| name != "stray"));
        stray.delete().await?;
        stray.gone().await?;
    }
    Ok(())
}

async fn branch_names(tenant: &Tenant<'_>) -> anyhow::Result<Vec<String>> {
    let branches = tenant.platform().neon().branches(tenant.project()).await?;
    let names = branches.iter().filter_map(|branch| branch["name"].as_str());
    // those that the operator named end with the object's name
    let mut names: Vec<String> = names
        .map(|name| name.rsplit('/').next().unwrap_or(name).to_owned())
        .collect();
    names.sort_by_key(|name| name == "main");
    Ok(names)
}

/// What each key was used for. The test itself calls with the user's own.
fn each_key_did_its_own(calls: &[Call], blue: &Tenant<'_>, red: &Tenant<'_>) -> anyhow::Result<()> {
    let below = |call: &Call, tenant: &Tenant<'_>| {
        call.path
            .starts_with(&format!("/projects/{}/", tenant.project()))
            || call.path == format!("/projects/{}", tenant.project())
    };
    for call in calls {
        let fine = match call.key.as_deref() {
            Some("emulator") => true,
            Some("blue") => below(call, blue) || call.path == "/auth",
            // it was tried on the other project, as asked for, and refused
            Some("red") => {
                below(call, red)
                    || call.path == "/auth"
                    || (below(call, blue) && call.method == "GET" && call.status == 404)
            }
            Some(_) => false,
            None => call.method == "GET" && call.status == 401,
        };
        ensure!(fine, "{call:?}");
    }
    for key in [Some("blue"), Some("red"), None] {
        let used = calls.iter().any(|call| call.key.as_deref() == key);
        ensure!(used, "nobody called with {key:?}");
    }
    Ok(())
}

/// That of the account, with both keys together: neither the operator's nor Neon's limit was passed.
fn the_budget_held(calls: &[Call]) -> anyhow::Result<()> {
    let account: Vec<&Call> = calls
        .iter()
        .filter(|call| call.account.as_deref() == Some(ORGANIZATION))
        .collect();
    ensure!(account.iter().all(|call| call.status != 429));
    let times: Vec<Timestamp> = account.iter().map(|call| call.at).collect();
    for seconds in [5, 10] {
        let most = busiest(&times, SignedDuration::from_secs(seconds));
        let allowed = CALLS_PER_SECOND * (usize::try_from(seconds)? + LATE);
        println!(
            "{} calls, at most {most} in {seconds} s (bound {allowed})",
            times.len()
        );
        ensure!(most <= allowed, "{most} calls in {seconds} s");
    }
    Ok(())
}

/// The most that came in within a span. `times` ascend.
fn busiest(times: &[Timestamp], span: SignedDuration) -> usize {
    let within = |(place, begin): (usize, &Timestamp)| {
        let rest = times.iter().skip(place);
        rest.take_while(|at| at.duration_since(*begin) < span)
            .count()
    };
    times
        .iter()
        .enumerate()
        .map(within)
        .max()
        .unwrap_or_default()
}
