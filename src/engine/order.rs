//! The order in which files run. Pure.
//!
//! Files run in the byte order of their names, as the shell's `LC_ALL=C ls` shows them. Where
//! the numbers in front of the names say something else (`10_b` before `9_a`) nobody can know
//! which order was meant, so that is a finding and nothing runs.

use std::cmp::Ordering;

/// Two names of which byte order and numeric order disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ambiguous<'a> {
    /// Runs first in byte order although its number is higher.
    pub(crate) first: &'a str,
    /// Has the lower number.
    pub(crate) second: &'a str,
}

/// Compares the byte order of `sorted` names with the order of their numbers.
pub(crate) fn ambiguous<'a>(sorted: &[&'a str]) -> Option<Ambiguous<'a>> {
    let numbered: Vec<(&str, Vec<&str>)> = sorted
        .iter()
        .map(|name| (*name, numbers(name)))
        .filter(|(_, numbers)| !numbers.is_empty())
        .collect();
    numbered.windows(2).find_map(|pair| match pair {
        [(first, a), (second, b)] if compare(a, b) == Ordering::Greater => {
            Some(Ambiguous { first, second })
        }
        _ => None,
    })
}

/// Compares names by their numbers; equal or no numbers leave it to the bytes.
pub(crate) fn by_number(a: &str, b: &str) -> Ordering {
    let (of_a, of_b) = (numbers(a), numbers(b));
    let without = of_a.is_empty().cmp(&of_b.is_empty());
    without
        .then_with(|| compare(&of_a, &of_b))
        .then_with(|| a.cmp(b))
}

/// The sequence number of names like `007_add_robots.sql`, without leading zeros. Dates
/// (8 digits and more) and dotted versions are no sequence numbers.
pub(crate) fn sequence_number(name: &str) -> Option<&str> {
    match numbers(name).as_slice() {
        [only] if only.len() < 8 => Some(only),
        _ => None,
    }
}

/// The groups of digits of a leading version: `V1_10__x` is 1, 10. Leading zeros are dropped.
fn numbers(name: &str) -> Vec<&str> {
    let mut rest = name.strip_prefix(['v', 'V']).unwrap_or(name);
    let mut groups = Vec::new();
    loop {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let Some((digits, after)) = rest.split_at_checked(end).filter(|(d, _)| !d.is_empty())
        else {
            return groups;
        };
        groups.push(digits.trim_start_matches('0'));
        let Some(next) = after.strip_prefix(['.', '_', '-']) else {
            return groups;
        };
        rest = next;
    }
}

fn compare(a: &[&str], b: &[&str]) -> Ordering {
    let by_value = |a: &&str, b: &&str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    a.iter()
        .zip(b)
        .map(|(a, b)| by_value(a, b))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(names: &[&'static str]) -> Option<(&'static str, &'static str)> {
        let mut names = names.to_vec();
        names.sort_unstable();
        ambiguous(&names).map(|pair| (pair.first, pair.second))
    }

    #[test]
    fn orders_that_agree() {
        for names in [
            &["001_a.sql", "002_b.sql", "010_c.sql"][..],
            &["20240101120000_a.sql", "20240102120000_b.sql"],
            &["init.sql", "seed.sql"],
            &["001_a.sql", "init.sql"],
            &["001_a.sql", "001_b.sql"],
            &["001_step_10.sql", "001_step_9.sql"],
            &["2017-08-31-x.sql", "20170309122510_y.sql"],
            &["V1_1__a.sql", "V1_2__b.sql", "V2_0__c.sql"],
            &["0001-a.sql", "00010-b.sql"],
        ] {
            assert_eq!(first(names), None, "{names:?}");
        }
    }

    #[test]
    fn orders_that_disagree_are_shown() {
        for (names, expected) in [
            (&["9_a.sql", "10_b.sql"][..], ("10_b.sql", "9_a.sql")),
            (
                &["V1_2__a.sql", "V1_10__b.sql"],
                ("V1_10__b.sql", "V1_2__a.sql"),
            ),
            (
                &["v1.9.sql", "v1.10.sql", "v1.2.sql"],
                ("v1.10.sql", "v1.2.sql"),
            ),
            (
                &["20240101_a.sql", "20230101120000_b.sql"],
                ("20230101120000_b.sql", "20240101_a.sql"),
            ),
        ] {
            assert_eq!(first(names), Some(expected), "{names:?}");
        }
    }

    #[test]
    fn by_number_ten_comes_after_nine() {
        let mut names = [
            "init.sql",
            "10_b.sql",
            "9_a.sql",
            "V1_10.sql",
            "V1_2.sql",
            "2_z.sql",
        ];
        names.sort_unstable_by(|a, b| by_number(a, b));
        assert_eq!(
            names,
            [
                "V1_2.sql",
                "V1_10.sql",
                "2_z.sql",
                "9_a.sql",
                "10_b.sql",
                "init.sql"
            ]
        );
    }

    #[test]
    fn sequence_numbers() {
        assert_eq!(sequence_number("007_a.sql"), Some("7"));
        assert_eq!(sequence_number("V7__a.sql"), Some("7"));
        assert_eq!(sequence_number("20240101_a.sql"), None);
        assert_eq!(sequence_number("1.2_a.sql"), None);
        assert_eq!(sequence_number("init.sql"), None);
    }
}
