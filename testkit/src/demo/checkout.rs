//! A copy of the manifests and migrations, for the demo to edit as people edit their own: the repository
//! itself stays as it is.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::environment::repository;

/// What is copied. The manifests refer to the migrations by a relative path, so places stay the same.
const FOLDERS: [&str; 2] = ["deploy/examples", "migrations"];
/// The migration that the demo adds.
pub(crate) const NEW_FILE: &str = "004_add_robot_firmware_channel.sql";
const NEW_SQL: &str = include_str!("../../demo/004_add_robot_firmware_channel.sql");

/// Makes the copy in `dir`, the new migration beside it, and gives the copy's folder.
pub(crate) fn make(dir: &Path) -> anyhow::Result<PathBuf> {
    let checkout = dir.join("checkout");
    for folder in FOLDERS {
        copy(&repository()?.join(folder), &checkout.join(folder))?;
    }
    write(&dir.join(NEW_FILE), NEW_SQL)?;
    Ok(checkout)
}

/// The tables that the copy's migrations create, from their text: the lines are written `CREATE TABLE name (`.
pub(crate) fn tables(checkout: &Path) -> anyhow::Result<Vec<String>> {
    let mut tables = Vec::new();
    for file in files(&checkout.join("migrations"))? {
        if file.extension().is_some_and(|extension| extension == "sql") {
            let text =
                fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
            let names = text.lines().filter_map(|line| {
                line.strip_prefix("CREATE TABLE ")?
                    .split_whitespace()
                    .next()
            });
            tables.extend(names.map(str::to_owned));
        }
    }
    Ok(tables)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for path in files(from)? {
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            // Not fs::copy: the copy can be written to, whatever the original's permissions are.
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            write(&to.join(name), &text)?;
        }
    }
    Ok(())
}

fn files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .with_context(|| format!("look into {}", dir.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_has_the_platforms_tables() {
        let dir = tempfile::tempdir().unwrap();
        let checkout = make(dir.path()).unwrap();
        let tables = tables(&checkout).unwrap();
        assert_eq!(tables.len(), 17, "{tables:?}");
        assert!(tables.contains(&"telemetry_data".to_owned()));
        assert!(checkout.join("deploy/examples/pull-request").is_dir());
    }
}
