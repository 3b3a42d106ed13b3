//! The files of a migration, read whole before anything runs. Pure.
//!
//! What concerns the set (names, duplicates, order) is an error of [`Bundle::compile`]. What
//! concerns the inside of one file is kept with the file: a file that was applied long ago by
//! psql may contain what this engine does not run, and that is nobody's trouble. [`super::plan()`]
//! raises it for files that are still to be run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use unicode_normalization::UnicodeNormalization;

use super::{
    checksum, order,
    policy::Order,
    report::{Code, Diagnostic, Diagnostics},
    sql::{self, CommittingProcedures, Script, backward, parse},
};

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 8 << 20;
/// Longest name, in bytes: the width of the ledger's `version` column.
const MAX_NAME_BYTES: usize = 255;
const BOM: char = '\u{feff}';

/// A file as it came from its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The file name without folder; it is the migration's version.
    pub name: String,
    /// The raw content.
    pub bytes: Vec<u8>,
}

/// A compiled set of files in the order in which they run.
#[derive(Debug, Clone)]
pub struct Bundle {
    digest: String,
    files: Vec<MigrationFile>,
}

/// A part of a file that is done or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where its first statement is, from 1.
    pub line: usize,
    /// What PostgreSQL refuses inside a transaction, where it is one statement that runs alone;
    /// none for a transaction.
    pub alone: Option<&'static str>,
    /// How many statements it has.
    pub statements: usize,
}

/// One file of a bundle.
#[derive(Debug, Clone)]
pub struct MigrationFile {
    version: String,
    sha256: String,
    bytes: Vec<u8>,
    checksums: OnceLock<BTreeSet<String>>,
    script: Result<Script, Diagnostics>,
}

impl Bundle {
    /// Reads, checks, orders and parses `files`. Takes about 0.2 s of CPU time for 1.3 MB; call
    /// it on a blocking thread.
    ///
    /// # Errors
    /// Everything that is wrong with the set: names that cannot be versions, duplicates, an
    /// order nobody can know. What is wrong inside a file is in [`MigrationFile::findings`].
    pub fn compile(files: Vec<SourceFile>) -> Result<Self, Diagnostics> {
        Self::in_order(files, &Order::default())
    }

    /// The same in an order that somebody has chosen.
    ///
    /// # Errors
    /// As [`Bundle::compile`]; and, with [`Order::Explicit`], files that are not listed and listed
    /// ones that are not there.
    pub fn in_order(mut files: Vec<SourceFile>, order: &Order) -> Result<Self, Diagnostics> {
        let digest = digest(&files);
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut findings = check_set(&files);
        findings.extend(put_in_order(&mut files, order));
        if !findings.is_empty() {
            return Err(findings.into());
        }
        let compiled = parse::on_parser_thread(|| compile_all(files));
        let files = compiled.map_err(|error| {
            let message = format!("the parser's thread failed: {error}");
            Diagnostics::from(vec![Diagnostic::of_file(
                "(bundle)",
                Code::TooDeep,
                message,
            )])
        })?;
        Ok(Self { digest, files })
    }

    /// See [`digest`].
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The files in the order in which they run.
    #[must_use]
    pub fn files(&self) -> &[MigrationFile] {
        &self.files
    }

    /// The file of a version.
    #[must_use]
    pub fn file(&self, version: &str) -> Option<&MigrationFile> {
        self.files.iter().find(|file| file.version == version)
    }

    /// Another file with the same number.
    pub(crate) fn twin(&self, file: &MigrationFile) -> Option<&MigrationFile> {
        let number = sequence_number(&file.version)?;
        self.files.iter().find(|other| {
            other.version != file.version && sequence_number(&other.version) == Some(number)
        })
    }

    /// Every file that shares its number with another one: while it is pending nothing runs.
    #[must_use]
    pub fn same_numbers(&self) -> Diagnostics {
        let files = self.files.iter();
        let told =
            files.filter_map(|file| Some(same_number(&file.version, &self.twin(file)?.version)));
        told.collect::<Vec<_>>().into()
    }

