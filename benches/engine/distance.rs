//! A server that is further away than it is: a relay that takes its time and counts round trips.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// A port of this machine behind which the server is.
pub(crate) struct Distance {
    pub(crate) port: u16,
    turns: Arc<AtomicUsize>,
}

impl Distance {
    /// Each direction takes half of `round_trip`.
    pub(crate) async fn to(socket: PathBuf, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let distance = Self {
            port: listener.local_addr().unwrap().port(),
            turns: Arc::default(),
        };
        let turns = distance.turns.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                let server = UnixStream::connect(&socket).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let spoke = Arc::new(AtomicBool::new(false));
                let (turns, heard) = (turns.clone(), spoke.clone());
                let asks = move || {
                    if !spoke.swap(true, Ordering::Relaxed) {
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                };
                let answers = move || heard.store(false, Ordering::Relaxed);
                tokio::spawn(carry(from_client, to_server, round_trip / 2, asks));
                tokio::spawn(carry(from_server, to_client, round_trip / 2, answers));
            }
        });
        distance
    }

    /// How often a client has spoken after the server, over all connections.
    pub(crate) fn turns(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }
}

/// Passes bytes on, each `late`, however many are under way.
async fn carry(
    mut from: impl AsyncReadExt + Unpin + Send + 'static,
    mut to: impl AsyncWriteExt + Unpin + Send + 'static,
    late: Duration,
    heard: impl Fn() + Send + 'static,
) {
    let (send, mut receive) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = receive.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        heard();
        let bytes = buffer.get(..read).unwrap_or_default().to_vec();
        if send.send((Instant::now() + late, bytes)).is_err() {
            return;
        }
    }
}
