//! Builds the control plane's programs from the pinned Go module into the cache folder.
//!
//! One after the other: each takes both cores and up to 2 GB already.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{MODULE_DIR, cache_dir, find, go_version, kubectl_on_path, kubernetes_version};
use crate::progress::show_elapsed;

/// What is built: the program's name, its Go package, what to expect.
const PROGRAMS: [(&str, &str, &str); 4] = [
    (
        "etcd",
        "go.etcd.io/etcd/server/v3",
        "a few seconds to a minute",
    ),
    (
        "kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "3 to 5 minutes",
    ),
    (
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "about a minute",
    ),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl", "about a minute"),
];

/// Builds what is missing, telling `progress` about each step. `kubectl` only where none that is
/// new enough is installed. Does nothing, quickly, where nothing is missing; two runs at once wait
/// for each other.
///
/// # Errors
/// If Go is missing or too old, or a build fails.
pub fn build(mut progress: impl FnMut(&str)) -> anyhow::Result<()> {
    let dir = cache_dir()?;
    if missing(&dir).next().is_none() {
        return Ok(());
    }
    require_go()?;
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let lock = File::create(dir.join(".lock")).context("make the lock file")?;
    if lock.try_lock().is_err() {
        progress("another run is building the control plane; waiting for it");
        lock.lock().context("wait for the other build")?;
    }
    let todo: Vec<_> = missing(&dir).collect();
    for (index, (program, package, duration)) in todo.iter().enumerate() {
        progress(&format!(
            "[{}/{}] building {program} {} ({duration}) …",
            index + 1,
            todo.len(),
            version_of(program)?
        ));
        let start = Instant::now();
        build_one(&dir, program, package)?;
        progress(&format!(
            "[{}/{}] built {program} in {} s",
            index + 1,
            todo.len(),
            start.elapsed().as_secs()
        ));
    }
    Ok(())
}

/// A program that a variable names wrongly but the cache holds is not missing: building would not help.
fn missing(dir: &Path) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    PROGRAMS.into_iter().filter(|(program, ..)| {
        !dir.join(program).is_file()
            && find(program).is_err()
            && (*program != "kubectl" || kubectl_on_path().is_none())
    })
}

fn version_of(program: &str) -> anyhow::Result<&'static str> {
    match program {
        "etcd" => super::go_mod_value("go.etcd.io/etcd/server/v3 ")
            .context("go.mod names no version of etcd"),
        _ => kubernetes_version(),
    }
}

/// Go new enough for the module must be installed: `GOTOOLCHAIN=local` keeps it from downloading another.
fn require_go() -> anyhow::Result<()> {
    let needed = go_version();
    let ways_out = format!(
        "install Go {needed} or newer (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder that \
         holds etcd, kube-apiserver and kube-controller-manager"
    );
    let Ok(output) = go().args(["env", "GOVERSION"]).output() else {
        bail!("Go is missing: {ways_out}");
    };
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!(
            "`go` does not work ({}): {ways_out}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    if numbers(&found) < numbers(needed) {
        bail!("{found} is too old: {ways_out}");
    }
    Ok(())
}

/// `go1.26.8` and `1.26.0` as comparable numbers.
fn numbers(version: &str) -> Vec<u32> {
    version
        .trim_start_matches("go")
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

fn go() -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(MODULE_DIR)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local");
    command
}

/// Builds under a temporary name and renames, so that a program in the cache is always whole.
fn build_one(dir: &Path, program: &str, package: &str) -> anyhow::Result<()> {
    let unfinished = dir.join(format!(".{program}.unfinished"));
    let mut child = go()
        .args([
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &linker_flags()?,
            "-o",
        ])
        .arg(&unfinished)
        .arg(package)
        .spawn()
        .with_context(|| format!("build {program}"))?;
    let (start, mut told) = (Instant::now(), Instant::now());
    let status = loop {
        let ended = child
            .try_wait()
            .with_context(|| format!("build {program}"))?;
        if let Some(status) = ended {
            break status;
        }
        show_elapsed(start, &mut told);
        thread::sleep(Duration::from_millis(200));
    };
    if !status.success() {
        bail!("building {program} failed; the messages are above");
    }
    fs::rename(&unfinished, dir.join(program)).with_context(|| format!("put {program} in place"))
}

/// Kubernetes takes its version from the linker; without these flags clients see v0.0.0.
fn linker_flags() -> anyhow::Result<String> {
    let version = kubernetes_version()?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let server = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {server}.gitVersion={version} -X {server}.gitMajor={major} -X {server}.gitMinor={minor} \
         -X k8s.io/client-go/pkg/version.gitVersion={version}"
    ))
}