    /// Everything that keeps files of this bundle from being run, applied ones included.
    #[must_use]
    pub fn findings(&self) -> Diagnostics {
        let all = self.files.iter().filter_map(MigrationFile::findings);
        all.flat_map(Diagnostics::iter)
            .cloned()
            .collect::<Vec<_>>()
            .into()
    }
}

impl MigrationFile {
    /// The file name, which is what the ledger records.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Lower-case hex SHA-256 of the raw bytes.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What keeps the file from being run.
    #[must_use]
    pub fn findings(&self) -> Option<&Diagnostics> {
        self.script.as_ref().err()
    }

    /// How it runs: as one transaction, or in several parts. Empty where it cannot be run.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        self.script.as_ref().map(Script::parts).unwrap_or_default()
    }

    /// What the file says whatever its form: comments, white space and the case of key words do not
    /// count. None of a file that cannot be run.
    #[must_use]
    pub fn meaning(&self) -> Option<String> {
        self.script.as_ref().ok().map(sql::meaning)
    }

    /// Whether a recorded checksum is this file's, see [`checksum`].
    pub(crate) fn matches(&self, recorded: &str) -> bool {
        checksum::matches(&self.bytes, recorded)
    }

    /// All checksums under which this file may have been recorded.
    pub(crate) fn checksums(&self) -> &BTreeSet<String> {
        self.checksums.get_or_init(|| checksum::all(&self.bytes))
    }

    pub(crate) fn script(&self) -> Result<&Script, &Diagnostics> {
        self.script.as_ref()
    }
}

/// The file of this content, as the tests of what is done with one need it.
#[cfg(test)]
pub(crate) fn script_of(text: &str) -> Script {
    let file = SourceFile {
        name: "1_a.sql".into(),
        bytes: text.into(),
    };
    let bundle = Bundle::compile(vec![file]).unwrap();
    bundle.files()[0].script().unwrap().clone()
}

/// The digest of a set of files: `sha256:` and the SHA-256 of the lines
/// `<sha256>  <file name>\n` in byte order of the names; what `sha256sum * | sha256sum` prints
/// in the C locale.
#[must_use]
pub fn digest(files: &[SourceFile]) -> String {
    let mut lines: Vec<(&str, String)> = files
        .iter()
        .map(|file| (file.name.as_str(), checksum::sha256(&file.bytes)))
        .collect();
    lines.sort();
    let list: Vec<String> = lines
        .iter()
        .map(|(name, sum)| format!("{sum}  {name}\n"))
        .collect();
    let list = list.concat();
    format!("sha256:{}", checksum::sha256(list.as_bytes()))
}

/// Names and duplicates.
fn check_set(files: &[SourceFile]) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = files
        .iter()
        .filter_map(|file| bad_name(&file.name))
        .collect();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for file in files {
        if let Some(other) = seen.insert(folded(&file.name), &file.name) {
            findings.push(duplicate(&file.name, other));
        }
    }
    findings
}

fn duplicate(name: &str, other: &str) -> Diagnostic {
    let message = if name == other {
        "this version exists twice".to_owned()
    } else if name.nfc().eq(other.nfc()) {
        format!("the same version as {other}, with its accents encoded in another way")
    } else {
        format!("the same version as {other}")
    };
    Diagnostic::of_file(name, Code::Duplicate, message).with_hint(
        "versions must differ in more than case, `.sql` and the Unicode form of their accents; rename or remove one",
    )
}

/// What versions have in common that people, or their file systems, take for the same: those that differ in case, `.sql`
/// or Unicode normal form only.
pub(crate) fn folded(version: &str) -> String {
    let key: String = version.to_lowercase().nfc().collect();
    key.strip_suffix(".sql").unwrap_or(&key).to_owned()
}

