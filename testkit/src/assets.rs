//! The programs of the control plane: where they are, and how to get them.
//!
//! Looked up in the order of controller-runtime's envtest, then in the cache folder that
//! `testkit assets` fills ([`build()`]). Nothing is downloaded here.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, anyhow, bail};
use sha2::{Digest, Sha256};

mod build;

pub use build::build;

/// The wrapper module that pins what is built.
const MODULE_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/controlplane");
const GO_MOD: &str = include_str!("../controlplane/go.mod");
const GO_SUM: &str = include_str!("../controlplane/go.sum");

/// The oldest `kubectl` that serves; a newer server only makes it print a skew warning.
const OLDEST_KUBECTL: (u32, u32) = (1, 27);

/// Paths of the three programs that make a control plane.
#[derive(Debug, Clone)]
pub struct Assets {
    /// etcd, 3.5.13 or newer: older ones fail streaming lists.
    pub etcd: PathBuf,
    /// kube-apiserver.
    pub kube_apiserver: PathBuf,
    /// kube-controller-manager.
    pub kube_controller_manager: PathBuf,
}

impl Assets {
    /// Looks in `TEST_ASSET_ETCD`, `TEST_ASSET_KUBE_APISERVER` and `TEST_ASSET_KUBE_CONTROLLER_MANAGER`
    /// (a program each), in the folder `KUBEBUILDER_ASSETS`, and in the cache folder.
    ///
    /// # Errors
    /// If one is nowhere; the message names the ways out.
    pub fn find() -> anyhow::Result<Self> {
        Ok(Self {
            etcd: find("etcd")?,
            kube_apiserver: find("kube-apiserver")?,
            kube_controller_manager: find("kube-controller-manager")?,
        })
    }
}

fn find(program: &str) -> anyhow::Result<PathBuf> {
    let variable = format!("TEST_ASSET_{}", program.to_uppercase().replace('-', "_"));
    if let Some(path) = env::var_os(&variable).map(PathBuf::from) {
        return existing(&path)
            .with_context(|| format!("{variable} names a file that is not there"));
    }
    if let Some(dir) = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) {
        let path = dir.join(program);
        // envtest's archives carry no controller-manager: that one may come from the cache.
        if path.is_file() {
            return Ok(path);
        }
    }
    existing(&cache_dir()?.join(program)).map_err(|_| {
        anyhow!(
            "{program} is missing. Ways out: run `make assets` (builds it with Go {go}, about 5 minutes once); \
             or set KUBEBUILDER_ASSETS to a folder that holds etcd, kube-apiserver and kube-controller-manager; \
             or set {variable}",
            go = go_version(),
        )
    })
}

fn existing(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_file() {
        Ok(path.to_owned())
    } else {
        bail!("{} does not exist", path.display())
    }
}

/// A `kubectl` of 1.27 or newer: the one on `PATH`, else one beside the assets.
///
/// # Errors
/// If there is none; the message names the ways out.
pub fn kubectl() -> anyhow::Result<PathBuf> {
    match kubectl_on_path() {
        Some(path) => Ok(path),
        None => find("kubectl"),
    }
}

fn kubectl_on_path() -> Option<PathBuf> {
    let path = env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join("kubectl"))
        .find(|path| path.is_file())?;
    let output = Command::new(&path)
        .args(["version", "--client", "-o", "json"])
        .output()
        .ok()?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    // Packagers write minor versions such as "32+".
    let number = |key: &str| {
        let text = version
            .pointer(&format!("/clientVersion/{key}"))?
            .as_str()?;
        text.trim_end_matches('+').parse::<u32>().ok()
    };
    ((number("major")?, number("minor")?) >= OLDEST_KUBECTL).then_some(path)
}

/// Where built programs are kept: outside the tree, so that every checkout shares them, and named
/// after everything that went into them.
fn cache_dir() -> anyhow::Result<PathBuf> {
    let digest = hex(&Sha256::digest(GO_SUM));
    let key = digest.get(..12).unwrap_or(&digest).to_owned();
    Ok(user_cache_dir()?
        .join("sepulki/controlplane")
        .join(format!("{}-{key}", kubernetes_version()?)))
}

/// The XDG rule: `$XDG_CACHE_HOME` where set to an absolute path, else `~/.cache`.
pub(crate) fn user_cache_dir() -> anyhow::Result<PathBuf> {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("no cache folder: set HOME or XDG_CACHE_HOME")
}

/// `v1.36.3`, as go.mod pins it.
fn kubernetes_version() -> anyhow::Result<&'static str> {
    go_mod_value("k8s.io/kubernetes ").context("go.mod names no version of k8s.io/kubernetes")
}

fn go_version() -> &'static str {
    go_mod_value("go ").unwrap_or("as in go.mod")
}

/// The word after `prefix` in the line of go.mod that begins with it.
fn go_mod_value(prefix: &str) -> Option<&'static str> {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix(prefix)?.split_whitespace().next())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
