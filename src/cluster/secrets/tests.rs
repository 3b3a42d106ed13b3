//! Pacing, ages and memory of Secret reads, in tokio's paused time.

use futures::future::join_all;
use k8s_openapi::ByteString;
use tokio::time::advance;

use super::*;
use crate::cluster::{Error, ErrorKind};

/// Secrets that tests write, and when they were read.
#[derive(Default)]
struct Source {
    /// One entry each.
    secrets: Mutex<HashMap<String, (&'static str, &'static [u8])>>,
    reads: Mutex<Vec<(String, Instant)>>,
    broken: Mutex<bool>,
}

impl SecretSource for Arc<Source> {
    async fn secret(&self, _namespace: &str, name: &str) -> Result<Option<Secret>> {
        self.reads
            .lock()
            .unwrap()
            .push((name.to_owned(), monotonic()));
        if *self.broken.lock().unwrap() {
            return Err(Error::new(ErrorKind::Unavailable, "away"));
        }
        let secrets = self.secrets.lock().unwrap();
        Ok(secrets.get(name).map(|(key, value)| Secret {
            data: Some(BTreeMap::from([(
                (*key).to_owned(),
                ByteString(value.to_vec()),
            )])),
            ..Secret::default()
        }))
    }
}

impl Source {
    fn set(&self, name: &str, key: &'static str, value: &'static [u8]) {
        self.secrets
            .lock()
            .unwrap()
            .insert(name.to_owned(), (key, value));
    }

    fn count(&self) -> usize {
        self.reads.lock().unwrap().len()
    }
}

fn reads() -> (Arc<Source>, SecretReads<Arc<Source>>) {
    let source = Arc::new(Source::default());
    (Arc::clone(&source), SecretReads::new(source))
}

fn at(name: &str, key: &str) -> KeyRef {
    KeyRef {
        namespace: "team".into(),
        name: name.into(),
        key: key.into(),
    }
}

async fn value(reads: &SecretReads<Arc<Source>>, at: &KeyRef, freshness: Freshness) -> String {
    match reads.key(at, freshness).await.unwrap() {
        KeyRead::Found(value) => value.expose_secret().to_owned(),
        KeyRead::NoSecret => "no secret".into(),
        KeyRead::NoKey => "no key".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_read_once_a_minute_however_many_ask() {
    let (source, reads) = reads();
    source.set("neon", "apiKey", b"one");
    let key = at("neon", "apiKey");
    let answers = join_all((0..50).map(|_| value(&reads, &key, Freshness::Recent))).await;
    assert!(answers.iter().all(|answer| answer == "one"));
    assert_eq!(source.count(), 1);

    source.set("neon", "apiKey", b"two");
    advance(Duration::from_secs(59)).await;
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "one");
    advance(Duration::from_secs(1)).await;
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "two");
    assert_eq!(source.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_insists_gets_what_is_there_now() {
    let (source, reads) = reads();
    let key = at("neon", "apiKey");
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "no secret");
    source.set("neon", "apiKey", b"one");
    advance(Duration::from_secs(2)).await;
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "no secret");
    assert_eq!(value(&reads, &key, Freshness::Now).await, "one");
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "one");
    assert_eq!(source.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_is_read_anew_once_and_not_by_everybody_who_uses_it() {
    let (source, reads) = reads();
    let key = at("neon", "apiKey");
    source.set("neon", "apiKey", b"one");
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "one");
    source.set("neon", "apiKey", b"two");
    advance(Duration::from_secs(1)).await;
    // corrected a moment before it was refused
    assert_eq!(value(&reads, &key, Freshness::Refused).await, "two");
    let before = source.count();
    // refused as well, to many that come minute by minute
    for _ in 0..100 {
        advance(Duration::from_secs(6)).await;
        value(&reads, &key, Freshness::Recent).await;
        value(&reads, &key, Freshness::Refused).await;
    }
    let reads_in_ten_minutes = source.count() - before;
    assert!(reads_in_ten_minutes <= 20, "{reads_in_ten_minutes}");
    source.set("neon", "apiKey", b"three");
    advance(Duration::from_mins(1)).await;
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "three");
}