/// Puts files that are sorted by name in order.
fn put_in_order(files: &mut [SourceFile], order: &Order) -> Vec<Diagnostic> {
    match order {
        Order::Lexicographic => Vec::new(),
        Order::Numeric => {
            files.sort_by(|a, b| order::by_number(&a.name, &b.name));
            Vec::new()
        }
        Order::Unambiguous => {
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            let pair = order::ambiguous(&names);
            pair.map(|pair| ambiguous(&pair)).into_iter().collect()
        }
        Order::Explicit(listed) => {
            let place = |name: &str| listed.iter().position(|other| other == name);
            let unlisted = files.iter().filter(|file| place(&file.name).is_none());
            let unlisted =
                unlisted.map(|file| (&file.name, "this file is not in the explicit order"));
            let absent = listed
                .iter()
                .filter(|name| files.iter().all(|file| file.name != **name));
            let absent = absent.map(|name| {
                (
                    name,
                    "the explicit order lists this file, but it is not there",
                )
            });
            let findings = unlisted
                .chain(absent)
                .map(|(name, message)| Diagnostic::of_file(name, Code::AmbiguousOrder, message))
                .collect();
            files.sort_by_key(|file| place(&file.name));
            findings
        }
    }
}

fn ambiguous(pair: &order::Ambiguous<'_>) -> Diagnostic {
    let message = format!(
        "the order is ambiguous: by name {} runs before {}, by number after it",
        pair.first, pair.second
    );
    Diagnostic::of_file(pair.first, Code::AmbiguousOrder, message).with_hint(
        "give the numbers the same width, for example 009 and 010, or choose an order: Lexicographic, Numeric or Explicit",
    )
}

/// The number in front of a name. The way back has the number of what it takes back, and is told by itself.
fn sequence_number(name: &str) -> Option<&str> {
    order::sequence_number(name).filter(|_| !backward::is_named_so(name))
}

/// What is wrong with two files that have the same number.
pub(crate) fn same_number(version: &str, other: &str) -> Diagnostic {
    let message = format!(
        "the same number as {other}: which one comes first cannot be known; give it its own number"
    );
    Diagnostic::of_file(version, Code::SameNumber, message)
}

fn bad_name(name: &str) -> Option<Diagnostic> {
    let message = if name.is_empty() || name.starts_with(".sql") {
        "a file without a name"
    } else if name.len() > MAX_NAME_BYTES {
        "the name is longer than 255 bytes"
    } else if name.contains(|c: char| c.is_control() || c == '/' || c == '\\') {
        "the name contains control characters or a path"
    } else {
        return None;
    };
    Some(Diagnostic::of_file(
        &name.escape_debug().to_string(),
        Code::InvalidName,
        message,
    ))
}

fn compile_all(files: Vec<SourceFile>) -> Vec<MigrationFile> {
    let mut procedures = CommittingProcedures::new();
    files
        .into_iter()
        .map(|SourceFile { name, bytes }| MigrationFile {
            script: compile_one(&name, &bytes, &mut procedures).map_err(Diagnostics::from),
            sha256: checksum::sha256(&bytes),
            checksums: OnceLock::new(),
            version: name,
            bytes,
        })
        .collect()
}

fn compile_one(
    name: &str,
    bytes: &[u8],
    procedures: &mut CommittingProcedures,
) -> Result<Script, Vec<Diagnostic>> {
    let refuse = |code, message: String| Err(vec![Diagnostic::of_file(name, code, message)]);
    if backward::is_named_so(name) {
        let message = "by its name this file takes another one back; here it would be run";
        return Err(vec![
            Diagnostic::of_file(name, Code::Backward, message).with_hint(
                "leave it out: files only go forward; where it does, give it another name",
            ),
        ]);
    }
    if bytes.len() > MAX_FILE_BYTES {
        let mib = MAX_FILE_BYTES >> 20;
        return refuse(
            Code::TooLarge,
            format!("{} bytes; at most {mib} MiB are read", bytes.len()),
        );
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = bytes
                .iter()
                .take(error.valid_up_to())
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            return refuse(Code::NotText, format!("not UTF-8 from line {line} on"));
        }
    };
    if text.contains('\0') {
        return refuse(
            Code::NotText,
            "contains a NUL byte, which PostgreSQL cannot read".to_owned(),
        );
    }
    sql::compile(name, text.strip_prefix(BOM).unwrap_or(text), procedures)
}
