//! A file that runs in segments: goes on where an earlier run ended.

use super::{
    Progress, RunError,
    crew::Crew,
    file::{FileRun, with_outcome},
    session,
};
use crate::engine::{
    journal::{Note, Trace},
    message::{Entry, Start},
    report::{Code, Diagnostic},
    resume,
    sql::{
        Script, fingerprint,
        position::position,
        segment::{Segment, Statement},
    },
};

impl FileRun<'_> {
    /// Runs the segments that are not done; the last one writes `row`.
    pub(super) async fn segments<P: FnMut(Progress) + Send>(
        &self,
        script: &Script,
        segments: &[Segment],
        row: Entry<'_>,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let notes = crew.control.notes(&self.subject()).await?;
        let prints: Vec<String> = segments
            .iter()
            .map(|segment| fingerprint(part(script, segment)))
            .collect();
        let done = self.done(script, segments, &prints, &notes)?;
        let mut start = Start::Afresh;
        for (index, (segment, print)) in segments.iter().zip(&prints).enumerate().skip(done) {
            let note = notes.iter().find(|note| note.segment == index);
            let intent = note.filter(|note| note.fingerprint == *print);
            let intent = intent.and_then(|note| note.intent.clone());
            if let (Some(Trace::Unknowable), None) = (note.and_then(|n| n.intent.as_ref()), &intent)
            {
                return Err(self.edited(script, segment));
            }
            let result = match segment {
                Segment::Transaction(transaction) => {
                    let entry = if index + 1 == segments.len() {
                        row
                    } else {
                        Entry::Segment {
                            index,
                            fingerprint: print,
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
            result.map_err(|error| with_outcome(error, || outcome(script, segment, index)))?;
            start = Start::GoOn;
        }
        Ok(())
    }

    /// How many segments are done. What is committed must still be what the file says.
    fn done(
        &self,
        script: &Script,
        segments: &[Segment],
        prints: &[String],
        notes: &[Note],
    ) -> Result<usize, RunError> {
        let done = notes.iter().filter(|note| note.intent.is_none()).count();
        for note in notes.iter().filter(|note| note.intent.is_none()) {
            if prints.get(note.segment) != Some(&note.fingerprint) {
                let segment = segments.get(note.segment).or(segments.last());
                return Err(self.changed(script, segment));
            }
        }
        Ok(done)
    }

    fn changed(&self, script: &Script, segment: Option<&Segment>) -> RunError {
        let mut finding = self.finding(
            script,
            segment,
            Code::ChangedMidway,
            "an earlier run was interrupted in this file after this part was committed, and it has been edited since",
        );
        finding.hint = Some(
            "restore this part as it was; what comes behind it, and was not run, may be corrected"
                .to_owned(),
        );
        RunError::Failed(Box::new(finding))
    }

    fn edited(&self, script: &Script, segment: &Segment) -> RunError {
        let mut finding = self.finding(
            script,
            Some(segment),
            Code::Ambiguous,
            "an earlier run was interrupted in the statement that stood here, nobody can know whether it was carried out, and it has been edited since",
        );
        finding.hint =
            Some("restore the statement, then decide: see execution.onAmbiguous".to_owned());
        RunError::Failed(Box::new(finding))
    }

    fn finding(
        &self,
        script: &Script,
        segment: Option<&Segment>,
        code: Code,
        message: &str,
    ) -> Diagnostic {
        let first = segment.and_then(|segment| first(script, segment));
        let range = first.map_or(0..0, |statement| statement.range.clone());
        super::failure::at(self.version, script, &range, code, message)
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
        let sight = super::alone::indexes(session::rows(connection, sql).await?)?;
        self.clean_up(resume::clean_up(trace, &sight), crew).await
    }
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
fn first<'a>(script: &'a Script, segment: &Segment) -> Option<&'a Statement> {
    match segment {
        Segment::Transaction(transaction) => script
            .statements
            .iter()
            .find(|s| transaction.bytes.contains(&s.range.start)),
        Segment::Alone(statement, _) => script.statements.get(*statement),
    }
}

/// What became of a file that failed in this segment.
fn outcome(script: &Script, segment: &Segment, index: usize) -> String {
    if index == 0 {
        return "nothing of the file is left".to_owned();
    }
    let byte = first(script, segment).map_or(script.text.len(), |s| s.range.start);
    let line = position(&script.text, byte).line;
    format!(
        "what stands in front of line {line} is committed and stays; the next run goes on there"
    )
}
