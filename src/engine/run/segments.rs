//! A file that runs in segments: goes on where an earlier run ended.

use super::{
    Progress, RunError,
    crew::Crew,
    file::{FileRun, with_outcome},
    session,
};
use crate::engine::{
    journal::Note,
    message::{Entry, Start},
    midway::{Way, first, lost},
    report::Position,
    resume,
    sql::{Script, lasting, position::position, segment::Segment},
};

impl FileRun<'_> {
    /// Runs the segments that are not done; the last one writes `row`.
    pub(super) async fn segments<P: FnMut(Progress) + Send>(
        &self,
        script: &Script,
        way: &Way<'_>,
        row: Entry<'_>,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        crew.control.ensure_journal().await?;
        let mut start = Start::Afresh;
        for (index, (segment, print)) in way.segments.iter().enumerate().skip(way.done) {
            let note = way.begun.filter(|note| note.segment == index);
            let intent = note.filter(|note| note.fingerprint == *print);
            let intent = intent.and_then(|note| note.intent.clone());
            let result = match segment {
                Segment::Transaction(transaction) => {
                    let passing = lasting::passing(script, script.within(transaction));
                    let entry = if index + 1 == way.segments.len() {
                        row
                    } else {
                        Entry::Segment {
                            index,
                            fingerprint: print,
                            passing: &passing,
                        }
                    };
                    self.tidy(note, &mut start, script, segment, crew).await?;
                    Box::pin(self.transaction(script, transaction, start, entry, crew)).await
                }
                Segment::Alone(statement, alone) => {
                    if intent.is_none() {
                        self.tidy(note, &mut start, script, segment, crew).await?;
                    }
                    let lonely = super::alone::Lonely {
                        file: *self,
                        script,
                        segment: index,
                        fingerprint: print,
                        statement: *statement,
                        alone,
                    };
                    Box::pin(lonely.run(intent, start, crew)).await
                }
            };
            result.map_err(|error| with_outcome(error, || outcome(script, way, segment, index)))?;
            start = Start::GoOn;
        }
        Ok(())
    }

    /// Drops what an interrupted statement left that is no longer in the file.
    async fn tidy<P: FnMut(Progress) + Send>(
        &self,
        note: Option<&Note>,
        start: &mut Start,
        script: &Script,
        segment: &Segment,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let Some(trace) = note.and_then(|note| note.intent.as_ref()) else {
            return Ok(());
        };
        let Some(sql) = resume::left_behind_sql(trace) else {
            return Ok(());
        };
        let byte = first(script, segment).map_or(script.text.len(), |s| s.range.start);
        self.prepare(script, *start, byte, &[], crew).await?;
        *start = Start::GoOn;
        let connection = &mut crew.worker.session.connection;
        let sight = super::look::indexes(session::rows(connection, sql).await?)?;
        self.clean_up(resume::clean_up(trace, &sight), crew).await
    }
}

/// What became of a file that failed in this segment.
fn outcome(script: &Script, way: &Way<'_>, segment: &Segment, index: usize) -> String {
    if index == 0 {
        return "nothing of the file is left".to_owned();
    }
    let byte = first(script, segment).map_or(script.text.len(), |s| s.range.start);
    let Position { line, column } = position(&script.text, byte);
    let before = script.text.get(..byte).unwrap_or_default();
    let is_first = before
        .rsplit('\n')
        .next()
        .is_none_or(|indent| indent.trim().is_empty());
    let place = if is_first {
        format!("line {line}")
    } else {
        format!("column {column} of line {line}")
    };
    let lost = lost(script, &way.segments, index, None);
    if lost.is_empty() {
        return format!(
            "what stands in front of {place} is committed and stays; the next run goes on there"
        );
    }
    format!(
        "what stands in front of {place} is committed and stays; but the next run does not go on there, since with the session of this \
         one it has lost what the rest may need: {}",
        lost.join(", ")
    )
}