#[tokio::test(start_paused = true)]
async fn two_keys_of_a_secret_cost_one_read() {
    let (source, reads) = reads();
    source.set("neon", "apiKey", b"one");
    assert_eq!(
        value(&reads, &at("neon", "apiKey"), Freshness::Recent).await,
        "one"
    );
    assert_eq!(
        value(&reads, &at("neon", "other"), Freshness::Recent).await,
        "no key"
    );
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_line_end_of_a_file_is_no_part_of_the_key() {
    let (source, reads) = reads();
    for (name, bytes, expected) in [
        ("file", &b"one\n"[..], "one"),
        ("dos", b"one\r\n", "one"),
        ("blank", b" one", " one"),
        ("empty", b"\n", "no key"),
        ("binary", &[0xff, 0xfe], "no key"),
    ] {
        source.set(name, "apiKey", bytes);
        assert_eq!(
            value(&reads, &at(name, "apiKey"), Freshness::Recent).await,
            expected,
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_five_reads_in_any_second_in_the_order_asked() {
    let (source, reads) = reads();
    let names: Vec<String> = (0..23).map(|n| format!("secret-{n:02}")).collect();
    join_all(names.iter().enumerate().map(async |(n, name)| {
        if n % 2 == 0 {
            reads.published("team", name).await.unwrap();
        } else {
            value(&reads, &at(name, "apiKey"), Freshness::Recent).await;
        }
    }))
    .await;
    let done = source.reads.lock().unwrap().clone();
    let order: Vec<_> = done.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(order, names);
    for window in done.windows(READS_PER_SECOND + 1) {
        let took = window[READS_PER_SECOND].1 - window[0].1;
        assert!(took >= Duration::from_secs(1), "{window:?}");
    }
    let last = done.last().unwrap().1 - done[0].1;
    assert!(
        last < Duration::from_millis(4100),
        "and no slower than that: {last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn looks_that_can_wait_keep_nobody_waiting_and_are_within_the_ration() {
    let (source, reads) = reads();
    let can_wait = async {
        let mut seen = 0;
        // far more than there is time for
        for n in 0..1_000 {
            let began = monotonic();
            let glance = reads.glance("team", &format!("old-{n}")).await.unwrap();
            assert_eq!(monotonic(), began, "it waited");
            seen += usize::from(matches!(glance, Glance::Seen(_)));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        seen
    };
    let cannot_wait = async {
        let mut longest = Duration::ZERO;
        for n in 0..10 {
            tokio::time::sleep(Duration::from_millis(970)).await;
            let began = monotonic();
            reads.published("team", &format!("new-{n}")).await.unwrap();
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let (seen, longest) = tokio::join!(can_wait, cannot_wait);
    assert!((30..=40).contains(&seen), "{seen} in ten seconds");
    assert_eq!(longest, Duration::ZERO);
    let done = source.reads.lock().unwrap().clone();
    for window in done.windows(READS_PER_SECOND + 1) {
        let took = window[READS_PER_SECOND].1 - window[0].1;
        assert!(took >= Duration::from_secs(1), "{window:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_no_answer() {
    let (source, reads) = reads();
    let key = at("neon", "apiKey");
    *source.broken.lock().unwrap() = true;
    assert_eq!(
        reads.key(&key, Freshness::Recent).await.unwrap_err().kind,
        ErrorKind::Unavailable
    );
    *source.broken.lock().unwrap() = false;
    source.set("neon", "apiKey", b"one");
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "one");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_gives_up_does_not_hold_up_the_next() {
    let (source, reads) = reads();
    source.set("neon", "apiKey", b"one");
    let key = at("neon", "apiKey");
    for n in 0..READS_PER_SECOND {
        reads.published("team", &n.to_string()).await.unwrap();
    }
    let waiting = tokio::time::timeout(
        Duration::from_millis(10),
        reads.key(&key, Freshness::Recent),
    );
    assert!(waiting.await.is_err(), "has to wait for its turn");
    assert_eq!(value(&reads, &key, Freshness::Recent).await, "one");
}

#[tokio::test(start_paused = true)]
async fn the_last_good_key_outlives_its_secret_but_not_a_day_of_disuse() {
    let (source, reads) = reads();
    let (key, other) = (at("neon", "apiKey"), at("neon", "other"));
    assert!(reads.last_good(&key).is_none());
    reads.remember_good(&key, &SecretString::from("one"));
    assert_eq!(value(&reads, &key, Freshness::Now).await, "no secret");
    assert_eq!(reads.last_good(&key).unwrap().expose_secret(), "one");
    assert!(reads.last_good(&other).is_none());

    advance(LAST_GOOD_AGE).await;
    reads.remember_good(&other, &SecretString::from("two"));
    assert!(reads.last_good(&key).is_none());
    assert_eq!(source.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn values_are_not_kept_beyond_their_use() {
    let (source, reads) = reads();
    source.set("neon", "apiKey", b"one");
    value(&reads, &at("neon", "apiKey"), Freshness::Recent).await;
    advance(KEY_AGE).await;
    value(&reads, &at("other", "apiKey"), Freshness::Recent).await;
    let kept: Vec<_> = reads
        .keys
        .lock()
        .unwrap()
        .keys()
        .map(|(_, name)| name.clone())
        .collect();
    assert_eq!(kept, ["other"]);
}

#[test]
fn debug_output_shows_no_key() {
    let found = KeyRead::Found(SecretString::from("hunter2"));
    assert!(!format!("{found:?}").contains("hunter2"));
}
