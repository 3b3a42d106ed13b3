//! Who may start and end an environment's parts right now.

use std::{
    fs::{self, File},
    os::unix::fs::DirBuilderExt,
};

use anyhow::Context;

use super::Places;

/// The right to start and end an environment's parts: two commands at once would start everything
/// twice. Given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it, making the run folder where there is none; `None` if another command holds it.
    pub fn take(places: &Places) -> anyhow::Result<Option<Self>> {
        let run_dir = &places.run_dir;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(run_dir)
            .with_context(|| format!("make {}", run_dir.display()))?;
        let file = File::create(run_dir.join("lock")).context("make the lock file")?;
        Ok(file.try_lock().is_ok().then_some(Self { _file: file }))
    }

    /// Takes it or fails.
    pub fn require(places: &Places) -> anyhow::Result<Self> {
        Self::take(places)?.with_context(|| {
            format!(
                "another command is at work on the environment in {} right now",
                places.run_dir.display()
            )
        })
    }
}
