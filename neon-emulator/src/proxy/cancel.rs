//! Which server gave out which cancellation key. Cancel requests come on connections of their
//! own, without a host name in older clients, so the key is all there is to route them by.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// The keys of all live sessions.
#[derive(Default, Clone)]
pub(crate) struct CancelKeys {
    servers: Arc<Mutex<HashMap<Vec<u8>, PathBuf>>>,
}

/// A key that is known as long as this lives.
pub(crate) struct Registered {
    keys: CancelKeys,
    key: Vec<u8>,
}

impl CancelKeys {
    /// Notes a session's process id and key, as in `BackendKeyData`.
    pub(crate) fn register(&self, key: Vec<u8>, socket: &Path) -> Registered {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.insert(key.clone(), socket.to_path_buf());
        Registered {
            keys: self.clone(),
            key,
        }
    }

    /// The socket of the server that gave out a key.
    pub(crate) fn server(&self, key: &[u8]) -> Option<PathBuf> {
        self.servers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut servers = self
            .keys
            .servers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        servers.remove(&self.key);
    }
}
