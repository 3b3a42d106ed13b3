//! What the operator makes of many objects, in the simulated world: 1,000 previews of one project at once beside the time
//! that the account's calls and Neon's operations take, and 10,000 objects at rest beside 100 MiB and no write.
//!
//! Time is virtual in both, and Kubernetes and Neon are made up; passes, pacing, caches and stores are the operator's own.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark stops at the first surprise, measures time, and takes of the tests' world what it needs"
)]

#[path = "../tests/simulation/burst.rs"]
mod burst;
#[path = "../tests/simulation/restart.rs"]
mod restart;
#[path = "../tests/simulation/scene.rs"]
mod scene;
#[path = "../tests/simulation/world/mod.rs"]
mod world;

use std::alloc::System;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use jiff::SignedDuration;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use sepulki::cluster::Seen;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use world::operator::Operator;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PREVIEWS: usize = 1_000;

const PROJECTS: usize = 50;

/// Databases and migrations at rest.
const OBJECTS: usize = 10_000;

/// Databases per project: every fifth preview has a migration beside it.
const OF_EACH: usize = 167;

/// Two looks at every object after the first.
const A_WHILE: SignedDuration = SignedDuration::from_mins(2);

/// What the operator may keep of the objects at rest.
const MOST: usize = 100 << 20;

fn main() {
    let begun = Instant::now();
    in_virtual_time(previews());
    println!("  {:.0} s of real time", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    in_virtual_time(at_rest());
    println!("  {:.0} s of real time", begun.elapsed().as_secs_f64());
}

fn in_virtual_time(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work);
}

async fn previews() {
    let burst = burst::burst(PREVIEWS).await;
    println!("{}", burst.told());
    burst.check();
}

async fn at_rest() {
    let begun = Instant::now();
    let mut operator = restart::at_rest(PROJECTS, OF_EACH).await;
    println!(
        "  made within {:.0} s of real time",
        begun.elapsed().as_secs_f64()
    );
    let before = live();
    let stores = stores(&operator);
    let in_stores = live() - before;
    let start = restart::restart(&mut operator, A_WHILE).await;
    operator.forget_story();
    let kept = live() - before;
    drop(stores);
    println!(
        "{} settled objects: {} of heap, {} of it watched objects (bound {}); a restart found all in {} passes and {} calls \
         to Neon, and wrote nothing",
        start.objects,
        mib(kept),
        mib(in_stores),
        mib(MOST),
        start.passes,
        start.calls,
    );
    assert!(start.objects >= OBJECTS, "{} objects", start.objects);
    assert!(kept <= MOST, "{}", mib(kept));
}

/// Bytes on the heap.
fn live() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn mib(bytes: usize) -> String {
    let hundredths = bytes * 100 / (1 << 20);
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}

/// What the operator's watches keep of all objects, decoded as they are from the API server.
fn stores(operator: &Operator) -> impl Sized + use<> {
    let state = operator.sim.lock();
    let kubernetes = &state.kubernetes;
    let projects = stored(kubernetes.projects.values());
    let databases = stored(kubernetes.databases.values());
    let migrations = stored(kubernetes.migrations.values());
    (projects, databases, migrations)
}

fn stored<'a, K>(objects: impl Iterator<Item = &'a K>) -> Store<Seen<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned + 'static,
{
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        let text = serde_json::to_vec(object).unwrap();
        let seen: Seen<K> = serde_json::from_slice(&text).unwrap();
        writer.apply_watcher_event(&Event::InitApply(seen));
    }
    writer.apply_watcher_event(&Event::InitDone);
    store
}
