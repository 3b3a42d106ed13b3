//! A server that records what it is asked and answers, or fails to, as it is told. Plain TCP, because half an answer
//! and none at all are part of the contract.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use sepulki::neon::{
    Account, Accounts, Backoff, Call, CallObserver, ClientSettings, NeonAccounts, PacingRules,
};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The key that the tests use.
pub(crate) const KEY: &str = "napi_0123456789abcdef";

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers and keeps the connection.
    Answer {
        status: u16,
        headers: &'static str,
        body: String,
    },
    /// Promises more than it sends, then closes.
    Truncated(&'static str),
    /// Sends the beginning and no end.
    Stalled(&'static str),
    /// Closes without a word, the request being read.
    Lost,
}

pub(crate) fn answer(status: u16, body: &Value) -> Reply {
    with_headers(status, "", body)
}

pub(crate) fn with_headers(status: u16, headers: &'static str, body: &Value) -> Reply {
    Reply::Answer {
        status,
        headers,
        body: body.to_string(),
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method and path with query, such as `GET /api/v2/projects/p`.
    pub(crate) line: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    seen: Vec<Seen>,
    calls: Vec<Call>,
}

/// The server, and an account that calls it.
pub(crate) struct Stub {
    script: Arc<Mutex<Script>>,
    pub(crate) account: Arc<Account>,
}

struct Listener(Arc<Mutex<Script>>);

impl CallObserver for Listener {
    fn call(&self, call: &Call) {
        self.0.lock().unwrap().calls.push(*call);
    }
}

impl Stub {
    /// Answers the requests with these, in order; any request beyond them with 599.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = Arc::new(Mutex::new(Script {
            replies: replies.into_iter().collect(),
            ..Script::default()
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}/api/v2", listener.local_addr().unwrap());
        let served = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&served)));
            }
        });
        let observer = Arc::new(Listener(Arc::clone(&script)));
        let accounts = Accounts::new(settings(&host), observer).unwrap();
        let account = accounts.open(&KEY.into());
        Self { script, account }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script.lock().unwrap().seen.clone()
    }

    /// Method and path of every request.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    /// What the observer was told.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script.lock().unwrap().calls.clone()
    }
}

/// Hosted Neon's rules with waits that a test can sit out.
fn settings(host: &str) -> ClientSettings {
    let quick = |tries| Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
        tries,
    };
    let timeout = Duration::from_millis(500);
    ClientSettings {
        connect_timeout: timeout,
        read_timeout: timeout,
        mutation_timeout: timeout,
        pacing: PacingRules {
            calls_per_second: 1000,
            locked: quick(12),
            failed: quick(4),
            ..PacingRules::default()
        },
        ..ClientSettings::new(host.parse().unwrap())
    }
}

async fn serve(connection: TcpStream, script: Arc<Mutex<Script>>) {
    let mut connection = BufReader::new(connection);
    while let Some(seen) = request(&mut connection).await {
        let reply = {
            let mut script = script.lock().unwrap();
            script.seen.push(seen);
            script.replies.pop_front()
        };
        let (head, body, then) = match reply {
            None => (head(599, "", 0), String::new(), Then::KeepOpen),
            Some(Reply::Answer {
                status,
                headers,
                body,
            }) => (head(status, headers, body.len()), body, Then::KeepOpen),
            Some(Reply::Truncated(body)) => {
                (head(200, "", body.len() + 1), body.to_owned(), Then::Close)
            }
            Some(Reply::Stalled(body)) => {
                (head(200, "", body.len() + 1), body.to_owned(), Then::Stall)
            }
            Some(Reply::Lost) => (String::new(), String::new(), Then::Close),
        };
        let answer = format!("{head}{body}");
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        match then {
            Then::KeepOpen => {}
            Then::Close => return,
            Then::Stall => std::future::pending().await,
        }
    }
}

enum Then {
    KeepOpen,
    Close,
    Stall,
}

fn head(status: u16, headers: &str, length: usize) -> String {
    // An answer without content carries no length.
    let length = match status {
        204 => String::new(),
        _ => format!("content-length: {length}\r\n"),
    };
    format!("HTTP/1.1 {status} X\r\n{length}{headers}\r\n")
}

async fn request(connection: &mut BufReader<TcpStream>) -> Option<Seen> {
    let line = line(connection).await?;
    let line = line.strip_suffix(" HTTP/1.1").unwrap().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let header = self::line(connection).await?;
        let Some((name, value)) = header.split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    connection.read_exact(&mut body).await.ok()?;
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    Some(Seen {
        line,
        headers,
        body,
    })
}

async fn line(connection: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    match connection.read_line(&mut line).await {
        Ok(1..) => Some(line.trim_end().to_owned()),
        Ok(0) | Err(_) => None,
    }
}
