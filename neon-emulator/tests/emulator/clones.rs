//! Data on a file system that can share blocks.

use std::{path::Path, time::Duration};

use neon_emulator::{EmulatorConfig, Stats};
use serde_json::{Value, json};

use crate::shares_blocks::{SharesBlocks, as_root};
use crate::support::{Neon, Target, eventually, own, quick, text};

/// Bytes; few of them are ever written.
const SIZE: u64 = 2 << 30;

/// Long for a few megabytes, and less than what Linux lets them wait by itself: 30 seconds.
const WRITTEN_WITHIN: Duration = Duration::from_secs(15);

/// Does something, and says how many files it cloned. It must not have copied any.
async fn cloned<T>(neon: &Neon, what: impl Future<Output = T>) -> (T, u64) {
    let before = neon.emulator.stats().files_cloned;
    let done = what.await;
    let Stats {
        files_cloned,
        files_copied,
        ..
    } = neon.emulator.stats();
    assert_eq!(files_copied, 0);
    (done, files_cloned - before)
}

/// How many blocks of a file are on disk, and how many in memory alone.
fn blocks(file: &Path) -> (u64, u64) {
    let extents = as_root(&["filefrag", "-v"], &[file]).unwrap();
    let (mut on_disk, mut in_memory) = (0, 0);
    for extent in extents.lines() {
        let parts: Vec<&str> = extent.split(':').map(str::trim).collect();
        let range = parts.get(1).and_then(|range| range.split_once(".."));
        let bound = |text: &str| text.trim().parse::<u64>().ok();
        let Some((Some(first), Some(last))) = range.map(|(a, b)| (bound(a), bound(b))) else {
            continue;
        };
        let place = if extent.contains("delalloc") {
            &mut in_memory
        } else {
            &mut on_disk
        };
        *place += last - first + 1;
    }
    (on_disk, in_memory)
}

async fn call(neon: &Neon, of: &Target, path: &str, body: Value) -> Value {
    neon.api.done(&of.project, neon.api.post(path, body)).await
}

#[tokio::test]
async fn where_blocks_can_be_shared_nothing_is_copied() {
    let shares = SharesBlocks::make(SIZE).unwrap();
    let neon = own(EmulatorConfig {
        data_dir: Some(shares.mounted.join("data")),
        ..quick()
    });
    let (main, files) = cloned(&neon, neon.api.project()).await;
    assert!(files > 100, "a new project: {files}");
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let past = neon.sql(&main, "SELECT pg_current_wal_lsn()");
    neon.sql(&main, "INSERT INTO t VALUES (2)");
    let all = "SELECT string_agg(n::text, ',' ORDER BY n) FROM t";

    let (awake, files) = cloned(&neon, neon.api.child(&main, "awake")).await;
    assert!(files > 100, "from a running server: {files}");
    assert_eq!(neon.sql(&awake, all), "1,2");

    let suspend = format!("{}/suspend", main.endpoint_path());
    call(&neon, &main, &suspend, json!({})).await;
    let (_, files) = cloned(&neon, neon.api.child(&main, "asleep")).await;
    assert!(files > 100, "from one that sleeps: {files}");

    let branches = format!("/projects/{}/branches", main.project);
    let body = json!({
        "branch": {"name": "past", "parent_id": main.branch, "parent_lsn": past},
        "endpoints": [{"type": "read_write"}],
    });
    let (made, files) = cloned(&neon, call(&neon, &main, &branches, body)).await;
    assert!(files > 100, "from the past: {files}");
    let past = Target {
        branch: text(&made["branch"]["id"]),
        endpoint: text(&made["endpoints"][0]["id"]),
        host: text(&made["endpoints"][0]["host"]),
        ..main.clone()
    };
    assert_eq!(neon.sql(&past, all), "1");

    let body = json!({"source_branch_id": main.branch});
    let (_, files) = cloned(&neon, call(&neon, &main, &past.at("/restore"), body)).await;
    assert!(files > 100, "a reset: {files}");
    assert_eq!(neon.sql(&past, all), "1,2");
}

/// To clone a file is to wait until it is on disk.
#[tokio::test]
async fn what_is_loaded_in_bulk_goes_to_the_disk_before_somebody_waits_for_it() {
    let shares = SharesBlocks::make(SIZE).unwrap();
    let data = shares.mounted.join("data");
    let neon = own(EmulatorConfig {
        data_dir: Some(data.clone()),
        ..quick()
    });
    let main = neon.api.project().await;
    let load =
        "CREATE TABLE t AS SELECT repeat(md5(n::text), 31) AS x FROM generate_series(1, 200000) n";
    neon.sql(&main, load);
    let table = neon.sql(&main, "SELECT pg_relation_filepath('t')");
    let table = data.join(format!("branches/{}/data/{table}", main.branch));
    let written = eventually("the load to be written", async || {
        let (on_disk, in_memory) = blocks(&table);
        (in_memory * 10 < on_disk).then_some(on_disk)
    });
    let written = tokio::time::timeout(WRITTEN_WITHIN, written).await.unwrap();
    assert!(written > 40_000, "{written}");

    let (child, _) = cloned(&neon, neon.api.child(&main, "child")).await;
    assert_eq!(neon.sql(&child, "SELECT count(*) FROM t"), "200000");
}
