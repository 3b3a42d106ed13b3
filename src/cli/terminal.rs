//! What a terminal would obey, written out. Pure.
//!
//! Names of files, rows of the ledger, what a file has the server say: none of it may move the cursor, change what was
//! printed before, or turn the direction of a line around.

use std::fmt::Write as _;

/// A mark in front of a line, with its colour: the only sequences that are meant.
pub(super) const COLOURS: [&str; 4] = ["\u{1b}[32m", "\u{1b}[31m", "\u{1b}[33m", "\u{1b}[0m"];

/// A text as it may be shown. Line breaks, tabs and colours of marks stay.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = COLOURS.iter().find(|colour| rest.starts_with(**colour));
        let length = colour.map_or(c.len_utf8(), |colour| colour.len());
        let (part, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if colour.is_some() || matches!(c, '\n' | '\t') || !is_obeyed(c) {
            shown.push_str(part);
        } else {
            shown.extend(c.escape_default());
        }
        rest = behind;
    }
    shown
}

/// The same for one line, in which not even a line break is meant.
pub(super) fn on_a_line(text: &str) -> String {
    plain(text).replace('\n', "\\n")
}

/// JSON as it may be shown: what it does not write out by itself stands in its strings, and nowhere else.
pub(super) fn json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_obeyed(c) {
            shown.push(c);
        } else {
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        }
    }
    shown
}

/// Control characters, and those that turn the direction of a line around, as source text is forged with.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        for (text, shown) in [
            ("ü\ta\nb", "ü\ta\nb"),
            ("\u{1b}[32m✓\u{1b}[0m a", "\u{1b}[32m✓\u{1b}[0m a"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("a\r\u{9b}31m", "a\\r\\u{9b}31m"),
            ("a\u{202e}lqs.", "a\\u{202e}lqs."),
        ] {
            assert_eq!(plain(text), shown);
        }
        assert_eq!(on_a_line("a\n✓ b"), "a\\n✓ b");
        let escaped = json("{\n  \"a\": \"ü\u{9b}\u{7f}\"\n}");
        assert_eq!(escaped, "{\n  \"a\": \"ü\\u009b\\u007f\"\n}");
    }
}
