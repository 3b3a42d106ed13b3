//! Passwords that users give: what may be wrong with one, and how hard it is to guess. Pure.
//!
//! Neon refuses one of fewer than 60 bits, and says so only when it is set. It estimates as here: the kinds of characters
//! that occur make an alphabet, and each character that is not a mere continuation counts as one drawn from it.

/// What Neon wants.
pub const BITS_WANTED: f64 = 60.0;

/// Why a role cannot have the password that is given for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not there.
    Missing(String),
    /// It is too easy to guess.
    Weak(String),
}

/// A kind of characters, and how many there are of it.
type Kind = (fn(char) -> bool, u32);

const KINDS: [Kind; 5] = [
    (|c| c.is_ascii_lowercase(), 26),
    (|c| c.is_ascii_uppercase(), 26),
    (|c| c.is_ascii_digit(), 10),
    (|c| "!@$&*".contains(c), 5),
    (|c| "_-., ".contains(c), 5),
];

/// ASCII characters of no kind above.
const OTHER_SPECIAL: u32 = 22;

/// About how many bits it takes to guess the password.
#[must_use]
pub fn bits(password: &str) -> f64 {
    let mut alphabet: u32 = KINDS
        .iter()
        .filter(|(is, _)| password.chars().any(is))
        .map(|(_, size)| size)
        .sum();
    let other = |c: char| !KINDS.iter().any(|(is, _)| is(c));
    if password.chars().any(|c| c.is_ascii() && other(c)) {
        alphabet += OTHER_SPECIAL;
    }
    let mut foreign: Vec<char> = password.chars().filter(|c| !c.is_ascii()).collect();
    foreign.sort_unstable();
    foreign.dedup();
    let alphabet = alphabet.saturating_add(u32::try_from(foreign.len()).unwrap_or(u32::MAX));
    f64::from(counted(password)) * f64::from(alphabet.max(1)).log2()
}

/// Characters that count: those beyond the second of `aaa`, `abc` or `321` do not.
fn counted(password: &str) -> u32 {
    let mut count: u32 = 0;
    let mut before: Option<(u32, i64)> = None;
    for character in password.chars() {
        let code = u32::from(character);
        let step = before.map(|(last, _)| i64::from(code) - i64::from(last));
        let continues = matches!((before, step), (Some((_, last)), Some(step)) if step == last && (-1..=1).contains(&step));
        if !continues {
            count = count.saturating_add(1);
        }
        // no step before the first two characters is like any other
        before = Some((code, step.unwrap_or(i64::MAX)));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_characters_and_more_kinds_of_them_make_more_bits() {
        for (password, at_least, below) in [
            ("", 0.0, 0.1),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", 9.0, 10.0),
            ("abcdefghijklmnopqrstuvwxyz", 9.0, 10.0),
            ("98765432109876543210", 13.0, 14.0),
            ("correcthorse", 50.0, 60.0),
            ("correcthorsebattery", 80.0, 90.0),
            ("Tr0ub4dor&3", 60.0, 80.0),
            ("geheim-ü-und-lang-genug", 90.0, 130.0),
            ("kQ7wZ2mX9pL4vB8nC3dF6gH1jK5sT0yR", 180.0, 200.0),
        ] {
            let bits = bits(password);
            assert!(at_least <= bits && bits < below, "{password}: {bits}");
        }
    }
}
