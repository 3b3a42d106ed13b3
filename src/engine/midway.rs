//! Files that an earlier run has begun and not finished: how far they came, and whether they still say what is
//! committed of them. Pure.
//!
//! | noted | the file now | then |
//! |---|---|---|
//! | parts that are done | begins with these parts | goes on behind them |
//! | | is these parts and nothing else | only its row is written |
//! | | says something else there | [`Code::ChangedMidway`]: nothing runs |
//! | | begins with these parts, which made what ends with a session ([`super::sql::lasting`]) | [`Code::Ambiguous`]: nothing runs |
//! | a statement that was begun | has it | looked at, see [`super::resume`] |
//! | | has another one, and nobody can know what the first one did | [`Code::Ambiguous`]: nothing runs |
//! | anything | is not among the files | nothing runs: under another name it would run from its start |

use super::{
    checksum::sha256,
    journal::{Note, Trace},
    report::{Code, Diagnostic},
    sql::{
        Script, fingerprint,
        lasting::{self, Lasting},
        position::position,
        segment::{Segment, Shape, Statement, Transaction},
    },
};

/// A file that an earlier run has begun and not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The file name.
    pub version: String,
    /// What the journal has of it, in order.
    pub(crate) notes: Vec<Note>,
}

/// The way that a file still has to go.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    /// All segments of the file as it is now, with their fingerprints; the last one writes the row.
    pub(crate) segments: Vec<(Segment, String)>,
    /// How many of them are done.
    pub(crate) done: usize,
    /// What was noted of the next one, which was begun.
    pub(crate) begun: Option<&'a Note>,
}

impl Unfinished {
    /// What is known to be done, for people who may not have the file any more.
    pub(crate) fn told(&self) -> String {
        let done = self.notes.iter().filter(|n| n.intent.is_none()).count();
        let committed = match done {
            0 => None,
            1 => Some("its first part is committed".to_owned()),
            many => Some(format!("its first {many} parts are committed")),
        };
        let begun = self.notes.iter().find_map(|note| note.intent.as_ref());
        let begun = begun.map(|trace| match trace {
            Trace::Index { table, name, .. } => {
                let name = name.as_deref().unwrap_or("without a name");
                format!("the index {name} of {table} was being built")
            }
            Trace::Remains { .. } => "an index was being rebuilt".to_owned(),
            Trace::Object { .. } | Trace::Repeatable => {
                "the statement behind that was begun".to_owned()
            }
            Trace::Unknowable => {
                "a block that commits was begun, and nobody can know what it did".to_owned()
            }
        });
        let told: Vec<String> = committed.into_iter().chain(begun).collect();
        told.join(", ")
    }
}

/// Finds the way of a file of which `notes` were taken.
///
/// # Errors
/// What is committed of it, or may be, is no longer what it says.
pub(crate) fn way<'a>(
    version: &str,
    script: &Script,
    notes: &'a [Note],
) -> Result<Way<'a>, Box<Diagnostic>> {
    let segments = match &script.shape {
        Shape::Whole(transaction) => vec![Segment::Transaction(transaction.clone())],
        Shape::Segments(segments) => segments.clone(),
    };
    let mut segments: Vec<(Segment, String)> = segments
        .into_iter()
        .map(|segment| {
            let print = print(script, &segment);
            (segment, print)
        })
        .collect();
    let mut done = 0;
    for note in notes.iter().filter(|note| note.intent.is_none()) {
        let now = segments.get(note.segment);
        if now.is_none_or(|(_, print)| *print != note.fingerprint) {
            let segment = now.or(segments.last()).map(|(segment, _)| segment);
            return Err(changed(version, script, segment));
        }
        done += 1;
    }
    if done == segments.len() {
        segments.push((nothing_at_the_end(script), fingerprint("")));
    }
    let begun = notes.iter().find(|note| note.segment == done);
    if let (Some(note), Some((segment, print))) = (begun, segments.get(done))
        && note.intent == Some(Trace::Unknowable)
        && note.fingerprint != *print
    {
        return Err(edited(version, script, segment));
    }
    // in the session of another run, what comes next would be done to other tables than was meant
    let newest = notes.iter().rfind(|note| note.intent.is_none());
    let kept = newest.and_then(|note| note.kept.as_deref());
    let lost = lost(script, &segments, done, kept);
    if let (false, Some((segment, _))) = (lost.is_empty(), segments.get(done)) {
        let next = first(script, segment);
        return Err(without(version, script, next, &lost));
    }
    Ok(Way {
        segments,
        done,
        begun,
    })
}

