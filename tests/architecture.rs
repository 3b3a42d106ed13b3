//! Who may import whom, as the crate's documentation says.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Open to every module but `api`.
const OPEN: &[&str] = &["clock", "config", "telemetry"];

/// What a module may import of ours, beside itself and what is open.
const RULES: &[(&str, &[&str])] = &[
    ("admin", &[]),
    ("api", &[]),
    ("clock", &[]),
    ("cluster", &[]),
    ("config", &[]),
    (
        "database",
        &[
            "api",
            "reconcile",
            "engine",
            "neon",
            "postgres",
            "cluster",
            "world",
        ],
    ),
    ("engine", &["postgres"]),
    (
        "migration",
        &[
            "api",
            "reconcile",
            "engine",
            "neon",
            "postgres",
            "cluster",
            "world",
        ],
    ),
    ("neon", &[]),
    ("postgres", &[]),
    (
        "project",
        &[
            "api",
            "reconcile",
            "engine",
            "neon",
            "postgres",
            "cluster",
            "world",
        ],
    ),
    ("reconcile", &["api"]),
    ("telemetry", &[]),
    (
        "world",
        &["api", "reconcile", "engine", "neon", "postgres", "cluster"],
    ),
];

/// Modules that may import all of ours.
const FREE: &[&str] = &["cli", "runtime", "lib.rs", "main.rs"];

/// The kinds.
const KINDS: [&str; 3] = ["project", "database", "migration"];

/// Files of a kind that look at nothing and change nothing.
const PURE: &[&str] = &[
    "desired",
    "plan",
    "deletion",
    "status",
    "action",
    "adoption",
    "profile",
    "mark",
    "asked",
    "inherit",
    "max_age",
    "reset",
    "credentials",
    "record",
    "rules",
    "settings",
];

/// What a pure file must not name.
const EFFECTS: &[&str] = &[
    "kube::Client",
    "kube::Api",
    "sqlx::",
    "reqwest::",
    "tokio::",
    "SystemClock",
    ".await",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The code of a file: no comments, no tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let product = text.split("#[cfg(test)]").next().unwrap();
    let lines: Vec<&str> = product
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    lines.join(
        "
",
    )
}

/// Modules of ours that the code names: `crate::x`, and each of `crate::{x, y::z}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let name = |text: &str| -> String {
            text.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        };
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(name(item.trim()));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                item.push(c);
            }
            found.insert(name(item.trim()));
        } else {
            found.insert(name(rest));
        }
    }
    found.remove("");
    found
}

fn module_of(path: &Path, root: &Path) -> String {
    let first = path
        .strip_prefix(root)
        .unwrap()
        .components()
        .next()
        .unwrap();
    let first = first.as_os_str().to_string_lossy().into_owned();
    if FREE.contains(&first.as_str()) {
        first
    } else {
        first.trim_end_matches(".rs").to_owned()
    }
}

#[test]
fn modules_import_only_what_the_map_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for path in sources(&root) {
        let module = module_of(&path, &root);
        if FREE.contains(&module.as_str()) {
            continue;
        }
        let allowed = RULES
            .iter()
            .find(|(name, _)| *name == module)
            .map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            wrong.push(format!(
                "{module} is not on the map of src/lib.rs and tests/architecture.rs"
            ));
            continue;
        };
        for import in imports(&code(&path)) {
            let open = OPEN.contains(&import.as_str()) && module != "api";
            if import != module && !open && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_deciding_files_of_a_kind_are_pure() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for kind in KINDS {
        for path in sources(&root.join(kind)) {
            // a folder belongs to the file of its name
            let name = module_of(&path, &root.join(kind));
            if !PURE.contains(&name.as_str()) {
                continue;
            }
            seen.insert(format!("{kind}/{name}"));
            let code = code(&path);
            wrong.extend(
                EFFECTS
                    .iter()
                    .filter(|effect| code.contains(**effect))
                    .map(|e| format!("{}: {e}", path.display())),
            );
        }
    }
    for must in ["desired", "plan", "status"] {
        for kind in KINDS {
            assert!(
                seen.contains(&format!("{kind}/{must}")),
                "{kind} has no {must}.rs"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_kinds_have_the_same_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for kind in KINDS {
        for file in ["mod", "desired", "observe", "plan", "act", "status"] {
            let path = root.join(kind).join(format!("{file}.rs"));
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let code = "use crate::{api::X, neon::{A, B}};\nuse crate::cluster::Y;\nlet z = crate::world::live::W;";
    let expected: BTreeSet<String> = ["api", "neon", "cluster", "world"]
        .map(str::to_owned)
        .into();
    assert_eq!(imports(code), expected);
}
