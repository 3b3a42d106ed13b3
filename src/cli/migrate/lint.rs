//! `sepulki migrate lint`: what is allowed but seldom meant, for people and for CI.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    super::{Ended, Usage, output, terminal::plain},
    args::{Options, ignored},
    named, read_files,
};
use crate::engine::{self, Bundle, Diagnostic, LintPolicy, Severity};

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// The files that are going to run, where the others are applied; without it, all are told of
    files: Vec<String>,
    /// From which finding on the command fails
    #[arg(
        long,
        ignore_case = true,
        default_value = "Error",
        value_name = "SEVERITY"
    )]
    fail_on_lint: FailOn,
    /// A report for CI, instead of what --output says
    #[arg(long, value_name = "FORM")]
    report: Option<Report>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum FailOn {
    Error,
    Warning,
    Never,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Report {
    /// SARIF 2.1.0, which code scanning reads
    Sarif,
    /// Workflow commands of GitHub, which annotate the changed lines
    Github,
}

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Linted {
    findings: Vec<Finding>,
    /// Findings that comments in the files hide.
    suppressed: Vec<Finding>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    file: String,
    line: usize,
    column: usize,
    rule: &'static str,
    severity: Severity,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip)]
    rendered: String,
}

pub(super) fn lint(options: &Options, args: &LintArgs) -> Result<Ended> {
    let policy = policy(options, args)?;
    let files = read_files(&options.dir)?;
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let asked = args
        .files
        .iter()
        .map(|file| named(options, file).to_owned());
    let asked: Vec<String> = asked.collect();
    let mentioned = asked.iter().map(String::as_str);
    let mentioned = mentioned.chain(policy.ignore.iter().filter_map(|(_, file)| file.as_deref()));
    for file in mentioned {
        if !names.contains(&file) {
            let folder = options.dir.display();
            return Err(Usage(format!("{file} is not one of the files in {folder}")).into());
        }
    }
    let mut linted = match Bundle::in_order(files, &options.order()?) {
        Ok(bundle) => {
            let pending = Some(asked.as_slice()).filter(|files| !files.is_empty());
            look_through(&bundle, pending)?
        }
        Err(findings) => Linted {
            findings: findings.iter().map(broken).collect(),
            suppressed: Vec::new(),
        },
    };
    let is_asked = |finding: &Finding| {
        let is_meant = asked.is_empty() || asked.contains(&finding.file);
        is_meant && !policy.ignores(finding.rule, &finding.file)
    };
    linted.findings.retain(is_asked);
    linted.suppressed.retain(is_asked);
    let folder = options.dir.display().to_string();
    match args.report {
        None => output::print(options.output, &linted, table)?,
        Some(Report::Github) => output::print_text(&plain(&github(&folder, &linted)))?,
        Some(Report::Sarif) => output::print_json(&sarif(&folder, &linted))?,
    }
    let mut severities = linted.findings.iter().map(|finding| finding.severity);
    let fails = severities.any(|severity| policy.fail_on.is_some_and(|from| severity >= from));
    Ok(if fails { Ended::Failed } else { Ended::Fine })
}

fn policy(options: &Options, args: &LintArgs) -> Result<LintPolicy> {
    Ok(LintPolicy {
        fail_on: match args.fail_on_lint {
            FailOn::Error => Some(Severity::Error),
            FailOn::Warning => Some(Severity::Warning),
            FailOn::Never => None,
        },
        ignore: ignored(&options.ignore_lint)?,
    })
}

fn look_through(bundle: &Bundle, pending: Option<&[String]>) -> Result<Linted> {
    let is_asked = |file: &str| pending.is_none_or(|files| files.iter().any(|name| name == file));
    let twins = bundle.same_numbers();
    let twins = twins.iter().filter(|finding| is_asked(&finding.file));
    let mut findings: Vec<Finding> = bundle.findings().iter().chain(twins).map(broken).collect();
    let mut suppressed = Vec::new();
    for lint in engine::lint(bundle, pending).context("the files cannot be looked through")? {
        let told = finding(lint.rule, lint.severity, &lint.diagnostic);
        if lint.suppressed {
            suppressed.push(told);
        } else {
            findings.push(told);
        }
    }
    findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Ok(Linted {
        findings,
        suppressed,
    })
}

