//! What a branch of 1 GB costs where the file system can share blocks: from asking for it until a client has read of
//! it, beside the bound of one second, and beside a copy of the same folder.
//!
//! Operations take 4 ms here instead of the second that Neon's take, so what is measured is the emulator's own work.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise, and takes of the tests what it needs"
)]

#[path = "../tests/emulator/shares_blocks.rs"]
mod shares_blocks;
#[path = "../tests/emulator/support.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use neon_emulator::EmulatorConfig;
use serde_json::json;

use shares_blocks::{SharesBlocks, as_root};
use support::{Neon, Target, own, quick};

/// Bytes: the data, its log, and a copy of both.
const FILE_SYSTEM: u64 = 12 << 30;

/// Bytes that the table has at least.
const DATA: u64 = 1 << 30;

/// Seven to a page of 8 KiB.
const ROWS: u32 = 920_000;

/// Within this a branch is ready.
const BOUND: Duration = Duration::from_secs(1);

/// Forks in a row of the server that runs, and of the one that sleeps.
const FORKS: usize = 5;

fn main() {
    let shares = match SharesBlocks::make(FILE_SYSTEM) {
        Ok(shares) => shares,
        Err(reason) => {
            println!("a branch of 1 GB: not measured, it {reason}");
            return;
        }
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(measure(&shares.mounted));
}

async fn measure(mounted: &Path) {
    let data = mounted.join("data");
    let neon = own(EmulatorConfig {
        data_dir: Some(data.clone()),
        ..quick()
    });
    let main = neon.api.project().await;
    neon.sql(
        &main,
        &format!(
            "CREATE TABLE t AS
             SELECT n, repeat(md5(n::text), 31) AS x FROM generate_series(1, {ROWS}) n"
        ),
    );
    let size: u64 = neon
        .sql(&main, "SELECT pg_table_size('t')")
        .parse()
        .unwrap();
    assert!(size >= DATA, "{size}");
    let size = neon.sql(&main, "SELECT pg_size_pretty(pg_table_size('t'))");
    // to clone a file is to wait until it is on disk
    as_root(&["sync", "-f"], &[mounted]).unwrap();

    let last = neon.sql(&main, "SELECT max(ctid) FROM t");
    let running = forks(&neon, &main, "running", &last).await;
    let suspend = format!("{}/suspend", main.endpoint_path());
    let suspended = neon.api.post(&suspend, json!({}));
    neon.api.done(&main.project, suspended).await;
    let asleep = forks(&neon, &main, "asleep", &last).await;
    let copied = copy(&data.join("branches").join(&main.branch), mounted);
    let by_copy = neon.emulator.stats().files_copied;
    println!(
        "a branch of {size} is ready within {running:.2?} of a server that runs, {asleep:.2?} of one that sleeps \
         (slowest of {FORKS} each; bound {BOUND:?}), {by_copy} files copied (bound 0); a copy of the same folder without \
         clones takes {copied:.2?}",
    );
    assert_eq!(by_copy, 0, "files copied");
    assert!(running <= BOUND, "{running:?}");
    assert!(asleep <= BOUND, "{asleep:?}");
}

/// The slowest of some forks, each until a client has read a row of it.
async fn forks(neon: &Neon, of: &Target, state: &str, last: &str) -> Duration {
    let mut slowest = Duration::ZERO;
    for number in 0..FORKS {
        let begun = Instant::now();
        let child = neon.api.child(of, &format!("{state}-{number}")).await;
        let row = neon.sql(&child, &format!("SELECT n FROM t WHERE ctid = '{last}'"));
        slowest = slowest.max(begun.elapsed());
        assert_eq!(row, ROWS.to_string());
    }
    slowest
}

/// How long a copy of a folder takes that may share nothing, until it is on disk.
fn copy(folder: &Path, mounted: &Path) -> Duration {
    let begun = Instant::now();
    as_root(
        &["cp", "-r", "--reflink=never"],
        &[folder, &mounted.join("copy")],
    )
    .unwrap();
    as_root(&["sync", "-f"], &[mounted]).unwrap();
    begun.elapsed()
}
