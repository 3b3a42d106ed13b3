//! The binary: it stops cleanly, and nothing outlives it when it is killed.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::support::{Api, eventually, text};

/// The binary on a data folder, and where its API is.
struct Binary {
    child: Child,
    api: Api,
}

fn start(data: &Path, operation_ms: u32) -> Binary {
    let mut child = Command::new(env!("CARGO_BIN_EXE_neon-emulator"))
        .args([
            "serve",
            "--api-key",
            "k",
            "--operation-ms",
            &operation_ms.to_string(),
        ])
        .arg("--data-dir")
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let url = first.strip_prefix("API").expect(&first).trim().to_owned();
    Binary {
        child,
        api: Api::new(url, "k".into()),
    }
}

fn signal(name: &str, child: &Child) {
    let command = format!("kill -{name} {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &command])
            .status()
            .unwrap()
            .success()
    );
}

/// The servers that run on data below a folder.
fn servers(data: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let wanted = data.to_str().unwrap().as_bytes();
    lines
        .filter(|line| line.windows(9).any(|part| part == b"/postgres"))
        .filter(|line| line.windows(wanted.len()).any(|part| part == wanted))
        .count()
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap()
}

#[tokio::test]
async fn sigterm_stops_the_servers_and_the_exit_is_clean() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut binary = start(&data, 4);
    binary.api.project().await;
    assert_eq!(servers(&data), 1);
    signal("TERM", &binary.child);
    assert!(binary.child.wait().unwrap().success());
    assert_eq!(servers(&data), 0);
    assert!(data.join("ca.crt").exists());
}

#[tokio::test]
async fn a_killed_emulator_takes_its_servers_along_and_its_work_is_finished_by_the_next() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut killed = start(&data, 4);
    let main = killed.api.project().await;
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    eventually("the servers to be gone", async || {
        (servers(&data) == 0).then_some(())
    })
    .await;

    let mut slow = start(&data, 60_000);
    let path = format!("/projects/{}/branches", main.project);
    let body = json!({"branch": {"name": "halfway"}, "endpoints": [{"type": "read_write"}]});
    let made = slow.api.post(&path, body).await.expect(201);
    slow.child.kill().unwrap();
    slow.child.wait().unwrap();

    let mut next = start(&data, 4);
    next.api.settle(&main.project).await;
    let branch = format!("{path}/{}", text(&made["branch"]["id"]));
    assert_eq!(
        next.api.get(&branch).await.expect(200)["branch"]["current_state"],
        "ready"
    );
    signal("INT", &next.child);
    assert!(next.child.wait().unwrap().success());
}
