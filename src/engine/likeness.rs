//! Whether a recorded name may be that of a file, as other tools write it. Pure.
//!
//! | recorded | file |
//! |---|---|
//! | `001`, `1` | `001_a.sql` |
//! | `001_a`, `001_a.up.sql` | `001_a.sql` |
//! | `V001__a.sql` | `001_a.sql` |
//! | `20240101120000` | `20240101120000_a.sql` |
//! | `003_a.sql` | `004_a.sql` |

/// Whether two names have the same number, or say the same behind it. Of those of one day, which is what a number of eight
/// digits is, there can be many.
pub(crate) fn may_mean(recorded: &str, file: &str) -> bool {
    let (recorded, file) = (Parts::of(recorded), Parts::of(file));
    if !recorded.words.is_empty() && recorded.words == file.words {
        return true;
    }
    let is_same = !recorded.numbers.is_empty() && recorded.numbers == file.numbers;
    let bare = recorded.words.is_empty() || file.words.is_empty();
    is_same && (bare || recorded.is_unique())
}

/// A name in parts.
#[derive(Debug)]
struct Parts {
    /// The groups of digits in front, without leading zeros.
    numbers: Vec<String>,
    /// What comes behind, in small letters with `_` between the words.
    words: String,
}

impl Parts {
    fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        let name = name.strip_suffix(".sql").unwrap_or(&name);
        let name = name.strip_suffix(".up").unwrap_or(name);
        let versioned = name.strip_prefix('v');
        let mut rest = versioned
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(name);
        let mut numbers = Vec::new();
        loop {
            let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = rest.strip_suffix(behind).unwrap_or_default();
            // `001_2fa` has one number
            let is_number = !digits.is_empty() && !behind.starts_with(char::is_alphabetic);
            if !is_number {
                break;
            }
            numbers.push(digits.trim_start_matches('0').to_owned());
            rest = behind;
            match behind.strip_prefix(['.', '_', '-']) {
                Some(next) if next.starts_with(|c: char| c.is_ascii_digit()) => rest = next,
                Some(_) | None => break,
            }
        }
        let words = rest.split(|c: char| !c.is_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        Self {
            numbers,
            words: words.join("_"),
        }
    }

    /// Whether the number is that of one file: a sequence number, or a date with the time.
    fn is_unique(&self) -> bool {
        let mut digits = self.numbers.iter().map(String::len);
        let is_date = digits
            .next()
            .is_some_and(|digits| (8..12).contains(&digits));
        !is_date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_tools_may_mean_a_file() {
        for (recorded, file) in [
            ("001", "001_a.sql"),
            ("1", "001_a.sql"),
            ("001_a", "001_a.sql"),
            ("001_a.up.sql", "001_a.sql"),
            ("V001__a.sql", "001_a.sql"),
            ("v1", "V001__a.sql"),
            ("20240101120000", "20240101120000_a.sql"),
            ("20240101120000_b", "20240101120000_a.sql"),
            ("20240101", "20240101_a.sql"),
            ("003_add_users.sql", "004-add-users.sql"),
            ("add_users", "004_add_users.sql"),
            ("001_a.sql", "001_b.sql"),
            ("1.2", "V1_2__a.sql"),
            ("001_2fa", "001_2fa_login.sql"),
        ] {
            assert!(may_mean(recorded, file), "{recorded} {file}");
        }
        for (recorded, file) in [
            ("002", "001_a.sql"),
            ("001_a.sql", "002_b.sql"),
            ("20240101_a.sql", "20240101_b.sql"),
            ("init", "001_a.sql"),
            ("1", "1_2_a.sql"),
            ("vera.sql", "001_a.sql"),
            ("", "001_a.sql"),
        ] {
            assert!(!may_mean(recorded, file), "{recorded} {file}");
        }
    }
}
