//! What holds of every file, whatever it says.

use std::ops::Range;

use super::super::{
    Script,
    classify::Class,
    depth, fingerprint,
    lex::{Token, tokens},
    meaning, outline, parse,
    read::read,
    segment::{Segment, Shape},
    split,
};
use crate::{
    engine::{
        Bundle, Diagnostic, LedgerName, SourceFile,
        journal::Subject,
        lint,
        message::{Entry, Message, Record, Start, Step},
    },
    postgres::lock::Key,
};

/// Whether the file is accepted, or which promise is broken.
pub(super) fn check(bytes: &[u8]) -> Result<bool, String> {
    let source = SourceFile {
        name: "1_a.sql".to_owned(),
        bytes: bytes.to_vec(),
    };
    let bundle =
        Bundle::compile(vec![source]).map_err(|findings| format!("the parser: {findings}"))?;
    let file = bundle.files().first().ok_or("the file is lost")?;
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    readings(text)?;
    outline(text, 200);
    fingerprint(text);
    if let Some(findings) = file.findings() {
        if findings.is_empty() {
            return Err("refused without a reason".to_owned());
        }
        findings
            .iter()
            .try_for_each(|finding| finding_is_sound(text, finding))?;
        return Ok(false);
    }
    lint(&bundle, None).map_err(|error| format!("the linter: {error}"))?;
    let script = file.script().map_err(|_| "neither findings nor a script")?;
    agrees_with_the_parser(script)?;
    every_statement_runs_once(script)?;
    meaning_is_free_of_form(script)?;
    Ok(true)
}

/// What is read of a text is all of it, in order.
fn readings(text: &str) -> Result<(), String> {
    tile(text, &tokens(text))?;
    split::split(text, &tokens(text));
    let reading = read(text);
    if reading.text.len() != text.len()
        || reading.text.matches('\n').count() != text.matches('\n').count()
    {
        return Err("what is left of the file has another shape".to_owned());
    }
    tile(&reading.text, &reading.tokens)?;
    let mut at = 0;
    for statement in &reading.statements {
        let Range { start, end } = statement.range;
        let gap = reading.text.get(at..start).ok_or("statements overlap")?;
        if tokens(gap).iter().any(Token::is_significant) {
            return Err(format!("{gap:?} belongs to no statement"));
        }
        at = end;
    }
    let data = reading.data.values();
    let lost = data
        .filter(|range| text.get((*range).clone()).is_none())
        .count();
    (lost == 0)
        .then_some(())
        .ok_or_else(|| "data outside of the file".to_owned())
}

fn tile(text: &str, tokens: &[Token]) -> Result<(), String> {
    let mut at = 0;
    for token in tokens {
        if token.range.start != at
            || token.range.is_empty()
            || !text.is_char_boundary(token.range.end)
        {
            return Err(format!("tokens do not tile the text at {at}: {token:?}"));
        }
        at = token.range.end;
    }
    (at == text.len())
        .then_some(())
        .ok_or_else(|| format!("tokens end at {at} of {}", text.len()))
}

fn finding_is_sound(text: &str, finding: &Diagnostic) -> Result<(), String> {
    if finding.message.is_empty() || finding.render().is_empty() {
        return Err(format!("a bad finding: {finding:?}"));
    }
    let lines = text.matches('\n').count() + 1;
    match (finding.position, &finding.snippet) {
        (Some(position), Some(snippet)) => {
            let shown = snippet.text.chars().count();
            let fits = snippet.caret <= shown && position.line <= lines && position.line > 0;
            fits.then_some(())
                .ok_or_else(|| format!("beside the file: {finding:?}"))
        }
        (None, None) => Ok(()),
        (Some(_), None) | (None, Some(_)) => Err(format!("half a place: {finding:?}")),
    }
}

/// The other reading finds the same statements.
fn agrees_with_the_parser(script: &Script) -> Result<(), String> {
    if depth::too_deep(&script.text, &tokens(&script.text)).is_some() {
        return Err("accepted although it is too deep".to_owned());
    }
    let parsed = parse::on_parser_thread(|| parse::parse(&script.text));
    let parsed = parsed
        .ok()
        .flatten()
        .ok_or("accepted although the parser gives up")?;
    let is_empty = |range: &Range<usize>| script.text.get(range.clone()) == Some(";");
    let theirs = parsed
        .statements
        .into_iter()
        .map(|s| s.range)
        .filter(|range| !is_empty(range));
    let ours = script
        .statements
        .iter()
        .map(|s| s.range.clone())
        .filter(|range| !is_empty(range));
    (parsed.errors.is_empty() && theirs.eq(ours))
        .then_some(())
        .ok_or_else(|| "accepted although the readings differ".to_owned())
}

/// Segments come in order, and each statement is sent in exactly one of them.
fn every_statement_runs_once(script: &Script) -> Result<(), String> {
    let segments = match &script.shape {
        Shape::Whole(transaction) => vec![Segment::Transaction(transaction.clone())],
        Shape::Segments(segments) => segments.clone(),
    };
    let ledger = LedgerName::default();
    let mut sent = Vec::new();
    let mut at = 0;
    for segment in &segments {
        let (range, message) = match segment {
            Segment::Transaction(transaction) => {
                let message = Message::compose(script, transaction, Start::GoOn, &record(&ledger));
                (transaction.bytes.clone(), message)
            }
            Segment::Alone(index, _) => {
                let statement = script.statements.get(*index).ok_or("no such statement")?;
                (statement.range.clone(), Message::alone(script, *index))
            }
        };
        if range.start < at || script.text.get(range.clone()).is_none() {
            return Err(format!("segments overlap at {at}"));
        }
        at = range.end;
        for step in (0..message.answers()).filter_map(|answer| message.step(answer)) {
            if let Step::Statement(index) = step {
                sent.push(index);
            }
        }
    }
    let all = script.statements.iter().enumerate();
    let wanted: Vec<usize> = all
        .filter(|(_, statement)| statement.class != Class::Empty)
        .map(|(index, _)| index)
        .collect();
    (sent == wanted)
        .then_some(())
        .ok_or_else(|| format!("of {wanted:?} these are sent: {sent:?}"))
}

fn record(ledger: &LedgerName) -> Record<'_> {
    Record {
        subject: Subject {
            ledger,
            version: "1_a.sql",
        },
        entry: Entry::Segment {
            index: 0,
            fingerprint: "f",
            passing: &[],
        },
        worker: Key::worker("d", "l"),
        control: "true".into(),
        marker: Key::marker(1),
    }
}

/// A comment more changes nothing that counts.
fn meaning_is_free_of_form(script: &Script) -> Result<(), String> {
    let mut commented = script.clone();
    commented.text.push_str("\n-- one more\n");
    (meaning(&commented) == meaning(script))
        .then_some(())
        .ok_or_else(|| "a comment changes the meaning".to_owned())
}