impl Way<'_> {
    /// What the next run does.
    pub(crate) fn outlook(&self, script: &Script) -> Outlook {
        let (segment, print) = match self.segments.get(self.done) {
            Some((segment, print)) => (Some(segment), Some(print)),
            None => (None, None),
        };
        let first = segment.and_then(|segment| first(script, segment));
        let byte = first.map_or(script.text.trim_end().len(), |s| s.range.start);
        let begun = self
            .begun
            .filter(|note| Some(&note.fingerprint) == print)
            .and_then(|note| note.intent.as_ref());
        let then = match begun {
            Some(Trace::Unknowable) => {
                "nobody can know whether this statement was carried out, so execution.onAmbiguous (--on-ambiguous) decides"
            }
            Some(
                Trace::Index { .. }
                | Trace::Remains { .. }
                | Trace::Object { .. }
                | Trace::Repeatable,
            ) => {
                "this statement was begun; the next run looks whether it was carried out, and goes on from there"
            }
            None if first.is_none() => "all of it is committed; the next run only writes its row",
            None => "what stands in front of this line is committed; the next run goes on here",
        };
        Outlook {
            line: position(&script.text, byte).line,
            then,
            asks: begun == Some(&Trace::Unknowable),
        }
    }
}

/// What the first `done` segments have made that ends with their session, where something is left to be run behind them; for
/// messages. `kept` is what was noted of the session itself.
pub(crate) fn lost(
    script: &Script,
    segments: &[(Segment, String)],
    done: usize,
    kept: Option<&str>,
) -> Vec<String> {
    let (before, rest) = segments.split_at_checked(done).unwrap_or((segments, &[]));
    let statements = |part: &[(Segment, String)]| -> Vec<usize> {
        let all = part
            .iter()
            .flat_map(|(segment, _)| script.of_segment(segment));
        all.collect()
    };
    let works = |index: &usize| {
        let statement = script.statements.get(*index);
        statement.is_some_and(Statement::works)
    };
    if !statements(rest).iter().any(works) {
        return Vec::new();
    }
    let left = lasting::left(script, statements(before).into_iter());
    let is_known = |what: &str| left.iter().any(|lasting| lasting.what() == what);
    let kept = kept.map(|kept| kept.split(", ")).into_iter().flatten();
    let others = kept.filter(|what| !is_known(what)).map(str::to_owned);
    listed(script, &left).into_iter().chain(others).collect()
}

/// What speaks against taking `statement`, which was interrupted, for done: what it would have made in its session is lost.
pub(crate) fn skipped(version: &str, script: &Script, statement: usize) -> Option<Box<Diagnostic>> {
    let mut behind = script.statements.iter().skip(statement + 1);
    let next = behind.find(|s| s.works())?;
    let lost = lasting::left(script, std::iter::once(statement));
    (!lost.is_empty()).then(|| without(version, script, Some(next), &listed(script, &lost)))
}

/// What was made, and where.
fn listed(script: &Script, made: &[Lasting]) -> Vec<String> {
    let told = made.iter().map(|lasting| {
        let made = script.statements.get(lasting.statement);
        let byte = made.map_or(0, |statement| statement.range.start);
        let line = position(&script.text, byte).line;
        format!("{} (line {line})", lasting.what())
    });
    told.collect()
}

