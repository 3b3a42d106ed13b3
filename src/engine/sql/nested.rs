//! The words of a statement, and those of the statements that it holds: in the body of a DO, and in what that executes. Pure.
//!
//! Only what is written is seen: neither what a function does that is called, nor what a statement says that is put together
//! from parts.

use super::lex::{TokenKind, tokens};

/// How deep constants within constants are looked into.
const DEPTH: usize = 4;

/// A statement as words: key words and plain names in upper case, everything else as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) words: Vec<String>,
    /// Whether it stands in a body, not in the file itself.
    pub(crate) is_nested: bool,
}

impl Part {
    /// The words to be matched.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// The statement that is `text`, and behind it those within, in the order in which they are written.
pub(crate) fn parts(text: &str) -> Vec<Part> {
    let mut all = Vec::new();
    take(text, 0, &mut all);
    all
}

fn take(text: &str, depth: usize, all: &mut Vec<Part>) {
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text).iter().filter(|token| token.is_significant()) {
        let written = token.text(text);
        let word = if token.kind == TokenKind::Word {
            written.to_ascii_uppercase()
        } else {
            written.to_owned()
        };
        let begins = matches!(word.as_str(), "BEGIN" | "THEN" | "ELSE" | "LOOP");
        if token.kind == TokenKind::Semicolon || (depth > 0 && begins) {
            finish(std::mem::take(&mut words), depth, all);
        } else {
            words.push(word);
        }
    }
    finish(words, depth, all);
}

fn finish(words: Vec<String>, depth: usize, all: &mut Vec<Part>) {
    let runs_text = match words.first().map(String::as_str) {
        Some("DO") => true,
        Some("EXECUTE") => depth > 0,
        Some(_) => false,
        None => return,
    };
    let inside: Vec<String> = if runs_text && depth < DEPTH {
        words.iter().filter_map(|word| value(word)).collect()
    } else {
        Vec::new()
    };
    all.push(Part {
        words,
        is_nested: depth > 0,
    });
    for text in inside {
        take(&text, depth + 1, all);
    }
}

/// What a constant says; none where `written` is no constant.
pub(crate) fn value(written: &str) -> Option<String> {
    if let Some(rest) = written.strip_prefix('$') {
        let tag = rest.find('$')? + 2;
        let end = written.len().checked_sub(tag)?;
        return written.get(tag..end).map(str::to_owned);
    }
    let is_quoted = written.ends_with('\'') && !written.starts_with('"');
    let (_, inside) = written.split_once('\'').filter(|_| is_quoted)?;
    let inside = inside.strip_suffix('\'')?;
    Some(inside.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_within_statements_are_found() {
        let text = "DO $x$ DECLARE a int; BEGIN IF a = 1 THEN DROP TABLE T; ELSE EXECUTE 'DROP TABLE ''it''; x'; END IF; END $x$;";
        let all = parts(text);
        let said: Vec<String> = all
            .iter()
            .skip(1)
            .map(|part| part.words.join(" "))
            .collect();
        assert_eq!(
            said,
            [
                "DECLARE A INT",
                "IF A = 1",
                "DROP TABLE T",
                "EXECUTE 'DROP TABLE ''it''; x'",
                "DROP TABLE 'it'",
                "X",
                "END IF",
                "END"
            ]
        );
        assert!(all.iter().skip(1).all(|part| part.is_nested));
        assert_eq!(parts("SELECT 'DROP TABLE t;'").len(), 1);
        assert_eq!(parts(";"), []);
    }

    #[test]
    fn constants_have_values() {
        for (written, expected) in [
            ("'it''s'", Some("it's")),
            ("E'a'", Some("a")),
            ("$$b$$", Some("b")),
            ("$t$c$t$", Some("c")),
            ("''", Some("")),
            ("\"d'\"", None),
            ("word", None),
            ("$1", None),
        ] {
            assert_eq!(value(written).as_deref(), expected, "{written}");
        }
    }
}
