//! The control plane's state: a value in memory and a JSON file that survives the process.
//!
//! Every change happens on a copy that is written to the file before it becomes visible, so a
//! change is either whole or did not happen, and a restart sees what clients were told.

pub(crate) mod access;
pub(crate) mod model;
pub(crate) mod operation;
pub(crate) mod snapshot;

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;

use self::model::State;

tokio::task_local! {
    /// The state that reads see in the place of the present one.
    static AS_OF: Arc<State>;
}

/// Lets what `reader` reads be of another time.
pub(crate) async fn as_of<T>(then: Arc<State>, reader: impl Future<Output = T>) -> T {
    AS_OF.scope(then, reader).await
}

/// The state and its file.
pub(crate) struct Store {
    path: PathBuf,
    state: Mutex<State>,
}

impl Store {
    /// Opens `<dir>/state.json`, or starts empty where there is none.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("state.json");
        let state = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is not a state file of this version", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self {
            path,
            state: Mutex::new(state),
        })
    }

    /// Looks at the state. Must not block: everybody waits.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        if let Ok(then) = AS_OF.try_with(Arc::clone) {
            return look(&then);
        }
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state; on an error of `change` nothing has changed.
    ///
    /// A file that cannot be written is logged and costs only the survival of a restart.
    pub(crate) fn update<T, E>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.clone();
        let out = change(&mut next)?;
        if let Err(error) = self.write(&next) {
            tracing::error!(path = %self.path.display(), %error, "cannot write the state file");
        }
        *state = next;
        Ok(out)
    }

    /// Replaces the file in one step. It holds passwords, hence the mode.
    fn write(&self, state: &State) -> anyhow::Result<()> {
        let partial = self.path.with_extension("json.partial");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        fs::rename(&partial, &self.path)?;
        Ok(())
    }
}
