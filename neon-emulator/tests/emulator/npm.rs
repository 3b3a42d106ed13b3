//! Neon's own packages from npm, at the versions that are pinned here, in the user's cache folder.

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
};

/// The command line in its last version of its own and as it is now, and the library with the
/// API's description in it.
const PACKAGES: [&str; 3] = [
    "neonctl@2.34.1",
    "neon@6.2.3",
    "@neondatabase/api-client@2.7.3",
];

/// The folder in which the packages are installed. Installs them on first use.
pub(crate) fn installed() -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let npm = cache.expect("HOME is not set").join("sepulki/npm");
    let versions = PACKAGES
        .map(|package| package.replace(['@', '/'], "-"))
        .join("_");
    let folder = npm.join(versions);
    if folder.exists() {
        return folder;
    }
    fs::create_dir_all(&npm).unwrap();
    // Somebody else may be installing too: whoever is first with the rename wins.
    let partial = tempfile::Builder::new()
        .prefix("partial-")
        .tempdir_in(&npm)
        .unwrap();
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
        .args(["--loglevel=error", "--prefix"])
        .arg(partial.path())
        .args(PACKAGES)
        .output()
        .expect("npm is needed: install the packages nodejs and npm");
    assert!(
        output.status.success(),
        "npm install: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    if fs::rename(partial.path(), &folder).is_ok() {
        // Nothing is left to remove.
        let _gone = partial.keep();
    }
    assert!(folder.exists(), "cannot install into {}", folder.display());
    folder
}