/// What the next run does with a file that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// The line on which it goes on, from 1.
    pub line: usize,
    /// What it does there.
    pub then: &'static str,
    /// Whether somebody has to decide first, unless `execution.onAmbiguous` does: nobody can know what the statement there
    /// has done.
    pub asks: bool,
}

/// Where a file ends of which all parts are done, the row still has to be written.
fn nothing_at_the_end(script: &Script) -> Segment {
    let end = script.text.len();
    Segment::Transaction(Transaction {
        bytes: end..end,
        marker: end,
        row: None,
    })
}

/// What a segment says: its text, and the data of COPY, which are not in it.
fn print(script: &Script, segment: &Segment) -> String {
    let text = fingerprint(part(script, segment));
    let data = match segment {
        Segment::Transaction(transaction) => script.data.iter().filter(|(index, _)| {
            let copy = script.statements.get(**index);
            copy.is_some_and(|copy| transaction.bytes.contains(&copy.range.start))
        }),
        Segment::Alone(..) => return text,
    };
    let sums: Vec<String> = data.map(|(_, data)| sha256(data.as_bytes())).collect();
    if sums.is_empty() {
        return text;
    }
    sha256([&[text], &sums[..]].concat().join("\0").as_bytes())
}

/// The text of a segment.
fn part<'a>(script: &'a Script, segment: &Segment) -> &'a str {
    let range = match segment {
        Segment::Transaction(transaction) => Some(transaction.bytes.clone()),
        Segment::Alone(statement, _) => script.statements.get(*statement).map(|s| s.range.clone()),
    };
    script
        .text
        .get(range.unwrap_or_default())
        .unwrap_or_default()
}

/// The first statement of a segment.
pub(crate) fn first<'a>(script: &'a Script, segment: &Segment) -> Option<&'a Statement> {
    match segment {
        Segment::Transaction(transaction) => script
            .statements
            .iter()
            .find(|s| transaction.bytes.contains(&s.range.start)),
        Segment::Alone(statement, _) => script.statements.get(*statement),
    }
}

fn changed(version: &str, script: &Script, segment: Option<&Segment>) -> Box<Diagnostic> {
    let message = "an earlier run was interrupted in this file after this part was committed, and it has been edited since";
    let finding = finding(version, script, segment, Code::ChangedMidway, message);
    Box::new(finding.with_hint(
        "restore this part as it was; what comes behind it, and was not run, may be corrected, or moved to a file of its own",
    ))
}

fn edited(version: &str, script: &Script, segment: &Segment) -> Box<Diagnostic> {
    let message = "an earlier run was interrupted in the statement that stood here, nobody can know whether it was carried out, and it has been edited since";
    let finding = finding(version, script, Some(segment), Code::Ambiguous, message);
    Box::new(finding.with_hint(
        "restore the statement, then decide: see execution.onAmbiguous (--on-ambiguous)",
    ))
}

fn without(
    version: &str,
    script: &Script,
    next: Option<&Statement>,
    lost: &[String],
) -> Box<Diagnostic> {
    let message = format!(
        "an earlier run was interrupted here, and what the file had made in its session is gone: {}",
        lost.join(", ")
    );
    let end = script.text.trim_end().len();
    let range = next.map_or(end..end, |statement| statement.range.clone());
    let finding = script.finding(version, &range, Code::Ambiguous, &message);
    Box::new(finding.with_hint(GO_ON))
}

/// How to go on where what a session had is lost.
const GO_ON: &str = "what stands in front of this place is committed: put the rest into a file of its own, which makes again what it \
     needs; or do the rest by hand and record the file (sepulki migrate mark); execution.onAmbiguous (--on-ambiguous) does not answer this";

fn finding(
    version: &str,
    script: &Script,
    segment: Option<&Segment>,
    code: Code,
    message: &str,
) -> Diagnostic {
    let first = segment.and_then(|segment| first(script, segment));
    let end = script.text.trim_end().len();
    let range = first.map_or(end..end, |statement| statement.range.clone());
    script.finding(version, &range, code, message)
}
