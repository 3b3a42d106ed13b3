//! What the server says to a file beside its answers: `RAISE NOTICE`, warnings.
//!
//! sqlx has no way to hand them over; it makes events of `tracing` of them, with the text only. So
//! whatever runs a file does so with a subscriber of its own, which keeps these events and passes
//! everything else on to the one that was there.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber, dispatcher,
    field::{Field, Visit},
    instrument::{WithDispatch, WithSubscriber},
    level_filters::LevelFilter,
    span,
    subscriber::{Interest, NoSubscriber},
};

const TARGET: &str = "sqlx::postgres::notice";

/// What is kept of one file: lines, and bytes over all; and how much of one line.
const LINES: usize = 100;
const BYTES: usize = 8 << 10;
const LONGEST: usize = 1 << 10;

/// Something that the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning; otherwise somebody only wanted to tell something.
    pub is_warning: bool,
    /// In the words of the server or of the file, which can contain data.
    pub text: String,
}

/// Listens while a file runs.
#[derive(Clone)]
pub(super) struct Ear {
    heard: Arc<Mutex<Heard>>,
    listener: Dispatch,
    /// Keeps `tracing` from believing that there is one listener only: it would ask whoever listens where an event occurs for
    /// the first time, and where nobody does there, as in the control session, would never tell of that event again.
    _another: Dispatch,
}

#[derive(Debug, Default)]
struct Heard {
    /// What nobody has taken yet.
    fresh: Vec<Notice>,
    lines: usize,
    bytes: usize,
    /// Whether something was left out because it was too much.
    is_full: bool,
}

impl Ear {
    /// What is not for it goes to the subscriber of whoever calls this.
    pub(super) fn new() -> Self {
        let heard = Arc::<Mutex<Heard>>::default();
        let rest = dispatcher::get_default(Clone::clone);
        let another = Dispatch::new(NoSubscriber::new());
        let listener = Listener {
            heard: heard.clone(),
            rest,
        };
        Self {
            heard,
            listener: Dispatch::new(listener),
            _another: another,
        }
    }

    /// Does `work` and hears what the server says meanwhile.
    pub(super) fn during<F: Future>(&self, work: F) -> WithDispatch<F> {
        work.with_subscriber(self.listener.clone())
    }

    /// Begins a new file.
    pub(super) fn clear(&self) {
        *self.heard() = Heard::default();
    }

    /// What was said since the last time.
    pub(super) fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut self.heard().fresh)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn hear(&mut self, mut notice: Notice) {
        if self.is_full {
            return;
        }
        // one that is long leaves room for those behind it
        if notice.text.len() > LONGEST {
            let cut = notice.text.floor_char_boundary(LONGEST);
            notice.text.truncate(cut);
            notice.text.push('…');
        }
        self.lines += 1;
        self.bytes += notice.text.len();
        self.is_full = self.lines > LINES || self.bytes > BYTES;
        self.fresh.push(if self.is_full {
            Notice {
                is_warning: false,
                text: "the server said more, which is left out".to_owned(),
            }
        } else {
            notice
        });
    }
}

struct Listener {
    heard: Arc<Mutex<Heard>>,
    rest: Dispatch,
}

impl Listener {
    fn is_notice(of: &Metadata<'_>) -> bool {
        of.target() == TARGET && *of.level() <= Level::INFO
    }
}

impl Subscriber for Listener {
    fn register_callsite(&self, of: &'static Metadata<'static>) -> Interest {
        if Self::is_notice(of) {
            Interest::always()
        } else {
            self.rest.register_callsite(of)
        }
    }

    fn enabled(&self, of: &Metadata<'_>) -> bool {
        Self::is_notice(of) || self.rest.enabled(of)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::current().max(LevelFilter::INFO))
    }

    fn event(&self, event: &Event<'_>) {
        if Self::is_notice(event.metadata()) {
            let mut text = Text::default();
            event.record(&mut text);
            let notice = Notice {
                is_warning: *event.metadata().level() <= Level::WARN,
                text: text.0,
            };
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.hear(notice);
        } else {
            self.rest.event(event);
        }
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        self.rest.new_span(attributes)
    }

    fn record(&self, span: &span::Id, values: &span::Record<'_>) {
        self.rest.record(span, values);
    }

    fn record_follows_from(&self, span: &span::Id, follows: &span::Id) {
        self.rest.record_follows_from(span, follows);
    }

    fn enter(&self, span: &span::Id) {
        self.rest.enter(span);
    }

    fn exit(&self, span: &span::Id) {
        self.rest.exit(span);
    }

    fn clone_span(&self, span: &span::Id) -> span::Id {
        self.rest.clone_span(span)
    }

    fn try_close(&self, span: span::Id) -> bool {
        self.rest.try_close(span)
    }
}

/// The message of an event.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(heard: &mut Heard, text: &str) {
        heard.hear(Notice {
            is_warning: true,
            text: text.to_owned(),
        });
    }

    #[test]
    fn what_is_kept_of_a_chatty_file_is_bounded() {
        let mut heard = Heard::default();
        (0..1_000).for_each(|n| said(&mut heard, &n.to_string()));
        assert_eq!(heard.fresh.len(), LINES + 1);
        let last = heard.fresh.last().unwrap();
        assert_eq!(last.text, "the server said more, which is left out");
        let mut heard = Heard::default();
        (0..20).for_each(|_| said(&mut heard, &"ü".repeat(BYTES)));
        assert_eq!(heard.fresh.len(), 8);
        let kept: usize = heard.fresh.iter().map(|notice| notice.text.len()).sum();
        assert!(kept < BYTES + 100, "{kept}");
        // and one that is too long leaves room for others
        let mut heard = Heard::default();
        said(&mut heard, &"x".repeat(2 * BYTES));
        said(&mut heard, "behind it");
        assert_eq!(heard.fresh.len(), 2);
        assert_eq!(heard.fresh[1].text, "behind it");
        assert!(heard.fresh[0].text.ends_with("x…"));
    }

    #[tokio::test]
    async fn what_was_first_said_where_nobody_listened_is_heard_later() {
        let ear = Ear::new();
        let speak = || tracing::warn!(target: TARGET, message = "again");
        speak();
        ear.during(async { speak() }).await;
        assert_eq!(ear.take().len(), 1);
    }

    #[tokio::test]
    async fn other_events_go_where_they_went() {
        let outer = Ear::new();
        let inner = outer.during(async { Ear::new() }).await;
        let speak = async {
            tracing::warn!(target: TARGET, message = "careful");
            tracing::info!(target: TARGET, message = "by the way");
            tracing::debug!(target: TARGET, message = "details");
            tracing::warn!(target: "elsewhere", message = "not from the server");
        };
        inner.during(speak).await;
        let texts: Vec<(bool, String)> = inner
            .take()
            .into_iter()
            .map(|notice| (notice.is_warning, notice.text))
            .collect();
        let expected = [(true, "careful"), (false, "by the way")];
        assert_eq!(texts, expected.map(|(w, text)| (w, text.to_owned())));
        assert!(outer.take().is_empty());
    }
}
