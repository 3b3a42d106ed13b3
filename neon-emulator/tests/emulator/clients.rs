//! Neon's own clients, unmodified: `tests/clients/drive.mjs` leads each through a project's life.

use tokio::process::Command;

use crate::{npm, support::shared};

async fn drive(arguments: &[&str]) {
    let folder = tokio::task::spawn_blocking(npm::installed).await.unwrap();
    let neon = shared();
    let (kind, package) = (arguments[0], arguments.get(1));
    let output = Command::new("node")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/clients/drive.mjs"
        ))
        .arg(kind)
        .arg(folder)
        .args(package)
        .env("NEON_API_HOST", neon.emulator.api_url())
        .env("NEON_API_KEY", neon.emulator.api_key())
        .env("PGPORT", neon.emulator.pg_port().to_string())
        .env("NO_PROXY", "127.0.0.1")
        .env("CI", "true")
        .output()
        .await
        .expect("node is needed: install the packages nodejs and npm");
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn the_command_line_neonctl_works() {
    drive(&["cli", "neonctl"]).await;
}

#[tokio::test]
async fn the_command_line_neon_works() {
    drive(&["cli", "neon"]).await;
}

#[tokio::test]
async fn the_library_api_client_works() {
    drive(&["api"]).await;
}