/// What keeps a file from being run at all.
fn broken(diagnostic: &Diagnostic) -> Finding {
    finding(diagnostic.code.as_str(), Severity::Error, diagnostic)
}

fn finding(rule: &'static str, severity: Severity, diagnostic: &Diagnostic) -> Finding {
    let (line, column) = diagnostic
        .position
        .map_or((1, 1), |position| (position.line, position.column));
    Finding {
        file: diagnostic.file.clone(),
        line,
        column,
        rule,
        severity,
        message: diagnostic.message.clone(),
        hint: diagnostic.hint.clone(),
        rendered: diagnostic.render(),
    }
}

fn table(linted: &Linted) -> String {
    let mut text = String::new();
    for Finding {
        rule,
        severity,
        rendered,
        ..
    } in &linted.findings
    {
        let _ = writeln!(text, "{}[{rule}] {rendered}", severity.as_str());
    }
    let count = |severity: Severity| {
        let all = linted.findings.iter();
        match all.filter(|finding| finding.severity == severity).count() {
            1 => format!("1 {}", severity.as_str()),
            many => format!("{many} {}s", severity.as_str()),
        }
    };
    let _ = write!(
        text,
        "{}, {}",
        count(Severity::Error),
        count(Severity::Warning)
    );
    if !linted.suppressed.is_empty() {
        let hidden: Vec<String> = linted
            .suppressed
            .iter()
            .map(|f| format!("{}:{} {}", f.file, f.line, f.rule))
            .collect();
        let _ = write!(text, "; hidden by comments: {}", hidden.join(", "));
    }
    text.push('\n');
    text
}

/// Workflow commands; their syntax keeps `%`, line breaks, and in properties `:` and `,` for itself.
fn github(folder: &str, linted: &Linted) -> String {
    let data = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut text = String::new();
    for finding in &linted.findings {
        let path = property(&format!("{folder}/{}", finding.file));
        let message = match &finding.hint {
            Some(hint) => format!("{}\n{hint}", finding.message),
            None => finding.message.clone(),
        };
        let _ = writeln!(
            text,
            "::{} file={path},line={},col={},title={}::{}",
            finding.severity.as_str(),
            finding.line,
            finding.column,
            property(finding.rule),
            data(&message)
        );
    }
    text
}

fn sarif(folder: &str, linted: &Linted) -> Value {
    let result = |finding: &Finding, suppressed: bool| {
        let place = json!({
            "physicalLocation": {
                "artifactLocation": {"uri": uri(folder, &finding.file)},
                "region": {"startLine": finding.line, "startColumn": finding.column},
            },
        });
        let text = match &finding.hint {
            Some(hint) => format!("{} {hint}", finding.message),
            None => finding.message.clone(),
        };
        let suppressions = if suppressed {
            json!([{"kind": "inSource"}])
        } else {
            json!([])
        };
        json!({
            "ruleId": finding.rule, "level": finding.severity.as_str(), "message": {"text": text}, "locations": [place],
            "suppressions": suppressions,
        })
    };
    let shown = linted.findings.iter().map(|f| result(f, false));
    let hidden = linted.suppressed.iter().map(|f| result(f, true));
    let results: Vec<Value> = shown.chain(hidden).collect();
    let driver = json!({"name": "sepulki", "version": env!("CARGO_PKG_VERSION")});
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    })
}

/// A path as SARIF wants it: a relative reference, its special characters encoded.
fn uri(folder: &str, file: &str) -> String {
    let path = format!("{}/{file}", folder.trim_end_matches('/'));
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
