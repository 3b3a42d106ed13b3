//! What Neon says of an operation that failed, as one sentence: it may be the whole log of a server that did not start. Pure.

use super::redact::redact;
use super::types::Operation;

/// As many characters as a condition has room for beside its own words.
const LONGEST: usize = 300;

impl Operation {
    /// Why it failed, where Neon says so: one readable sentence without secrets.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let said = self.error.as_deref().map(in_a_sentence);
        said.filter(|said| !said.is_empty())
    }
}

/// The line that tells most, without what stands before the words of PostgreSQL, without secrets and of bounded length.
fn in_a_sentence(words: &str) -> String {
    let lines = || words.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut most = lines().next().unwrap_or_default();
    for line in lines() {
        if weight(line) > weight(most) {
            most = line;
        }
    }
    let said = redact(without_prefix(most), "");
    // a log may hold anything, colours included
    let said = said.replace(char::is_control, " ");
    let mut words = said.split_whitespace();
    let first = words.next().unwrap_or_default().to_owned();
    let said = words.fold(first, |said, word| said + " " + word);
    shortened(&said)
}

/// How PostgreSQL begins what it says, and how much that tells.
const SEVERITIES: [(&str, u8); 4] = [("PANIC:", 3), ("FATAL:", 3), ("ERROR:", 2), ("LOG:", 1)];

/// How much a line tells. The setting that is wrong may be named in another line than in that of the end.
fn weight(line: &str) -> u8 {
    if line.contains("parameter \"") {
        return 4;
    }
    let told = SEVERITIES
        .iter()
        .find(|(severity, _)| line.contains(severity));
    // what is no line of a log is somebody's summary
    told.map_or(1, |(_, weight)| *weight)
}

/// The words behind time, process and severity.
fn without_prefix(line: &str) -> &str {
    let severities = SEVERITIES.iter().map(|(severity, _)| severity);
    let mut found = severities.filter_map(|severity| line.split_once(severity));
    found.next().map_or(line, |(_, said)| said.trim())
}

fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(LONGEST).collect();
    match characters.next() {
        Some(_) => beginning + "…",
        None => beginning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_the_sentence_that_tells_most() {
        let rows = [
            ("the compute did not start", "the compute did not start"),
            (
                "PostgreSQL did not start: 2026-11-26 19:00:00.123 UTC [42] FATAL:  unrecognized configuration parameter \"x\"",
                "unrecognized configuration parameter \"x\"",
            ),
            (
                "compute failed to start\n2026-11-26 19:00:00 GMT [7] LOG:  invalid value for parameter \"work_mem\": \"lots\"\n\
                 2026-11-26 19:00:00 GMT [7] HINT:  Valid units for this parameter are \"B\", \"kB\".\n\
                 2026-11-26 19:00:00 GMT [7] FATAL:  configuration file \"/data/postgresql.conf\" contains errors\n",
                "invalid value for parameter \"work_mem\": \"lots\"",
            ),
            (
                "LOG:  starting PostgreSQL 18\nLOG:  listening\nFATAL:  could not map anonymous shared memory: Cannot allocate memory\n\
                 LOG:  database system is shut down",
                "could not map anonymous shared memory: Cannot allocate memory",
            ),
            ("  \u{1b}[31mno\troom\u{1b}[0m \r\n", "[31mno room [0m"),
            ("", ""),
        ];
        for (words, expected) in rows {
            assert_eq!(in_a_sentence(words), expected, "{words:?}");
        }
    }

    #[test]
    fn it_is_of_bounded_length_and_tells_no_secret() {
        let long = in_a_sentence(&"ä".repeat(5_000));
        assert_eq!(long.chars().count(), LONGEST + 1);
        let secret = in_a_sentence(
            "FATAL: no way to postgres://web:hunter2@ep-1.neon.tech/app with npg_abcdef",
        );
        assert!(
            !secret.contains("hunter2") && !secret.contains("abcdef"),
            "{secret}"
        );
    }
}
