//! `sepulki migrate new`: makes an empty file with the next number.

use std::{fs::OpenOptions, io::Write};

use anyhow::{Context, Result};

use super::{
    super::{Ended, Usage, output},
    args::Options,
    files_of,
};
use crate::clock::{Clock, SystemClock};

pub(super) fn new(options: &Options, name: &str) -> Result<Ended> {
    std::fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make {}", options.dir.display()))?;
    let files = files_of(&options.dir)?;
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let now = SystemClock.now().strftime("%Y%m%d%H%M%S").to_string();
    let file = file_name(&names, name, &now).ok_or_else(|| {
        Usage("the name needs a letter or a digit: say what the migration does".to_owned())
    })?;
    let path = options.dir.join(file);
    let mut created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    writeln!(created, "-- {name}").with_context(|| format!("cannot write {}", path.display()))?;
    let path = path.display().to_string();
    output::print(options.output, &path, |path| format!("{path}\n"))?;
    Ok(Ended::Fine)
}

/// The name of the next file, numbered as the files before it are.
fn file_name(files: &[&str], name: &str, now: &str) -> Option<String> {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        return None;
    }
    let digits = |file: &&&str| {
        let end = file.find(|c: char| !c.is_ascii_digit());
        file.get(..end.unwrap_or(file.len()))
            .unwrap_or_default()
            .to_owned()
    };
    let numbers = files.iter().map(|file| digits(&file));
    let last = numbers
        .filter(|digits| !digits.is_empty())
        .max_by_key(|digits| digits.parse::<u64>().unwrap_or_default());
    let number = match last {
        None => "001".to_owned(),
        // a date with time, as many tools number
        Some(last) if last.len() == now.len() => now.to_owned(),
        Some(last) => {
            let next = last.parse::<u64>().ok()?.checked_add(1)?;
            format!("{next:0width$}", width = last.len())
        }
    };
    Some(format!("{number}_{}.sql", words.join("_")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_number_has_the_form_of_the_last() {
        let now = "20260102030405";
        for (files, expected) in [
            (&[][..], "001_add_robots.sql"),
            (
                &["001_a.sql", "002_b.sql", "readme.sql"],
                "003_add_robots.sql",
            ),
            (&["0009_a.sql"], "0010_add_robots.sql"),
            (&["20250101000000_a.sql"], "20260102030405_add_robots.sql"),
            (&["init.sql"], "001_add_robots.sql"),
        ] {
            assert_eq!(
                file_name(files, "Add robots!", now).as_deref(),
                Some(expected),
                "{files:?}"
            );
        }
        assert_eq!(file_name(&[], " / ", now), None);
    }
}
